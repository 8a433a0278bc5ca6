"""A real Prometheus scrapes the receiver's pods, by the port that no Service declares, and has what the records say.

And what Knative tells of functions answers what their dashboard asks.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.callers import inside, kubectl
from support.live import TENANT, Live, within
from support.prometheus import Prometheus, prometheus

from knative_lambda.deploy import dashboards
from knative_lambda.deploy.cluster import POD

METRICS, PROXY, ACTIVATOR = 9464, 9091, 9090
QUERIES = (
    'sum(knative_lambda_events_total{type="dev.knative-lambda.build.start"}) > 0',
    'sum(knative_lambda_calls_total{port="cluster", result="ok"}) > 0',
    'sum(knative_lambda:builds_ended{phase="Succeeded"}) > 0',
    'sum(knative_lambda:functions{ready="True"}) > 0',
)


def test_events_calls_and_what_the_sweep_has_counted_are_there(live: Live, tmp_path: Path) -> None:
    with prometheus(tmp_path) as running:
        live.start(
            "scraped", runtime="python", source={"inline": {"main.py": "def handle(event, context):\n    pass\n"}}
        )
        for query in QUERIES[:2]:
            within(120, query, lambda query=query: found(live, running, query), every=1)
        live.ready("scraped")
        live.tick()
        for query in QUERIES[2:]:
            within(120, query, lambda query=query: found(live, running, query), every=1)
    live.delete("scraped")


def found(live: Live, running: Prometheus, query: str) -> bool:
    running.scrape(f"{address}:{METRICS}" for address in live.receivers())
    return bool(running.answer(query))


@pytest.fixture
def knatives() -> Iterator[None]:
    """Have Knative show its metrics; its activator looks at that when it begins."""

    def show(protocol: str | None) -> None:
        data = {"metrics-protocol": protocol, "request-metrics-protocol": protocol}
        place = ("-n", "knative-serving")
        for command in (
            ["patch", "configmap", "config-observability", *place, "--type=merge", "-p", json.dumps({"data": data})],
            ["rollout", "restart", "deployment", "activator", *place],
            ["rollout", "status", "deployment", "activator", *place, "--timeout=240s"],
        ):
            done = kubectl(*command)
            assert done.returncode == 0, done.stderr

    show("prometheus")
    yield
    show(None)


@pytest.mark.usefixtures("knatives")
def test_what_knative_tells_of_a_function_is_what_its_dashboard_asks(live: Live, tmp_path: Path) -> None:
    source = {"inline": {"main.py": "def handle(event, context):\n    return {'n': 1 // event.data['by']}\n"}}
    live.start("asked", runtime="python", source=source)
    live.ready("asked")
    function = inside(live, "asked", TENANT)
    headers = {f"ce-{name}": "e2e" for name in ("id", "source", "type")} | {"ce-specversion": "1.0"}
    headers["content-type"] = "application/json"
    queries = [query for panel in dashboards.REQUESTS for query in panel.queries.values()]

    def look() -> bool:
        """Ask the function, which fails each second time, and whatever shows how."""
        for divisor in (1, 0):
            function.ask("POST", "/", headers, json.dumps({"by": divisor}).encode())
        pods = live.cluster.list(POD, TENANT, {"serving.knative.dev/service": "asked"})
        pods += live.cluster.list(POD, "knative-serving", {"app": "activator"})
        ports = [PROXY if pod["metadata"]["namespace"] == TENANT else ACTIVATOR for pod in pods]
        addresses = [pod["status"].get("podIP") for pod in pods]
        running.scrape(f"{address}:{port}" for address, port in zip(addresses, ports, strict=True) if address)
        return all(any(float(one["value"][1]) > 0 for one in running.answer(query)) for query in queries)

    with prometheus(tmp_path) as running:
        within(120, "every panel of the functions' requests has something to draw", look, every=1)
    live.delete("asked")
