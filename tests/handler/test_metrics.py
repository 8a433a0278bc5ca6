"""Metrics: what is counted, that it is bounded, and that nothing depends on it."""

import logging
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client import generate_latest

from knative_lambda.handler.metrics import Metrics
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.guard import DEPENDENCIES, STATES, Guard, GuardSettings, Switches


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    made = Metrics()
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
    shown = generate_latest(metrics.registry).decode()
    families = {line.split()[2] for line in shown.splitlines() if line.startswith("# TYPE knative_lambda_")}
    assert set(re.findall(r"`(knative_lambda_\w+)`", page)) == {
        name for name in families if not name.endswith("_created")
    }
