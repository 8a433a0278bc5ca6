"""Dashboards, rules and runbooks: each asks for what there is, and each alert fires where it should."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.chart import render
from support.ports import free_port
from support.prometheus import RULES as FILE
from support.prometheus import program, prometheus
from support.world import World

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy import dashboards
from knative_lambda.handler.effects import Call
from knative_lambda.handler.observe.metrics import Metrics
from knative_lambda.schemas import types

ROOT = Path(__file__).parents[2]
CASES = Path(__file__).parent / "rules_test.yaml"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load(FILE.read_text("utf-8"))["groups"] for rule in group["rules"]
]
ALERTS = {rule["alert"]: rule for rule in RULES if "alert" in rule}
RECORDED = {rule["record"] for rule in RULES if "record" in rule}
PANELS = [panel for panels in dashboards.DASHBOARDS.values() for panel in panels if panel not in dashboards.REQUESTS]
"""Those of our own metrics; what Knative tells of functions is asked on a real cluster (`e2e/test_scraped.py`)."""
QUERIES = [query.replace("$tenant", ".*") for panel in PANELS for query in panel.queries.values()]


@pytest.fixture
def metrics() -> Iterator[Metrics]:
    """Return the metrics of a process in which everything has happened once."""
    world, made = World(builds_per_tenant=1), Metrics()
    world.time = datetime.now(UTC) - timedelta(minutes=5)
    world.live("ready")
    world.start("failed")
    world.fail(Ended(1, "ours", "PodRefused", "by the cluster"), name="failed")
    for name in ("one", "two"):
        world.start(name, env={"NAME": name})
    world.time = datetime.now(UTC)
    world.tick()
    world.product.census.letters("acme", 1)
    made.show(world.product.census, "knative-lambda")
    for status in (202, 503):
        made.handled(types.BUILD_START, status, 0.1)
    made.breaker("store", "open")
    made.notified(types.BUILD_COMPLETE, "refused")
    made.hooked("ci", "lost")
    made.audited("lost", 1)
    made.turned_away("build.start", 429)
    made.call(Call("cluster", "get", "Function"), lambda: None)
    yield made
    made.close()


def samples(metrics: Metrics) -> dict[str, set[str]]:
    """Return the labels of each name that is shown."""
    found: dict[str, set[str]] = {}
    for family in metrics.registry.collect():
        for sample in family.samples:
            found.setdefault(sample.name, set()).update(sample.labels)
    return found


def asked(query: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each metric or recording that a query names, with the labels that it selects by."""
    for name, selector in re.findall(r"\b(knative_lambda[_:][\w:]*)(?:\{([^}]*)\})?", query):
        yield name, set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", selector))


def test_every_query_names_what_is_shown_and_labels_that_it_has(metrics: Metrics) -> None:
    shown = samples(metrics)
    for query in (*QUERIES, *(rule["expr"] for rule in RULES)):
        for name, labels in asked(query):
            if ":" in name:
                assert name in RECORDED, query
            else:
                assert name in shown, query
                assert labels <= shown[name], query


def test_each_metric_of_our_own_is_looked_at_by_somebody(metrics: Metrics) -> None:
    looked_at = {name for query in (*QUERIES, *(rule["expr"] for rule in RULES)) for name, _ in asked(query)}
    unseen = {
        name
        for name in samples(metrics)
        if name.startswith("knative_lambda") and not name.endswith(("_created", "_sum", "_count", "_gsum", "_gcount"))
    } - looked_at
    assert not unseen


def test_the_dashboards_are_as_they_are_written_down() -> None:
    assert dashboards.main(["--check"]) == 0, "run `make dashboards`"
    for name, panels in dashboards.DASHBOARDS.items():
        made = json.loads((dashboards.FOLDER / f"{name}.json").read_text("utf-8"))
        assert [panel["title"] for panel in made["panels"]] == [panel.title for panel in panels]
        assert len({(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in made["panels"]}) == len(panels)


def test_each_alert_has_its_runbook_and_each_runbook_its_alert() -> None:
    pages = {
        path.relative_to(ROOT).as_posix(): path.read_text("utf-8") for path in (ROOT / "docs/runbooks").glob("*.md")
    }
    assert {rule["annotations"]["runbook"] for rule in ALERTS.values()} == set(pages)
    for name, rule in ALERTS.items():
        assert f"`{name}`" in pages[rule["annotations"]["runbook"]]
        assert rule["labels"]["severity"] in ("page", "ticket")


def test_each_alert_is_tried_and_fires_in_some_case() -> None:
    cases = yaml.safe_load(CASES.read_text("utf-8"))["tests"]
    fired = {one["alertname"] for case in cases for one in case.get("alert_rule_test", []) if one["exp_alerts"]}
    assert fired == set(ALERTS)


def test_promtool_finds_the_rules_right_and_their_cases_hold() -> None:
    for command in (["check", "rules", str(FILE)], ["test", "rules", str(CASES)]):
        ended = subprocess.run([program("promtool"), *command], capture_output=True, text=True, check=False)
        assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_chart_brings_them_where_they_are_wanted() -> None:
    wanted = {"enabled": True, "labels": {"release": "prometheus"}}
    rendered = render(metrics={"rules": wanted, "dashboards": wanted})
    [rules] = [each for each in rendered if each["kind"] == "PrometheusRule"]
    assert rules["spec"] == yaml.safe_load(FILE.read_text("utf-8"))
    [config] = [each for each in rendered if each["metadata"]["name"] == "knative-lambda-dashboards"]
    assert {name: json.loads(text) for name, text in config["data"].items()} == {
        f"{name}.json": dashboards.dashboard(name, panels) for name, panels in dashboards.DASHBOARDS.items()
    }
    assert rules["metadata"]["labels"].items() >= {"release": "prometheus"}.items()
    assert not [each for each in render() if each["kind"] == "PrometheusRule"]


def test_a_real_prometheus_scrapes_a_process_and_answers_every_query(metrics: Metrics, tmp_path: Path) -> None:
    """Not just names that exist: each panel has something to draw."""
    scraped = free_port()
    metrics.serve(scraped)
    with prometheus(tmp_path) as running:
        running.scrape([f"127.0.0.1:{scraped}"])
        left, end = set(QUERIES), time.monotonic() + 180
        while left and time.monotonic() < end:
            metrics.handled(types.BUILD_START, 202, 0.1)
            time.sleep(1)
            left = {query for query in left if not running.answer(query)}
    assert not left
