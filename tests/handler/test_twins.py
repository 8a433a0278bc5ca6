"""Two replicas at once, at the worst moment: whoever is late reads again, and the end is as if there had been one."""

from dataclasses import replace
from typing import Any

import pytest
from support.world import DIGEST, World, versions

from knative_lambda.builds import ends, record, settle
from knative_lambda.builds.ends import Outcome
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Kind
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary


class Disturbed:
    """A cluster in which a twin writes the object right before each of the first `times` writes of a kind."""

    def __init__(self, world: World, call: str, kind: Kind, times: int) -> None:
        self._cluster, self._call, self._kind, self._left = world.cluster, call, kind, times
        self.disturbed = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cluster, name)
        if name != self._call:
            return found

        def called(kind: Kind, body: Any, *args: Any) -> Any:
            if kind == self._kind and self._left:
                self._left -= 1
                self.disturbed += 1
                meta = body["metadata"]
                live = self._cluster.get(kind, meta["namespace"], meta["name"])
                if live is not None:
                    live["metadata"].setdefault("labels", {})["touched"] = str(self.disturbed)
                    self._cluster.replace(kind, live)
            return found(kind, body, *args)

        return called


def disturb(world: World, call: str, kind: Kind, times: int = 1) -> Disturbed:
    cluster = Disturbed(world, call, kind, times)
    world.product = replace(world.product, workshop=replace(world.product.workshop, cluster=cluster))
    return cluster


@pytest.mark.parametrize(
    ("call", "kind"), [("replace", FUNCTION), ("replace_status", FUNCTION), ("replace_status", BUILD)]
)
def test_whoever_was_late_reads_again(world: World, call: str, kind: Kind) -> None:
    one, two = versions("one", "two")
    world.live(source=one)
    twin = disturb(world, call, kind)
    world.start(source=two)
    world.finish(digest="sha256:" + "e" * 64)
    world.knative()
    assert twin.disturbed == 1
    assert world.service_image().endswith("e" * 64)
    assert world.condition("Ready")[0] == "True"
    assert world.builder.starts == 2


@pytest.mark.parametrize(("call", "kind"), [("replace", FUNCTION), ("replace_status", FUNCTION)])
def test_whoever_is_late_too_often_says_so_and_the_event_comes_again(world: World, call: str, kind: Kind) -> None:
    world.live()
    disturb(world, call, kind, times=1000)
    with pytest.raises(Temporary, match="too many writers"):
        world.start(env={"A": "1"}, source={"inline": {"main.py": "def handle(event, context): return 2\n"}})


def test_twins_that_begin_one_build_start_one_job(world: World) -> None:
    world.start()
    build = world.build()
    before = {**build, "status": {}, "metadata": {**build["metadata"], "resourceVersion": "1"}}
    with pytest.raises(Temporary):
        settle.settle(before, world.product.workshop, world.time)
    assert world.builder.starts == 1


def test_a_build_that_has_ended_stays_as_it_is(world: World) -> None:
    world.live()
    build = world.build()
    assert ends.finish(build, Outcome("Failed", "Late", ""), world.product.workshop, world.time) == build
    assert world.condition("Built")[0] == "True"


def test_a_build_that_nobody_points_to_is_ended_by_its_own_report(world: World) -> None:
    """Superseded between two steps: the newer Build was pointed to, and the pod died before the older one was ended."""
    one, two = versions("one", "two")
    world.start(source=one)
    old, attempt = world.build(), world.attempt()
    world.start(source=two)
    lost = world.cluster.get(BUILD, "acme", old["metadata"]["name"])
    assert lost is not None
    world.cluster.replace_status(BUILD, {**lost, "status": old["status"]})
    world.builder.started[attempt] = record.attempt_of(old, 1)
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    ended = world.cluster.get(BUILD, "acme", old["metadata"]["name"])
    assert ended is not None
    assert ended["status"]["phase"] == "Cancelled"
    assert attempt not in world.builder.started


def test_what_runs_for_a_cancelled_build_is_removed_by_its_own_report(world: World) -> None:
    """A twin that had written that the build begins was late: it started the Job after the cancel was done."""
    world.start()
    attempt = world.attempt()
    begun = dict(world.builder.started)
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    world.builder.started.update(begun)
    world.registry.known[f"registry/acme/hello:{attempt}"] = DIGEST
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    assert attempt not in world.builder.started
    assert world.condition("Built")[:2] == ("False", "Cancelled"), "a late image changes nothing"


def test_a_report_from_a_namespace_that_is_no_tenants_leads_nowhere(world: World) -> None:
    world.namespace("plain", {})
    for kind in ("Function", "Service", "Trigger", "Revision", "Build", "Pod", "Job"):
        for namespace in ("plain", "plain-builds", "nowhere-builds"):
            world.report(kind, namespace, "hello-abc-1-xyz")
    assert world.functions() == []
