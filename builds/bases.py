"""What the runtimes' bases are by digest, for who looks often: the registry is asked once a minute at most.

Called by the sweep, which looks at every tenant. Whoever accepts a source asks the registry itself.
"""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

HOLDS = timedelta(minutes=1)


@dataclass(frozen=True)
class Bases:
    """What was found, and when."""

    _known: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def now(self, runtime: str, ask: Callable[[str], str], moment: datetime) -> str:
        """Return a runtime's base as it was found within the last minute, or as `ask` says; raises what that raises."""
        with self._lock:
            found = self._known.get(runtime)
            if found is None or moment - found[0] >= HOLDS:
                found = self._known[runtime] = moment, ask(runtime)
            return found[1]
