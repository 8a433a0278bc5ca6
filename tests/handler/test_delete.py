"""Removing a function, and the order of its events."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.world import World, versions

from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler.once import Once
from knative_lambda.handler.product import Product
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Refused, Temporary


def left(world: World) -> list[str]:
    kinds = (FUNCTION, BUILD, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER)
    found = [f"{kind.kind} {body['metadata']['name']}" for kind in kinds for body in world.cluster.list(kind, "acme")]
    return found + [f"Job {body['metadata']['name']}" for body in world.cluster.list(JOB, "acme-builds")]


def copy_marks(there: World, here: World) -> None:
    for stored in there.store.list("tombstones/"):
        here.store.put(stored.key, there.store.get(stored.key, limit=1000) or b"")


def test_a_delete_leaves_nothing_behind(world: World) -> None:
    world.live(triggers=[{"type": "demo"}])
    world.delete()
    assert left(world) == []


def test_a_second_delete_and_a_delete_of_nothing_are_fine(world: World) -> None:
    world.live()
    event = world.delete()
    world.send(event.type, event.data, id=event.id, time=event.time)
    world.delete()
    world.delete("never-there")
    assert left(world) == []


def test_a_delete_while_building_removes_the_job_too(world: World) -> None:
    world.start()
    labels = {"knative-lambda.dev/function": "hello", "knative-lambda.dev/build-uid": world.build()["metadata"]["uid"]}
    meta = {"name": world.attempt(), "namespace": "acme-builds", "labels": labels}
    world.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})
    world.delete()
    assert left(world) == []


def test_the_jobs_of_a_build_that_is_gone_are_swept(world: World) -> None:
    labels = {"knative-lambda.dev/build-uid": "gone", "knative-lambda.dev/build": "hello-x"}
    meta = {"name": "hello-x-1", "namespace": "acme-builds", "labels": labels}
    world.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})
    world.tick()
    assert left(world) == []


def test_a_late_older_start_does_not_bring_a_function_back(world: World) -> None:
    event = world.start()
    world.delete()
    world.send(event.type, event.data, id=event.id, time=event.time)
    assert left(world) == []


def test_a_newer_start_after_a_delete_begins_clean(world: World) -> None:
    world.live()
    old = world.function()["metadata"]["uid"]
    world.delete()
    world.live()
    assert world.function()["metadata"]["uid"] != old
    assert world.condition("Ready")[0] == "True"


def test_an_older_delete_does_not_remove_newer_source(world: World) -> None:
    early = world.time
    world.live()
    world.delete(time=early)
    assert world.functions() == ["hello"]


def test_an_older_start_changes_nothing(world: World) -> None:
    one, two = versions("one", "two")
    early = world.time
    world.start(source=two)
    wanted = world.function()["spec"]
    world.start(source=one, time=early)
    assert world.function()["spec"] == wanted


def test_a_sequence_orders_events_whatever_their_times(world: World) -> None:
    one, two = versions("one", "two")
    world.start(source=two, sequence=8)
    wanted = world.function()["spec"]
    world.start(source=one, sequence=7)
    assert world.function()["spec"] == wanted
    world.delete(data={"sequence": 9}, time=None)
    assert world.functions() == []
    world.start(sequence=9)
    assert world.functions() == [], "an equal key only converges, and there is nothing to converge"
    world.start(sequence=10, time=None)
    assert world.functions() == ["hello"]


def test_a_function_that_has_seen_a_sequence_takes_no_event_without_one(world: World) -> None:
    world.start(sequence=1)
    with pytest.raises(Refused, match="sequence"):
        world.start()
    with pytest.raises(Refused, match="sequence"):
        world.delete()


def test_an_event_that_nothing_orders_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="neither"):
        world.start(time=None)


def test_a_time_too_far_ahead_is_refused(world: World) -> None:
    with pytest.raises(Refused, match="ahead"):
        world.start(time=world.time + timedelta(minutes=6))
    world.start(time=world.time + timedelta(minutes=4))


def test_a_delete_that_was_cut_off_is_finished_by_the_next_delivery(world: World) -> None:
    world.start()
    event = world.delete()
    world.start(name="bystander")
    again = World()
    again.start()
    copy_marks(world, again)
    again.time = world.time
    again.send(event.type, event.data, id=event.id, time=event.time)
    assert again.functions() == []


def test_a_delete_that_was_cut_off_is_finished_by_the_sweep(world: World) -> None:
    """The mark was written, the pod died, and the event never came again."""
    world.live()
    gone = World()
    gone.time = world.time
    gone.delete()
    copy_marks(gone, world)
    world.tick()
    assert left(world) == []


def test_events_of_an_unknown_tenant_are_refused(world: World) -> None:
    for kind in (types.FUNCTION_DELETE, types.BUILD_CANCEL):
        with pytest.raises(Refused, match="no tenant"):
            world.send(kind, {"tenant": "nobody", "name": "hello"})


class Between:
    """A cluster in which something happens right after one call of a sort: a twin, at the worst moment."""

    def __init__(self, cluster: MemoryCluster, call: str, happens: Callable[[], object]) -> None:
        self._cluster, self._call, self._happens = cluster, call, happens

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._cluster, name)
        if name != self._call:
            return found

        def called(*args: Any, **kwargs: Any) -> Any:
            result = found(*args, **kwargs)
            self._call, happens = "", self._happens
            happens()
            return result

        return called


def meanwhile(world: World, call: str, happens: Callable[[], object]) -> Product:
    """Return another process' product, over a cluster where `happens` comes right after the first such call."""
    workshop = replace(world.product.workshop, cluster=Between(world.cluster, call, happens))
    return replace(world.product, workshop=workshop, once=Once())


def test_newer_source_that_comes_while_a_delete_is_under_way_is_not_deleted(world: World) -> None:
    world.start()
    plain, time = world.product, world.time

    def newer() -> None:
        world.product = plain
        world.start(env={"NEWER": "yes"}, time=time + timedelta(seconds=2))

    world.product = meanwhile(world, "get", newer)
    world.delete(time=time + timedelta(seconds=1))
    assert world.function()["spec"]["env"] == {"NEWER": "yes"}


def test_an_older_start_that_comes_while_a_delete_is_under_way_does_not_survive_it(world: World) -> None:
    plain, time = world.product, world.time

    def older() -> None:
        world.product = plain
        world.start(time=time)

    for call in ("get", "list"):
        world.product = meanwhile(world, call, older)
        world.delete(time=time + timedelta(seconds=1))
        world.product = plain
        assert left(world) == [], call


def test_a_function_that_is_going_is_waited_for(world: World) -> None:
    world.start()
    function = world.function()
    function["metadata"]["finalizers"] = ["example.test/wait"]
    world.cluster.replace(FUNCTION, function)
    world.cluster.delete(FUNCTION, "acme", "hello")
    with pytest.raises(Temporary, match="still being deleted"):
        world.start()


def test_the_job_of_a_build_that_a_twin_began_during_a_delete_goes_with_its_first_report(world: World) -> None:
    world.start()
    attempt, uid = world.attempt(), world.build()["metadata"]["uid"]
    world.delete()
    labels = {"knative-lambda.dev/build": attempt[:-2], "knative-lambda.dev/build-uid": uid}
    meta = {"name": attempt, "namespace": "acme-builds", "labels": labels}
    world.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    assert left(world) == []


@pytest.mark.parametrize("year", [1, 999, 1000])
def test_an_early_year_does_not_make_a_function_immortal(world: World, year: int) -> None:
    world.start(time=world.time.replace(year=year))
    world.delete()
    assert left(world) == []


def test_a_namespace_without_the_label_is_no_tenant(world: World) -> None:
    world.namespace("plain", {})
    with pytest.raises(Refused, match="no tenant"):
        world.start(tenant="plain")
