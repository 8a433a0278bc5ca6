"""What a cluster said a moment ago: `Reviews` that keep both answers of others for a few seconds.

Around the port, in `modes.py`. A right that is taken away, or given, counts after these seconds. A token is kept by
its hash alone. What could not be asked is not kept.
"""

import hashlib
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from knative_lambda.deploy.reviews import Identity, Reviews, Right

Answer = TypeVar("Answer")
SECONDS = 10.0
MOST = 2048
"""Answers kept at most, so that strangers' guesses fill no memory; the oldest go."""


@dataclass
class Recent:
    """`Reviews` that ask others only what they have not asked just now; any thread may call it."""

    reviews: Reviews
    clock: Callable[[], float] = time.monotonic
    _kept: OrderedDict[Hashable, tuple[float, Any]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def who(self, token: str, audience: str) -> Identity | None:
        """See `Reviews.who`."""
        hashed = hashlib.sha256(token.encode()).digest()
        return self._asked((hashed, audience), lambda: self.reviews.who(token, audience))

    def may(self, identity: Identity, right: Right) -> bool:
        """See `Reviews.may`."""
        return self._asked((identity, right), lambda: self.reviews.may(identity, right))

    def _asked(self, question: Hashable, ask: Callable[[], Answer]) -> Answer:
        with self._lock:
            until, answer = self._kept.get(question, (0.0, None))
        if self.clock() < until:
            kept: Answer = answer
            return kept
        new = ask()  # not under the lock: nobody waits for another's answer
        with self._lock:
            self._kept[question] = (self.clock() + SECONDS, new)
            self._kept.move_to_end(question)
            while len(self._kept) > MOST:
                self._kept.popitem(last=False)
        return new
