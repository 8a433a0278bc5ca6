"""``deploy``: a folder becomes a function that answers, or one reads why not."""

import contextlib
import functools
import re
from collections.abc import Callable, Iterator
from typing import Any

import click

from knative_lambda.client.client import PATIENCE
from knative_lambda.client.commands.output import WHOLE, show_one
from knative_lambda.client.commands.place import Place, placed
from knative_lambda.client.commands.progress import Progress
from knative_lambda.client.commands.wanted import Wanted, wants
from knative_lambda.client.door import Sent
from knative_lambda.client.errors import Paused, Stopped
from knative_lambda.client.models import Object

WAIT = click.option("--no-wait", is_flag=True, help="End as soon as it is accepted.")
UNITS = {"s": 1, "m": 60, "h": 3600}


class Seconds(click.ParamType[float]):
    """Seconds, or a time as a function's `timeout` has it."""

    name = "seconds"

    def convert(self, value: Any, parameter: click.Parameter | None, context: click.Context | None) -> float:
        """Return the seconds; raise `click.UsageError` for what is no time."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", str(value))
        if found is None:
            self.fail(f"{value!r} is no time such as 90, 90s or 5m", parameter, context)
        return float(found[1]) * UNITS[found[2] or "s"]


SECONDS = click.option(
    "--wait-timeout", type=Seconds(), default=PATIENCE, show_default=True, help="Seconds to wait for it, or 5m."
)


@click.command(short_help="Build and run what is in a folder.")
@wants
@click.option("--min", "least", type=int, help="Replicas at least.")
@click.option("--max", "most", type=int, help="Replicas at most; 0 for no limit.")
@click.option("--builder", type=click.Choice(["auto", "layer", "kaniko", "external"]), help="Who builds it.")
@click.option("--image", default="", help="A ready image instead of the folder, on a cluster only: nothing is built.")
@click.option("--git", default="", metavar="URL", help="A repository instead of the folder, on a cluster only.")
@click.option("--revision", default="", help="Its branch, tag or whole commit [default: the server's HEAD].")
@click.option("--path", default="", help="The folder in it that is the source.")
@click.option("--git-secret", "opens", default="", metavar="SECRET", help="The Secret that opens it.")
@click.option("--rebuild", is_flag=True, default=None, help="Build afresh, even where nothing has changed.")
@WAIT
@SECONDS
@WHOLE
@placed
def deploy(  # noqa: PLR0913, PLR0917 (click passes them by name)
    place: Place,
    wanted: Callable[..., Wanted],
    least: int | None,
    most: int | None,
    builder: str | None,
    image: str,
    git: str,
    revision: str,
    path: str,
    opens: str,
    rebuild: bool | None,  # noqa: FBT001 (the same)
    no_wait: bool,  # noqa: FBT001 (the same)
    wait_timeout: float,
    output: str | None,
) -> None:
    """Build and run what is in a folder; end once it answers, or say why it does not.

    What it is called, which events it gets and the rest may stand in the folder's function.yaml. With --image or --git
    the folder is a name, and need not be there.

    \b
    Examples:
      knative-lambda deploy
      knative-lambda deploy hello -n acme --env GREETING=hi --trigger type=demo.hello,source=/shop
      knative-lambda deploy hello --min 1 --no-wait
      knative-lambda deploy shop --image registry.example.com/acme/shop:1
      knative-lambda deploy hello -r python --git https://git.example.com/acme/functions.git --path hello
    """  # noqa: D301 (click's mark for lines to leave as they are)
    bounds = {field: value for field, value in (("min", least), ("max", most)) if value is not None}
    source = elsewhere(image, {"url": git, "revision": revision, "path": path, "secret": opens})
    function = wanted(source, builder=builder, rebuild=rebuild)
    if bounds and isinstance(scale := function.options.get("scale", {}), dict):  # another one is refused as it is
        function.options["scale"] = {**scale, **bounds}
    progress = Progress()
    note = functools.partial(click.echo, err=True)
    known = (function.name, function.runtime, function.source)
    sent = place.client.deploy(place.tenant, *known, note=note, **function.options)
    with going_on(function.name):
        progress.say(0, "Accepted")
        if no_wait:
            return
        try:
            finish(place, function.name, sent, progress, wait_timeout, output)
        except Paused as paused:
            if not function.options.get("paused"):
                raise
            click.echo(
                f"{function.name} is paused, as its settings say: what is new is recorded\nHint: {paused.hint}",
                err=True,
            )


@contextlib.contextmanager
def going_on(name: str) -> Iterator[None]:
    """Tell who presses Ctrl-C that what they asked for goes on."""
    try:
        yield
    except KeyboardInterrupt:
        look = f"`describe {name}` tells how far it is, `logs {name} -f` what it says, `cancel {name}` stops the build"
        raise Stopped(f"{name} goes on without this command", look) from None


def elsewhere(image: str, git: dict[str, str]) -> Object | None:
    """Return the source that is not the folder, None where it is.

    Raises `click.UsageError` where it is told by halves.
    """
    said = {field: value for field, value in git.items() if value}
    if said and not git["url"]:
        raise click.UsageError("--revision, --path and --git-secret are of a repository, which --git names")
    if said and image:
        raise click.UsageError("a function is of --git or of --image")
    return {"git": said} if said else {"image": image} if image else None


def finish(  # noqa: PLR0913, PLR0917 (what a command was told)
    place: Place, name: str, sent: Sent, progress: Progress, seconds: float, output: str | None = None
) -> None:
    """Tell how far a function is until what was sent answers, then where."""
    with going_on(name):
        found = place.client.wait(place.tenant, name, sent, told=progress.told, seconds=seconds)
    if not show_one(found, output):
        click.echo(f"{name} answers at {found.url}")
