"""Metrics: what is counted, that it is bounded, and that nothing depends on it."""

import logging
import re
import select
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from prometheus_client.exposition import ThreadingWSGIServer
from support.ports import free_port
from support.reviews import FakeReviews, account
from support.world import START, World

from knative_lambda.deploy.cluster import NAMESPACE, Cluster
from knative_lambda.handler.effects import Call, together, watched
from knative_lambda.handler.observe.census import Census
from knative_lambda.handler.observe.metrics import OURS, Metrics, _Silent
from knative_lambda.handler.observe.metrics_access import behind
from knative_lambda.handler.receive.asked import Asked
from knative_lambda.handler.receive.porter import Answered, Porter
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Conflict, Unavailable
from knative_lambda.schemas.guard import DEPENDENCIES, STATES, Guard, GuardSettings, Switches


@dataclass(frozen=True)
class Joined:
    """A port, and a function that is told something."""

    cluster: Cluster
    tell: Callable[[dict[str, Any]], None]


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made, census = Metrics(), Census()
    made.show(census, "knative-lambda")
    census.done(START)
    yield made
    made.close()


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"knative_lambda_{name}", labels) or 0.0


def states(metrics: Metrics, dependency: str) -> list[str]:
    return [each for each in STATES if value(metrics, "breaker_state", dependency=dependency, state=each) == 1]


def test_every_breaker_is_in_one_state_from_the_beginning_on(metrics: Metrics) -> None:
    assert [states(metrics, dependency) for dependency in DEPENDENCIES] == [["closed"]] * len(DEPENDENCIES)
    metrics.breaker("store", "open")
    assert states(metrics, "store") == ["open"]
    assert states(metrics, "cluster") == ["closed"]
    assert value(metrics, "breaker_transitions_total", dependency="store", state="open") == 1


def test_a_guard_tells_of_every_call_that_it_tries_again(metrics: Metrics) -> None:
    failures = [Unavailable("store", "it is down"), Unavailable("store", "it is down")]

    def ask() -> str:
        if failures:
            raise failures.pop()
        return "answer"

    switches = Switches(sleep=lambda _: None)
    guard = Guard("store", GuardSettings(attempts=3), retried=[metrics.retried], switches=switches)
    assert guard.call(ask) == "answer"
    assert value(metrics, "dependency_retries_total", dependency="store") == 2


def test_events_are_counted_by_known_types_only(metrics: Metrics) -> None:
    """Whatever strangers send as a type makes no new series."""
    metrics.handled(types.BUILD_START, 202, 0.02)
    for number in range(100):
        metrics.handled(f"made.up.{number}", 422, 0.001)
        metrics.notified(f"made.up.{number}", "refused")
    assert value(metrics, "events_total", type=types.BUILD_START, status="202") == 1
    assert value(metrics, "events_total", type="other", status="422") == 100
    assert value(metrics, "event_seconds_count", type=types.BUILD_START) == 1
    assert value(metrics, "notifications_total", type="other", outcome="refused") == 100
    assert b"made.up" not in generate_latest(metrics.registry)


def test_every_call_of_a_port_is_counted_by_what_it_was_answered(metrics: Metrics) -> None:
    world = World()
    seen = watched(Joined(world.cluster, world.told.append), together(metrics.call))
    assert seen.cluster.get(NAMESPACE, "", "acme")

    def fail() -> None:
        raise Conflict("a twin was faster")

    for error in (Conflict, ZeroDivisionError):
        with pytest.raises(error):
            metrics.call(Call("cluster", "replace", "Function"), fail if error is Conflict else lambda: 1 // 0)
    seen.tell({"nobody": "counts this: it is no port's"})
    assert value(metrics, "calls_total", port="cluster", operation="get", result="ok") == 1
    assert value(metrics, "calls_total", port="cluster", operation="replace", result="Conflict") == 1
    assert value(metrics, "calls_total", port="cluster", operation="replace", result="error") == 1
    assert value(metrics, "call_seconds_count", port="cluster", operation="replace") == 2
    assert b"joined" not in generate_latest(metrics.registry)
    assert watched(seen, together()) is seen, "where nobody is told, nothing lies in between"


def test_who_is_turned_away_is_counted_by_what_they_asked_for(metrics: Metrics) -> None:
    porter = Porter(listeners=[metrics.turned_away])
    for status in (202, 429, 422, 429):
        porter.note(Asked("build.start", "acme", "hello"), Answered(status))
    assert value(metrics, "turned_away_total", operation="build.start", status="429") == 2
    metrics.turned_away("made up", 403)
    assert value(metrics, "turned_away_total", operation="other", status="403") == 1


def test_they_are_read_over_http_with_those_of_the_process(metrics: Metrics) -> None:
    port = free_port()
    metrics.serve(port)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        text = answer.read().decode()
    assert answer.headers["Content-Type"].startswith("text/plain; version=")
    for name in ("process_resident_memory_bytes", "process_cpu_seconds_total", "knative_lambda_breaker_state"):
        assert f"\n{name}" in text
    metrics.close()
    with pytest.raises(urllib.error.URLError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics")


def test_behind_the_clusters_yes_they_are_read_by_who_shows_a_token_and_may(metrics: Metrics) -> None:
    reviews, port = FakeReviews(), free_port()
    metrics.serve(port, partial(behind, reviews))
    prometheus = account("monitoring", "prometheus")
    token = reviews.give(prometheus, audience="")

    def status(**headers: str) -> int:
        asked = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
        try:
            with urllib.request.urlopen(asked) as answer:
                assert b"knative_lambda_breaker_state" in answer.read()
                return 200
        except urllib.error.HTTPError as error:
            return error.code if (error.code == 401) == ("WWW-Authenticate" in error.headers) else 0

    bearer = {"Authorization": f"Bearer {token}"}
    assert status() == 401
    assert status(Authorization="Bearer made-up") == 401
    assert status(Authorization="Basic YTpi") == 401
    assert status(Authorization=f"Bearer {reviews.give(prometheus, 'another')}") == 401
    assert status(**bearer) == 403
    reviews.allow(prometheus, "get", "/metrics", "")
    assert status(**bearer) == 200
    reviews.is_away = True
    assert status(**bearer) == 503


def test_a_port_that_is_taken_is_told_and_nothing_else_suffers(
    metrics: Metrics, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken, caplog.at_level(logging.WARNING):  # noqa: S104 - as the metrics do
        metrics.serve(taken.getsockname()[1])
    assert "nobody can read the metrics" in caplog.text
    metrics.handled(types.PING, 202, 0.1)


def test_port_0_opens_none(metrics: Metrics) -> None:
    metrics.serve(0)
    metrics.close()


def test_the_docs_name_every_metric_and_no_other(metrics: Metrics) -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text("utf-8")
    families = {
        f"{family.name}_total" if family.type == "counter" else family.name for family in metrics.registry.collect()
    }
    assert set(re.findall(r"`(knative_lambda_\w+)`", page)) == {name for name in families if name.startswith(OURS)}


def test_who_connects_and_says_nothing_is_let_go_of(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    assert _Silent.timeout
    monkeypatch.setattr(_Silent, "timeout", 0.05)
    port = free_port()
    metrics.serve(port)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as silent:
        assert silent.recv(1) == b""


def test_who_says_a_little_now_and_then_is_let_go_of(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a few of them would keep all places for ever, before anybody has looked at who they are."""
    monkeypatch.setattr(_Silent, "timeout", 0.3)
    port = free_port()
    metrics.serve(port)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        slow.sendall(b"GET /metrics HTTP/1.0\r\n")
        assert is_let_go_of(slow)


def test_who_says_a_little_now_and_then_and_all_in_time_is_answered(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Silent, "timeout", 60)
    port = free_port()
    metrics.serve(port)
    with socket.create_connection(("127.0.0.1", port), timeout=30) as slow:
        for letter in b"GET /metrics HTTP/1.0\r\n":
            slow.sendall(bytes([letter]))
            assert not select.select([slow], [], [], 0.001)[0]
        slow.sendall(b"\r\n")
        assert slow.makefile("rb").readline() == b"HTTP/1.0 200 OK\r\n"


def is_let_go_of(caller: socket.socket) -> bool:
    """Say one header after the other until the server has had enough; it has not after half a minute."""
    until = time.monotonic() + 30
    with suppress(ConnectionError):
        while time.monotonic() < until:
            if select.select([caller], [], [], 0.05)[0]:
                return caller.recv(1) == b""
            caller.sendall(b"X: y\r\n")
        return False
    return True


def test_a_thread_that_cannot_be_started_takes_no_place(metrics: Metrics, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    port = free_port()
    metrics.serve(port, most=1)
    with monkeypatch.context() as without:
        without.setattr(ThreadingWSGIServer, "process_request", refused)
        with socket.create_connection(("127.0.0.1", port), 30) as caller:
            assert first_line(caller) == b""
    with socket.create_connection(("127.0.0.1", port), 30) as caller:
        assert first_line(caller) == b"HTTP/1.0 200 OK"


@pytest.mark.parametrize(("most", "third"), [(2, b""), (3, b"HTTP/1.0 200 OK")])
def test_so_many_are_answered_at_once_and_who_comes_then_is_let_go_of(
    metrics: Metrics, monkeypatch: pytest.MonkeyPatch, most: int, third: bytes
) -> None:
    monkeypatch.setattr(_Silent, "timeout", 60)
    port = free_port()
    metrics.serve(port, most=most)
    with ExitStack() as stack:
        one, _, last = (stack.enter_context(socket.create_connection(("127.0.0.1", port), 30)) for _ in range(3))
        assert first_line(last) == third
        assert first_line(one) == b"HTTP/1.0 200 OK", "who was there before loses nothing by it"


def first_line(caller: socket.socket) -> bytes:
    """Ask for the metrics and return the first line of the answer; nothing where there is none."""
    with suppress(ConnectionError):
        caller.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        return caller.makefile("rb").readline().rstrip()
    return b""
