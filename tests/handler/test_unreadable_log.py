"""A Pod's log that cannot be read: its build ends as it would have, and nobody else notices."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.site import Site
from support.world import DIGEST

from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.deploy.cluster import BUILD, EVENT, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.deploy.guard import PATIENCE, GuardedCluster
from knative_lambda.handler import wire
from knative_lambda.schemas.errors import Refused, Unavailable
from knative_lambda.schemas.guard import Guard, Switches

UNREADABLE = (
    Unavailable("cluster", "containerLogs: i/o timeout"),
    Refused.because("cluster", "nodes/proxy is forbidden"),
)
each_way = pytest.mark.parametrize("error", UNREADABLE, ids=["away", "forbidden"])


class Cut(Site):
    """A site behind the cluster's guard, with no kubelet to be reached."""

    def __init__(self, error: Exception) -> None:
        super().__init__(build_deadline=1800)
        self.guard = Guard("cluster", PATIENCE, switches=Switches(sleep=lambda _: None))
        below = self.cluster

        class NoLogs:
            """The cluster, but for its logs."""

            def __getattr__(self, method: str) -> Callable[..., Any]:
                return self._fail if method == "pod_log" else getattr(below, method)

            def _fail(self, *_: Any, **__: Any) -> bytes:
                raise error

        cluster = GuardedCluster(NoLogs(), self.guard)  # type: ignore[arg-type] # it has whatever is asked of it
        kaniko = Kaniko(cluster, self.store, KanikoSettings("kaniko", "product"), now=lambda: self.time)
        workshop = wire.workshop(self.settings, cluster, kaniko, self.registry, self.store)
        self.product = replace(self.product, workshop=workshop)

    def seen(self, pod: Object) -> None:
        self.report("Pod", "acme-builds", pod["metadata"]["name"])


@each_way
@pytest.mark.parametrize("ending", ["pushed", "failed", "lost"])
def test_a_builds_end_is_written_and_nobody_else_is_refused(error: Exception, ending: str) -> None:
    site = Cut(error)
    site.start()
    job = site.job()
    if ending == "pushed":
        pod = site.exits(job, digest=DIGEST)
    elif ending == "failed":
        pod = site.exits(job, 1)
    else:
        told = [{"type": "DisruptionTarget", "status": "True"}]
        pod = site.pod(job, phase="Failed", reason="NodeLost", conditions=told)
    site.seen(pod)
    ended = {"pushed": ("Succeeded", "Built"), "failed": ("Failed", "BuildFailed"), "lost": ("Queued", "Retrying")}
    build = site.build()
    assert (build["status"]["phase"], condition(build, "Succeeded")["reason"]) == ended[ending]
    assert site.guard.state == "closed"
    site.start("another", tenant="other")


@each_way
def test_a_build_that_cannot_be_heard_still_meets_its_deadline(error: Exception) -> None:
    site = Cut(error)
    site.start()
    since = {"startedAt": site.time.strftime("%Y-%m-%dT%H:%M:%SZ")}
    site.pod(site.job(), phase="Running", containerStatuses=[{"name": "kaniko", "state": {"running": since}}])
    site.time += timedelta(minutes=11)
    site.tick()
    assert site.build()["status"]["phase"] == "Running"
    site.time += timedelta(minutes=30)
    site.tick()
    build = site.build()
    assert (build["status"]["phase"], condition(build, "Succeeded")["reason"]) == ("Failed", "DeadlineExceeded")
    assert site.guard.state == "closed"


def test_a_build_without_a_pod_for_a_quota_is_tried_again_after_a_pause() -> None:
    """It gave up its slot only at the deadline of the whole build, and failed then."""
    site = Site()
    site.start()
    job = site.job()
    about, now = {"uid": job["metadata"]["uid"]}, site.time.strftime("%Y-%m-%dT%H:%M:%SZ")
    meta = {"name": "quota", "namespace": "acme-builds"}
    words = {"reason": "FailedCreate", "type": "Warning", "message": "pods is forbidden: exceeded quota: builds"}
    event = {"apiVersion": "v1", "kind": "Event", "metadata": meta, "involvedObject": about, "lastTimestamp": now}
    site.cluster.create(EVENT, event | words)
    site.time += timedelta(minutes=5)
    site.tick()
    build = site.cluster.get(BUILD, "acme", site.build()["metadata"]["name"])
    assert build is not None
    assert build["status"]["phase"] == "Queued"
    assert condition(build, "Retrying")["reason"] == "QuotaExceeded"
    assert site.jobs() == []
    site.time += timedelta(minutes=5)
    site.tick()
    assert site.build()["status"]["phase"] == "Running"
    assert site.build()["status"]["attempt"] == 2
