"""``logs`` and ``events``: what a build said, what a function prints, and what became of it when."""

import time

import click

from knative_lambda.client.client import POLL, Client
from knative_lambda.client.commands.output import age
from knative_lambda.client.commands.place import BUILD, NAME, Place, builds, placed
from knative_lambda.client.errors import ClientError
from knative_lambda.client.patience import patiently
from knative_lambda.schemas.steps import turn

FOLLOW = click.option("--follow", "-f", is_flag=True, help="Go on until it has ended.")


@click.command(short_help="Show the log of a function's build.")
@NAME
@click.option("--build", "-b", type=BUILD, default="", shell_complete=builds, help="Another build than the newest.")
@click.option("--running", is_flag=True, help="What the function itself prints, where it runs.")
@FOLLOW
@placed
def logs(place: Place, name: str, build: str, running: bool, follow: bool) -> None:  # noqa: FBT001 (click passes them by name)
    """Show the log of a function's newest build; with -f until that has ended.

    \b
    Examples:
      knative-lambda logs hello -f
      knative-lambda logs hello --build hello-qs6jywaouwgnrjdd
      knative-lambda logs hello --running -f
    """  # noqa: D301 (click's mark for lines to leave as they are)
    if running:
        lines = place.client.output(place.tenant, name, follow=follow)
    else:
        chosen = (
            place.client.build(place.tenant, build, name).name
            if build
            else place.client.function(place.tenant, name).build
        )
        if not chosen:
            raise ClientError(f"nothing was built for {name} yet")
        lines = place.client.logs(place.tenant, chosen, follow=follow, note=_note)
    for line in lines:
        click.echo(line)


@click.command(short_help="Show what became of a function, and when.")
@NAME
@FOLLOW
@placed
def events(place: Place, name: str, follow: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Show what became of a function and its builds, in the order of time; with -f what comes, until you stop it.

    \b
    Examples:
      knative-lambda events hello
      knative-lambda events hello -f
    """  # noqa: D301 (click's mark for lines to leave as they are)
    told: set[tuple[str, ...]] = set()
    found = _happened(place.client, place.tenant, name)
    while True:
        for line in found:
            if line not in told:
                told.add(line)
                when, *rest = line
                click.echo(f"{age(when) or '?':>4}  {'  '.join(rest)}")
        if not follow:
            return
        time.sleep(POLL)
        found = patiently(lambda: _happened(place.client, place.tenant, name), time.sleep)


def _note(text: str) -> None:
    click.echo(text, err=True)


def _happened(client: Client, tenant: str, name: str) -> list[tuple[str, ...]]:
    """Return what the records of a function and its builds say that happened: when, to what, and what it was."""
    function = client.function(tenant, name)
    made = [(f"build/{each.name}", each) for each in reversed(client.builds(tenant, name))]
    lines = [
        (each.since, what, f"{each.type}={each.status}", each.reason)
        for what, thing in (*made, (f"function/{name}", function))
        for each in sorted(thing.conditions.values(), key=lambda said: turn(said.type))
    ]
    return sorted(lines, key=lambda line: line[0])  # within a second they stay as they came
