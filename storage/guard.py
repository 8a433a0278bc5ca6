"""The guard around a store: every call is retried within a deadline, and fails at once while the breaker is open.

Wrapped around a store, once, by whoever joins the service; its `state` answers ``/health/dependencies``.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

from knative_lambda.schemas.guard import REAL, Guard, GuardSettings, Listener, Switches
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store, Stored

_PAGE = 1000
"""Objects listed by one guarded call: as many as an S3 server gives at once."""


def guarded(
    store: Store, settings: StoreSettings, *, listeners: Sequence[Listener] = (), switches: Switches = REAL
) -> "GuardedStore":
    """Return `store` behind a guard of its own."""
    return GuardedStore(store, Guard("store", patience(settings), listeners=listeners, switches=switches))


def patience(settings: StoreSettings) -> GuardSettings:
    """Return how patient a guard is with a store that has these settings."""
    return GuardSettings(
        attempts=settings.attempts,
        deadline=settings.deadline,
        attempt_timeout=settings.connect_timeout + settings.read_timeout,
        failures=settings.failures,
        reset=settings.reset,
    )


class GuardedStore:
    """A `Store` that asks another one through `guard`. Nothing is asked for a presigned URL, so that is not guarded."""

    def __init__(self, store: Store, guard: Guard, *, page: int = _PAGE) -> None:
        self._store = store
        self._guard = guard
        self._page = page

    @property
    def state(self) -> str:
        """Return the breaker's state: ``closed``, ``open`` or ``half-open``."""
        return self._guard.state

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        self._guard.call(self._store.put, key, body)

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        return self._guard.call(self._store.get, key, limit=limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        return self._guard.call(self._store.stat, key)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._guard.call(self._store.delete, key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`. Each page is a call: one that fails is asked for again, from where the last one ended."""
        while page := self._guard.call(self._next_page, prefix, after):
            yield from page
            after = page[-1].key

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        return self._store.presign(key, seconds=seconds)

    def _next_page(self, prefix: str, after: str) -> tuple[Stored, ...]:
        return tuple(islice(self._store.list(prefix, after=after), self._page))
