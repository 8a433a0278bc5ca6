"""A real cluster with the product on it: `make e2e` brings both, and says where they are in the environment."""

import os
from collections.abc import Iterator

import pytest
from support.live import TENANT, Collector, Live
from support.recorded import Recorded

from knative_lambda.deploy.cluster import FUNCTION

NEEDED = ("KUBECONFIG", "BROKER_INGRESS", "REGISTRY", "PYTHON_BASE")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Ask what all stories did once all were told."""
    items.sort(key=lambda item: item.name.startswith("test_the_effects"))


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


@pytest.fixture(autouse=True)
def tidy(live: Live) -> None:
    """Begin without the subscribers that Knative's channel has kept of Triggers that are gone."""
    live.forget_the_gone()


@pytest.fixture(scope="session", autouse=True)
def recorded(live: Live) -> Iterator[Recorded]:
    """Gather the effects of all stories from the first on."""
    found = Recorded(live.cluster, "knative-lambda")
    found.start()
    yield found
    found.stop()
