"""``knative-lambda deadletters``: the events that nobody could handle, listed, shown and sent again.

It asks a service's ``/v1``: the embedded mode's, as a rule. On a cluster kubectl does the same.
"""

import json
from http.client import HTTPConnection, HTTPException
from typing import Any
from urllib.parse import quote, urlsplit

import click

COLUMNS = ("NAME", "REASON", "CODE", "TYPE", "SOURCE", "ID", "COUNT", "CAME")
TIMEOUT = 60


@click.group(short_help="List, show and send again what nobody could handle.")
@click.option("--url", default="http://127.0.0.1:8480", show_default=True, help="Where `knative-lambda dev` serves.")
@click.option(
    "--namespace", "-n", default="knative-lambda", show_default=True, help="A tenant, or the product's own namespace."
)
@click.pass_context
def deadletters(context: click.Context, url: str, namespace: str) -> None:
    """List, show and send again the events that nobody could handle.

    \b
    Examples:
      knative-lambda deadletters list
      knative-lambda deadletters -n demo resend --all
    """  # noqa: D301 (click's mark for lines to leave as they are)
    context.obj = (url, f"/v1/tenants/{quote(namespace, safe='')}/deadletters")


@deadletters.command("list", short_help="List them, the newest first.")
@click.pass_obj
def show_all(place: tuple[str, str]) -> None:
    """List them, the newest first."""
    rows = [COLUMNS, *(_row(letter) for letter in _ask(place, "GET", "")["items"])]
    widths = [max(len(row[column]) for row in rows) for column in range(len(COLUMNS))]
    for row in rows:
        click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@deadletters.command(short_help="Show one whole, as JSON.")
@click.argument("name")
@click.pass_obj
def show(place: tuple[str, str], name: str) -> None:
    """Show one whole, as JSON."""
    click.echo(json.dumps(_ask(place, "GET", f"/{quote(name, safe='')}"), indent=2))


@deadletters.command(short_help="Send one of them again, or all.")
@click.argument("name", required=False)
@click.option("--all", "everything", is_flag=True, help="All that were kept whole.")
@click.pass_obj
def resend(place: tuple[str, str], name: str | None, everything: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Send one of them again, or all; what fails again comes back as a letter."""
    if (name is None) is not everything:
        raise click.UsageError("say the NAME of one, or --all" if name is None else "say a NAME or --all, not both")
    if name is None:
        click.echo(f"{_ask(place, 'POST', '/resend')['resent']} will be sent again")
    else:
        _ask(place, "POST", f"/{quote(name, safe='')}/resend")
        click.echo(f"{name} will be sent again")


def _row(letter: dict[str, Any]) -> tuple[str, ...]:
    spec = letter["spec"]
    event = spec["event"]
    cells = (
        spec["reason"],
        spec.get("code", ""),
        event.get("type", ""),
        event.get("source", ""),
        event.get("id", ""),
        spec.get("count", ""),
    )
    return (letter["metadata"]["name"], *map(str, cells), spec.get("time", ""))


def _ask(place: tuple[str, str], method: str, path: str) -> Any:
    """Return what the service answers; end the command with its reason where it does not do it."""
    url, base = place
    connection = HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT)
    try:
        connection.request(method, base + path)
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as error:
        raise click.ClickException(f"{url} does not answer as `knative-lambda dev` does: {error}") from error
    finally:
        connection.close()
    if answer.status >= 400:  # noqa: PLR2004 (an error, as HTTP has it)
        raise click.ClickException(body.get("detail") or body.get("title") or f"status {answer.status}")
    return body
