"""Keys that want work, worked off by a few threads: a key by one at a time, and once more where it came again.

Used by `serving.py` and `readiness.py` to react to changes of objects. Only the key is kept, never what has happened:
the work reads what is there.
"""

import logging
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

Key = TypeVar("Key")
log = logging.getLogger(__name__)


class WorkQueue(Generic[Key]):
    """Calls `work` with each key that was added; what fails is tried again after `retry` seconds."""

    def __init__(self, work: Callable[[Key], None], *, threads: int = 1, retry: float = 1.0) -> None:
        self._work = work
        self._retry = retry
        self._changed = threading.Condition()
        self._waiting: dict[Key, None] = {}
        self._working: set[Key] = set()
        self._timers: set[threading.Timer] = set()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name="workqueue", daemon=True) for _ in range(threads)]
        for thread in self._threads:
            thread.start()

    def add(self, key: Key) -> None:
        """Have `key` worked on soon."""
        with self._changed:
            self._waiting[key] = None
            self._changed.notify_all()

    def idle(self, timeout: float) -> bool:
        """Wait until nothing is left to do; return whether that came within `timeout` seconds."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._working and not self._timers, timeout)

    def close(self) -> None:
        """Take no more work, and wait for what is under way."""
        with self._changed:
            self._closed = True
            for timer in self._timers:
                timer.cancel()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while (key := self._next()) is not None:
            failed = False
            try:
                self._work(key)
            except Exception:
                log.warning("work on %s failed and is tried again", key, exc_info=True)
                failed = True
            with self._changed:
                self._working.discard(key)
                if failed and not self._closed:
                    self._later(key)
                self._changed.notify_all()

    def _next(self) -> Key | None:
        with self._changed:
            while True:
                if self._closed:
                    return None
                for key in self._waiting:
                    if key not in self._working:
                        del self._waiting[key]
                        self._working.add(key)
                        return key
                self._changed.wait()

    def _later(self, key: Key) -> None:
        def again() -> None:
            with self._changed:
                self._timers.discard(timer)
                self._waiting[key] = None
                self._changed.notify_all()

        timer = threading.Timer(self._retry, again)
        timer.daemon = True
        self._timers.add(timer)
        timer.start()
