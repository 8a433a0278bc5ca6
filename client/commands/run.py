"""``run``: one function on this machine, from a folder, by the embedded mode's own process."""

import contextlib
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import click

from knative_lambda.client import local
from knative_lambda.client.client import PATIENCE, POLL, Client
from knative_lambda.client.commands.invoke import SENT, made, read, show
from knative_lambda.client.commands.progress import Progress
from knative_lambda.client.commands.wanted import Wanted, wants
from knative_lambda.client.errors import ClientError, NotThere, Unreachable
from knative_lambda.schemas.embedded import SURROUNDINGS

TENANT = "demo"
OF_ONE_THAT_STAYS = ("paused", "sequence")


@click.command(short_help="Try one function on this machine.")
@wants
@SENT[0]
@SENT[1]
@SENT[2]
@click.option("--serve", is_flag=True, help="Go on serving until Ctrl-C, and show what it prints.")
def run(wanted: Callable[..., Wanted], data: str, kind: str, attributes: tuple[str, ...], serve: bool) -> None:  # noqa: FBT001 (click passes it by name)
    """Build and start a function on this machine, send it one event, show its reply, and leave nothing behind.

    \b
    Examples:
      knative-lambda run hello --data '{"name": "ada"}'
      knative-lambda run hello --serve
    """  # noqa: D301 (click's mark for lines to leave as they are)
    given = read(data)
    function, progress = wanted(), Progress()
    for fields, why in ((SURROUNDINGS, "on a cluster only"), (OF_ONE_THAT_STAYS, "of a function that stays")):
        if left := [field for field in fields if function.options.pop(field, None)]:
            click.echo(f"left out here, {why}: {', '.join(left)}", err=True)
    with (
        tempfile.TemporaryDirectory(prefix="knative-lambda-run-") as name,
        _told(Path(name)),
        local.embedded(Path(name), "--tenants", TENANT) as process,
    ):
        client = Client.at(process.url)
        progress.say(0, "Starting")
        _wait_for(client, process)
        sent = client.deploy(TENANT, function.name, function.runtime, function.source, **function.options)
        found = client.wait(TENANT, function.name, sent, told=progress.told)
        if serve:
            click.echo(f"{function.name} answers at {found.url}", err=True)
            with contextlib.suppress(KeyboardInterrupt):
                _relay(process)
        else:
            event = made(function.options.get("triggers", []), given, kind, attributes)
            show(client.invoke(TENANT, function.name, event), None)


@contextlib.contextmanager
def _told(folder: Path) -> Iterator[None]:
    """Show what the function printed where it has failed; it waits for the process to end, which has all of it then."""
    try:
        yield
    except ClientError as error:
        for line in (folder / local.LOG).read_text("utf-8", "replace").splitlines():
            _show(line, err=True)
        error.hint = ""  # there is nothing left to ask
        raise


def _wait_for(client: Client, process: local.Process) -> None:
    """Wait until the process takes requests; raise `ClientError` with its last words where it ends instead."""
    end = time.monotonic() + PATIENCE
    while process.child.poll() is None and time.monotonic() < end:
        with contextlib.suppress(Unreachable, NotThere):
            client.functions(TENANT)
            return
        time.sleep(POLL)
    raise ClientError(f"the embedded mode did not start: {process.log.read_text('utf-8', 'replace')[-2000:]}")


def _relay(process: local.Process) -> None:
    """Show what functions print, until the process ends."""
    with process.log.open(encoding="utf-8", errors="replace") as log:
        while process.child.poll() is None:
            line = log.readline()
            if not line:
                time.sleep(POLL)
                continue
            _show(line)


def _show(line: str, *, err: bool = False) -> None:
    """Show a line of the process where a function has printed it, and the traceback that its runtime has put there."""
    with contextlib.suppress(ValueError, TypeError):
        said = json.loads(line)
        if "output" in said:
            click.echo(said["msg"], err=err)
            if traceback := said["output"].get("traceback"):
                click.echo(traceback.rstrip(), err=err)
