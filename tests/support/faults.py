"""A handler that can be killed at any call of a port; the ports are found by walking what is joined."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from knative_lambda import builds, deploy, handler, storage
from knative_lambda.handler.effects import Around, Call, is_port


def protocols() -> set[type]:
    """Return every Protocol of the service's rooms."""
    found: set[type] = set()
    for room in (deploy, storage, builds, handler):
        for module in pkgutil.walk_packages(room.__path__, f"{room.__name__}."):
            if not module.name.endswith("__main__") and "runtimes" not in module.name:
                loaded = vars(importlib.import_module(module.name)).values()
                found |= {each for each in loaded if is_port(each) and each.__module__ == module.name}
    return found


class Killed(BaseException):
    """What no handler survives: the process was killed. No `except Exception` sees it."""


class Handler:
    """A process that handles events: it tells its calls, and is killed at one of them if a test says so."""

    def __init__(self) -> None:
        self.effects: list[str] = []
        """Every effect since the process began."""
        self.on_read: Around = lambda _call, do: do()
        """How a call that is said to read is done."""
        self.interrupt: Callable[[int], None] = lambda _number: None
        """Called before each call, with its number since the process began: what happens beside it, just then."""
        self._at: tuple[int | str, str] | None = None
        self._calls = 0
        self._dead = False

    def begin(self, at: tuple[int | str, str] | None = None) -> None:
        """Begin a new process, to be killed ``before`` or ``after`` an effect: its number, or the first of a name."""
        self.effects, self._at, self._calls, self._dead = [], at, 0, False

    def around(self, call: Call, do: Callable[[], Any]) -> Any:
        """Do a call, unless the process is dead, or dies of it."""
        if self._dead:
            raise Killed  # whatever its `finally` tries: nothing comes out of a process that is no more
        self._calls += 1
        self.interrupt(self._calls)
        if not call.is_effect:
            return self.on_read(call, do)
        which = (len(self.effects), str(call))
        self.effects.append(str(call))
        if self._at in [(one, "before") for one in which]:
            self._die()
        try:
            return do()
        finally:  # an answer that says no is one after which it may die, too
            if self._at in [(one, "after") for one in which]:
                self._die()

    def _die(self) -> None:
        self._dead = True
        raise Killed
