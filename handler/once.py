"""What any number of threads ask for at once, done by one of them, and once more for those who asked meanwhile.

Called by `converge.py` and `reports.py`, where the same hint comes many times in a second, and by `queue.py`: a slot
that becomes free is news to every thread that looks, and each would bring the same Build forward, in each other's way.
"""

import threading
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar

Made = TypeVar("Made")


@dataclass
class _Turn:
    # whoever comes back to the same thing within its act must not wait for itself
    lock: threading.RLock = field(default_factory=threading.RLock)
    users: int = 0
    waits: bool = False


class Once:
    """Lets one thread act on a thing and one wait for its turn; whoever comes while one waits leaves it to that one.

    The one who waits begins after all who left it to him have asked. Where his act fails, what asked for it comes
    again, or the next sweep does: so only what a sweep finds too may be left to others.
    """

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._turns: dict[Hashable, _Turn] = {}

    def do(self, thing: Hashable, act: Callable[[], Made]) -> Made | None:
        """Act, and return what that returns or raise what it raises; None where another is about to begin to."""
        with self._guard:
            turn = self._turns.setdefault(thing, _Turn())
            if turn.waits:
                return None
            turn.waits = True
            turn.users += 1
        try:
            with turn.lock:
                with self._guard:
                    turn.waits = False
                return act()
        finally:
            with self._guard:
                turn.users -= 1
                if not turn.users:
                    del self._turns[thing]
