"""The service's processes: ``python -m knative_lambda.handler serve | deadletters | dev``.

What a process needs is imported where it begins, in the one worker: the process above it stays small, and no process
loads what only another one uses.
"""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from knative_lambda.handler import logs
from knative_lambda.handler.server import ServerSettings, serve
from knative_lambda.handler.settings import NEEDED, BadSettings, Settings, read, require

WRONG = 2
"""Exit code where the settings are wrong."""


def port() -> int:
    """Return the port that Knative says in ``PORT``."""
    said = os.environ.get("PORT", "8080")
    if not said.isdigit():
        raise BadSettings(f"PORT: a number is needed, not {said!r}")
    return int(said)


def receiver(settings: Settings) -> None:
    """Take events on a cluster until told to stop."""
    require(settings, *NEEDED)
    state: dict[str, Any] = {"draining": False}

    def make_app() -> Callable[..., Any]:
        from knative_lambda.handler import wire  # noqa: PLC0415 - see the module's docstring
        from knative_lambda.handler.app import HttpSettings, create_app  # noqa: PLC0415 - the same

        service, state["senders"] = wire.service(settings)
        state["senders"].start()
        return create_app(service, HttpSettings(), draining=lambda: bool(state["draining"]))

    serve(
        make_app,
        ServerSettings(port=port(), threads=settings.threads),
        stopping=lambda: state.update(draining=True),
        stopped=lambda: state["senders"].stop(timeout=5.0) if "senders" in state else None,
    )


def dead_letters(settings: Settings) -> None:
    """Keep events that nobody could handle until told to stop."""

    def make_app() -> Callable[..., Any]:
        from knative_lambda.deploy.kubernetes import KubernetesCluster  # noqa: PLC0415 - see the module's docstring
        from knative_lambda.handler import deadletters  # noqa: PLC0415 - the same

        return deadletters.create_app(
            KubernetesCluster(), settings.namespace, settings.tenants, lambda: datetime.now(UTC)
        )

    serve(make_app, ServerSettings(port=port(), threads=4))


def develop(arguments: Sequence[str]) -> None:
    """Run everything on this machine until told to stop."""
    from knative_lambda.handler import dev, options  # noqa: PLC0415 - see the module's docstring

    given = options.read(arguments)
    logs.configure(sys.stdout, verbose=given.verbose)
    dev.run(given)


def main() -> int:
    """Run the process that the command line names; return its exit code."""
    if sys.argv[1:2] == ["dev"]:
        develop(sys.argv[2:])
    parser = argparse.ArgumentParser(prog="knative-lambda-service", description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("serve", help="take events on a cluster")
    commands.add_parser("deadletters", help="keep events that nobody could handle")
    commands.add_parser("dev", help="run everything on this machine, without a cluster")
    arguments = parser.parse_args()
    logs.configure(sys.stdout)
    try:
        {"serve": receiver, "deadletters": dead_letters}[arguments.command](read())
    except BadSettings as faults:
        sys.stderr.write(f"the settings are wrong:\n{faults}\n")
        return WRONG
    return 0


if __name__ == "__main__":
    sys.exit(main())
