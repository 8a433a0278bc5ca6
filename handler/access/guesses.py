"""Strangers who guess tokens: `Reviews` that ask others about tokens they don't know only so often.

Around the port, below `recent.py`, in `modes.py`. A token that was good is asked about again at any time, so whoever is
known does not wait for those who guess; a stranger is told to come again, and so is who comes first among many of them.
"""

import hashlib
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

from knative_lambda.deploy.reviews import Identity, Reviews, Right
from knative_lambda.handler.receive.rates import Bucket, Rate
from knative_lambda.schemas.errors import TooMany

RATE = Rate(per_second=20, burst=100)
"""Tokens that one process asks about for the first time; an API server answers several hundred reviews a second."""
MOST = 2048
"""Good tokens known at most, by their hashes; the oldest go."""


@dataclass
class Guesses:
    """`Reviews` that bound what strangers have asked; any thread may call it."""

    reviews: Reviews
    clock: Callable[[], float] = time.monotonic
    _good: OrderedDict[bytes, None] = field(default_factory=OrderedDict)
    _bucket: Bucket = field(init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Begin with a full bucket."""
        self._bucket = Bucket(RATE, RATE.burst, self.clock())

    def who(self, token: str, audience: str) -> Identity | None:
        """See `Reviews.who`; raises `TooMany` where too many unknown tokens came."""
        known = hashlib.sha256(f"{audience} {token}".encode()).digest()
        self._admit(known)
        found = self.reviews.who(token, audience)
        with self._lock:
            self._good.pop(known, None)
            if found:
                self._good[known] = None
                if len(self._good) > MOST:
                    self._good.popitem(last=False)
        return found

    def may(self, identity: Identity, right: Right) -> bool:
        """See `Reviews.may`."""
        return self.reviews.may(identity, right)

    def _admit(self, known: bytes) -> None:
        with self._lock:
            if known in self._good:
                return
            self._bucket.fill(self.clock())
            if wait := self._bucket.wait:
                raise TooMany("too many tokens that nobody knows", retry_after=math.ceil(wait))
            self._bucket.level -= 1
