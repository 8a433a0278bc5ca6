"""A real cluster with the product on it: `make e2e` brings both, and says where they are in the environment."""

import os
import uuid
from collections.abc import Iterator

import pytest
from support.live import TENANT, Collector, Live, within

from knative_lambda.deploy.cluster import FUNCTION, TRIGGER

NEEDED = ("KUBECONFIG", "BROKER_INGRESS", "REGISTRY", "PYTHON_BASE")


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        pytest.fail(f"run these through `make e2e`: {', '.join(missing)} is not set")
    found = Live(Collector())
    trigger = {
        "apiVersion": TRIGGER.api_version,
        "kind": TRIGGER.kind,
        "metadata": {"name": f"e2e-{uuid.uuid4().hex[:8]}", "namespace": TENANT},
        "spec": {"broker": "default", "subscriber": {"uri": found.collector.url}},
    }
    made = found.cluster.create(TRIGGER, trigger)
    place = (TRIGGER, TENANT, made["metadata"]["name"])

    def is_ready() -> bool:
        now = found.cluster.get(*place) or {}
        return any(c["type"] == "Ready" and c["status"] == "True" for c in now.get("status", {}).get("conditions", []))

    within(60, "the collector's Trigger is ready", is_ready)
    for function in found.cluster.list(FUNCTION, TENANT):  # what a run that was cut off has left
        found.delete(function["metadata"]["name"])
    yield found
    found.cluster.delete(*place)
    found.collector.close()
