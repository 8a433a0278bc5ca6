"""An earlier source that a person writes into a Function, as the command's rollback by a kubeconfig does."""

from dataclasses import replace
from typing import Any

import pytest
from support.images import BASE
from support.world import DIGEST, World, versions

from knative_lambda.deploy.cluster import FUNCTION, Object

SECOND = "sha256:" + "2" * 64
MOVED = "sha256:" + "e" * 64


def back(world: World, build: Object, **said: Any) -> None:
    """Write the source of a Build into its Function, and let that be reported."""
    function = world.function()
    source = {"runtime": build["spec"]["runtime"], "source": {"context": {"hash": build["spec"]["context"]}}}
    world.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], **source, **said}})
    world.report("Function", "acme", "hello")


def upgraded(world: World, **first: Any) -> Object:
    """Bring up a function, then its next version upon the base of an upgrade; return the first Build."""
    world.live(**first)
    build = world.build()
    world.registry.known["registry/python:1"] = MOVED
    world.pusher.add("registry/python", BASE, MOVED)
    [other] = versions("two")
    world.start(source=other)
    world.finish(digest=SECOND)
    world.knative()
    assert world.build()["spec"]["base"].endswith(MOVED)
    return build


@pytest.mark.parametrize("builder", ["auto", "kaniko"])
def test_its_image_serves_again_though_the_base_has_moved_since(builder: str) -> None:
    world = World()
    first = upgraded(world, builder=builder)
    built = world.builder.starts
    back(world, first)
    world.knative()
    assert world.builder.starts == built
    assert world.function()["status"]["latestReadyBuild"] == first["metadata"]["name"]
    assert world.service_image().endswith(DIGEST)


def test_so_does_one_that_was_laid() -> None:
    world = World(layers=True)
    world.start()
    world.knative()
    first = world.build()
    world.registry.known["registry/python:1"] = MOVED
    world.pusher.add("registry/python", BASE, MOVED)
    [other] = versions("two")
    world.start(source=other)
    back(world, first)
    assert world.build()["metadata"]["name"] == first["metadata"]["name"]
    assert len(world.builds()) == 2


@pytest.mark.parametrize("said", [{"rebuild": "now"}, {"entrypoint": "main.other"}, {"builder": "external"}])
def test_what_was_not_built_so_or_is_to_be_built_afresh_is(said: dict[str, str]) -> None:
    world = World()
    first = upgraded(world)
    back(world, first, **said)
    made = world.build()
    assert made["metadata"]["name"] != first["metadata"]["name"]
    assert made["spec"]["base"].endswith(MOVED)


def test_a_base_that_is_none_of_the_installations_any_more_is_not_built_upon_again() -> None:
    world = World()
    first = upgraded(world)
    world.registry.known["elsewhere/python:1"] = MOVED
    world.product = replace(world.product, settings=replace(world.settings, python_base="elsewhere/python:1"))
    back(world, first)
    assert world.build()["spec"]["base"] == f"elsewhere/python@{MOVED}"
