"""What a report costs: of a Pod, and of a Function's own status, a dozen come, and nearly all of them say nothing."""

from dataclasses import replace
from typing import Any

import pytest
from support.site import Site
from support.world import DIGEST

from knative_lambda.deploy.cluster import FUNCTION, POD
from knative_lambda.deploy.memory import MemoryCluster


class Counted:
    """A cluster that counts what is asked of it."""

    def __init__(self, below: MemoryCluster) -> None:
        self._below = below
        self.calls: list[str] = []

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._below, method)

        def called(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(f"{method} {args[0].kind}")
            return found(*args, **kwargs)

        return called


@pytest.fixture
def site() -> Site:
    site = Site()
    site.start()
    return site


def asked(site: Site, kind: str, namespace: str, name: str) -> list[str]:
    """Return what a report has asked of the cluster."""
    counted = Counted(site.cluster)
    product = site.product
    site.product = replace(product, workshop=replace(product.workshop, cluster=counted))
    site.report(kind, namespace, name)
    site.product = product
    return counted.calls


@pytest.mark.parametrize(
    "status",
    [
        {"phase": "Pending"},
        {"phase": "Running", "initContainerStatuses": [{"name": "fetch", "state": {"terminated": {"exitCode": 0}}}]},
        {"phase": "Running", "containerStatuses": [{"name": "kaniko", "state": {"running": {"startedAt": "…"}}}]},
    ],
    ids=["pending", "fetched", "running"],
)
def test_a_pod_that_goes_on_costs_two_reads(site: Site, status: dict[str, Any]) -> None:
    pod = site.pod(site.job(), **status)["metadata"]
    assert asked(site, "Pod", "acme-builds", pod["name"]) == ["get Namespace", "get Pod"]


def test_a_pod_that_somebody_deletes_is_followed_while_it_still_runs(site: Site) -> None:
    pod = site.pod(site.job(), phase="Running")
    site.cluster.replace(POD, {**pod, "metadata": {**pod["metadata"], "finalizers": ["tests/stay"]}})
    site.cluster.delete(POD, "acme-builds", pod["metadata"]["name"])
    assert "get Build" in asked(site, "Pod", "acme-builds", pod["metadata"]["name"])


def test_a_pod_that_ended_or_is_gone_is_followed_to_its_build(site: Site) -> None:
    pod = site.exits(site.job(), 1)["metadata"]
    assert "get Build" in asked(site, "Pod", "acme-builds", pod["name"])
    assert site.condition("Built")[:2] == ("False", "BuildFailed")
    assert "get Build" in asked(site, "Pod", "acme-builds", "hello-abc-1-gone")


def test_a_function_of_which_all_is_said_costs_two_reads(site: Site) -> None:
    assert asked(site, "Function", "acme", "hello") == ["get Namespace", "get Function"]


def test_a_services_report_reads_each_child_once(site: Site) -> None:
    site.exits(site.job(), digest=DIGEST)
    site.report("Job", "acme-builds", site.job()["metadata"]["name"])
    calls = asked(site, "Service", "acme", "hello")
    assert [call for call in calls if "Service" in call or "Trigger" in call] == [
        "list Trigger",
        "get ServiceAccount",
        "get Service",
    ]


def test_a_function_that_a_person_changed_is_brought_forward(site: Site) -> None:
    function = site.function()
    site.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], "triggers": [{"type": "demo"}]}})
    assert len(asked(site, "Function", "acme", "hello")) > 2
    found = site.function()
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]


def test_a_function_that_still_owes_is_told_to_whoever_sends(site: Site) -> None:
    site.owing.clear()
    function = site.function()
    owed = [{"id": "1", "type": "dev.knative-lambda.build.started", "data": {}}]
    site.cluster.replace_status(FUNCTION, {**function, "status": {**function["status"], "outbox": owed}})
    handled = asked(site, "Function", "acme", "hello")
    assert handled[:2] == ["get Namespace", "get Function"]
    assert not site.outbox(), "it was sent"
