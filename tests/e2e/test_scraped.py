"""A real Prometheus scrapes the receiver's pods, by the port that no Service declares, and has what the records say."""

from pathlib import Path

from support.live import Live, within
from support.prometheus import Prometheus, prometheus

METRICS = 9464
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
