"""How things are shown: a table for people, or whole for programs, with kubectl's `-o`."""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import click

from knative_lambda.client.models import Resource

FORMATS = ("wide", "name", "json", "yaml")
_HIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
UNITS = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
WHOLE = click.option("--output", "-o", type=click.Choice(FORMATS), help="More columns, names alone, or all there is.")


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    title: str
    value: Callable[[Any], str]
    wide: bool = False
    """Whether it is shown with `-o wide` alone."""


def show_all(found: Sequence[Resource], columns: Iterable[Column], output: str | None, what: str) -> None:
    """Show a list; `what` is its things' name, for a list that is empty."""
    if output == "name":
        for each in found:
            click.echo(_named(each))
    elif output in ("json", "yaml"):
        dump({"apiVersion": "v1", "kind": "List", "items": [each.body for each in found]}, output)
    elif not found:
        click.echo(f"No {what} found.", err=True)
    else:
        shown = [column for column in columns if output == "wide" or not column.wide]
        table([[column.title for column in shown], *([column.value(each) for column in shown] for each in found)])


def show_one(found: Resource, output: str | None) -> bool:
    """Show one whole where that is asked for; say whether it was."""
    if output == "name":
        click.echo(_named(found))
    elif output in ("json", "yaml"):
        dump(found.body, output)
    return output in ("name", "json", "yaml")


def dump(document: Any, output: str) -> None:
    """Show a document as JSON or YAML."""
    if output == "json":
        click.echo(json.dumps(document, indent=2))
        return
    import yaml  # noqa: PLC0415 - only who asks for it waits for it

    click.echo(yaml.safe_dump(document, sort_keys=False), nl=False)


def clean(text: str) -> str:
    """Return a stranger's text with all spelt out that is not seen, or tells a terminal something."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Show rows, each column as wide as its widest cell."""
    rows = [[clean(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        click.echo((indent + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))).rstrip())


def age(since: str) -> str:
    """Return how long ago a time was, in its largest unit; "" where it is none."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(since)).total_seconds()
    except (ValueError, TypeError):
        return ""
    size, unit = next((each for each in UNITS if seconds >= each[0]), UNITS[-1])
    return f"{max(0, int(seconds // size))}{unit}"


def _named(found: Resource) -> str:
    return f"{found.body['kind'].lower()}.knative-lambda.dev/{found.name}"
