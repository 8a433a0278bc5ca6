"""A real cluster with the product on it: `make e2e` brings both, and says where they are in the environment."""

import os
from collections.abc import Iterator

import pytest
from support.live import TENANT, Collector, Live

from knative_lambda.deploy.cluster import FUNCTION

NEEDED = ("KUBECONFIG", "BROKER_INGRESS", "REGISTRY", "PYTHON_BASE")


@pytest.fixture(scope="session")
def live() -> Iterator[Live]:
    missing = [name for name in NEEDED if name not in os.environ]
    if missing:
        pytest.fail(f"run these through `make e2e`: {', '.join(missing)} is not set")
    found = Live(Collector())
    trigger = found.collect()
    for function in found.cluster.list(FUNCTION, TENANT):  # what a run that was cut off has left
        found.delete(function["metadata"]["name"])
    yield found
    found.cluster.delete(*trigger)
    found.collector.close()
