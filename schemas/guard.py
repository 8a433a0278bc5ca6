"""One guard around the calls to one dependency: retries within a deadline, and a breaker.

Called by the wrappers of the ports, such as `storage/guard.py`: one `Guard` for each dependency, shared by all threads.
The breaker is only told how a call ended. No lock is held while a call runs, so calls never wait for each other.

It asks one thing: is the dependency reached? Every answer says yes, also "not there", `Conflict` or `Refused`: it ends
a row of failures, and the outage that a probe looks into. What was never sent, a stranger's answer and a bug say
nothing. `NotLetIn` is an answer, and is tried again: what we say is read anew each time.
"""

import math
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import NoReturn, ParamSpec, TypeVar

import pybreaker
import tenacity

from knative_lambda.schemas.errors import NotLetIn, ProductError, Unavailable, Unsent, Untrusted

P = ParamSpec("P")
T = TypeVar("T")

DEPENDENCIES = ("cluster", "store", "registry", "broker")
"""What the product asks and does not hold in its own hands: what `Unavailable` may name. Each has one guard."""
STATES = ("closed", "open", "half-open")
"""Of a breaker: everybody may ask; nobody; one caller at a time, to see whether it is over."""

Listener = Callable[[str, str], None]
"""Told the dependency and its breaker's new state whenever that changes; must be quick and must not raise."""
Retried = Callable[[str], None]
"""Told the dependency whenever a call of it is tried again; must be quick and must not raise."""


@dataclass(frozen=True)
class GuardSettings:
    """How patient the guard of one dependency is."""

    attempts: int = 3
    """Attempts of one call, at least 1. `Guard.once` makes one, whatever this says."""
    deadline: float = 15.0
    """Seconds after which a call has ended: no attempt begins that might end later."""
    attempt_timeout: float = 0.0
    """Seconds that one attempt may take by the timeouts of its own client; the deadline leaves room for it."""
    first_pause: float = 0.1
    """Upper bound of the pause before the second attempt, in seconds; it doubles with each further one."""
    longest_pause: float = 2.0
    """Upper bound of every pause, in seconds. The pause is drawn evenly below its bound, so that callers spread out."""
    failures: int = 5
    """Failed attempts in a row after which the breaker opens."""
    reset: float = 10.0
    """Seconds that the breaker stays open before one call may probe the dependency."""


@dataclass(frozen=True)
class Switches:
    """Time, waiting and chance, for tests to replace."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    chance: Callable[[float, float], float] = random.uniform
    """Draws a number between its two arguments."""


REAL = Switches()


class Guard:
    """Retries what is `Unavailable`, and stops asking a dependency that stays so."""

    def __init__(
        self,
        dependency: str,
        settings: GuardSettings,
        *,
        listeners: Sequence[Listener] = (),
        retried: Sequence[Retried] = (),
        switches: Switches = REAL,
    ) -> None:
        self._dependency = dependency
        self._retried = retried
        self._settings = settings
        self._switches = switches
        self._opened = 0.0
        self._probe = threading.Lock()
        self._breaker = pybreaker.CircuitBreaker(
            fail_max=settings.failures,
            reset_timeout=settings.reset,
            listeners=[_StateChanges(self._changed), *(_StateChanges(partial(f, dependency)) for f in listeners)],
        )

    @property
    def state(self) -> str:
        """Return ``closed``, ``open`` or ``half-open``."""
        return self._breaker.current_state

    def call(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return what `fn` returns; raise `Unavailable` where it still does after retries, or the breaker is open.

        Whatever else `fn` raises passes at once: errors of the product's own are the dependency's answers.
        """
        result: T = self._retrying()(self._attempt, partial(fn, *args, **kwargs))
        return result

    def once(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Do what `call` does with a call that must not be made twice: after a failure nobody knows whether it was."""
        return self._attempt(partial(fn, *args, **kwargs))

    def aside(self, fn: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make one attempt of a call that somebody behind the dependency answers, or does not.

        The breaker does not hear how it ends, and it probes nothing: unless the breaker is closed, raise `Unavailable`.
        """
        if self.state != pybreaker.STATE_CLOSED:
            raise self._not_called()
        return fn(*args, **kwargs)

    def _retrying(self) -> tenacity.Retrying:
        # A new one for each call: a shared one would mix up the threads' statistics.
        clock = self._switches.clock
        began = clock()

        def is_last(state: tenacity.RetryCallState) -> bool:
            end = clock() - began + state.upcoming_sleep + self._settings.attempt_timeout
            return (
                state.attempt_number >= self._settings.attempts
                or end > self._settings.deadline
                or self.state != pybreaker.STATE_CLOSED
            )

        return tenacity.Retrying(
            sleep=self._switches.sleep,
            stop=is_last,
            wait=self._pause,
            retry=tenacity.retry_if_exception_type(Unavailable),
            before_sleep=self._tell_retried,
            reraise=True,
        )

    def _pause(self, state: tenacity.RetryCallState) -> float:
        bound: float = self._settings.first_pause * 2 ** (state.attempt_number - 1)
        return self._switches.chance(0, min(bound, self._settings.longest_pause))

    def _tell_retried(self, _: tenacity.RetryCallState) -> None:
        for listener in self._retried:
            listener(self._dependency)

    def _attempt(self, fn: Callable[[], T]) -> T:
        with self._admitted() as state:
            try:
                result = fn()
            except (Unsent, Untrusted):
                raise
            except NotLetIn:
                self._record(_success, state)
                raise
            except Unavailable:
                self._record(_failure, state)
                raise
            except ProductError:
                self._record(_success, state)
                raise
            self._record(_success, state)
            return result

    @contextmanager
    def _admitted(self) -> Iterator[str]:
        """Let everybody in while the breaker is closed, nobody while it is open, and after that one at a time.

        Gives the state in which the call was let in.
        """
        if (state := self.state) == pybreaker.STATE_CLOSED:
            yield state
            return
        self._raise_while_open()
        if not self._probe.acquire(blocking=False):
            raise Unavailable(self._dependency, "not called: another call is probing it", retry_after=1)
        try:
            self._raise_while_open()  # the probe that held the lock until now may have failed
            if self.state == pybreaker.STATE_OPEN:
                self._breaker.half_open()
            yield self.state
        finally:
            self._probe.release()

    def _raise_while_open(self) -> None:
        if self.state == pybreaker.STATE_OPEN and self._left() > 0:
            raise self._not_called()

    def _left(self) -> float:
        """Return the seconds until a breaker that is open lets somebody probe."""
        return self._opened + self._settings.reset - self._switches.clock()

    def _not_called(self) -> Unavailable:
        message = f"not called: {self._settings.failures} calls in a row failed"
        return Unavailable(self._dependency, message, retry_after=max(1, math.ceil(self._left())))

    def _record(self, outcome: Callable[[], None], state: str) -> None:
        """Tell the breaker how a call ended, unless its state has changed since: the news is old then."""
        if self.state == state:
            with suppress(pybreaker.CircuitBreakerError):
                self._breaker.call(outcome)

    def _changed(self, state: str) -> None:
        if state == pybreaker.STATE_OPEN:
            self._opened = self._switches.clock()


class _StateChanges(pybreaker.CircuitBreakerListener):
    """Calls a function with the name of the breaker's new state."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def state_change(
        self,
        cb: pybreaker.CircuitBreaker,  # noqa: ARG002 - the signature is the library's
        old_state: pybreaker.CircuitBreakerState | None,  # noqa: ARG002 - the same
        new_state: pybreaker.CircuitBreakerState,
    ) -> None:
        self._tell(new_state.name)


def _success() -> None:
    pass


def _failure() -> NoReturn:
    raise pybreaker.CircuitBreakerError
