"""The command ``knative-lambda``, which kn finds as ``kn lambda`` too.

The table of its commands, and what an error ends it with. It becomes the service's process, or starts it, and imports
none of it.
"""

import difflib
import os
import sys
from typing import Any

import click

from knative_lambda.client import demo as story
from knative_lambda.client.commands.change import cancel, delete, pause, resume, retry, rollback
from knative_lambda.client.commands.complete import completion
from knative_lambda.client.commands.deadletters import deadletters
from knative_lambda.client.commands.deploy import deploy
from knative_lambda.client.commands.doctor import doctor
from knative_lambda.client.commands.init import init
from knative_lambda.client.commands.invoke import invoke
from knative_lambda.client.commands.logs import events, logs
from knative_lambda.client.commands.run import run
from knative_lambda.client.commands.show import builds, describe, show_functions
from knative_lambda.client.commands.tenants import tenant
from knative_lambda.client.errors import ClientError, Stopped

SERVICE = (sys.executable, "-m", "knative_lambda.handler")


class Commands(click.Group):
    """Ends with an error's own exit code, and with a line that says it, and one with what to do where that is known."""

    def invoke(self, context: click.Context) -> Any:
        """Call the command that was named."""
        try:
            return super().invoke(context)
        except Stopped as stopped:
            click.echo(f"\n{stopped}", err=True)
            return self._end(context, stopped)
        except ClientError as error:
            click.ClickException(str(error)).show()
            return self._end(context, error)
        except KeyboardInterrupt:
            click.echo(err=True)
            context.exit(Stopped.exit_code)

    def resolve_command(
        self, context: click.Context, arguments: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command that is meant; raise `click.UsageError` with the one that is near otherwise."""
        near = difflib.get_close_matches(arguments[0], self.list_commands(context), 1)
        if near and self.get_command(context, arguments[0]) is None:
            context.fail(f"No such command {arguments[0]!r}. Did you mean {near[0]!r}?")
        return super().resolve_command(context, arguments)

    def _end(self, context: click.Context, error: ClientError) -> None:
        if error.hint:
            click.echo(f"Hint: {error.hint}", err=True)
        context.exit(error.exit_code)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="knative-lambda")
def main() -> None:
    """Hand it a function's source, and it runs as a Knative Service within seconds.

    It asks the kubeconfig's cluster, or with --url a service such as `knative-lambda dev`.

    \b
    Exit codes: 0 done; 1 refused, or it failed; 2 wrong usage; 3 no such thing;
    4 nobody answers, or you may not; 5 still under way when the time was over;
    130 stopped by Ctrl-C.

    \b
    Examples:
      knative-lambda init hello && knative-lambda deploy hello
      knative-lambda invoke hello --data '{"name": "ada"}'
      kn lambda list -o wide
    """  # noqa: D301 (click's mark for lines to leave as they are)


@main.command(
    context_settings={"ignore_unknown_options": True, "help_option_names": []},
    short_help="Run everything on this machine, without a cluster.",
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(arguments: tuple[str, ...]) -> None:
    """Run everything on this machine, without a cluster; `dev --help` lists the options.

    Examples:
      knative-lambda dev --port 8480 --data .knative-lambda

      knative-lambda dev --sink http://127.0.0.1:9000 --tenants demo,acme
    """
    command = (*SERVICE, "dev", *arguments)
    os.execv(command[0], command)  # noqa: S606 - our own program; as one process it gets every signal itself


@main.command(short_help="Show the main job on this machine, in under a minute.")
def demo() -> None:
    """Show the main job: functions built, called, replaced and removed, embedded, in under a minute."""
    raise SystemExit(story.main())


for _command in (
    *(init, run, deploy, show_functions, describe, logs, events, builds, invoke),
    *(cancel, retry, rollback, pause, resume, delete, deadletters, tenant, doctor, completion),
):
    main.add_command(_command)
