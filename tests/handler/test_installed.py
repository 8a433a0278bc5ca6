"""Installed dependencies stay as long as a Build names them, and a day longer."""

from typing import Any

import pytest
from support.images import INSTALLED
from support.leftovers import DAY, HOUR, Delegate, later, over, stored
from support.world import PYTHON, World, versions

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD
from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas.errors import Refused, Unavailable

LIST = {"requirements.txt": "inflection==0.5.1\n"}
ONE, TWO = ({"inline": {**source["inline"], **LIST}} for source in versions("one", "two"))
PLACE = "registry/acme/dependencies.python"


@pytest.fixture
def world() -> World:
    """Return a world with one function that has dependencies installed."""
    world = World(layers=True)
    world.start(source=ONE)
    world.finish()
    world.knative()
    return world


def test_what_a_build_names_stays(world: World) -> None:
    for _ in range(3):
        later(world)
    assert len(world.registry.tags(PLACE)) == 2, "the attempt's tag, and the key"
    assert stored(world, "unnamed") == []


def test_what_no_build_names_goes_a_day_after_that_was_seen(world: World) -> None:
    world.delete()
    later(world, HOUR)
    [mark] = stored(world, "unnamed")
    assert mark == f"unnamed/acme/python/{INSTALLED.digest.removeprefix('sha256:')}"
    for _ in range(23):
        later(world, HOUR)
    assert world.registry.tags(PLACE)
    later(world, 2 * HOUR)
    assert world.registry.tags(PLACE) == []
    assert stored(world, "unnamed") == []


def test_what_is_named_again_stays(world: World) -> None:
    world.delete()
    later(world, HOUR)
    world.start("again", source=TWO)
    assert world.builder.starts == 1
    later(world, 2 * DAY)
    assert world.registry.tags(PLACE)
    assert stored(world, "unnamed") == []


def test_what_later_builds_name_outlives_the_one_that_made_it(world: World) -> None:
    first = world.build()["metadata"]["name"]
    world.start(source=TWO)
    world.knative()
    world.cluster.delete(BUILD, "acme", first)
    for _ in range(3):
        later(world)
    assert len(world.registry.tags(PLACE)) == 2
    assert stored(world, "unnamed") == []


def test_what_a_fresh_build_has_replaced_goes(world: World) -> None:
    """Its key names another image by then, and the Build that has made it goes with its time."""
    first = world.build()["metadata"]["name"]
    world.start(source=ONE, rebuild=True)
    newer, attempt = "sha256:" + "7" * 64, world.attempt()
    world.pusher.add(PLACE, INSTALLED, newer)
    world.registry.known[f"{PLACE}:{attempt}"] = newer
    world.builder.ends[attempt] = Ended(0)
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    world.registry.known[world.build()["spec"]["dependencies"]] = newer  # the fake's digest is not its own
    world.knative()
    world.cluster.delete(BUILD, "acme", first)
    later(world, HOUR)
    later(world)
    assert INSTALLED.digest not in {world.registry.known[f"{PLACE}:{tag}"] for tag in world.registry.tags(PLACE)}
    assert world.registry.tags(PLACE)


def test_what_is_not_ours_stays(world: World) -> None:
    world.delete()
    world.registry.known[f"{PLACE}:mine"] = "sha256:" + "5" * 64
    later(world, HOUR)
    later(world)
    assert world.registry.tags(PLACE) == ["mine"]


@pytest.mark.parametrize("port", ["registry", "store", "cluster"])
def test_a_listing_that_fails_removes_nothing(world: World, port: str) -> None:
    world.delete()
    later(world, HOUR)
    world.time += DAY + HOUR

    class Failing(Delegate):
        def list(self, *_: Any) -> Any:
            raise Unavailable(port, "away")

        def tags(self, *_: Any) -> Any:
            raise Unavailable(port, "away")

    retention.collect(over(world, **{port: Failing(getattr(world.product.workshop, port))}))
    assert world.registry.tags(PLACE)
    retention.collect(world.product)
    assert world.registry.tags(PLACE) == []


def test_a_registry_that_lets_nothing_go_keeps_nobody_else_from_it(world: World) -> None:
    world.start("code", source={"inline": PYTHON})
    world.delete()
    later(world, HOUR)
    world.time += DAY + HOUR

    class Keeping(Delegate):
        def delete(self, *_: Any) -> None:
            raise Refused.because("/registry", "deleting is off")

    retention.collect(over(world, registry=Keeping(world.product.workshop.registry)))
    assert stored(world, "unnamed")
    retention.collect(world.product)
    assert not stored(world, "unnamed")
