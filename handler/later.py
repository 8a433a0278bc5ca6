"""A look taken later: a Function whose build is to be tried again is brought forward when its pause is over.

Joined in `wire.py`. A convenience and no memory: it ends with the process, at any line; the sweep comes all the same.
"""

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from knative_lambda.schemas.errors import Temporary

PAUSE = timedelta(seconds=15)
"""Between a look that failed and the next."""
log = logging.getLogger(__name__)


class Later:
    """Calls `look` with tenant and name at the moments asked for, one after the other, in a thread of its own."""

    def __init__(self, look: Callable[[str, str], None]) -> None:
        self._look = look
        self._due: dict[tuple[str, str], datetime] = {}
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def at(self, tenant: str, name: str, moment: datetime) -> None:
        """Have a Function looked at when `moment` has come; asked twice, the later moment counts."""
        with self._changed:
            self._due[tenant, name] = moment
            self._changed.notify()
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="later", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            due = self._next()
            try:
                self._look(*due)
            except Temporary as error:
                log.warning("%s/%s waits: %s", *due, error)
                self._again(due)
            except Exception:  # a bug in one look must not end all later ones
                log.exception("%s/%s waits for the sweep", *due)

    def _again(self, due: tuple[str, str]) -> None:
        """Look again a while later, where nobody has asked for another moment: others may have left it to this look."""
        with self._changed:
            self._due.setdefault(due, datetime.now(UTC) + PAUSE)

    def _next(self) -> tuple[str, str]:
        with self._changed:
            while True:
                first = min(self._due, key=self._due.__getitem__, default=None)
                wait = (self._due[first] - datetime.now(UTC)).total_seconds() if first else None
                if first and wait is not None and wait <= 0:
                    del self._due[first]
                    return first
                self._changed.wait(wait)
