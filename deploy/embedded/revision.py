"""One revision of a service: at most one process, which is there while there are requests.

Used by `serving.py`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from knative_lambda.deploy.embedded.process import FunctionLog, Process, Program, StartFailed
from knative_lambda.deploy.embedded.transport import Request, Response, TimedOut

LONGEST_BACK_OFF = 30.0


class Retired(Exception):
    """A newer revision has taken over: ask again for the current one."""


@dataclass(frozen=True)
class Limits:
    """How a revision is run."""

    concurrency: int = 0
    """Requests at once; 0: no limit."""
    timeout: float = 60.0
    """Seconds that a request may take."""
    start_timeout: float = 60.0
    """Seconds that a process may take to become ready."""
    idle: float = 60.0
    """Seconds without a request after which the process ends."""
    min_scale: int = 0
    """Where it is 1 or more, the process stays."""


class Revision:
    """Sends requests to the process of `program`, which is started for the first one and whenever it has died."""

    def __init__(
        self, program: Program, log: FunctionLog, limits: Limits, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._program = program
        self._log = log
        self._limits = limits
        self._clock = clock
        self._changed = threading.Condition()
        self._starting = threading.Lock()
        self._cancelled = threading.Event()
        self._process: Process | None = None
        self._in_flight = 0
        self._last_used = clock()
        self._failures = 0
        self._not_before = 0.0
        self._retired = False

    def start(self) -> None:
        """Have the process running and ready; raise `StartFailed`, also while it is backing off."""
        with self._starting:
            if self._cancelled.is_set():
                raise StartFailed("the revision has ended")
            if self._process is not None and self._process.alive:
                return
            if self._process is not None:
                self._end()
                self._failed()
            if self._clock() < self._not_before:
                raise StartFailed("the process has failed, and is started again a little later")
            process = Process(self._program, self._log)
            try:
                process.wait_until_ready(self._limits.start_timeout, self._cancelled)
            except StartFailed:
                process.stop(0)
                self._failed()
                raise
            self._process = process

    def send(self, request: Request) -> Response:
        """Send a request to the process; raise `Retired`, `StartFailed`, or `NoAnswer`."""
        self._enter(request.timeout)
        try:
            self.start()
            process = self._process
            if process is None:
                raise StartFailed("the process has ended")
            answer = process.send(replace(request, timeout=min(request.timeout, self._limits.timeout)))
            self._failures = 0
            return answer
        finally:
            with self._changed:
                self._in_flight -= 1
                self._last_used = self._clock()
                self._changed.notify_all()

    def scale(self) -> None:
        """End the process where it has been idle for long enough; start one where one should always be there."""
        if self._limits.min_scale:
            self.start()
            return
        with self._starting:
            with self._changed:
                idle = self._in_flight == 0 and self._clock() - self._last_used >= self._limits.idle
            if idle:
                self._end()

    def cancel(self) -> None:
        """Give up starting."""
        self._cancelled.set()

    def retire(self) -> None:
        """Take no more requests, let those under way finish, and end the process."""
        with self._changed:
            self._retired = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._in_flight == 0 or self._cancelled.is_set(), self._limits.timeout)
        self.close()

    def close(self) -> None:
        """End the process now."""
        with self._changed:
            self._retired = True
            self._cancelled.set()
            self._changed.notify_all()
        with self._starting:
            self._end()

    def _enter(self, timeout: float) -> None:
        def free() -> bool:
            return self._retired or not self._limits.concurrency or self._in_flight < self._limits.concurrency

        with self._changed:
            if not self._changed.wait_for(free, timeout):
                raise TimedOut(f"{self._limits.concurrency} requests at once are the limit")
            if self._retired:
                raise Retired
            self._in_flight += 1

    def _end(self) -> None:
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _failed(self) -> None:
        """Wait longer after each failure, not at all after the first."""
        pause = min(2.0 ** (self._failures - 1), LONGEST_BACK_OFF) if self._failures else 0.0
        self._failures += 1
        self._not_before = self._clock() + pause
