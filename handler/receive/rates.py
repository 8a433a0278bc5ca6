"""How much may come at once: token buckets for all, for each tenant, for each operation of a tenant, and each caller.

Asked by `porter.py`: of a caller as soon as it is known who it is, before a cluster is asked what they may; of the rest
once for each event and each request under ``/v1`` that is let in, before anything is done for it. The buckets are this
process' own: with N pods N times as much comes through, and what is bounded for the whole cluster is what runs
(`builds/slots.py`). There is a bucket for what the settings name, and for callers up to a number, so that no stranger's
names fill the memory.
"""

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from knative_lambda.handler.receive import asked
from knative_lambda.schemas.errors import TooMany

STRANGER = ""
"""In whose place all those are counted together that are no tenant of the installation's."""
DEFAULT: Mapping[str, Any] = {
    "all": {"perSecond": 1000, "burst": 5000},
    "tenant": {"perSecond": 200, "burst": 2000},
    "caller": {"perSecond": 200, "burst": 2000},
    "operations": {"resendDeadLetters": {"perSecond": 0.2, "burst": 10}},
}
"""Several times what one process can do for one tenant; but what a single request makes thousands of is rarer."""

CALLERS = 2048
"""Callers who have a bucket of their own at once; whoever else comes then shares one."""


@dataclass(frozen=True)
class Rate:
    """A bucket's size, and how fast it fills."""

    per_second: float
    burst: int


@dataclass
class Bucket:
    """A bucket; whoever has it takes from `level` under a lock."""

    rate: Rate
    level: float
    at: float

    def fill(self, now: float) -> None:
        """Let run in what has since `at`, in seconds."""
        self.level = min(self.rate.burst, self.level + (now - self.at) * self.rate.per_second)
        self.at = now

    @property
    def wait(self) -> float:
        """Return the seconds until there is a token."""
        return max(0.0, (1 - self.level) / self.rate.per_second)


@dataclass
class Rates:
    """The buckets of one process; any thread may ask. Without settings nothing is bounded."""

    settings: Mapping[str, Any] = field(default_factory=dict)
    """As in `DEFAULT`; what is not there is not bounded. See `faults`."""
    tenants: Collection[str] = ()
    clock: Callable[[], float] = time.monotonic
    """Seconds."""
    _buckets: dict[tuple[str, ...], Bucket] = field(default_factory=dict)
    _callers: dict[str, Bucket] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self, tenant: str, operation: str) -> None:
        """Take a token from each bucket that is concerned, or from none: then raise `TooMany`.

        The tenant's own come first, so that what is over them takes nothing from the others.
        """
        tenant = tenant if tenant in self.tenants else STRANGER
        asked = (
            ((self.settings.get("operations") or {}).get(operation), ("operation", tenant, operation)),
            (self.settings.get("tenant"), ("tenant", tenant)),
            (self.settings.get("all"), ("all",)),
        )
        with self._lock:
            now = self.clock()
            buckets = [self._bucket(rate, key, now) for rate, key in asked if rate]
            if wait := max((bucket.wait for bucket in buckets), default=0.0):
                over = next(bucket.rate for bucket in buckets if bucket.wait)
                said = f"more than {over.burst} at once and {over.per_second:g} a second"
                raise TooMany(f"{operation}: {said}", retry_after=math.ceil(wait))
            for bucket in buckets:
                bucket.level -= 1

    def meet(self, caller: str, events: int) -> None:
        """Take a token of a caller's for each event of a request, or none: then raise `TooMany`.

        While there is one, a request takes all that it needs, what is not there yet included: so one of many events
        comes in where the bucket is smaller than it, and those after it wait for longer.
        """
        said = self.settings.get("caller")
        if not said:
            return
        with self._lock:
            bucket = self._callers_bucket(Rate(said["perSecond"], said["burst"]), caller, self.clock())
            if wait := bucket.wait:
                over = f"more than {bucket.rate.burst} at once and {bucket.rate.per_second:g} a second"
                raise TooMany(f"one sender: {over}", retry_after=math.ceil(wait))
            bucket.level -= events

    def _callers_bucket(self, rate: Rate, caller: str, now: float) -> Bucket:
        if caller not in self._callers and len(self._callers) >= CALLERS:
            for name, bucket in list(self._callers.items()):
                bucket.fill(now)
                if bucket.level == rate.burst:  # nothing is lost with it: a new one is full, too
                    del self._callers[name]
            if len(self._callers) >= CALLERS:
                caller = STRANGER
        bucket = self._callers.setdefault(caller, Bucket(rate, rate.burst, now))
        bucket.fill(now)
        return bucket

    def _bucket(self, said: Mapping[str, Any], key: tuple[str, ...], now: float) -> Bucket:
        rate = Rate(said["perSecond"], said["burst"])
        bucket = self._buckets.setdefault(key, Bucket(rate, rate.burst, now))
        bucket.fill(now)
        return bucket


def faults(settings: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with settings as an installation gives them."""
    found = [f"{name}: is none of all, tenant, caller, operations" for name in settings.keys() - DEFAULT.keys()]
    operations = {} if settings.get("operations") is None else settings["operations"]
    if not isinstance(operations, Mapping):
        return [*found, "operations: an object is needed"]
    known = asked.API | asked.EVENTS
    found += [f"operations: {name} is none of {', '.join(sorted(known))}" for name in operations.keys() - known]
    named = {name: settings.get(name) for name in ("all", "tenant", "caller")} | dict(operations)
    return found + [
        f"{name}: perSecond and burst are needed, above 0" for name, rate in named.items() if not _fine(rate)
    ]


def _fine(rate: object) -> bool:
    if rate is None:
        return True
    if not isinstance(rate, Mapping) or rate.keys() != {"perSecond", "burst"}:
        return False
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in rate.values()) and (
        rate["perSecond"] > 0 and rate["burst"] >= 1
    )
