"""Grafana's dashboards, written from what is asked here: the chart has them as files.

Called by `make dashboards`; with ``--check`` it writes nothing and fails where the chart's copies are stale. Nothing
imports this at run time. Queries that begin with ``knative_lambda:`` are recording rules of `rules.yaml`.
"""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "charts" / "knative-lambda" / "files" / "dashboards"
WIDE, HIGH, ACROSS = 8, 8, 3
"""Of a panel, in Grafana's grid of 24; and panels beside each other."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True)
class Panel:
    """A picture: its title, its unit as Grafana calls it, and what is drawn, each with its legend."""

    title: str
    unit: str
    queries: Mapping[str, str]
    """PromQL, by legend."""


def _quantiles(buckets: str, by: str = "") -> dict[str, str]:
    legend = f" {{{{{by}}}}}" if by else ""
    labels = f"le, {by}" if by else "le"
    return {
        f"p{share:g}{legend}": f"histogram_quantile({share / 100:g}, sum by ({labels}) ({buckets}))"
        for share in (50, 95)
    }


BUILDS = (
    Panel(
        "Ended in the last hour",
        "short",
        {"{{phase}} {{whose}}": "sum by (phase, whose) (knative_lambda:builds_ended)"},
    ),
    Panel("Why they failed", "short", {"{{reason}}": 'sum by (reason) (knative_lambda:builds_ended{phase="Failed"})'}),
    Panel("Failures that are no user's", "percentunit", {"share": "knative_lambda:builds_failed:ratio1h"}),
    Panel("Time to build", "s", _quantiles('knative_lambda:build_seconds_bucket{step="build"}', "builder")),
    Panel("Time until begun", "s", _quantiles('knative_lambda:build_seconds_bucket{step="wait"}')),
    Panel("Time in all", "s", _quantiles('knative_lambda:build_seconds_bucket{step="all"}')),
    Panel("Waiting", "short", {"for a {{for}}": "knative_lambda:builds_waiting"}),
    Panel("The first of them has waited", "s", {"oldest": "knative_lambda:builds_waiting_oldest_seconds"}),
    Panel("On record", "short", {"{{phase}}": "sum by (phase) (knative_lambda:builds)"}),
    Panel("By whom", "short", {"{{builder}}": "sum by (builder) (knative_lambda:builds_ended)"}),
    Panel("Made before", "short", {"reused": 'sum(knative_lambda:builds_ended{reason="Reused"}) or vector(0)'}),
    Panel("Dependencies", "short", {"{{outcome}}": "knative_lambda:builds_dependencies"}),
)
FUNCTIONS = (
    Panel("Ready", "short", {"{{ready}}": "knative_lambda:functions"}),
    Panel("From creation until first ready", "s", _quantiles("knative_lambda:function_ready_seconds_bucket")),
    Panel("Dead letters", "short", {"of {{of}}": "knative_lambda:dead_letters"}),
    Panel("Dead letters of the last hour", "short", {"of {{of}}": "knative_lambda:dead_letters_lately"}),
)
SERVICE = "k8s_namespace_name, kn_service_name"
WHOSE = f'on (job, instance) group_left ({SERVICE}) target_info{{kn_service_name!=""}}'
"""Knative's proxies say in a series of its own whose they are."""
ALL = f"sum by ({SERVICE}) (rate(kn_serving_invocation_duration_seconds_count[5m]) * {WHOSE})"
FAILED = (
    f'sum by ({SERVICE}) (rate(kn_serving_invocation_duration_seconds_count{{http_response_status_code=~"5.."}}[5m])'
    f" * {WHOSE})"
)
LEGEND = "{{k8s_namespace_name}}/{{kn_service_name}}"
REQUESTS = (
    Panel("Requests", "reqps", {LEGEND: ALL}),
    Panel("Failed requests, of all", "percentunit", {LEGEND: f"({FAILED} or 0 * {ALL}) / {ALL}"}),
    Panel(
        "Time in the function, p95",
        "s",
        {
            LEGEND: f"histogram_quantile(0.95, sum by (le, {SERVICE}) "
            f"(rate(kn_serving_invocation_duration_seconds_bucket[5m]) * {WHOSE}))"
        },
    ),
    Panel(
        "Time with its start from zero, p95",
        "s",
        {
            LEGEND: f"histogram_quantile(0.95, sum by (le, {SERVICE}) "
            '(rate(http_server_request_duration_seconds_bucket{kn_service_name!=""}[5m])))'
        },
    ),
)
"""Of the functions, as Knative tells it: their proxies (9091) and its activator (9090), which waits for them."""
RECEIVER = (
    Panel("Events", "reqps", {"{{status}}": "sum by (status) (rate(knative_lambda_events_total[5m]))"}),
    Panel("Failed events, of all", "percentunit", {"last hour": "knative_lambda:events_failed:ratio_rate1h"}),
    Panel("Time of an event", "s", _quantiles("rate(knative_lambda_event_seconds_bucket[10m])", "type")),
    Panel(
        "Breakers that are not closed",
        "short",
        {"{{dependency}} {{state}}": 'max by (dependency, state) (knative_lambda_breaker_state{state!="closed"})'},
    ),
    Panel(
        "Breakers' changes",
        "short",
        {"{{dependency}} {{state}}": "increase(knative_lambda_breaker_transitions_total[5m])"},
    ),
    Panel(
        "Tried again",
        "reqps",
        {"{{dependency}}": "sum by (dependency) (rate(knative_lambda_dependency_retries_total[5m]))"},
    ),
    Panel("Calls", "reqps", {"{{port}} {{result}}": "sum by (port, result) (rate(knative_lambda_calls_total[5m]))"}),
    Panel("Time of a call", "s", _quantiles("rate(knative_lambda_call_seconds_bucket[10m])", "port")),
    Panel("Notifications", "reqps", {"{{outcome}}": "sum by (outcome) (rate(knative_lambda_notifications_total[5m]))"}),
    Panel(
        "Events for webhooks",
        "reqps",
        {"{{webhook}} {{outcome}}": "sum by (webhook, outcome) (rate(knative_lambda_webhook_events_total[5m]))"},
    ),
    Panel(
        "Turned away",
        "reqps",
        {"{{operation}} {{status}}": "sum by (operation, status) (rate(knative_lambda_turned_away_total[5m]))"},
    ),
    Panel("Audit records", "reqps", {"{{outcome}}": "sum by (outcome) (rate(knative_lambda_audit_records_total[5m]))"}),
    Panel("Last sweep", "s", {"ago": "time() - max(knative_lambda:census_time_seconds)"}),
)
TENANTS = (
    Panel(
        "Builds ended in the last hour",
        "short",
        {"{{tenant}} {{phase}} {{whose}}": 'knative_lambda:tenant_builds_ended{tenant=~"$tenant"}'},
    ),
    Panel("Builds that wait", "short", {"{{tenant}}": 'knative_lambda:tenant_builds_waiting{tenant=~"$tenant"}'}),
    Panel(
        "Functions that are not ready",
        "short",
        {"{{tenant}} {{ready}}": 'knative_lambda:tenant_functions{tenant=~"$tenant", ready!="True"}'},
    ),
    Panel(
        "Functions",
        "short",
        {"{{tenant}}": 'sum by (tenant) (knative_lambda:tenant_functions{tenant=~"$tenant"})'},
    ),
    Panel("Dead letters", "short", {"{{tenant}}": 'knative_lambda:tenant_dead_letters{tenant=~"$tenant"}'}),
)
DASHBOARDS: Mapping[str, tuple[Panel, ...]] = {
    "builds": BUILDS,
    "functions": (*FUNCTIONS, *REQUESTS),
    "receiver": RECEIVER,
    "tenants": TENANTS,
}
VARIABLES: Mapping[str, str] = {"tenant": "label_values(knative_lambda:tenant_functions, tenant)"}
"""What a dashboard is narrowed by, where its queries name it: what may be chosen."""


def dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    """Return a dashboard as Grafana reads it."""
    return {
        "uid": f"knative-lambda-{name}",
        "title": f"knative-lambda: {name}",
        "tags": ["knative-lambda"],
        "schemaVersion": 39,
        "refresh": "1m",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, *_variables(panels)]
        },
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


def _variables(panels: tuple[Panel, ...]) -> list[dict[str, Any]]:
    asked = " ".join(query for panel in panels for query in panel.queries.values())
    return [
        {
            "name": name,
            "type": "query",
            "datasource": SOURCE,
            "query": values,
            "refresh": 2,
            "multi": True,
            "includeAll": True,
            "allValue": ".*",
            "current": {"text": "All", "value": "$__all"},
        }
        for name, values in VARIABLES.items()
        if f"${name}" in asked
    ]


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    place = {"x": number % ACROSS * WIDE, "y": number // ACROSS * HIGH, "w": WIDE, "h": HIGH}
    return {
        "id": number + 1,
        "type": "timeseries",
        "title": panel.title,
        "gridPos": place,
        "datasource": SOURCE,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": query, "legendFormat": legend}
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


def files() -> dict[Path, str]:
    """Return what the files should hold, by path."""
    return {
        FOLDER / f"{name}.json": json.dumps(dashboard(name, panels), indent=1) + "\n"
        for name, panels in DASHBOARDS.items()
    }


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name those that are stale; return the exit code."""
    stale = [path for path, text in files().items() if not path.exists() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path} is stale: run `make dashboards`\n")
        return 1 if stale else 0
    FOLDER.mkdir(exist_ok=True)
    for path in stale:
        path.write_text(files()[path], "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
