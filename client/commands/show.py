"""``list``, ``describe`` and ``builds``: what there is, as tables, or whole."""

import json
from typing import Any

import click

from knative_lambda.client.commands.output import WHOLE, Column, age, show_all, show_one, table
from knative_lambda.client.commands.place import NAME, Named, Place, functions, placed
from knative_lambda.client.models import PAUSED, STEPS, Build, Function


def _reason(function: Function) -> str:
    """Return the reason that a person should read: of the first step that is not done, or that it is paused."""
    undone = (each.reason for each in map(function.step, STEPS) if each.status != "True")
    return next(undone, PAUSED[1] if function.is_paused else "")


def _short(said: Any) -> str:
    """Return a setting on one line."""
    return said if isinstance(said, str) else json.dumps(said, ensure_ascii=False)


FUNCTIONS = (
    Column("NAME", lambda each: each.name),
    Column("RUNTIME", lambda each: each.runtime),
    Column("READY", lambda each: each.step("Ready").status),
    Column("REASON", _reason),
    Column("AGE", lambda each: age(each.created)),
    Column("URL", lambda each: each.url),
    Column("BUILD", lambda each: each.build, wide=True),
    Column("IMAGE", lambda each: each.status.get("image", ""), wide=True),
)
BUILDS = (
    Column("NAME", lambda each: each.name),
    Column("FUNCTION", lambda each: each.function),
    Column("PHASE", lambda each: each.phase),
    Column("REASON", lambda each: each.outcome.reason),
    Column("BUILDER", lambda each: each.builder),
    Column("AGE", lambda each: age(each.created)),
    Column("CAUSE", lambda each: each.spec.get("cause", ""), wide=True),
    Column("IMAGE", lambda each: each.image, wide=True),
)
MARKS = {"True": "++", "False": "!!", "Unknown": "??"}
FEW = 5
SETTINGS = {
    "EnvFrom": "envFrom",
    "Secrets": "secrets",
    "Mounts": "mounts",
    "Scale": "scale",
    "Timeout": "timeout",
    "Resources": "resources",
    "Probes": "probes",
    "Paused": "paused",
}
"""Fields of a function that `describe` tells as they were written, with their titles."""


@click.command("list", short_help="List the functions.")
@WHOLE
@placed
def show_functions(place: Place, output: str | None) -> None:
    """List the functions of a tenant.

    \b
    Examples:
      knative-lambda list
      kn lambda list -n acme -o wide
      knative-lambda list -o name
    """  # noqa: D301 (click's mark for lines to leave as they are)
    show_all(place.client.functions(place.tenant), FUNCTIONS, output, f"functions in {place.tenant}")


@click.command(short_help="Tell all of one function.")
@NAME
@WHOLE
@placed
def describe(place: Place, name: str, output: str | None) -> None:
    """Tell all of one function: what it is, how far it is, and what was built for it last.

    \b
    Examples:
      knative-lambda describe hello
      knative-lambda describe hello -o yaml
    """  # noqa: D301 (click's mark for lines to leave as they are)
    found = place.client.function(place.tenant, name)
    if show_one(found, output):
        return
    said = {
        "Name": found.name,
        "Namespace": found.namespace,
        "Runtime": found.runtime,
        "URL": found.url,
        "Image": found.status.get("image", ""),
        "Build": found.build,
        "Triggers": "; ".join(
            ", ".join(f"{attribute}={value}" for attribute, value in each.items())
            for each in found.spec.get("triggers", ())
        ),
        "Env": ", ".join(found.spec.get("env", {})),
        **{title: _short(found.spec[field]) for title, field in SETTINGS.items() if found.spec.get(field)},
        "Age": age(found.created),
    }
    table([[f"{title}:", value] for title, value in said.items() if value])
    click.echo("\nConditions:")
    rows = [[MARKS[each.status], each.type, age(each.since), each.reason] for each in found.conditions.values()]
    table([["OK", "TYPE", "AGE", "REASON"], *rows], indent="  ")
    if failed := found.failure:
        click.echo("\n" + failed.message)
    click.echo("\nBuilds:")
    made = place.client.builds(place.tenant, name)[:FEW]
    table([["NAME", "PHASE", "AGE"], *([each.name, each.phase, age(each.created)] for each in made)], indent="  ")


@click.command(short_help="List what was built, or is being built.")
@click.argument("name", metavar="[FUNCTION]", type=Named("function"), default="", shell_complete=functions)
@WHOLE
@placed
def builds(place: Place, name: str, output: str | None) -> None:
    """List what was built for a function, or for all of a tenant's; the newest first.

    \b
    Examples:
      knative-lambda builds
      knative-lambda builds hello -o wide
    """  # noqa: D301 (click's mark for lines to leave as they are)
    found: list[Build] = place.client.builds(place.tenant, name)
    if name and not found:
        place.client.function(place.tenant, name)
    show_all(found, BUILDS, output, f"builds in {place.tenant}")
