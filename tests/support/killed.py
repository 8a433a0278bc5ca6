"""The real receiver, for one event, in a process that kills itself at an effect: ``killed.py [before|after NUMBER]``.

Joined by `wire.service` from the environment, as on a cluster; KUBECONFIG says which. The event comes on standard input
as a structured CloudEvent. Without arguments, or where there are fewer effects, the event is handled to its end with
all that is sent after the answer; then the effects are printed, one a line, as in ``tests/faults/effects.txt``.
"""

import os
import signal
import sys
from typing import NoReturn

from support.faults import Handler

from knative_lambda.handler import wire
from knative_lambda.handler.observe import logs
from knative_lambda.handler.receive import intake
from knative_lambda.handler.settings import read

STRUCTURED = {"content-type": "application/cloudevents+json"}
PATIENCE = 15.0


class Process(Handler):
    """A handler whose death is the process' own."""

    def _die(self) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("a process that was killed goes on")


def main() -> None:
    """Handle the event, or die of it."""
    logs.configure(sys.stderr)
    process = Process()
    if sys.argv[1:]:
        side, number = sys.argv[1:]
        process.begin((int(number), side))
    service, senders = wire.service(read(), wire.Listeners(called=[process.around]))
    for event in intake.read(STRUCTURED, sys.stdin.buffer.read(), intake.Limits()):
        service.receive(event)
    service.answered()
    senders.start()
    senders.stop(PATIENCE)
    print("\n".join(process.effects))  # noqa: T201 - what the program is asked for


if __name__ == "__main__":
    main()
