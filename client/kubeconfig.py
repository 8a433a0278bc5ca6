"""Where a kubeconfig's cluster is, and how it is asked: the one file of the client that knows the `kubernetes` package.

That knows the dozen ways in which a kubeconfig may say it, and takes half a second to load: only who asks a cluster
waits for it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from knative_lambda.client.errors import Unreachable
from knative_lambda.client.http import Http


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
        raise Unreachable(f"no cluster is known: {error}") from error
    chosen = next((each for each in found if each["name"] == context), active)
    http = Http(configuration.host.rstrip("/"), RESTClientObject(configuration).pool_manager, authorization)
    return Access(http, chosen["context"].get("namespace") or "default")


def _files(file: str) -> list[str]:
    return [file] if file else os.environ.get("KUBECONFIG", "~/.kube/config").split(os.pathsep)
