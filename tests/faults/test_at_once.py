"""Several replicas at once, in threads over one cluster: the same event makes one Job, and the newest decides."""

import random
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.estate import Estate
from support.stories import start
from support.world import counted_uids

from knative_lambda.builds import record
from knative_lambda.builds.builders import Builders
from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.builds.layered import Layered
from knative_lambda.deploy.cluster import BUILD, JOB, KNATIVE_SERVICE, LEASE, Cluster
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.handler.events import Event
from knative_lambda.handler.once import Once
from knative_lambda.handler.product import Product
from knative_lambda.handler.router import handle
from knative_lambda.handler.wire import reuse, workshop
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary

REPLICAS = 4
THREADS = 20
DELIVERIES = 50
"""How often a Broker delivers what is answered with 503; a real one does it less often, but waits in between."""


@pytest.fixture(autouse=True)
def impatient() -> Iterator[None]:
    """Let the threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def replica(estate: Estate, cluster: Cluster) -> Product:
    """Return another process' product over the same cluster, store and registry."""
    kaniko = Kaniko(cluster, estate.store, KanikoSettings("kaniko", "fetch"), now=lambda: estate.time)
    builders = Builders(kaniko, Layered(estate.store, estate.registry, estate.pusher))
    touched = workshop(estate.settings, cluster, builders, estate.registry, estate.store)
    touched = replace(touched, reuse=reuse(estate.settings, cluster, estate.pusher))
    owing: list[tuple[str, str]] = []
    return replace(
        estate.product, workshop=touched, owes=lambda tenant, name: owing.append((tenant, name)), once=Once()
    )


def at_once(events: Sequence[Event], products: Sequence[Product]) -> Counter[str]:
    """Deliver the events at once, each to some replica, and again where the answer says so; return what was raised."""
    raised: Counter[str] = Counter()
    begin = threading.Barrier(THREADS)

    def work(mine: Sequence[tuple[int, Event]]) -> None:
        begin.wait()
        for number, event in mine:
            for delivery in range(DELIVERIES):
                try:
                    handle(event, products[(number + delivery) % len(products)])
                except Temporary:
                    continue
                except Exception as error:  # noqa: BLE001 - told by the test
                    raised[repr(error)] += 1
                break
            else:
                raised["given up"] += 1

    numbered = list(enumerate(events))
    threads = [threading.Thread(target=work, args=(numbered[which::THREADS],)) for which in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return raised


@pytest.mark.parametrize("shared", ["memory", "file"])
def test_the_same_event_a_hundred_times_at_once_makes_one_job(shared: str, tmp_path: Path) -> None:
    """In one file each replica has a connection of its own, as processes have."""
    estate = Estate()
    clusters: list[Cluster] = [estate.cluster] * REPLICAS
    if shared == "file":
        estate.cluster.close()
        files = [SQLiteCluster(tmp_path / "objects.db", new_uid=counted_uids()) for _ in range(REPLICAS)]
        clusters = [*files]
        for kind, body in Estate().namespaces():
            files[0].create(kind, body)
    event = start(triggers=[{"type": "demo"}])(estate)
    raised = at_once([event] * 100, [replica(estate, cluster) for cluster in clusters])
    assert raised == {}
    [build] = clusters[0].list(BUILD, "acme")
    [job] = clusters[0].list(JOB, "acme-builds")
    assert job["metadata"]["name"] == f"{build['metadata']['name']}-1"
    assert (record.phase(build), build["status"]["attempt"]) == ("Running", 1)
    assert [len(clusters[0].list(LEASE, place)) for place in ("acme-builds", "knative-lambda")] == [1, 1]
    if shared == "file":
        for each in files:
            each.close()


def test_the_same_code_a_hundred_times_at_once_makes_one_image_and_no_job() -> None:
    """Whoever lays it beside others lays the same."""
    estate = Estate(layers=True)
    event = start(triggers=[{"type": "demo"}])(estate)
    raised = at_once([event] * 100, [replica(estate, estate.cluster) for _ in range(REPLICAS)])
    assert raised == {}
    [build] = estate.builds()
    assert record.phase(build) == "Succeeded"
    assert estate.service_image() == build["status"]["image"]
    assert [tag for tag in estate.registry.known if tag.startswith("registry/acme/")] == [
        f"registry/acme/hello:{build['metadata']['name']}-1"
    ]
    assert estate.cluster.list(JOB, "acme-builds") == []


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("newest", [types.BUILD_START, types.BUILD_CANCEL, types.FUNCTION_DELETE])
def test_of_events_that_come_at_once_the_newest_decides(newest: str, seed: int) -> None:
    """Starts, cancels and deletes of one function from all replicas, some of them twice, in no order at all."""
    chance = random.Random(f"{newest} {seed}")  # noqa: S311 - a game, and the same one each time
    kinds = [chance.choice((types.BUILD_START, types.BUILD_CANCEL, types.FUNCTION_DELETE)) for _ in range(12)]
    estate, place = Estate(), {"tenant": "acme", "name": "hello"}
    events = []
    for number, kind in enumerate([*kinds, newest], 1):
        said = f"version {number % 3}"
        data = start(said)(estate).data if kind == types.BUILD_START else place
        events.append(estate.event(kind, {**data, "sequence": number}, id=f"event {number}"))
    again = [*events, *chance.sample(events, 5)]
    chance.shuffle(again)
    products = [replica(estate, estate.cluster) for _ in range(REPLICAS)]
    assert at_once(again, products) == {}
    estate.rest(told=False)
    functions = estate.functions()
    if newest == types.BUILD_START:
        image = f"registry/acme/hello@{estate.pushed(events[-1])}"
        assert (functions, estate.service_image(), estate.condition("Ready")[0]) == (["hello"], image, "True")
    elif newest == types.FUNCTION_DELETE:
        assert [kind.kind for kind, _ in estate.objects()] == []
    else:
        assert [build for build in estate.builds() if record.phase(build) not in record.TERMINAL] == []
    assert estate.cluster.list(LEASE, "acme-builds") == estate.cluster.list(LEASE, "knative-lambda") == []


def test_of_builds_of_many_functions_at_once_no_more_run_than_may() -> None:
    """Forty starts at once: slots are never exceeded, every one gets its turn, and each is built once."""
    estate = Estate(builds_per_tenant=2, builds_at_once=3)
    events = [
        start(f"v{number}", name=f"f{number}", tenant=("acme", "other")[number % 2])(estate) for number in range(40)
    ]
    assert at_once(events, [replica(estate, estate.cluster) for _ in range(REPLICAS)]) == {}
    for _ in range(60):
        jobs = [len(estate.running(tenant)) for tenant in ("acme", "other")]
        assert max(jobs) <= 2
        assert sum(jobs) <= 3
        estate.advance()
    builds = [build for tenant in ("acme", "other") for build in estate.builds(tenant)]
    assert Counter(record.phase(build) for build in builds) == {"Succeeded": 40}
    assert len(estate.jobs_made) == len(set(estate.jobs_made)) == 40


def test_the_same_source_of_forty_functions_at_once_makes_one_job_of_each_tenant() -> None:
    """All of them answer, each from a repository of its own."""
    estate = Estate(builds_reuse="tenant")
    places = [(("acme", "other")[number % 2], f"f{number}") for number in range(40)]
    events = [start(tenant=tenant, name=name)(estate) for tenant, name in places]
    assert at_once(events, [replica(estate, estate.cluster) for _ in range(REPLICAS)]) == {}
    assert {tenant: len(estate.running(tenant)) for tenant in ("acme", "other")} == {"acme": 1, "other": 1}
    estate.rest()
    digest = estate.pushed(events[0])
    for tenant, name in places:
        service = estate.cluster.get(KNATIVE_SERVICE, tenant, name)
        assert service is not None
        [container] = service["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"registry/{tenant}/{name}@{digest}"
    assert len(estate.jobs_made) == 2
    assert [estate.cluster.list(LEASE, place) for place in ("acme-builds", "other-builds", "knative-lambda")] == [
        []
    ] * 3
