"""Which Functions owe notifications, each of them once, and whose turn it is: the tenants take turns.

Called by `outbox.py`, and by `postman.py`, where it is DeadLetters. Nothing here need be kept: what is owed stands in
the objects themselves.
"""

import threading
import time
from collections.abc import Callable

Due = tuple[str, str]
"""A tenant and a Function of it."""


class Dues:
    """A queue between the threads that serve and the one that sends; it holds each Function once, however often added.

    A tenant that is put off does not keep the others waiting.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._names: dict[str, dict[str, None]] = {}
        self._not_before: dict[str, float] = {}
        self._closed = False

    def add(self, due: Due) -> None:
        """Note that a Function owes something."""
        tenant, name = due
        with self._changed:
            self._names.setdefault(tenant, {})[name] = None
            self._changed.notify()

    def put_off(self, due: Due, seconds: float) -> None:
        """Add a Function again whose tenant's Broker does not take anything now; come back to the tenant later."""
        with self._changed:
            self._not_before[due[0]] = self._clock() + seconds
        self.add(due)

    def close(self) -> None:
        """Let `take` give what is due now, and then None."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def take(self, *, wait: bool = True) -> Due | None:
        """Return the next Function, of the tenant that has waited longest; None when closed, or not told to wait."""
        with self._changed:
            while (tenant := self._next_tenant()) is None:
                if self._closed or not wait:
                    return None
                self._changed.wait(self._seconds_left())
            names = self._names.pop(tenant)
            name = next(iter(names))
            del names[name]
            if names:
                self._names[tenant] = names  # behind the others
            return tenant, name

    def _next_tenant(self) -> str | None:
        now = self._clock()
        self._not_before = {tenant: moment for tenant, moment in self._not_before.items() if moment > now}
        return next((tenant for tenant in self._names if tenant not in self._not_before), None)

    def _seconds_left(self) -> float | None:
        """Return how long it is until a tenant may be asked that was put off; None where there is none."""
        moments = [self._not_before[tenant] for tenant in self._names if tenant in self._not_before]
        return max(0.0, min(moments) - self._clock()) if moments else None
