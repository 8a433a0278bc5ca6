"""A function that is paused: nothing new of it is built or deployed, what runs goes on, and the newest source waits."""

from typing import Any

import pytest
from support.world import World, versions

from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE
from knative_lambda.handler.api import states

ONE, TWO = versions("one", "two")
SECOND = "sha256:" + "d" * 64


def say(world: World, **spec: Any) -> None:
    """Change a Function's spec as a person does."""
    function = world.function()
    function["spec"] = {key: value for key, value in {**function["spec"], **spec}.items() if value is not None}
    world.cluster.replace(FUNCTION, function)
    world.report(FUNCTION.kind, "acme", "hello")


def test_what_runs_goes_on_and_the_condition_says_why_nothing_new_comes(world: World) -> None:
    world.live(source=ONE)
    image = world.service_image()
    say(world, paused=True)
    assert world.condition("Deployed") == ("True", "Paused", "the function is paused: nothing new is built or deployed")
    assert world.condition("Built")[0] == world.condition("Ready")[0] == "True"
    assert world.service_image() == image
    assert world.builder.starts == 1


def test_newer_source_is_recorded_and_comes_when_it_goes_on(world: World) -> None:
    world.live(source=ONE)
    image = world.service_image()
    world.start(source=TWO, paused=True)
    context = world.function()["spec"]["source"]["context"]["hash"].removeprefix("sha256:")
    assert world.store.get(f"contexts/acme/hello/{context}.tar.gz", limit=10_000)
    waits = ("Unknown", "Paused", "the function is paused: what is newer is built and deployed when it goes on")
    assert world.condition("Built") == world.condition("Deployed") == waits
    assert world.condition("Ready")[0] == "True"
    assert states.shown(FUNCTION, world.function())["state"] == "Paused"
    for _ in range(3):
        world.tick()
    assert (world.builder.starts, world.service_image()) == (1, image)

    say(world, paused=None)
    assert world.builder.starts == 2
    world.finish(digest=SECOND)
    world.knative()
    assert world.service_image() == f"registry/acme/hello@{SECOND}"
    assert [world.condition(kind)[0] for kind in ("Built", "Deployed", "Ready")] == ["True"] * 3
    assert world.condition("Deployed")[1] == "Applied"


def test_it_goes_on_with_the_next_event_that_does_not_say_paused(world: World) -> None:
    world.start(source=ONE, paused=True)
    assert world.builds() == []
    world.start(source=ONE)
    world.finish()
    world.knative()
    assert world.condition("Ready")[0] == "True"


def test_a_setting_alone_waits_too(world: World) -> None:
    world.live(source=ONE)
    before = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    say(world, paused=True, env={"A": "1"})
    assert world.condition("Deployed")[:2] == ("Unknown", "Paused")
    assert world.condition("Built")[0] == "True"
    assert world.cluster.get(KNATIVE_SERVICE, "acme", "hello") == before
    say(world, paused=None)
    assert world.condition("Deployed")[:2] == ("True", "Applied")
    assert world.cluster.get(KNATIVE_SERVICE, "acme", "hello") != before


@pytest.mark.parametrize("after", [[], [{"type": "demo.one"}, {"type": "demo.two"}], [{"type": "demo.two"}]])
def test_other_triggers_wait_too(world: World, after: list[dict[str, str]]) -> None:
    world.live(source=ONE, triggers=[{"type": "demo.one"}])
    world.start(source=ONE, triggers=[{"type": "demo.one"}], paused=True)
    assert world.condition("Deployed")[:2] == ("True", "Paused")
    before = world.triggers()
    world.start(source=ONE, triggers=after, paused=True)
    assert world.condition("Deployed")[:2] == ("Unknown", "Paused")
    assert world.triggers() == before
    world.start(source=ONE, triggers=after)
    heard = [trigger["spec"]["filter"]["attributes"] for trigger in world.triggers()]
    assert sorted(heard, key=str) == sorted(after, key=str)


def test_a_build_that_runs_ends_is_told_of_once_and_is_made_anew_afterwards(world: World) -> None:
    world.start(source=ONE)
    first = world.build()["metadata"]["name"]
    say(world, paused=True)
    world.tell()
    found = world.cluster.get(BUILD, "acme", first)
    assert found is not None
    assert found["status"]["phase"] == "Cancelled"
    assert world.condition("Built")[:2] == ("Unknown", "Paused")
    for _ in range(2):
        world.tick()
        world.tell()
    say(world, paused=None)
    world.tell()
    assert world.build()["metadata"]["name"] != first
    world.finish()
    world.knative()
    world.tell()
    assert world.condition("Ready")[0] == "True"
    assert world.told_types().count("build.cancelled") == 1
    assert world.told_types().count("build.complete") == 1


def test_a_build_that_waits_leaves_its_place_to_others() -> None:
    world = World(builds_at_once=1)
    world.start("other", source=ONE)
    world.start("hello", source=TWO)
    assert world.condition("Built")[1] == "Queued"
    say(world, paused=True)
    world.start("third", source=next(iter(versions("three"))))
    world.finish("other")
    assert world.condition("Built", "third")[1] == "Running"
    assert world.condition("Built")[:2] == ("Unknown", "Paused")


def test_what_was_told_before_the_pause_is_not_told_again_after_it(world: World) -> None:
    world.live(source=ONE)
    world.tell()
    told = world.told_types()
    world.start(source=TWO, paused=True)
    world.start(source=ONE, paused=True)
    assert world.condition("Built")[0] == "True"
    assert world.condition("Deployed")[:2] == ("True", "Paused")
    say(world, paused=None)
    world.tell()
    assert world.told_types() == told


@pytest.mark.parametrize("paused", [True, False])
def test_what_is_wrong_with_a_newer_source_is_said_at_once(world: World, *, paused: bool) -> None:
    world.live(source=ONE)
    say(world, paused=paused, nodeSelector={"disk": "ssd"})
    assert world.condition("Built")[:2] == ("False", "SourceRefused")
    assert "functions select nodes by these labels: none" in world.condition("Built")[2]


def test_a_ready_image_waits_too(world: World) -> None:
    world.push("registry/acme/hello:1", SECOND)
    image = {"image": f"registry/acme/hello@{SECOND}"}
    world.live(source=ONE)
    world.tell()
    told = world.told_types()
    before = world.service_image()
    world.start(source=image, paused=True)
    assert world.condition("Deployed")[:2] == ("Unknown", "Paused")
    assert world.service_image() == before
    world.start(source=image)
    assert world.service_image() == image["image"]
    world.tell()
    assert "build.complete" not in world.told_types()[len(told) :]
