"""A store that is opened when it is first asked: its vendor's library takes longer to load than all the rest.

Made by `factory.py` for those whose library is heavy. What could be wrong with URL and settings has been said before.
"""

from collections.abc import Callable, Iterator
from threading import Lock

from knative_lambda.storage.store import Store, Stored


class DeferredStore:
    """Opens a store once, whoever asks it first, and asks that one from then on."""

    def __init__(self, opened: Callable[[], Store]) -> None:
        self._open = opened
        self._opening = Lock()
        self._opened: Store | None = None

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        self._store.put(key, body)

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        return self._store.get(key, limit=limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        return self._store.stat(key)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._store.delete(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        return self._store.list(prefix, after=after)

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        return self._store.presign(key, seconds=seconds)

    @property
    def _store(self) -> Store:
        with self._opening:
            if self._opened is None:
                self._opened = self._open()
            return self._opened
