"""What many watchers look at is looked at once in a second, by one of them, and nobody waits for that one.

Used by `watching.py`, one for a process. So a hundred watchers cost a build as much as one, and take no thread from
events: while one thread looks, others are told what is known already.
"""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from knative_lambda.schemas.errors import Temporary

Seen = TypeVar("Seen")
FRESH = 1.0
"""Seconds that a look counts."""
AT_ONCE = 2
"""Looks of a process at once: of its ten threads the others are for events."""
KEPT = 16
"""Things that are remembered, each with a log of a megabyte at most."""
ASKED = 25
"""Times in a second that one thing may be asked for: where there are more watchers, each comes back later."""
LONGEST = 10.0


@dataclass
class _Thing(Generic[Seen]):
    seen: Seen | None = None
    at: float = 0.0
    is_known: bool = False
    is_looked_at: bool = False
    asked: int = 0
    again: float = FRESH


@dataclass
class Looks(Generic[Seen]):
    """The looks of a process; any thread may ask."""

    clock: Callable[[], float] = time.monotonic
    _things: OrderedDict[Hashable, _Thing[Seen]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _looking: int = 0

    def of(self, key: Hashable, look: Callable[[Seen | None], Seen | None]) -> tuple[bool, Seen | None, float]:
        """Return whether anything is known of a thing yet, what was seen of it, and seconds until to ask again.

        `look` is given what was seen before, and returns None where there is no such thing. What it raises is raised
        where nothing is known.
        """
        with self._lock:
            thing = self._things.setdefault(key, _Thing())
            self._things.move_to_end(key)
            while len(self._things) > KEPT:
                self._things.popitem(last=False)
            thing.asked += 1
            is_fresh = thing.is_known and self.clock() < thing.at + FRESH
            if is_fresh or thing.is_looked_at or self._looking >= AT_ONCE:
                return thing.is_known, thing.seen, thing.again
            thing.is_looked_at = True
            self._looking += 1
        try:
            seen = look(thing.seen)
            with self._lock:
                self._note(thing, seen)
        except Temporary:
            if not thing.is_known:
                raise
        finally:
            with self._lock:
                thing.is_looked_at = False
                self._looking -= 1
        return True, thing.seen, thing.again

    def _note(self, thing: _Thing[Seen], seen: Seen | None) -> None:
        """Remember what was seen; count the watchers by how many came in the time after which each comes back."""
        now = self.clock()
        if thing.is_known:
            watchers = thing.asked / max(FRESH, now - thing.at) * thing.again
            thing.again = min(LONGEST, max(FRESH, watchers / ASKED))
        thing.seen, thing.at, thing.is_known, thing.asked = seen, now, True, 0
