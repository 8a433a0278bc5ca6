"""An image that somebody deletes in the registry: noticed, when it is needed, and rebuilt."""

from dataclasses import replace
from typing import Any

import pytest
from support.world import DIGEST, World, versions

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary, Unavailable

ONE, TWO = versions("one", "two")
OTHER = "sha256:" + "e" * 64


class Asked:
    """A registry that counts what it is asked for by digest."""

    def __init__(self, world: World) -> None:
        self._registry, self.digests = world.registry, list[str]()

    def digest(self, reference: str) -> str | None:
        if "@" in reference:
            self.digests.append(reference)
        return self._registry.digest(reference)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._registry, name)


def vanish(world: World, name: str = "hello") -> str:
    """Delete what a function's Build has made; return its name by digest."""
    repository, _, digest = world.build(name)["status"]["image"].partition("@")
    world.registry.delete(repository, digest)
    return f"{repository}@{digest}"


def heir_of(world: World, before: Object) -> Object:
    build = world.build()
    assert build["metadata"]["name"] != before["metadata"]["name"]
    assert build["spec"]["rebuild"] == before["metadata"]["uid"]
    return build


def test_the_same_source_again_is_built_again_and_says_why(world: World) -> None:
    world.live()
    before = world.build()
    image = vanish(world)
    event = world.start()
    heir = heir_of(world, before)
    said = condition(heir, "Replaces")
    assert said["reason"] == "ImageVanished"
    assert said["message"] == f"the registry no longer has {image}, of {before['metadata']['name']}"
    assert event.id in heir["spec"]["cause"]
    assert world.builder.starts == 2
    assert world.service_image() == image, "what runs is left alone"
    world.finish(digest=OTHER)
    assert world.service_image().endswith(OTHER)


def test_it_is_built_again_once_however_often_one_looks(world: World) -> None:
    world.live()
    vanish(world)
    for _ in range(2):
        world.start()
        world.tick()
    assert len(world.builds()) == 2


@pytest.mark.parametrize("change", [{"env": {"A": "1"}}, {"triggers": [{"type": "demo"}]}])
def test_other_settings_for_the_same_source_are_an_occasion_too(world: World, change: Any) -> None:
    world.live()
    before = world.build()
    vanish(world)
    world.start(**change)
    heir_of(world, before)


def test_so_is_what_a_person_applies(world: World) -> None:
    world.live()
    before = world.build()
    vanish(world)
    found = world.function()
    world.cluster.replace(FUNCTION, {**found, "spec": {**found["spec"], "env": {"A": "1"}}})
    world.report("Function", "acme", "hello")
    heir_of(world, before)


def test_so_is_an_older_version_that_comes_back(world: World) -> None:
    world.live(source=ONE)
    first = world.build()
    vanish(world)
    world.start(source=TWO)
    world.finish(digest=OTHER)
    world.start(source=ONE)
    heir_of(world, first)


def test_code_alone_is_laid_again_in_the_same_moment() -> None:
    world = World(layers=True)
    world.start()
    before = world.build()
    image = vanish(world)
    world.start()
    heir_of(world, before)
    assert world.registry.digest(image) is not None
    assert world.service_image() == image
    assert world.condition("Built")[0] == "True"


def test_an_image_that_is_there_is_asked_for_once_for_each_event_and_by_no_hint(world: World) -> None:
    world.live()
    asked = watch(world)
    for _ in range(3):
        world.tick()
        world.report("Service", "acme", "hello")
        world.report("Function", "acme", "hello")
    assert asked.digests == []
    before = world.function()["status"]
    world.start()
    assert asked.digests == [world.service_image()]
    assert world.function()["status"] == before


def watch(world: World) -> Asked:
    asked = Asked(world)
    world.product = replace(world.product, workshop=replace(world.product.workshop, registry=asked))
    return asked


def test_while_the_registry_does_not_answer_nothing_is_rebuilt(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.live()

    def down(_: str) -> str:
        raise Unavailable("registry", "down")

    with monkeypatch.context() as patched:
        patched.setattr(world.registry, "digest", down)
        with pytest.raises(Temporary):
            world.start()
    assert len(world.builds()) == 1
    world.start()
    assert len(world.builds()) == 1


@pytest.mark.parametrize("reason", ["ImagePullBackOff", "ErrImagePull"])
def test_what_cannot_be_pulled_is_looked_for_and_built_again(world: World, reason: str) -> None:
    world.live()
    before = world.build()
    vanish(world)
    world.knative(ready="False", reason=reason, message="not found")
    heir = heir_of(world, before)
    assert condition(heir, "Replaces")["reason"] == "ImageVanished"
    world.finish(digest=OTHER)
    world.knative()
    assert world.condition("Ready")[0] == "True"


def test_what_cannot_be_pulled_though_it_is_there_is_not_built_again(world: World) -> None:
    """Its credentials are wrong, say: what Knative tells is what stands on the Function."""
    world.live()
    for _ in range(2):
        world.knative(ready="False", reason="ImagePullBackOff", message="401")
        world.tick()
    assert len(world.builds()) == 1
    assert world.condition("Ready")[:2] == ("False", "ImagePullBackOff")


def test_an_image_that_was_given_is_not_ours_to_build(world: World) -> None:
    world.start(source={"image": f"elsewhere/thing@{DIGEST}"})
    world.knative(ready="False", reason="ImagePullBackOff", message="not found")
    assert world.builds() == []


def test_an_heir_that_fails_is_tried_again_when_the_source_comes_again(world: World) -> None:
    world.live()
    vanish(world)
    world.start()
    world.fail(Ended(1), b"no such package\n")
    world.tick()
    assert len(world.builds()) == 2
    world.start()
    assert len(world.builds()) == 3
    world.finish(digest=OTHER)
    assert world.service_image().endswith(OTHER)


@pytest.mark.parametrize("named", [False, True])
def test_a_cancel_where_all_was_built_does_not_end_what_makes_its_image_again(world: World, *, named: bool) -> None:
    world.live()
    before = world.build()
    name = {"build": before["metadata"]["name"]} if named else {}
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello", **name})
    assert world.condition("Ready")[0] == "True"
    vanish(world)
    world.knative(ready="False", reason="ImagePullBackOff")
    world.tick()
    assert heir_of(world, before)["status"]["phase"] == "Running"
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert world.condition("Built")[:2] == ("False", "Cancelled"), "what is being built is"
