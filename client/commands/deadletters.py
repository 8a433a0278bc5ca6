"""``deadletters``: the events that nobody could handle, listed, shown and sent again."""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

import click

from knative_lambda.client.commands.output import WHOLE, Column, dump, show_all
from knative_lambda.client.commands.place import Named, Place, letters, options, placed
from knative_lambda.client.door import PRODUCT
from knative_lambda.client.errors import ClientError, NotThere
from knative_lambda.client.models import DeadLetter

LETTER = Named("deadletter")
COLUMNS = (
    Column("NAME", lambda each: each.name),
    Column("REASON", lambda each: str(each.spec.get("reason", ""))),
    Column("CODE", lambda each: str(each.spec.get("code", ""))),
    Column("TYPE", lambda each: str(each.event.get("type", ""))),
    Column("SOURCE", lambda each: str(each.event.get("source", ""))),
    Column("ID", lambda each: str(each.event.get("id", ""))),
    Column("COUNT", lambda each: str(each.spec.get("count", ""))),
    Column("CAME", lambda each: str(each.spec.get("time", ""))),
    Column("FUNCTION", lambda each: each.function, wide=True),
    Column("MESSAGE", lambda each: each.message, wide=True),
)


WHOSE = "A tenant's [default: the product's own]."
of_letters = functools.partial(placed, whose=WHOSE, tenant=PRODUCT)


@click.group(short_help="List, show and send again what nobody could handle.")
@functools.partial(options, whose=WHOSE)
def deadletters(**_: Any) -> None:
    """List, show and send again the events that nobody could handle: the product's own, or with -n a tenant's.

    \b
    Examples:
      knative-lambda deadletters list
      knative-lambda deadletters resend --all -n demo
    """  # noqa: D301 (click's mark for lines to leave as they are)


@deadletters.command("list", short_help="List them, the newest first.")
@WHOLE
@of_letters
def show_letters(place: Place, output: str | None) -> None:
    """List them, the newest first."""
    show_all(place.client.letters(place.tenant), COLUMNS, output, f"dead letters in {place.tenant}")


@deadletters.command(short_help="Show one whole.")
@click.argument("name", type=LETTER, shell_complete=letters)
@click.option("--output", "-o", type=click.Choice(["json", "yaml"]), default="json", show_default=True)
@of_letters
def show(place: Place, name: str, output: str) -> None:
    """Show one whole."""
    with _there(place):
        dump(place.client.letter(place.tenant, name).body, output)


@deadletters.command(short_help="Send one of them again, or all.")
@click.argument("name", type=LETTER, shell_complete=letters, required=False)
@click.option("--all", "everything", is_flag=True, help="All that were kept whole.")
@of_letters
def resend(place: Place, name: str | None, everything: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Send one of them again, or all; what fails again comes back as a letter."""
    if (name is None) is not everything:
        raise click.UsageError("say the NAME of one, or --all" if name is None else "say a NAME or --all, not both")
    if name is not None:
        with _there(place):
            place.client.resend(place.tenant, name)
        click.echo(f"{name} will be sent again")
        return
    click.echo(f"{sum(_resent(place, each) for each in place.client.letters(place.tenant))} will be sent again")


@contextlib.contextmanager
def _there(place: Place) -> Iterator[None]:
    """Tell who names one that is not there where those are that are."""
    try:
        yield
    except NotThere as error:
        raise NotThere(str(error), f"`deadletters -n {place.tenant} list` has those that are there") from error


def _resent(place: Place, letter: DeadLetter) -> bool:
    """Have a letter sent again; say whether it will be: one that was not kept whole can't be."""
    if letter.spec.get("truncated"):
        return False
    try:
        place.client.resend(place.tenant, letter.name)
    except ClientError as error:
        if error.exit_code != ClientError.exit_code:
            raise
        return False
    return True
