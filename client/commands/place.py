"""Where a command asks: the options that all of them have, with kubectl's names.

An URL means a service; without one it is the kubeconfig's cluster, and where there is no kubeconfig either, the
embedded mode at its own address.
"""

import difflib
import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from knative_lambda.client import kubeconfig
from knative_lambda.client.client import Client
from knative_lambda.client.door import PRODUCT
from knative_lambda.client.errors import ClientError, NotThere
from knative_lambda.client.models import Resource

EMBEDDED = "http://127.0.0.1:8480"
PLACED = ("url", "token", "kubeconfig", "context", "namespace")
WHOSE = "The tenant [default: the context's, or demo]."


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
    name = context.params.get("name") or next(iter(context.args), "")  # click sorts no arguments before a half option
    return _items(context, incomplete, lambda place: place.client.builds(place.tenant, name))


def letters(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the names of the dead letters that begin so; the same."""
    return _items(context, incomplete, lambda place: place.client.letters(place.tenant), PRODUCT)


def _items(
    context: click.Context, incomplete: str, found: Callable[[Place], Sequence[Resource]], tenant: str = ""
) -> list[CompletionItem]:
    try:
        things = found(_place(context, tenant))
    except ClientError:
        return []
    return [CompletionItem(each.name) for each in things if each.name.startswith(incomplete)]


def _place(context: click.Context, tenant: str = "") -> Place:
    """Return what the options mean that stand with a command, or with the group that it is of; `tenant` without -n."""
    url, token, config, chosen, namespace = (_said(context, name) for name in PLACED)
    return Place.of(url, token, config, chosen, namespace or tenant)


def _said(context: click.Context, name: str) -> str:
    above: click.Context | None = context
    while above and above.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
        above = above.parent
    return str((above or context).params.get(name) or "")


class Url(click.ParamType[str]):
    """Where a service is."""

    name = "url"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> str:
        """Return it; raise `click.UsageError` for what is no URL of a service."""
        said = str(value)
        try:
            parts = urlsplit(said)
            is_one = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:  # a port, or an address, that is none
            is_one = False
        if said and not is_one:
            self.fail(f"{said} is no URL, such as {EMBEDDED}", parameter, context)
        return said


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
    click.option(
        "--url",
        type=Url(),
        default="",
        metavar="TEXT",
        envvar="KN_LAMBDA_URL",
        help="A service instead of a cluster [$KN_LAMBDA_URL].",
    ),
    click.option("--token", default="", envvar="KN_LAMBDA_TOKEN", help="Who asks there [$KN_LAMBDA_TOKEN]."),
)


def near(place: Place, said: Mapping[str, Any]) -> str:
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


def placed(command: Callable[..., None], whose: str = WHOSE, tenant: str = "") -> Callable[..., None]:
    """Give a command the options, and in their place a `place`: of `tenant` without -n, whose help is `whose`."""

    @functools.wraps(command)
    def called(**said: Any) -> None:
        place = _place(click.get_current_context(), tenant)
        rest = {name: value for name, value in said.items() if name not in PLACED}
        try:
            command(place=place, **rest)
        except NotThere as error:
            raise NotThere(str(error), error.hint or near(place, rest)) from error

    return options(called, whose)


def options(command: Callable[..., None], whose: str = WHOSE) -> Callable[..., None]:
    """Give a command, or a group for all of its own, the options."""
    for option in reversed((click.option("--namespace", "-n", default="", help=whose), *OPTIONS)):
        command = option(command)
    return command
