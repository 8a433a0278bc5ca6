"""``invoke``: an event for one function, and what it answers."""

import json
import sys
from pathlib import Path
from typing import Any

import click

from knative_lambda.client.commands.place import NAME, Place, placed
from knative_lambda.client.commands.wanted import pairs
from knative_lambda.client.door import event
from knative_lambda.client.errors import ClientError
from knative_lambda.client.http import ERRORS
from knative_lambda.client.models import Event, Reply

PLAIN = "dev.knative-lambda.invoke"
"""The type of an event for a function that has no trigger to take one from."""
SENT = (
    click.option("--data", "-d", default="{}", show_default=True, help="JSON; @FILE to read it there, @- from stdin."),
    click.option("--type", "kind", default="", help="The event's type [default: that of the first trigger]."),
    click.option("--attribute", "-a", "attributes", multiple=True, metavar="NAME=VALUE", help="Another of its own."),
)


@click.command(short_help="Send a function an event, and show its reply.")
@NAME
@SENT[0]
@SENT[1]
@SENT[2]
@click.option("--output", "-o", type=click.Choice(["json"]), help="The whole event that it answers with.")
@placed
def invoke(  # noqa: PLR0913, PLR0917 (click passes them by name)
    place: Place, name: str, data: str, kind: str, attributes: tuple[str, ...], output: str | None
) -> None:
    """Send a function a CloudEvent and show the data of its reply.

    \b
    Examples:
      knative-lambda invoke hello --data '{"name": "ada"}'
      knative-lambda invoke hello --type demo.hello --attribute source=/shop -o json
      cat order.json | knative-lambda invoke hello --data @-
    """  # noqa: D301 (click's mark for lines to leave as they are)
    given = read(data)
    triggers = [] if kind else place.client.function(place.tenant, name).spec.get("triggers", [])
    reply = place.client.invoke(place.tenant, name, made(triggers, given, kind, attributes))
    if reply.status >= ERRORS and reply.event is None:
        function = place.client.function(place.tenant, name)
        if not function.url:
            failed = function.failure
            why = f": {failed.reason}: {failed.message}".rstrip(": ") if failed else ""
            raise ClientError(f"{name} has not come up{why}", f"`describe {name}` tells how far it is")
    show(reply, output, place.client.door.printed(place.tenant, name))


def made(triggers: list[dict[str, str]], data: Any, kind: str, attributes: tuple[str, ...]) -> Event:
    """Return the event that the options describe; without a type it is one that the first trigger wants."""
    wanted = dict(triggers[0]) if triggers and not kind else {}
    chosen = kind or wanted.pop("type", PLAIN)
    return event(chosen, data, {**wanted, **pairs(attributes)})


def read(said: str) -> Any:
    """Return what ``--data`` says; raise `click.UsageError` where that cannot be read, or is no JSON."""
    if said.startswith("@"):
        file = said[1:]
        try:
            said = sys.stdin.read() if file == "-" else Path(file).read_text("utf-8")
        except FileNotFoundError as error:
            raise click.UsageError(f"--data: {file} is not there") from error
        except (OSError, UnicodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is no text"
            raise click.UsageError(f"--data: {file} cannot be read: {why}") from error
    try:
        return json.loads(said)
    except ValueError as error:
        raise click.UsageError(f"--data is no JSON: {error}") from error


def show(reply: Reply, output: str | None, hint: str = "") -> None:
    """Show a reply; raise `ClientError` with the function's words, and the hint, where it has failed."""
    if reply.status >= ERRORS:
        raise ClientError(f"it answered {reply.status}: {_words(reply.text)}", hint)
    if output and reply.event:
        click.echo(json.dumps(reply.event.structured(), indent=2))
    elif reply.event and not isinstance(reply.event.data, str):
        click.echo(json.dumps(reply.event.data, ensure_ascii=False))
    else:
        click.echo(reply.text)


def _words(text: str) -> str:
    """Return the detail of a problem (RFC 9457) that has no more to say, and any other text as it is."""
    try:
        problem = json.loads(text)
        return str(problem["detail"]) if not problem.get("faults") else text.strip()
    except (ValueError, LookupError, TypeError, AttributeError):
        return text.strip()
