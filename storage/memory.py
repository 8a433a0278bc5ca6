"""A `Store` in this process's memory: the tests' fake, and ``memory://``. Opened by `factory.py`."""

import io
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from knative_lambda.storage import bounded, keys
from knative_lambda.storage.store import BadKey, Stored


class MemoryStore:
    """Keeps objects until it is garbage itself. `now` is a switch for tests."""

    def __init__(self, name: str = "memory", *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._name = name
        self._now = now
        self._objects: dict[str, tuple[bytes, datetime]] = {}
        self._lock = threading.Lock()

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        keys.check(key)
        with self._lock:
            if any(other.startswith(f"{key}/") or key.startswith(f"{other}/") for other in self._objects):
                raise BadKey(f"{key!r} is the folder of another key, or the other way round")
            self._objects[key] = (body, self._now())

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        keys.check(key)
        found = self._objects.get(key)
        return found and bounded.read(io.BytesIO(found[0]), key, limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        keys.check(key)
        found = self._objects.get(key)
        return found and Stored(key, len(found[0]), found[1])

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        keys.check(key)
        with self._lock:
            self._objects.pop(key, None)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        keys.check_prefix(prefix)
        with self._lock:
            found = sorted(self._objects.items())
        for key, (body, modified) in found:
            if key.startswith(prefix) and key > after:
                yield Stored(key, len(body), modified)

    def presign(self, key: str, *, seconds: int) -> str:  # noqa: ARG002 - the name in memory does not expire
        """Return an URL that names the object; nothing but this process could read it."""
        keys.check(key)
        return f"memory://{self._name}/{key}"
