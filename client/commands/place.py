"""Where a command asks: the options that all of them have, with kubectl's names.

An URL means a service; without one it is the kubeconfig's cluster, and where there is no kubeconfig either, the
embedded mode at its own address.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click
from click.shell_completion import CompletionItem

from knative_lambda.client import kubeconfig
from knative_lambda.client.client import Client
from knative_lambda.client.errors import ClientError

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
    said = (context.params.get(name) or "" for name in ("url", "token", "kubeconfig", "context", "namespace"))
    try:
        place = Place.of(*said)
        found = place.client.functions(place.tenant)
    except ClientError:
        return []
    return [CompletionItem(each.name) for each in found if each.name.startswith(incomplete)]


NAME = click.argument("name", shell_complete=functions)
OPTIONS = (
    click.option("--namespace", "-n", default="", help="The tenant [default: the context's, or demo]."),
    click.option("--context", default="", shell_complete=_contexts, help="A context of the kubeconfig."),
    click.option("--kubeconfig", default="", metavar="FILE", help="The kubeconfig to use."),
    click.option("--url", default="", envvar="KN_LAMBDA_URL", help="A service instead of a cluster [$KN_LAMBDA_URL]."),
    click.option("--token", default="", envvar="KN_LAMBDA_TOKEN", help="Who asks there [$KN_LAMBDA_TOKEN]."),
)


def placed(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and in their place a `place`."""

    @functools.wraps(command)
    def called(url: str, token: str, kubeconfig: str, context: str, namespace: str, **rest: Any) -> None:
        command(place=Place.of(url, token, kubeconfig, context, namespace), **rest)

    for option in reversed(OPTIONS):
        called = option(called)
    return called
