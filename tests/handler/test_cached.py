"""Layers that Kaniko keeps for a tenant: for builds to come, and not for ever."""

from datetime import timedelta

import pytest
from support.leftovers import DAY, HOUR, later, stored
from support.world import DIGEST, World

from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas.errors import Refused

PLACE = "registry/acme/layers.kaniko"
SOURCE = {"inline": {"Dockerfile": "FROM scratch\n"}}
TAG = f"{PLACE}:{'ab' * 32}"


@pytest.fixture
def world() -> World:
    """Return a world whose Kaniko has kept a layer."""
    world = World(build_cache=48)
    world.registry.known[TAG] = DIGEST
    return world


def test_builds_of_a_tenant_share_a_place_and_have_none_with_another(world: World) -> None:
    for tenant, name in (("acme", "one"), ("acme", "two"), ("other", "one")):
        world.start(name, tenant=tenant, runtime="dockerfile", source=SOURCE)
    places = [(attempt.tenant, attempt.cache) for attempt in world.builder.started.values()]
    assert places == [("acme", PLACE), ("acme", PLACE), ("other", "registry/other/layers.kaniko")]


def test_a_build_that_is_to_be_fresh_takes_nothing_that_was_kept(world: World) -> None:
    world.start(runtime="dockerfile", source=SOURCE)
    world.finish()
    world.start(runtime="dockerfile", source=SOURCE, rebuild=True)
    assert [attempt.cache for attempt in world.builder.started.values()] == [PLACE, ""]


def test_what_was_kept_goes_when_its_time_is_over(world: World) -> None:
    later(world, HOUR)
    assert stored(world, "kept") == [f"kept/acme/{'ab' * 32}"]
    later(world, timedelta(hours=46))
    assert TAG in world.registry.known
    later(world, 3 * HOUR)
    assert TAG not in world.registry.known
    assert stored(world, "kept") == []


def test_a_mark_goes_with_a_layer_that_somebody_else_has_removed(world: World) -> None:
    later(world, HOUR)
    del world.registry.known[TAG]
    later(world, HOUR)
    assert stored(world, "kept") == []


def test_where_the_registry_lets_nothing_go_it_is_tried_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    later(world, HOUR)

    def refuse(repository: str, digest: str) -> None:
        raise Refused.because("/image", f"{repository}@{digest} stays")

    with monkeypatch.context() as refusing:
        refusing.setattr(world.registry, "delete", refuse)
        later(world, 3 * DAY)
    assert stored(world, "kept")
    later(world, HOUR)
    assert TAG not in world.registry.known


def test_only_an_hours_first_minutes_look(world: World) -> None:
    assert retention.is_due(world.time)
    world.time += timedelta(minutes=10)
    world.tick()
    assert stored(world, "kept") == []
