"""Slots: never more builds at once than allowed, in the order of arrival, fair between tenants, and none forgotten."""

import re
import threading
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from support.world import DIGEST, World, versions

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.builds.slots import SlotLimits
from knative_lambda.deploy.cluster import BUILD, FUNCTION, LEASE, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types

EVERYWHERE = "knative-lambda"


@pytest.fixture
def world() -> World:
    return World(builds_per_tenant=2, builds_at_once=3)


def leases(world: World, namespace: str, sort: str = "slot") -> list[Object]:
    return world.cluster.list(LEASE, namespace, {names.QUEUE_LABEL: sort})


def building(world: World, tenant: str = "acme") -> list[str]:
    """Return the functions whose attempts run, in the order in which they were started."""
    builder = world.builder
    return [one.function for one in builder.started.values() if one.tenant == tenant and one.name not in builder.ends]


def end(world: World, name: str, tenant: str = "acme") -> None:
    """Let a function's running attempt push its image and end, and report its Pod."""
    [build] = [one for one in world.builds(tenant) if (one["spec"]["function"], record.phase(one)) == (name, "Running")]
    attempt = f"{build['metadata']['name']}-{build['status']['attempt']}"
    world.registry.known[f"registry/{tenant}/{name}:{attempt}"] = DIGEST
    world.builder.ends[attempt] = Ended(0)
    world.report("Pod", names.builds_namespace(tenant), f"{attempt}-abcde")


def test_no_more_run_at_once_than_a_tenant_may(world: World) -> None:
    for name in ("a", "b", "c", "d"):
        world.start(name)
    assert building(world) == ["a", "b"]
    assert {one["metadata"]["name"] for one in leases(world, "acme-builds")} == {"slot-0", "slot-1"}
    assert world.condition("Built", "c")[:2] == ("Unknown", "Queued")
    assert condition(world.build("c"), "Admitted")["reason"] == "Waiting"


def test_no_more_run_at_once_than_all_may(world: World) -> None:
    for name in ("a", "b"):
        world.start(name)
    for name in ("x", "y"):
        world.start(name, tenant="other")
    assert (building(world), building(world, "other")) == (["a", "b"], ["x"])
    assert len(leases(world, EVERYWHERE)) == 3


def test_a_slot_says_whose_it_is(world: World) -> None:
    world.start("a")
    uid = world.build("a")["metadata"]["uid"]
    for namespace in ("acme-builds", EVERYWHERE):
        assert [one["spec"]["holderIdentity"] for one in leases(world, namespace)] == [uid]
    assert re.fullmatch(r"slot-\d of acme, slot-\d of all", condition(world.build("a"), "Admitted")["message"])


def test_those_that_wait_are_started_in_the_order_of_their_arrival(world: World) -> None:
    for name in ("a", "b", "d", "c", "e"):
        world.start(name)
    for name in ("a", "b", "d", "c"):
        end(world, name)
    assert [one.function for one in world.builder.started.values()] == ["a", "b", "d", "c", "e"]


def test_the_tenant_with_the_fewest_builds_comes_first(world: World) -> None:
    """One tenant's burst leaves the other alone."""
    for name in ("a", "b", "c", "d"):
        world.start(name)
    for name in ("x", "y"):
        world.start(name, tenant="other")
    end(world, "a")
    assert (building(world), building(world, "other")) == (["b", "c"], ["x"]), "acme's own slot went to acme"
    end(world, "x", "other")
    assert building(world, "other") == ["y"], "other has none, acme has two"


def test_that_a_build_waits_and_when_it_starts_is_told(world: World) -> None:
    for name in ("a", "b", "c"):
        world.start(name)
    assert world.told_types() == ["build.started", "build.started", "build.queued"]
    end(world, "a")
    assert world.told_types().count("build.started") == 3


def test_a_build_that_ends_gives_both_slots_back(world: World) -> None:
    world.live("a")
    assert leases(world, "acme-builds") == leases(world, EVERYWHERE) == []
    assert condition(world.build("a"), "Admitted")["reason"] == "Released"


def test_a_slot_is_not_free_before_nothing_of_the_cancelled_build_runs(world: World) -> None:
    """Deleting a Job leaves its Pod running for as long as its grace period."""
    for name in ("a", "b", "c"):
        world.start(name)
    attempt = world.attempt("a")
    world.builder.lingering.add(attempt)
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "a"})
    assert len(leases(world, "acme-builds")) == 2
    assert building(world) == ["b"], "the slot of the Pod that is still going is nobody else's"
    world.builder.lingering.clear()
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    assert building(world) == ["b", "c"]
    assert condition(world.build("a"), "Started")["reason"] == "Stopped"


def test_a_cancelled_build_that_waited_leaves_the_queue(world: World) -> None:
    for name in ("a", "b", "c"):
        world.start(name)
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "c"})
    assert leases(world, EVERYWHERE, "ticket") == []
    end(world, "a")
    assert building(world) == ["b"]


def test_newer_source_takes_the_place_of_the_build_that_waited(world: World) -> None:
    one, two = versions("one", "two")
    world.start("a")
    world.start("b")
    world.start("c", source=one)
    world.start("c", source=two)
    assert len(leases(world, EVERYWHERE, "ticket")) == 1
    end(world, "a")
    assert building(world) == ["b", "c"]
    assert world.build("c")["status"]["phase"] == "Running"


def test_the_slots_of_a_function_that_was_deleted_are_found_by_the_sweep(world: World) -> None:
    for name in ("a", "b", "c", "d"):
        world.start(name)
    world.delete("a")
    world.delete("c")
    world.builder.started.pop(next(name for name in world.builder.started if name.startswith("a-")))
    world.tick()
    assert building(world) == ["b", "d"]
    assert leases(world, EVERYWHERE, "ticket") == []


def test_what_no_report_told_the_sweep_admits(world: World) -> None:
    for name in ("a", "b", "c"):
        world.start(name)
    attempt = world.attempt("a")
    world.registry.known[f"registry/acme/a:{attempt}"] = DIGEST
    world.builder.ends[attempt] = Ended(0)
    world.tick()
    assert building(world) == ["b", "c"]


def test_a_build_that_does_not_begin_when_its_turn_comes_keeps_nobody_from_theirs(world: World) -> None:
    """Somebody's finalizer holds its Function, say: nobody brings that forward."""
    for name in ("a", "b", "stuck", "d"):
        world.start(name)
    get = world.cluster.get

    def held(kind: Kind, namespace: str, name: str) -> Object | None:
        found = get(kind, namespace, name)
        if found and (kind, name) == (FUNCTION, "stuck"):
            found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
        return found

    world.cluster.get = held  # type: ignore[method-assign]
    end(world, "a")
    assert building(world) == ["b", "d"]
    world.cluster.get = get  # type: ignore[method-assign]
    world.tick()
    end(world, "b")
    assert building(world) == ["d", "stuck"], "the sweep had put it into the queue again"


def test_a_slot_that_was_taken_before_the_handler_died_is_used_by_the_next(world: World) -> None:
    world.start("a")
    build, name = world.build("a"), world.build("a")["metadata"]["name"]
    world.cluster.replace_status(BUILD, {**build, "status": {}})
    world.builder.started.clear()
    world.tick()
    assert world.builder.started.keys() == {f"{name}-1"}
    assert len(leases(world, "acme-builds")) == len(leases(world, EVERYWHERE)) == 1


def test_a_thousand_starts_are_all_kept_and_the_sweep_does_not_walk_them(world: World) -> None:
    """Only those that can go on cost anything."""
    for number in range(200):
        world.start(f"f{number}")
    assert len(leases(world, EVERYWHERE, "ticket")) == 198
    read = []
    get = world.cluster.get
    world.cluster.get = lambda kind, *place: read.append(kind) or get(kind, *place)  # type: ignore[method-assign,func-returns-value]
    world.tick()
    assert read.count(FUNCTION) < 20


def test_a_platforms_failure_keeps_its_slot_for_the_next_attempt(world: World) -> None:
    """Its deadline goes on, so it must not wait behind others; and a twin that is late has nothing to give back."""
    for name in ("a", "b", "c"):
        world.start(name)
    world.fail(Ended(1, "platform", "Evicted", "low on memory"), name="a")
    assert building(world) == ["b"]
    assert world.condition("Built", "a")[:2] == ("Unknown", "Retrying")
    world.time += timedelta(minutes=5)
    world.tick()
    assert building(world) == ["b", "a"]
    assert world.build("a")["status"]["attempt"] == 2
    end(world, "a")
    assert building(world) == ["b", "c"]


def test_a_twin_that_was_late_gives_back_no_slot_that_another_attempt_needs() -> None:
    world = World(builds_at_once=1, builds_per_tenant=1)
    world.start("a")
    attempt, is_idle, done = world.attempt("a"), world.builder.is_idle, list[int]()
    world.builder.ends[attempt] = Ended(1, "platform", "Evicted", "")

    def late(tenant: str, uid: str) -> bool:
        found = is_idle(tenant, uid)
        if not done:
            done.append(1)
            world.report("Pod", "acme-builds", f"{attempt}-abcde")
            world.time += timedelta(seconds=30)
            world.tick()
        return found

    world.builder.is_idle = late  # type: ignore[method-assign]
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    assert len(building(world)) == len(leases(world, EVERYWHERE)) == len(leases(world, "acme-builds")) == 1


def test_a_twin_that_was_late_does_not_drop_the_slot_that_the_other_builds_with(world: World) -> None:
    slots, create, done = world.product.workshop.slots, world.cluster.create, list[int]()
    for name in ("mine", "another", "third"):
        world.start(name, builder="external")
    mine, another, third = (world.build(name) for name in ("mine", "another", "third"))
    object.__setattr__(slots, "limits", SlotLimits(2, 2))
    assert slots.take(another, world.time)

    def late(kind: Kind, body: Object) -> Object:
        if body["metadata"]["namespace"] == EVERYWHERE and not done:
            done.append(1)
            slots.free("acme", another["metadata"]["uid"])
            assert slots.take(mine, world.time), "the twin has both"
            assert slots.take(third, world.time)
        return create(kind, body)

    world.cluster.create = late  # type: ignore[method-assign]
    slots.take(mine, world.time)
    uids = {one["spec"]["holderIdentity"] for one in leases(world, "acme-builds")}
    assert uids == {mine["metadata"]["uid"], third["metadata"]["uid"]}


def test_a_cancel_beside_a_start_leaves_no_slot_taken(world: World) -> None:
    """The slots were taken, then the Build was cancelled, then the start found that out."""
    take = world.product.workshop.slots.cluster.create
    done = list[int]()

    def cancelled_meanwhile(kind: Kind, body: Object) -> Object:
        made = take(kind, body)
        if kind == LEASE and body["metadata"]["namespace"] == EVERYWHERE and not done:
            done.append(1)
            world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "a"})
        return made

    world.cluster.create = cancelled_meanwhile  # type: ignore[method-assign]
    world.start("a")
    assert building(world) == []
    assert leases(world, EVERYWHERE) == leases(world, "acme-builds") == []


def test_the_slots_of_a_tenant_that_is_served_no_more_are_given_back() -> None:
    world = World(builds_at_once=1, builds_per_tenant=1)
    world.start("x", tenant="other")
    world.start("a")
    world.builder.ends[f"{world.builds('other')[0]['metadata']['name']}-1"] = Ended(0)
    settings = replace(world.settings, tenants=("acme",))
    world.product = replace(world.product, settings=settings)
    world.tick()
    assert building(world) == ["a"]


def leases_read(world: World) -> int:
    """Return how many Leases one more start reads."""
    listed, find = list[int](), world.cluster.list

    def counted(kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0) -> list[Object]:
        found = find(kind, namespace, labels, most=most)
        listed.append(len(found) if kind == LEASE else 0)
        return found

    world.cluster.list = counted  # type: ignore[method-assign]
    world.start("last")
    return sum(listed)


def test_one_tenants_burst_costs_a_start_no_look_at_the_whole_queue() -> None:
    world = World(builds_per_tenant=2, builds_at_once=10)
    for number in range(50):
        world.start(f"f{number}")
    assert leases_read(world) < 20


def test_a_start_for_which_there_is_room_looks_at_none_of_the_slots_that_others_hold() -> None:
    world = World(builds_per_tenant=10**6, builds_at_once=10**6)
    for number in range(50):
        world.start(f"f{number}")
    assert leases_read(world) == 0
    assert len(building(world)) == 51


@pytest.mark.parametrize("number", range(5))
def test_where_the_slot_that_is_tried_first_is_taken_another_is_found(number: int) -> None:
    """The last free one too, of the tenant's and of all."""
    world = World(builds_per_tenant=5, builds_at_once=5)
    for each in range(4):
        world.start(f"f{each}")
    world.start(f"last-{number}")
    assert len(building(world)) == 5


def test_however_many_race_no_more_than_the_limit_get_a_slot(world: World) -> None:
    """Threads that all see free slots at once: the Leases' names are the lock."""
    for number in range(12):
        world.start(f"f{number}")
    for lease in (*leases(world, EVERYWHERE), *leases(world, "acme-builds"), *leases(world, EVERYWHERE, "ticket")):
        world.cluster.delete(LEASE, lease["metadata"]["namespace"], lease["metadata"]["name"])
    slots, gate, held = world.product.workshop.slots, threading.Barrier(12), list[str]()

    def race(build: Object) -> None:
        gate.wait()
        held.append(slots.take(build, world.time))

    threads = [threading.Thread(target=race, args=(build,)) for build in world.builds()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 1 <= sum(map(bool, held)) <= 2
    assert len(leases(world, EVERYWHERE)) == len(leases(world, "acme-builds")) == sum(map(bool, held))
