"""Where a kubeconfig's cluster is, and how it is asked: the one file of the client that knows the `kubernetes` package.

That knows the dozen ways in which a kubeconfig may say it, and takes half a second to load: only who asks a cluster
waits for it.
"""

import difflib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knative_lambda.client.errors import Unreachable
from knative_lambda.client.http import Advice, Http

NONE = "name one with --kubeconfig or KUBECONFIG; or a service with --url, such as that of `knative-lambda dev`"


@dataclass(frozen=True)
class Access:
    """A cluster as a context of a kubeconfig describes it."""

    http: Http
    namespace: str
    """The context's own; ``default`` where it has none."""


def there(file: str = "") -> bool:
    """Say whether there is a kubeconfig: that one, or the one that kubectl would take."""
    return any(Path(path).expanduser().is_file() for path in _files(file))


def contexts(file: str = "") -> Sequence[str]:
    """Return the names of a kubeconfig's contexts; none where it cannot be read."""
    from kubernetes import config  # noqa: PLC0415 - see the module's docstring

    try:
        found, _ = config.list_kube_config_contexts(file or None)  # type: ignore[no-untyped-call] # the package's lack
    except (config.ConfigException, OSError):
        return ()
    return [each["name"] for each in found]


def access(file: str = "", context: str = "") -> Access:
    """Return what a context of a kubeconfig gives; "": those that kubectl would take. Raises `Unreachable`."""
    from kubernetes import config  # noqa: PLC0415 - see the module's docstring
    from kubernetes.client.configuration import Configuration  # noqa: PLC0415 - the same
    from kubernetes.client.rest import RESTClientObject  # noqa: PLC0415 - the same

    configuration = Configuration()
    configuration.retries = False

    def authorization() -> str:
        try:
            return configuration.get_api_key_with_prefix("BearerToken") or ""
        except config.ConfigException as error:
            raise Unreachable(str(error)) from error

    try:
        config.load_kube_config(file or None, context or None, configuration, persist_config=False)  # type: ignore[no-untyped-call] # the same
        found, active = config.list_kube_config_contexts(file or None)  # type: ignore[no-untyped-call] # the same
    except (config.ConfigException, OSError) as error:
        if context and (known := contexts(file)):
            raise Unreachable(f"no cluster is known: there is no context {context}", _others(context, known)) from error
        raise Unreachable(f"no cluster is known: {error}", NONE) from error
    chosen = next((each for each in found if each["name"] == context), active)
    pool, advice = RESTClientObject(configuration).pool_manager, _advice(chosen["name"])
    http = Http(configuration.host.rstrip("/"), pool, authorization, advice)
    return Access(http, chosen["context"].get("namespace") or "default")


def _advice(context: str) -> Advice:
    return Advice(
        silent=f"the context is {context}: is its cluster up, and is it the one you mean? --context names another",
        unknown=f"the cluster does not know you by context {context}: log in anew, or name another with --context",
        forbidden="whoever gives rights in this tenant can add you to its `people`; `doctor` tells what you lack",
        absent=f"the cluster of context {context} does not have it: `doctor` tells what is to be installed",
        later="try again in a moment; `doctor` tells what does not answer",
    )


def _others(context: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(context, known, 1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"


def _files(file: str) -> list[str]:
    return [file] if file else os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
