"""Traces: the way of one source in one tree, over all requests that had a hand in it; and that it delays none."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.collector import Collector, collector
from support.door import FrontDoor, envelope
from support.estate import Estate
from support.world import PYTHON, World

from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, KNATIVE_SERVICE, Object
from knative_lambda.handler.effects import together
from knative_lambda.handler.observe.logs import JsonLines
from knative_lambda.handler.observe.spans import Spans
from knative_lambda.handler.observe.spans_otel import WAITING, OtelSpans
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.schemas import trace, types
from knative_lambda.schemas.names import TRACE_ANNOTATION

TRACE, SENDERS = "a" * 32, "b" * 32
HOP = f"00-{TRACE}-{'1' * 16}-01"
ORIGIN = f"00-{SENDERS}-{'2' * 16}-01"
DATA: dict[str, Any] = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": PYTHON}}


@pytest.fixture
def kept() -> Iterator[Collector]:
    with collector() as made:
        yield made


def traced(estate: Estate, spans: Spans) -> Estate:
    """Let an estate be one whose calls, and what it does, have spans."""
    estate.handler.around = together(spans.call, estate.handler.around)  # type: ignore[method-assign,assignment]
    estate.ports, estate.product = estate.process(estate.handler)
    estate.product = replace(estate.product, spans=spans)
    return estate


def send(estate: World, spans: Spans, data: Any = DATA, **headers: str) -> int:
    client = create_app(FrontDoor(estate), HttpSettings(), spans=spans).test_client()
    told = {name.replace("_", "-"): value for name, value in headers.items()}
    return client.post(
        "/", json=data, headers=envelope(types.BUILD_START, time=estate.time.isoformat()) | told
    ).status_code


def annotation(body: Object | None) -> str:
    assert body is not None
    return trace.of(body)


def test_one_build_is_one_tree_from_its_event_to_the_ready_function(
    kept: Collector, capsys: pytest.CaptureFixture[str]
) -> None:
    """Although three requests had a part in it, two of which came by reports with other traces, or none."""
    spans = OtelSpans(kept.url)
    estate = traced(Estate(), spans)
    assert send(estate, spans, traceparent=HOP, ce_traceparent=ORIGIN) == 202
    estate.rest()
    spans.stop(timeout=60)
    tree = kept.tree(TRACE)
    with capsys.disabled():
        print(f"\n{tree}")  # noqa: T201 - what there is to see
    lines = tree.splitlines()
    assert [line for line in lines if not line.startswith(" ")] == ["receive"], "everything is below the request"
    for name in ("store.put contexts", "registry.digest", "cluster.create Job", "builder.start", "broker.post"):
        assert [line for line in lines if line.strip() == name], name
    assert "build builder=kaniko reason=Built" in tree
    assert lines.index("  dev.knative-lambda.build.start") < lines.index("    converge")
    [event] = [span for span in kept.spans if span.name == types.BUILD_START]
    assert event.links == (SENDERS,), "where the event came from first is a link: it is another's trace"
    assert event.attributes["tenant"] == "acme"


def test_the_job_the_service_and_the_notifications_bear_the_trace(kept: Collector) -> None:
    spans = OtelSpans(kept.url)
    estate = traced(Estate(), spans)
    send(estate, spans, traceparent=HOP)
    [job] = estate.cluster.list(JOB, "acme-builds")
    assert (
        annotation(job) == annotation({"metadata": job["spec"]["template"]["metadata"]}) == annotation(estate.build())
    )
    estate.rest()
    service = estate.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    told = [
        annotation(estate.function()),
        annotation(service),
        *(one["headers"]["ce-traceparent"] for one in estate.told),
    ]
    assert {trace.trace_id(found) for found in told} == {TRACE}
    assert estate.told
    spans.stop(timeout=60)


def test_a_report_with_a_trace_of_its_own_goes_on_in_the_builds_and_is_linked(kept: Collector) -> None:
    spans = OtelSpans(kept.url)
    estate = traced(Estate(), spans)
    send(estate, spans, traceparent=HOP)
    report = f"00-{'c' * 32}-{'3' * 16}-01"
    with trace.within(report):
        estate.rest()
    spans.stop(timeout=60)
    on = [span for span in kept.spans if span.name == "converge" and span.trace == TRACE and span.links]
    assert {link for span in on for link in span.links} == {"c" * 32}


def test_what_came_again_and_is_there_costs_no_more_calls_for_its_trace(kept: Collector) -> None:
    spans = OtelSpans(kept.url)
    estate = traced(Estate(), spans)
    send(estate, spans, traceparent=HOP)
    estate.rest()
    before = annotation(estate.function())
    estate.time = estate.time.replace(minute=59)
    changes = estate.changes
    assert send(estate, spans, traceparent=f"00-{'d' * 32}-{'4' * 16}-01") == 202
    assert (estate.changes - changes, annotation(estate.function())) == (1, before)
    spans.stop(timeout=60)


def test_an_error_is_told_by_its_name_and_its_words(kept: Collector) -> None:
    spans = OtelSpans(kept.url)
    estate = traced(Estate(), spans)
    assert send(estate, spans, {**DATA, "tenant": "nobody"}, traceparent=HOP) == 422
    spans.stop(timeout=60)
    assert f"{types.BUILD_START} ! Refused: /data/tenant: there is no tenant nobody" in kept.tree(TRACE)


def test_a_collector_that_says_nothing_delays_no_request_and_no_end() -> None:
    """What waits for it is bounded. A watchdog ends this test where a request would wait.

    The threads that were left behind are waited for once the collector is gone: they would go on beside other tests.
    """
    before = set(threading.enumerate())
    with collector(silent=True) as kept:
        spans = OtelSpans(kept.url)
        answered = threading.Event()

        def many() -> None:
            with trace.within(HOP):
                for _ in range(3 * WAITING):
                    with spans.span("one", {}):
                        pass
            spans.stop(timeout=0.2)
            answered.set()

        threading.Thread(target=many, daemon=True).start()
        assert answered.wait(60)
        assert not kept.spans
        left = {thread.name for thread in set(threading.enumerate()) - before}
        assert "spans" in left, "its end is left behind, not waited for"
    for thread in set(threading.enumerate()) - before:
        thread.join(60)
        assert not thread.is_alive()


def test_without_spans_nothing_is_annotated_and_the_log_still_names_the_callers_trace(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    caplog.handler.setFormatter(JsonLines())
    caplog.set_level(logging.INFO)
    assert send(world, Spans(), traceparent=HOP) == 202
    assert annotation(world.function()) == ""
    [build] = world.cluster.list(BUILD, "acme")
    assert TRACE_ANNOTATION not in build["metadata"]["annotations"]
    assert not [name for sent in world.told for name in sent["headers"] if "traceparent" in name]
    assert f'"trace_id": "{TRACE}"' in caplog.text
    assert trace.current() == "", "and a thread works for nobody once it has answered"


def test_an_annotation_that_is_no_trace_goes_no_further(kept: Collector) -> None:
    """Who may write a Function may write that, too."""
    world = World()
    world.start()
    function = world.function()
    meta = {**function["metadata"], "annotations": {**function["metadata"]["annotations"], TRACE_ANNOTATION: "x" * 99}}
    world.cluster.replace(FUNCTION, {**function, "metadata": meta})
    world.finish()
    assert TRACE_ANNOTATION not in str(world.cluster.get(KNATIVE_SERVICE, "acme", "hello"))


def test_a_collector_that_is_away_is_told_once_and_once_that_it_is_back(
    kept: Collector, caplog: pytest.LogCaptureFixture
) -> None:
    kept.status = 400
    spans = OtelSpans(kept.url)
    for _ in range(2):
        with trace.within(HOP), spans.span("one", {}):
            pass
        assert spans._provider.force_flush()
    kept.status = 200
    with trace.within(HOP), spans.span("one", {}):
        pass
    spans.stop(timeout=60)
    told = [line.message for line in caplog.records if line.name.startswith(("knative_lambda", "opentelemetry"))]
    assert told == ["the collector of spans does not take them: they are dropped", "the collector of spans is back"]


@pytest.mark.parametrize("percent", [0, 100])
def test_of_traces_that_nobody_has_decided_about_so_many_are_kept(kept: Collector, percent: int) -> None:
    spans = OtelSpans(kept.url, percent)
    for flags in ("00", "01"):
        with trace.within(f"00-{TRACE}-{'1' * 16}-{flags}"), spans.span(flags, {}):
            pass
    spans.stop(timeout=60)
    assert {span.name for span in kept.spans} == ({"00", "01"} if percent else {"01"})
