"""The audit trail: a line to standard output for each call that changes something, and, where asked, to a sink.

`porter.py` adds records while it serves; a thread of its own brings them to the sink, many at once. Nobody waits for
that: what does not fit the queue while the sink is away is lost to the sink, is counted, and stands on standard output.
A batch to which no answer came is written again, so that a sink may get a record twice.
"""

import json
import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any, Literal

from knative_lambda.handler.audit.sink import Sink
from knative_lambda.handler.observe.logs import SHOWN
from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.redaction import redacted

NAME = "knative_lambda.audit"
"""Of the logger, whose lines all have the message `audit`."""
BOUND = 10_000
"""Records that wait for the sink at most, of less than 2 KiB each."""
AT_ONCE = 500
GATHER = 1.0
"""Seconds that a record waits for others, so that a sink gets few large writes."""
PAUSE = 5.0
"""Seconds until a sink that was away is asked again."""
Outcome = Literal["sent", "later", "lost"]
Counted = Callable[[Outcome, int], None]
"""Told how many records were sent, are offered again later, or were lost; must be quick and must not raise."""
log = logging.getLogger(__name__)
trail = logging.getLogger(NAME)


class Trail:
    """Takes records; without a sink they are lines of log and no more."""

    def __init__(self, sink: Sink | None = None, listeners: Sequence[Counted] = (), *, bound: int = BOUND) -> None:
        self._sink, self._listeners, self._bound = sink, listeners, bound
        self._waiting: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._closed = False
        self._away = False
        self._thread = threading.Thread(target=self._run, name="audit", daemon=True)

    def add(self, record: Mapping[str, Any]) -> None:
        """Write a record's line, and note it for the sink; never blocks."""
        record = {key: value[:SHOWN] if isinstance(value, str) else value for key, value in redacted(record).items()}
        trail.info("audit", extra={"fields": record})
        if self._sink is None:
            return
        line = f"{json.dumps(record)}\n".encode()
        with self._changed:
            fits = len(self._waiting) < self._bound
            if fits:
                self._waiting.append(line)
                self._changed.notify()
        if not fits:
            self._tell("lost", 1)

    def deliver(self) -> bool:
        """Bring a batch of what waits to the sink, the oldest first; return whether it took it."""
        with self._changed:
            batch = list(islice(self._waiting, AT_ONCE))
        if self._sink is None or not batch:
            return True
        why = ""
        try:
            self._sink.write(b"".join(batch))
        except Temporary as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - a bug in a sink must not end the thread, and its text may be anything
            why = type(error).__name__
        if not why:
            with self._changed:  # nobody else takes from the left
                for _ in batch:
                    self._waiting.popleft()
        self._tell("later" if why else "sent", len(batch))
        if bool(why) != self._away:
            self._away = bool(why)
            log.warning("the audit sink is away: %s" if why else "the audit sink takes records again%s", why)
        return not why

    def start(self) -> None:
        """Start writing."""
        if self._sink is not None:
            self._thread.start()

    def close(self) -> None:
        """Let the thread bring what is left, once, and end."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def stop(self, timeout: float) -> None:
        """End, within `timeout` seconds; what the sink has not taken by then is lost to it, and told."""
        self.close()
        if self._thread.is_alive():
            self._thread.join(timeout)
        if left := len(self._waiting):
            self._tell("lost", left)
            log.warning("%d records of the audit trail are on standard output alone", left)

    def _run(self) -> None:
        while self._is_due():
            if not self.deliver():
                if self._closed:
                    return
                with self._changed:
                    self._changed.wait_for(lambda: self._closed, PAUSE)

    def _is_due(self) -> bool:
        """Wait for records, and a while for more; return whether there are any, before the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            self._changed.wait_for(lambda: len(self._waiting) >= AT_ONCE or self._closed, GATHER)
            return bool(self._waiting)

    def _tell(self, outcome: Outcome, number: int) -> None:
        for listener in self._listeners:
            listener(outcome, number)
