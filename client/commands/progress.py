"""How far a function is: a line whenever that changes, on standard error, with the seconds that have passed."""

import time

import click

from knative_lambda.client.models import STEPS, Function


class Progress:
    """Tells each state once."""

    def __init__(self) -> None:
        self._begun = time.monotonic()
        self._last = ""

    def say(self, done: int, text: str) -> None:
        """Tell how many of the steps are done, and what is being done."""
        line = f"[{'#' * done}{'.' * (len(STEPS) - done)}] {text}"
        if line != self._last:
            self._last = line
            click.echo(f"{time.monotonic() - self._begun:6.1f}s {line}", err=True)

    def told(self, function: Function) -> None:
        """Tell the step that a function is at."""
        if not function.is_current:
            self.say(0, "Accepted")
            return
        done = next((at for at, kind in enumerate(STEPS) if function.step(kind).status != "True"), len(STEPS))
        at = function.step(STEPS[min(done, len(STEPS) - 1)])
        self.say(done, f"{at.type}: {at.reason}" if at.reason != at.type else at.type)
