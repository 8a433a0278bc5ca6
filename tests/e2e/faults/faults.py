"""What strikes the cluster while events come: each fault takes something away for a while, and gives it back.

A fault gets the time until which it may strike and returns what it has done: a word for the table, and the names of the
Jobs that it took away by hand, which may be made again.
"""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from support import machine
from support.live import TENANT

from knative_lambda.deploy.cluster import JOB, POD, Cluster, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError

BUILDS = names.builds_namespace(TENANT)
EVENTING = "knative-eventing"


@dataclass
class Done:
    """What a fault has done."""

    said: str
    struck: set[str] = field(default_factory=set)


Strike = Callable[[Cluster, float, float], Done]
"""Gets the cluster, when the sender will be done (monotonic), and how many seconds an outage lasts."""


def receiver_killed(cluster: Cluster, until: float, outage: float) -> Done:
    """SIGKILL the receiver's process, which takes its container, at random moments."""
    killed = 0
    while time.monotonic() < until:
        machine.pause(random.uniform(0.3, 2), until)  # noqa: S311 (chance, no secret)
        running = list(_quietly(lambda: machine.receivers(cluster)))
        for container, pid in random.sample(running, min(1, len(running))):
            killed += machine.kill(pid, container)
    return Done(f"{killed} containers")


def down(process: str) -> Strike:
    """Return the fault that a process of the cluster is away for the length of an outage."""

    def strike(_cluster: Cluster, _until: float, outage: float) -> Done:
        with machine.without(process):
            time.sleep(outage)
        return Done(f"{outage:.0f} s")

    return strike


def pods_deleted(cluster: Cluster, until: float, outage: float) -> Done:
    """Delete Pods of builds by hand while they run."""
    struck: set[str] = set()
    while time.monotonic() < until and len(struck) < 5:
        for name, _ in _quietly(lambda: _unfinished(cluster, POD)):
            job = name.rpartition("-")[0]
            if job not in struck:
                cluster.delete(POD, BUILDS, name)
                struck.add(job)
                break
        time.sleep(0.1)
    return Done(f"{len(struck)} Pods", struck)


def jobs_deleted(cluster: Cluster, until: float, outage: float) -> Done:
    """Delete Jobs by hand while they run."""
    struck: set[str] = set()
    while time.monotonic() < until and len(struck) < 5:
        for name, _ in _quietly(lambda: _unfinished(cluster, JOB)):
            if name not in struck:
                cluster.delete(JOB, BUILDS, name)
                struck.add(name)
                break
        time.sleep(0.1)
    return Done(f"{len(struck)} Jobs", struck)


def api_server_restarted(cluster: Cluster, until: float, outage: float) -> Done:
    """Kill the API server and start it again, twice."""
    for _ in range(2):
        with machine.without("kube-apiserver"):
            pass
        _until_well(cluster)
        time.sleep(5)
    return Done("twice")


def restarted(container: str, labels: dict[str, str]) -> Strike:
    """Return the fault that a container of Knative's is killed, twice."""

    def strike(cluster: Cluster, until: float, outage: float) -> Done:
        killed = 0
        for _ in range(2):
            pods = cluster.list(POD, EVENTING, labels)
            killed += sum(machine.kill(pid, task) for task, pid in machine.containers(pods, container).items())
            time.sleep(8)
        return Done(f"{killed} times")

    return strike


def _unfinished(cluster: Cluster, kind: object) -> dict[str, Object]:
    found = cluster.list(POD, BUILDS)
    running = {pod["metadata"]["name"]: pod for pod in found if pod["status"].get("phase") in ("Pending", "Running")}
    if kind is POD:
        return {name: pod for name, pod in running.items() if not pod["metadata"].get("deletionTimestamp")}
    jobs = {name.rpartition("-")[0] for name in running}
    return {
        job["metadata"]["name"]: job
        for job in cluster.list(JOB, BUILDS)
        if job["metadata"]["name"] in jobs and condition(job, "Complete")["status"] != "True"
    }


def _until_well(cluster: Cluster) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            cluster.list(POD, EVENTING)
        except ProductError:
            time.sleep(0.3)
        else:
            return


def _quietly(look: Callable[[], dict[str, object]]) -> Iterator[tuple[str, object]]:
    """Yield what is found; nothing where the cluster does not answer just now."""
    try:
        yield from look().items()
    except ProductError:
        return


FAULTS: dict[str, Strike] = {
    "receiver killed": receiver_killed,
    "S3 down": down("s3"),
    "registry down": down("registry"),
    "build's Pod deleted": pods_deleted,
    "build's Job deleted": jobs_deleted,
    "API server restarted": api_server_restarted,
    "Broker's ingress restarted": restarted("ingress", {"eventing.knative.dev/brokerRole": "ingress"}),
}
