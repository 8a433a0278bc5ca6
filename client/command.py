"""The command ``knative-lambda``, which kn finds as ``kn lambda`` too.

It becomes the service's process, or starts it, and imports none of it.
"""

import os
import sys

import click

from knative_lambda.client import demo as story
from knative_lambda.client.deadletters import deadletters
from knative_lambda.client.tenants import tenant

SERVICE = (sys.executable, "-m", "knative_lambda.handler")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="knative-lambda")
def main() -> None:
    """Hand it a function's source by event, and it runs as a Knative Service within seconds."""


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


main.add_command(deadletters)
main.add_command(tenant)
