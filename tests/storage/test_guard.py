"""The guard: what is tried again, what is given up, and who is let through while a dependency is down."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import pytest

from knative_lambda.schemas.errors import AlreadyExists, Conflict, Refused, Temporary, TooLarge, Unavailable, Unsent
from knative_lambda.schemas.guard import Guard, GuardSettings, Switches
from knative_lambda.storage.guard import GuardedStore, guarded
from knative_lambda.storage.memory import MemoryStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import BadKey, Stored

SECONDS = 60
"""How long a test waits for a thread that would otherwise hang it."""


ANSWERS = (
    "found",
    None,
    TooLarge.because("a", "is large"),
    Refused.because("a", "is odd"),
    Conflict("a"),
    AlreadyExists("a"),
    Temporary("the quota is used up"),
)
SILENCES = (BadKey("a"), Unsent.because("/metadata/name", "is no name"), ZeroDivisionError())


class Time:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def switches(self, chance: Callable[[float, float], float] = lambda _low, high: high) -> Switches:
        return Switches(lambda: self.now, self.sleep, chance)


class Dependency:
    """Does what it is told to, call by call: raise an error, or return something. Then it works."""

    def __init__(self, *outcomes: object) -> None:
        self.outcomes = list(outcomes)
        self.calls = 0

    def __call__(self) -> object:
        self.calls += 1
        outcome = self.outcomes.pop(0) if self.outcomes else "done"
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome


def down(message: str = "it is down") -> Unavailable:
    return Unavailable("store", message)


@pytest.fixture
def time() -> Time:
    """Return the test's own time."""
    return Time()


def guard(time: Time, **settings: float) -> Guard:
    return Guard("store", GuardSettings(**{"attempts": 1, **settings}), switches=time.switches())  # type: ignore[arg-type]


def opened(time: Time) -> Guard:
    """Return a guard whose breaker has just opened, for 10 seconds."""
    it = guard(time, failures=1, reset=10)
    with pytest.raises(Unavailable):
        it.call(Dependency(down()))
    assert it.state == "open"
    return it


def test_what_is_unavailable_is_tried_again(time: Time) -> None:
    dependency = Dependency(down(), down(), "answer")
    assert guard(time, attempts=3).call(dependency) == "answer"
    assert dependency.calls == 3


def test_arguments_and_answer_pass_unchanged(time: Time) -> None:
    assert guard(time).call(lambda *args, **kwargs: (args, kwargs), 1, 2, key="x") == ((1, 2), {"key": "x"})


def test_the_last_failure_is_the_one_that_is_raised(time: Time) -> None:
    dependency = Dependency(down("first"), down("second"))
    with pytest.raises(Unavailable, match="store: second"):
        guard(time, attempts=2).call(dependency)
    assert dependency.calls == 2


@pytest.mark.parametrize(
    "answer", [TooLarge.because("a", "is large"), Refused.because("a", "is odd"), BadKey("a"), ZeroDivisionError()]
)
def test_whatever_else_is_raised_passes_at_once(time: Time, answer: Exception) -> None:
    dependency = Dependency(answer)
    with pytest.raises(type(answer)) as caught:
        guard(time, attempts=3).call(dependency)
    assert caught.value is answer
    assert dependency.calls == 1


def test_pauses_double_up_to_their_bound(time: Time) -> None:
    with pytest.raises(Unavailable):
        guard(time, attempts=6, failures=9, first_pause=1, longest_pause=5, deadline=99).call(Dependency(*[down()] * 6))
    assert time.pauses == [1, 2, 4, 5, 5]


def test_a_pause_is_drawn_by_chance_below_its_bound(time: Time) -> None:
    """Callers that fail together do not come back together."""
    drawn = []

    def chance(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 4

    settings = GuardSettings(attempts=3, first_pause=1, longest_pause=5)
    Guard("store", settings, switches=time.switches(chance)).call(Dependency(down(), down()))
    assert drawn == [(0, 1), (0, 2)]
    assert time.pauses == [0.25, 0.5]


def test_no_attempt_begins_that_might_end_after_the_deadline(time: Time) -> None:
    """An attempt takes 3 seconds here and a pause a half: a third attempt would end after 10 seconds of 9.7."""
    began = []

    def slow() -> None:
        began.append(time.now)
        time.now += 3
        raise down()

    with pytest.raises(Unavailable):
        guard(time, attempts=9, deadline=9.7, attempt_timeout=3, first_pause=0.5, longest_pause=0.5).call(slow)
    assert began == [1000, 1003.5]


def test_the_breaker_opens_after_failures_in_a_row(time: Time) -> None:
    it = guard(time, failures=3)
    for outcome in [down(), down(), "answer", down(), down()]:
        _ignore(it, outcome)
        assert it.state == "closed"
    _ignore(it, down())
    assert it.state == "open"


def test_retries_count_as_failures_and_end_when_the_breaker_opens(time: Time) -> None:
    dependency = Dependency(*[down()] * 9)
    with pytest.raises(Unavailable, match="it is down"):
        guard(time, attempts=9, failures=2).call(dependency)
    assert dependency.calls == 2


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_any_answer_ends_a_row_of_failures(time: Time, answer: object) -> None:
    """It was reached: three failures among thousands of answers are no outage, whatever the answers say."""
    it = guard(time, failures=2)
    for _ in range(3):
        _ignore(it, down())
        _ignore(it, answer)
    assert it.state == "closed"


@pytest.mark.parametrize("silence", SILENCES, ids=repr)
def test_what_was_never_asked_ends_no_row_of_failures(time: Time, silence: Exception) -> None:
    """A bug, or what is refused before anything is sent, would hide an outage."""
    it = guard(time, failures=2)
    _ignore(it, silence)
    _ignore(it, down())
    _ignore(it, silence)
    assert it.state == "closed"
    _ignore(it, down())
    assert it.state == "open"


def test_an_open_breaker_fails_at_once_and_says_when_to_come_back(time: Time) -> None:
    it = opened(time)
    time.now += 2.5
    dependency = Dependency()
    with pytest.raises(Unavailable, match="not called") as caught:
        it.call(dependency)
    assert caught.value.retry_after == 8
    assert caught.value.dependency == "store"
    assert dependency.calls == 0
    assert time.pauses == []


@pytest.mark.parametrize("answer", ANSWERS, ids=repr)
def test_a_probe_that_is_answered_closes_the_breaker(time: Time, answer: object) -> None:
    it = opened(time)
    time.now += 10
    _ignore(it, answer)
    assert it.state == "closed"


def test_a_probe_that_fails_opens_it_for_as_long_again(time: Time) -> None:
    it = opened(time)
    time.now += 10
    dependency = Dependency(down())
    with pytest.raises(Unavailable, match="it is down"):
        it.call(dependency)
    assert it.state == "open"
    time.now += 9
    with pytest.raises(Unavailable, match="not called"):
        it.call(dependency)
    assert dependency.calls == 1


@pytest.mark.parametrize("silence", SILENCES, ids=repr)
def test_a_probe_that_proves_nothing_leaves_the_place_to_the_next(time: Time, silence: Exception) -> None:
    """A key that is refused before anything is sent says nothing about the store."""
    it = opened(time)
    time.now += 10
    _ignore(it, silence)
    assert it.state == "half-open"
    assert it.call(lambda: "answer") == "answer"
    assert it.state == "closed"


def test_slow_calls_do_not_wait_for_each_other(time: Time) -> None:
    """Two calls can only end when both have begun."""
    it = guard(time)
    both = threading.Barrier(2, timeout=SECONDS)
    with ThreadPoolExecutor(2) as threads:
        calls = [threads.submit(it.call, both.wait) for _ in range(2)]
        assert sorted(call.result(SECONDS) for call in calls) == [0, 1]


def test_of_many_callers_one_probes_and_the_others_fail_at_once(time: Time) -> None:
    it = opened(time)
    time.now += 10
    answer = threading.Event()
    dependency = Dependency()

    def probe() -> object:
        answer.wait(SECONDS)
        return dependency()

    with ThreadPoolExecutor(10) as threads:
        waiting: set[Future[object]] = {threads.submit(it.call, probe) for _ in range(10)}
        while len(waiting) > 1:
            refused, waiting = wait(waiting, SECONDS, FIRST_COMPLETED)
            assert refused, "somebody waits who should have been refused"
            for call in refused:
                assert isinstance(call.exception(), Unavailable)
        assert it.state == "half-open"
        answer.set()
        assert waiting.pop().result(SECONDS) == "done"
    assert dependency.calls == 1
    assert it.state == "closed"


@pytest.mark.parametrize("outcome", ["done", down()])
@pytest.mark.parametrize("state", ["open", "half-open"])
def test_how_a_call_from_before_the_outage_ends_is_old_news(time: Time, state: str, outcome: object) -> None:
    """Only a probe decides whether an outage is over."""
    it = guard(time, failures=1, reset=10)
    begun, end = threading.Event(), threading.Event()

    def slow() -> object:
        begun.set()
        end.wait(SECONDS)
        return Dependency(outcome)()

    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(it.call, slow)
        assert begun.wait(SECONDS)
        _ignore(it, down())
        if state == "half-open":
            time.now += 10
            _ignore(it, BadKey("a"))
        assert it.state == state
        end.set()
        call.exception(SECONDS)
    assert it.state == state


def test_a_call_aside_gets_one_attempt_and_neither_its_failures_nor_its_answers_count(time: Time) -> None:
    """Who answers it, or does not, is somebody behind the dependency."""
    it = guard(time, attempts=3, failures=2)
    for _ in range(3):
        dependency = Dependency(down())
        with pytest.raises(Unavailable, match="it is down"):
            it.aside(dependency)
        assert dependency.calls == 1
    assert it.state == "closed"
    with pytest.raises(Unavailable):
        it.once(Dependency(down()))
    assert it.aside(Dependency("answer")) == "answer"
    with pytest.raises(Unavailable):
        it.once(Dependency(down()))
    assert it.state == "open"


@pytest.mark.parametrize("later", [0, 20])
def test_a_call_aside_fails_at_once_while_the_breaker_is_open_and_probes_nothing(time: Time, later: float) -> None:
    it = opened(time)
    time.now += later
    dependency = Dependency()
    with pytest.raises(Unavailable, match="not called") as caught:
        it.aside(dependency)
    assert caught.value.retry_after >= 1
    assert dependency.calls == 0
    assert it.state == "open"


def test_listeners_hear_of_every_change(time: Time) -> None:
    heard: list[tuple[str, str]] = []
    it = Guard(
        "registry",
        GuardSettings(attempts=1, failures=1, reset=10),
        listeners=[lambda dependency, state: heard.append((dependency, state))],
        switches=time.switches(),
    )
    _ignore(it, down())
    time.now += 10
    it.call(Dependency())
    assert heard == [("registry", "open"), ("registry", "half-open"), ("registry", "closed")]


class Flaky(MemoryStore):
    """Fails at every other call of each of its methods that speaks to the store."""

    failed = False

    def get(self, key: str, *, limit: int) -> bytes | None:
        self._fail()
        return super().get(key, limit=limit)

    def put(self, key: str, body: bytes) -> None:
        self._fail()
        super().put(key, body)

    def stat(self, key: str) -> Stored | None:
        self._fail()
        return super().stat(key)

    def delete(self, key: str) -> None:
        self._fail()
        super().delete(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        for number, found in enumerate(super().list(prefix, after=after)):
            if number == 1:
                self._fail()
            yield found

    def _fail(self) -> None:
        self.failed = not self.failed
        if self.failed:
            raise down()


def test_every_call_of_a_store_is_guarded(time: Time) -> None:
    store = guarded(Flaky(), StoreSettings("memory://", attempts=2), switches=time.switches())
    store.put("a/1", b"x")
    assert store.get("a/1", limit=1) == b"x"
    assert store.stat("a/1") is not None
    store.delete("a/1")
    assert store.get("a/1", limit=1) is None
    assert store.state == "closed"


def test_a_list_goes_on_where_it_failed(time: Time) -> None:
    """A page that breaks off is asked for again, and nothing is told twice."""
    flaky = Flaky()
    for number in range(8):
        MemoryStore.put(flaky, f"a/{number}", b"x")
    it = GuardedStore(flaky, guard(time, attempts=2), page=3)
    assert [found.key for found in it.list("a/")] == [f"a/{number}" for number in range(8)]
    assert len(time.pauses) == 3


def test_the_settings_of_a_store_reach_its_guard(time: Time) -> None:
    """An attempt is counted with both of its timeouts, so 2 of 3 attempts of 3 seconds fit into 7."""
    settings = StoreSettings("", attempts=3, deadline=7, connect_timeout=1, read_timeout=2, failures=3, reset=20)
    slow = Slow(time)
    store = guarded(slow, settings, switches=time.switches())
    with pytest.raises(Unavailable):
        store.get("a", limit=1)
    assert slow.calls == 2
    with pytest.raises(Unavailable):
        store.get("a", limit=1)
    assert slow.calls == 3
    with pytest.raises(Unavailable) as caught:
        store.get("a", limit=1)
    assert caught.value.retry_after == 20


class Slow(MemoryStore):
    """Takes 3 seconds to fail."""

    def __init__(self, time: Time) -> None:
        super().__init__()
        self.time = time
        self.calls = 0

    def get(self, key: str, *, limit: int) -> bytes | None:
        self.calls += 1
        self.time.now += 3
        raise down()


def _ignore(it: Guard, outcome: object) -> None:
    """Make a call with this outcome, whatever it is."""
    try:
        it.call(Dependency(outcome))
    except Exception as error:  # noqa: BLE001 - any outcome will do
        assert error is outcome  # noqa: PT017 - the same one comes out
