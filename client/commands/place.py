"""Where a command asks: the options that all of them have, with kubectl's names.

An URL means a service; without one it is the kubeconfig's cluster, and where there is no kubeconfig either, the
embedded mode at its own address.
"""

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from knative_lambda.client import kubeconfig
from knative_lambda.client.client import Client
from knative_lambda.client.errors import ClientError, NotThere
from knative_lambda.client.models import Resource

EMBEDDED = "http://127.0.0.1:8480"


@dataclass(frozen=True)
class Place:
    """A client, and the tenant that is meant."""

    client: Client
    tenant: str

    @classmethod
    def of(cls, url: str, token: str, config: str, context: str, namespace: str) -> "Place":
        """Return what the options mean; "" where one is not given."""
        if not (url or config or context or kubeconfig.there()):
            url = EMBEDDED
        client = Client.at(url, token) if url and not (config or context) else Client.on(config, context)
        return cls(client, namespace or client.door.namespace)


def _contexts(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in kubeconfig.contexts() if name.startswith(incomplete)]


def functions(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the functions' names that begin so, for the shell; none where nobody answers."""
    return _items(context, incomplete, lambda place: place.client.functions(place.tenant))


def builds(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the function's Builds that begin so; the same."""
    return _items(
        context, incomplete, lambda place: place.client.builds(place.tenant, context.params.get("name") or "")
    )


def _items(
    context: click.Context, incomplete: str, found: Callable[[Place], Sequence[Resource]]
) -> list[CompletionItem]:
    said = (context.params.get(name) or "" for name in ("url", "token", "kubeconfig", "context", "namespace"))
    try:
        things = found(Place.of(*said))
    except ClientError:
        return []
    return [CompletionItem(each.name) for each in things if each.name.startswith(incomplete)]


class Named(click.ParamType[str]):
    """A name, also as `-o name` gives it: of a thing of a kind."""

    name = "name"

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Return the name alone; raise `click.UsageError` for a thing of another kind."""
        kind, slash, name = str(value).rpartition("/")
        if slash and kind.partition(".")[0].removesuffix("s") != self._kind:
            self.fail(f"{value!r} is no {self._kind}", parameter, context)
        return name


NAME = click.argument("name", type=Named("function"), shell_complete=functions)
BUILD = Named("build")
OPTIONS = (
    click.option("--context", default="", shell_complete=_contexts, help="A context of the kubeconfig."),
    click.option("--kubeconfig", default="", metavar="FILE", help="The kubeconfig to use."),
    click.option("--url", default="", envvar="KN_LAMBDA_URL", help="A service instead of a cluster [$KN_LAMBDA_URL]."),
    click.option("--token", default="", envvar="KN_LAMBDA_TOKEN", help="Who asks there [$KN_LAMBDA_TOKEN]."),
)


def _near(place: Place, said: Mapping[str, Any]) -> str:
    """Return what a function may be called that is not there; "" where one of that name is, or none was meant."""
    try:
        there = [each.name for each in place.client.functions(place.tenant)]
    except NotThere:
        return "-n names another tenant; `tenant list` has a cluster's"
    except ClientError:
        return ""
    name = next((each for each in said.get("names", (said.get("name"),)) if each and each not in there), "")
    if not name:
        return f"`builds {said['name']}` has those that are there" if said.get("build") else ""
    if near := difflib.get_close_matches(name, there, 3):
        return f"did you mean {' or '.join(near)}?"
    return f"`list -n {place.tenant}` has those that are there; -n names another tenant"


def placed(
    command: Callable[..., None], whose: str = "The tenant [default: the context's, or demo]."
) -> Callable[..., None]:
    """Give a command the options, and in their place a `place`; `whose` is the help of -n."""

    @functools.wraps(command)
    def called(url: str, token: str, kubeconfig: str, context: str, namespace: str, **rest: Any) -> None:
        place = Place.of(url, token, kubeconfig, context, namespace)
        try:
            command(place=place, **rest)
        except NotThere as error:
            raise NotThere(str(error), error.hint or _near(place, rest)) from error

    for option in reversed((click.option("--namespace", "-n", default="", help=whose), *OPTIONS)):
        called = option(called)
    return called
