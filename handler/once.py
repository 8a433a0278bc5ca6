"""What any number of threads ask for at once, done by one of them, and once more for those who asked meanwhile.

Called by `queue.py`: a slot that becomes free is news to every thread that looks, and each would bring the same Build
forward, in each other's way.
"""

import threading
from collections.abc import Callable


class Once:
    """Lets one thread act and one wait for its turn; whoever comes while one waits leaves it to that one."""

    def __init__(self) -> None:
        self._turn, self._guard = threading.Lock(), threading.Lock()
        self._waits = False

    def do(self, act: Callable[[], None]) -> None:
        """Act, or return where another thread is about to begin to; what it raises is raised to the one who acts."""
        with self._guard:
            if self._waits:
                return
            self._waits = True
        with self._turn:
            with self._guard:
                self._waits = False
            act()
