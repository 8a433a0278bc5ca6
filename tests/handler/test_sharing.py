"""Identical source of several functions: one Job, whoever sends it, and nobody waits for what will never come."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest
from support.world import World, versions

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD, LEASE
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types

ONE, TWO = versions("one", "two")
Looks = list[tuple[str, str, datetime]]


@pytest.fixture
def world() -> World:
    return World(builds_reuse="tenant")


@pytest.fixture
def looks(world: World) -> Looks:
    """Return the looks at a Function that were asked for, each with its moment."""
    asked: Looks = []
    workshop = replace(world.product.workshop, later=lambda *look: asked.append(look))
    world.product = replace(world.product, workshop=workshop)
    return asked


def admitted(world: World, name: str) -> tuple[str, str]:
    said = condition(world.build(name), "Admitted")
    return said.get("reason", ""), said.get("message", "")


def running(world: World) -> list[str]:
    return [one.function for one in world.builder.started.values() if one.name not in world.builder.ends]


def makers(world: World) -> list[str]:
    """Return the functions whose Builds make what others may wait for."""
    found = world.cluster.list(LEASE, "acme-builds", {names.QUEUE_LABEL: "making"})
    return [lease["metadata"]["labels"][names.FUNCTION_LABEL] for lease in found]


def test_the_second_of_two_waits_without_a_slot_and_says_for_whom(world: World) -> None:
    world.start("a")
    world.start("b")
    assert running(world) == ["a"]
    first = world.build("a")["metadata"]["name"]
    assert admitted(world, "b") == ("Shared", f"{first} makes the same")
    assert world.condition("Built", "b") == ("Unknown", "Queued", f"waits: {first} makes the same")
    assert "build.queued" in world.told_types()
    held = world.cluster.list(LEASE, "knative-lambda") + world.cluster.list(LEASE, "acme-builds")
    assert {lease["metadata"]["labels"][names.FUNCTION_LABEL] for lease in held} == {"a"}


def test_what_differs_waits_for_nobody(world: World) -> None:
    world.start("a", source=ONE)
    world.start("b", source=TWO)
    world.start("a", source=ONE, tenant="other")
    assert [(one.tenant, one.function) for one in world.builder.started.values()] == [
        ("acme", "a"),
        ("acme", "b"),
        ("other", "a"),
    ]


def test_an_installation_may_have_each_build_for_itself() -> None:
    apart = World(builds_reuse="none")
    apart.start("a")
    apart.start("b")
    assert running(apart) == ["a", "b"]
    assert makers(apart) == []


def test_looking_again_while_it_waits_writes_nothing(world: World) -> None:
    world.start("a")
    world.start("b")
    before = world.build("b")
    world.tick()
    world.report("Function", "acme", "b")
    assert world.build("b") == before


def fails(world: World) -> None:
    world.fail(Ended(1), b"no such thing\n", name="a")


def is_cancelled(world: World) -> None:
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "a"})


def has_newer_source(world: World) -> None:
    world.start("a", source=TWO)


@pytest.mark.parametrize("ends", [fails, is_cancelled, has_newer_source])
def test_where_the_first_does_not_make_it_the_next_is_looked_at_at_once_and_makes_it(
    world: World, looks: Looks, ends: Callable[[World], None]
) -> None:
    """Each says its own failure: nobody is told of the other's."""
    for name in ("a", "b", "c"):
        world.start(name)
    looks.clear()
    ends(world)
    assert [name for _, name, moment in looks if moment <= world.time] == ["b"]
    world.report("Service", "acme", "b")
    assert "b" in running(world)
    assert "b" in makers(world)
    world.tick()
    assert admitted(world, "c") == ("Shared", f"{world.build('b')['metadata']['name']} makes the same")
    assert record.phase(world.build("c")) == "Queued"


def test_a_deleted_function_keeps_nobody_waiting(world: World) -> None:
    world.start("a")
    world.start("b")
    world.delete("a")
    for build in world.builds():
        if build["spec"]["function"] == "a":
            world.cluster.delete(BUILD, "acme", build["metadata"]["name"])
    world.builder.started.clear()  # its Job was removed
    world.tick()
    world.tick()
    assert running(world) == ["b"]


def test_a_hint_that_is_lost_is_made_up_for_by_the_sweep(world: World) -> None:
    world.start("a")
    world.start("b")
    fails(world)
    world.tick()
    assert running(world) == ["b"]


def test_what_waits_for_its_slot_is_waited_for(world: World) -> None:
    """The Build that others wait for waits itself: for a slot, which nobody holds who waits for it."""
    narrow = World(builds_reuse="tenant", builds_per_tenant=1)
    narrow.start("slow", source=TWO)
    narrow.start("a")
    narrow.start("b")
    assert admitted(narrow, "a")[0] == "Waiting"
    assert admitted(narrow, "b")[0] == "Shared"
    narrow.finish("slow")
    assert running(narrow) == ["a"]


def test_an_attempt_that_the_platform_failed_is_waited_for_until_its_last(world: World) -> None:
    world.start("a")
    world.start("b")
    world.fail(Ended(1, "platform", "Evicted"), name="a")
    world.tick()
    assert makers(world) == ["a"]
    assert admitted(world, "b")[0] == "Shared"


def test_nothing_is_left_of_what_was_shared(world: World) -> None:
    for name in ("a", "b"):
        world.start(name)
    fails(world)
    world.tick()
    world.fail(Ended(1), name="b")
    assert world.cluster.list(LEASE, "acme-builds") + world.cluster.list(LEASE, "knative-lambda") == []
