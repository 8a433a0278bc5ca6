"""A store that is opened when it is first asked: its vendor's library takes longer to load than all the rest.

It is opened anew where its keys or its certificates have been exchanged since, so that nobody has to be started again.
Made by `factory.py` for those whose library is heavy. What could be wrong with URL and settings has been said before.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.tls import NOWHERE, written
from knative_lambda.storage.store import Store, Stored

Keys = tuple[str, str]


class DeferredStore:
    """Opens a store once, whoever asks it first, and asks that one for as long as its keys and certificates stay.

    The certificates lie in `trust`, a folder as in `schemas/tls.py`.
    """

    def __init__(self, opened: Callable[[Keys], Store], keys: Callable[[], Keys], trust: Path = NOWHERE) -> None:
        self._open = opened
        self._keys = keys
        self._trust = trust
        self._opening = Lock()
        self._opened: tuple[tuple[Keys, tuple[int, ...]], Store] | None = None

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
        keys = self._read()
        with self._opening:
            if keys is None:
                if self._opened is None:
                    raise Unavailable("store", "its keys cannot be read")
                return self._opened[1]
            known = keys, written(self._trust)
            if self._opened is None or known != self._opened[0]:
                self._opened = known, self._open(keys)
            return self._opened[1]

    def _read(self) -> Keys | None:
        """Return the keys, None where they cannot be read now: those that were read before may still be right."""
        try:
            return self._keys()
        except OSError:
            return None
