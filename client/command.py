"""The command ``knative-lambda``, which kn finds as ``kn lambda`` too.

It starts the service as a process and imports none of it.
"""

import subprocess
import sys

import click

from knative_lambda.client import demo as story

SERVICE = (sys.executable, "-m", "knative_lambda.handler")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="knative-lambda")
def main() -> None:
    """Hand it a function's source by event, and it runs as a Knative Service within seconds."""


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def dev(arguments: tuple[str, ...]) -> None:
    """Run everything on this machine, without a cluster; `dev --help` lists the options.

    Examples:
      knative-lambda dev --port 8480 --data .knative-lambda

      knative-lambda dev --sink http://127.0.0.1:9000 --tenants demo,acme
    """
    with subprocess.Popen((*SERVICE, "dev", *arguments)) as service:  # noqa: S603 - our own program, by our own path
        while True:
            try:
                raise SystemExit(service.wait())
            except KeyboardInterrupt:  # the terminal has told the service too: wait until it has drained
                continue


@main.command()
def demo() -> None:
    """Show the main job: functions built, called, replaced and removed, embedded, in under a minute."""
    raise SystemExit(story.main())
