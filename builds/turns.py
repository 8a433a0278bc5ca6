"""Small sources pass, large ones take turns: what is unpacked at once stays bounded, however many requests come.

Made once by who joins the service, and handed to `source.py` with each request.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from knative_lambda.schemas.errors import Temporary


@dataclass(frozen=True)
class Turns:
    """Who may hold a large source now."""

    small: int = 1024 * 1024
    """Bytes up to which a source asks nobody."""
    at_once: int = 1
    """Large sources held at the same time."""
    wait: float = 10.0
    """Seconds to wait for a turn; a Trigger waits 30 for its answer, and the source is still to be unpacked."""
    _free: threading.Semaphore = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Make the places."""
        object.__setattr__(self, "_free", threading.Semaphore(self.at_once))

    @contextmanager
    def turn(self) -> Iterator["Turn"]:
        """Return the turn of one source; leaving gives back what it has taken."""
        turn = Turn(self, self._free)
        try:
            yield turn
        finally:
            turn.leave()


class Turn:
    """One source's turn; used by one thread."""

    def __init__(self, turns: Turns, free: threading.Semaphore) -> None:
        self._turns = turns
        self._free = free
        self._taken = False

    def hold(self, size: int) -> None:
        """Wait until this source may hold `size` bytes; raise `Temporary` where too many others are before it."""
        if self._taken or size <= self._turns.small:
            return
        if not self._free.acquire(timeout=self._turns.wait):
            raise Temporary("too many large sources at once")
        self._taken = True

    def leave(self) -> None:
        """Let the next one in."""
        if self._taken:
            self._free.release()
            self._taken = False
