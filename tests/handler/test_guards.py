"""Four dependencies, each behind a breaker of its own: what holds for one is shown for all, as a walk over them."""

import ast
import inspect
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import pytest
from flask.testing import FlaskClient
from prometheus_client import generate_latest
from support.reviews import FakeReviews
from support.world import PYTHON, World

from knative_lambda.handler import wire
from knative_lambda.handler.access import modes
from knative_lambda.handler.guards import Hooks, Ports, guarded, patience
from knative_lambda.handler.observe.metrics import Metrics
from knative_lambda.handler.receive import app as http
from knative_lambda.handler.tell.senders import Senders
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import NotLetIn, Refused, Unavailable, Untrusted
from knative_lambda.schemas.guard import DEPENDENCIES, Switches
from knative_lambda.storage.settings import StoreSettings

ROOT = Path(__file__).parents[2]
PROTOCOLS: dict[str, Any] = get_type_hints(Ports)
PATIENCE = patience(StoreSettings("memory://"))
SECOND = {"pusher": "registry", "reviews": "cluster"}
"""A port that is beside another one of the same dependency, and has its breaker."""
ALONE = {"hook"}
"""What is no dependency: each webhook is left alone by its own courier."""
ASKS_NOBODY = {"store.presign"}
"""Signed here; nothing is sent."""
CALLS = [
    (SECOND.get(port, port), f"{port}.{method}")
    for port, protocol in PROTOCOLS.items()
    for method in vars(protocol)
    if not method.startswith("_") and port not in ALONE and f"{port}.{method}" not in ASKS_NOBODY
]
SECONDS = 60
"""How long a test waits for a thread that would otherwise hang it."""
ANSWERED_BEHIND = ("cluster", "cluster.pod_log")
"""By a kubelet: it finds out nothing about the API server."""
each_dependency = pytest.mark.parametrize("dependency", DEPENDENCIES)
each_call = pytest.mark.parametrize(("dependency", "method"), CALLS)
each_probe = pytest.mark.parametrize(("dependency", "method"), [call for call in CALLS if call != ANSWERED_BEHIND])


class Time:
    """A clock that only the test and the guards' own pauses move."""

    def __init__(self) -> None:
        self.now = 1000.0

    def pass_(self, seconds: float) -> None:
        self.now += seconds

    def switches(self) -> Switches:
        return Switches(lambda: self.now, self.pass_, lambda _low, high: high)


class Below:
    """Any port at all: it counts what it is asked, and answers every question as it is told to."""

    def __init__(self) -> None:
        self.asked = 0
        self.answer: Callable[[], Any] = tuple

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*_: Any, **__: Any) -> Any:
            self.asked += 1
            return self.answer()

        return ask


class Bench:
    """Ports that do what the test says, behind their guards."""

    def __init__(self) -> None:
        self.time = Time()
        self.below = {name: Below() for name in DEPENDENCIES}
        self.below |= {name: self.below[dependency] for name, dependency in SECOND.items()}
        self.told: list[tuple[str, str]] = []
        hooks = Hooks([lambda dependency, state: self.told.append((dependency, state))])
        bare = Ports(**self.below, hook=Below())  # type: ignore[arg-type] # each is every port
        self.ports, self.states = guarded(bare, PATIENCE, hooks, self.time.switches())

    def call(self, called: str) -> Any:
        """Ask a port, with arguments that mean nothing."""
        port, _, method = called.partition(".")
        wanted = inspect.signature(getattr(PROTOCOLS[port], method)).parameters.values()
        needed = [each for each in wanted if each.name != "self" and each.default is each.empty]
        positional: list[Any] = ["x" for each in needed if each.kind is not each.KEYWORD_ONLY]
        named: dict[str, Any] = {each.name: 1 for each in needed if each.kind is each.KEYWORD_ONLY}
        answer = getattr(getattr(self.ports, port), method)(*positional, **named)
        return list(answer) if isinstance(answer, Iterator) else answer

    def break_(self, dependency: str) -> None:
        """Let a dependency fail until its breaker opens."""

        def fail() -> None:
            raise Unavailable(dependency, "it is down")

        self.below[dependency].answer = fail
        for _ in range(PATIENCE[dependency].failures):
            with pytest.raises(Unavailable):
                self.call(next(method for name, method in CALLS if name == dependency))
        assert self.states()[dependency] == "open"
        self.below[dependency].asked = 0

    def heal(self, dependency: str) -> None:
        self.below[dependency].answer = tuple


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_whatever_can_be_unavailable_has_a_port_a_guard_and_a_metric() -> None:
    """A fifth dependency cannot be forgotten: the names are taken from where the errors are raised."""
    raised = {
        node.args[0].value
        for room in ("handler", "builds", "storage", "deploy")
        for file in (ROOT / room).rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Unavailable"
        if isinstance(node.args[0], ast.Constant)
    }
    assert raised == set(DEPENDENCIES)
    assert [field.name for field in fields(Ports)] == [*DEPENDENCIES, *SECOND, *ALONE]
    assert PATIENCE.keys() == set(DEPENDENCIES) == Bench().states().keys()
    shown = generate_latest(Metrics().registry).decode()
    for dependency in DEPENDENCIES:
        assert f'knative_lambda_breaker_state{{dependency="{dependency}",state="closed"}} 1.0' in shown


@each_call
def test_an_open_breaker_answers_at_once_and_asks_nobody(bench: Bench, dependency: str, method: str) -> None:
    """No attempt, no pause: the port below is not called and no time passes."""
    bench.break_(dependency)
    before = bench.time.now
    with pytest.raises(Unavailable, match="not called") as caught:
        bench.call(method)
    assert caught.value.retry_after >= 1
    assert bench.below[dependency].asked == 0
    assert bench.time.now == before


@each_dependency
def test_the_others_are_asked_as_before(bench: Bench, dependency: str) -> None:
    bench.break_(dependency)
    assert {name for name, state in bench.states().items() if state != "closed"} == {dependency}
    for name, method in CALLS:
        if name != dependency:
            bench.call(method)


@each_probe
def test_one_call_finds_out_that_it_is_over_and_nobody_else_is_needed(
    bench: Bench, dependency: str, method: str
) -> None:
    """Whichever it is: while it is out the others fail at once, and its answer closes the breaker."""
    bench.break_(dependency)
    bench.time.pass_(PATIENCE[dependency].reset)
    out, answer = threading.Event(), threading.Event()

    def probe() -> tuple[()]:
        out.set()
        assert answer.wait(SECONDS)
        return ()

    bench.below[dependency].answer = probe
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(bench.call, method)
        assert out.wait(SECONDS)
        with pytest.raises(Unavailable, match="another call is probing"):
            bench.call(method)
        assert bench.below[dependency].asked == 1
        answer.set()
        first.result(SECONDS)
    assert bench.states()[dependency] == "closed"
    assert bench.told == [(dependency, "open"), (dependency, "half-open"), (dependency, "closed")]


@each_call
def test_two_slow_calls_do_not_wait_for_each_other(bench: Bench, dependency: str, method: str) -> None:
    """They can only end when both have begun."""
    both = threading.Barrier(2, timeout=SECONDS)

    def slow() -> tuple[()]:
        both.wait()
        return ()

    bench.below[dependency].answer = slow
    with ThreadPoolExecutor(2) as threads:
        for call in [threads.submit(bench.call, method) for _ in range(2)]:
            call.result(SECONDS)


@each_call
def test_a_refusal_is_an_answer(bench: Bench, dependency: str, method: str) -> None:
    def refuse() -> None:
        raise Refused.because("x", "is odd")

    bench.below[dependency].answer = refuse
    for _ in range(PATIENCE[dependency].failures + 1):
        with pytest.raises(Refused):
            bench.call(method)
    assert bench.states()[dependency] == "closed"


@each_call
def test_one_that_does_not_know_us_is_there_all_the_same(bench: Bench, dependency: str, method: str) -> None:
    """So that nobody is kept from it once the credentials were exchanged; nor by a certificate that was."""
    for error in (NotLetIn, Untrusted):

        def deny(error: type[Unavailable] = error) -> None:
            raise error(dependency, "answered 401")

        bench.below[dependency].answer = deny
        for _ in range(PATIENCE[dependency].failures + 1):
            with pytest.raises(error):
                bench.call(method)
        assert bench.states()[dependency] == "closed"


@each_dependency
def test_one_that_hangs_is_given_up_before_those_who_wait_give_up(dependency: str) -> None:
    """A Trigger waits 30 seconds for a call's 503; a tick, which makes many calls, has the Service's 45."""
    it = PATIENCE[dependency]
    assert 0 < it.attempt_timeout <= it.deadline < 30
    assert it.failures * it.attempt_timeout < 45


# --- seen from outside


class Outage:
    """A port that can be taken away."""

    def __init__(self, dependency: str, port: Any) -> None:
        self._dependency, self._port = dependency, port
        self.is_down, self.asked = False, 0

    def __getattr__(self, method: str) -> Callable[..., Any]:
        def ask(*args: Any, **kwargs: Any) -> Any:
            self.asked += 1
            if self.is_down:
                raise Unavailable(self._dependency, "it is down")
            return getattr(self._port, method)(*args, **kwargs)

        return ask


class Receiver:
    """The receiver over fakes that can be taken away, behind their guards and its HTTP door."""

    def __init__(self, world: World) -> None:
        self.world, self.time = world, Time()
        posted = type("Broker", (), {"post": staticmethod(world._post)})()
        bare = {"cluster": world.cluster, "store": world.store, "registry": world.registry, "broker": posted}
        bare |= {"pusher": world.pusher, "reviews": FakeReviews()}
        self.outages = {name: Outage(name, port) for name, port in bare.items()}
        ports, states = guarded(Ports(**self.outages, hook=world.hooks), PATIENCE, Hooks(), self.time.switches())  # type: ignore[arg-type]
        senders = Senders.over(ports.cluster, ports.store, world.settings, ports.broker.post)
        self.outbox = senders.outbox
        workshop = wire.workshop(world.settings, ports.cluster, world.builder, ports.registry, ports.store)
        product = replace(world.product, workshop=workshop)
        door = wire.Service(product, senders, states, None, modes.opened(product))
        self.client: FlaskClient = http.create_app(door, http.HttpSettings()).test_client()

    def ask(self, dependency: str) -> int:
        """Let the receiver do something that needs this dependency; return the status of the answer."""
        if dependency == "broker":
            return 503 if self.outbox.deliver("acme", "hello") else 202
        self.world.time = self.world.time.replace(second=(self.world.time.second + 1) % 60)
        headers = {
            "Ce-Specversion": "1.0",
            "Ce-Id": "1",
            "Ce-Source": "/shop",
            "Ce-Type": types.BUILD_START,
            "Ce-Time": self.world.time.isoformat(),
            "Content-Type": "application/json",
        }
        data = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": PYTHON}}
        self.answer = self.client.post("/", data=json.dumps(data), headers=headers)
        return self.answer.status_code


@each_dependency
def test_an_outage_is_told_and_survived_without_anybody(world: World, dependency: str) -> None:
    """503 with the time to come back; the pod stays ready and alive, names what is away, and works again by itself."""
    receiver = Receiver(world)
    outage, client = receiver.outages[dependency], receiver.client
    assert client.get("/health/ready").get_json() == {"status": "ready", "degraded": []}
    if dependency == "broker":
        world.start()
        world.broker = 503  # so that something stays owed
        world.finish()
        world.broker = 202
        world.told.clear()
    outage.is_down = True
    for _ in range(PATIENCE[dependency].failures):
        assert receiver.ask(dependency) == 503
    asked = outage.asked
    assert receiver.ask(dependency) == 503
    assert outage.asked == asked
    if dependency != "broker":
        assert 1 <= int(receiver.answer.headers["Retry-After"]) <= PATIENCE[dependency].reset
        assert dependency in receiver.answer.get_json(force=True)["detail"]
    assert client.get("/health/live").status_code == 200
    ready, healthy = client.get("/health/ready"), client.get("/health/dependencies")
    assert (ready.status_code, ready.get_json()) == (200, {"status": "ready", "degraded": [dependency]})
    assert (healthy.status_code, healthy.get_json()["dependencies"][dependency]) == (503, "open")

    outage.is_down = False
    receiver.time.pass_(PATIENCE[dependency].reset)
    assert receiver.ask(dependency) == 202
    assert client.get("/health/ready").get_json() == {"status": "ready", "degraded": []}
    if dependency == "broker":
        assert world.told_types() == ["build.complete"]
