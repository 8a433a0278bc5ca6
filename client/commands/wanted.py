"""What is wanted of a function: the options of a command, over what the folder's `function.yaml` says.

Called by `deploy` and `run`.
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from knative_lambda.client import folders
from knative_lambda.client.models import Object
from knative_lambda.client.templates import FILES

OPTIONS = (
    click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default="."),
    click.option("--name", help="The function's name [default: function.yaml's, or the folder's]."),
    click.option("--runtime", "-r", type=click.Choice(list(FILES)), help="[default: told by the files]"),
    click.option("--entrypoint", help="Module or file, a dot, the function."),
    click.option("--env", "-e", multiple=True, metavar="NAME=VALUE", help="A variable; may be given again."),
    click.option("--secret", "secrets", multiple=True, help="A Secret whose keys become variables; the same."),
    click.option("--trigger", "triggers", multiple=True, metavar="type=…,source=…", help="Events it gets; the same."),
)


@dataclass(frozen=True)
class Wanted:
    """A function as a command wants it."""

    name: str
    runtime: str
    source: Object
    options: dict[str, Any]
    """The other fields of a ``build.start``."""


def wants(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options, and in their place what is `wanted`, a function of what else it knows of it."""

    @functools.wraps(command)
    def called(folder: Path, name: str | None, runtime: str | None, **rest: Any) -> None:
        own = {field: rest.pop(field) for field in ("entrypoint", "env", "secrets", "triggers")}
        said = folders.settings(folder)
        said |= {field: read(value) for field, read in READ.items() if (value := own[field])}

        def wanted(source: Object | None = None, **more: Any) -> Wanted:
            if source is None and not folder.is_dir():
                raise click.UsageError(f"there is no folder {folder}")
            known = said | {field: value for field, value in more.items() if value is not None}
            named = name or known.pop("name", "") or folder.resolve().name
            ran = runtime or known.pop("runtime", "") or _runtime(folder, source)
            known = {field: value for field, value in known.items() if field not in ("name", "runtime")}
            return Wanted(named, ran, source or folders.source(folder), known)

        command(wanted=wanted, **rest)

    for option in reversed(OPTIONS):
        called = option(called)
    return called


def _runtime(folder: Path, source: Object | None) -> str:
    """Return the runtime that nobody has named; raise `click.UsageError` where the files are not here to tell it."""
    if source is None:
        return folders.runtime(folder)
    if "image" in source:
        return "dockerfile"
    raise click.UsageError("--git needs --runtime, or a function.yaml that names it: its files are not here to tell")


def pairs(said: tuple[str, ...]) -> dict[str, str]:
    """Return ``name=value`` texts as a mapping; raise `click.UsageError` for another text."""
    found = {}
    for each in said:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise click.UsageError(f"{each!r} is no NAME=VALUE")
        found[name] = value
    return found


def _triggers(said: tuple[str, ...]) -> list[dict[str, str]]:
    return [pairs(tuple(each.split(","))) for each in said]


READ: Mapping[str, Callable[[Any], Any]] = {"entrypoint": str, "env": pairs, "secrets": list, "triggers": _triggers}
