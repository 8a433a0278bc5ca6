"""The same source as another function's: its image is brought over, and nothing is built; within what policy allows."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.images import made, sha256, tarred
from support.world import World, versions

from knative_lambda.builds.images.layers import INDEXES
from knative_lambda.builds.images.pusher import Manifest
from knative_lambda.deploy.cluster import BUILD, LEASE, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable, Untrusted

ONE, TWO = versions("one", "two")
IMAGE = made(tarred(code="one"), tarred(code="two"))
PINNED = {"inline": {"Dockerfile": f"FROM alpine@sha256:{'1' * 64}\n"}}
LOOSE = {"inline": {"Dockerfile": "FROM alpine\n"}}


@pytest.fixture
def world() -> World:
    return World(builds_reuse="tenant")


def live(world: World, name: str, **data: Any) -> Object:
    """Bring a function up whose image is really there; return its Build."""
    world.start(name, **data)
    world.pusher.add(f"registry/acme/{name}", IMAGE)
    world.finish(name, digest=IMAGE.digest)
    return world.build(name)


def build_of(world: World, tenant: str, name: str) -> Object:
    [found] = [one for one in world.builds(tenant) if one["spec"]["function"] == name]
    return found


def started(world: World) -> list[str]:
    return [f"{one.tenant}/{one.function}" for one in world.builder.started.values()]


def test_the_same_source_of_another_function_is_served_by_its_image(world: World) -> None:
    """In a repository of its own, under a tag of its own: each function keeps its images as long as it needs them."""
    first = live(world, "a")
    world.start("b")
    build = world.build("b")
    assert started(world) == ["acme/a"]
    assert build["status"]["image"] == f"registry/acme/b@{IMAGE.digest}" == world.service_image("b")
    assert condition(build, "Reused")["message"] == first["metadata"]["name"]
    assert condition(build, "Succeeded")["reason"] == "Reused"
    assert first["metadata"]["name"] in world.condition("Built", "b")[2]
    assert world.registry.tags("registry/acme/b") == [f"{build['metadata']['name']}-1"]
    assert world.pusher.blobs["registry/acme/b"].keys() == {*map(sha256, IMAGE.blobs)}
    assert world.told[-1]["headers"]["ce-type"] == types.BUILD_COMPLETE
    assert world.cluster.list(LEASE, "acme-builds") + world.cluster.list(LEASE, "knative-lambda") == []


def test_those_that_waited_are_served_by_what_was_made_meanwhile(world: World) -> None:
    looks: list[str] = []
    later = replace(world.product.workshop, later=lambda _tenant, name, _moment: looks.append(name))
    world.product = replace(world.product, workshop=later)
    world.start("a")
    for name in ("b", "c"):
        world.start(name)
    looks.clear()
    world.pusher.add("registry/acme/a", IMAGE)
    world.finish("a", digest=IMAGE.digest)
    assert looks == ["b", "c"], "at once, all of them"
    world.tick()
    assert [world.service_image(name) for name in ("b", "c")] == [
        f"registry/acme/{name}@{IMAGE.digest}" for name in ("b", "c")
    ]
    assert started(world) == ["acme/a"]


def test_a_fresh_build_is_built_and_keeps_nobody_waiting(world: World) -> None:
    live(world, "a")
    world.start("b", rebuild=True)
    assert started(world) == ["acme/a", "acme/b"]
    world.start("c")
    assert world.condition("Built", "c")[:2] == ("True", "Reused")


def test_what_the_registry_has_no_more_serves_nobody(world: World) -> None:
    live(world, "a")
    world.start("b")
    del world.pusher.manifests["registry/acme/a"][IMAGE.digest]
    world.start("c")
    assert world.condition("Built", "c")[:2] == ("True", "Reused"), "the other one's is there"
    for name in ("b", "c"):
        del world.pusher.manifests[f"registry/acme/{name}"][IMAGE.digest]
    world.start("d")
    assert started(world)[-1] == "acme/d"


def test_while_the_registry_does_not_answer_nothing_is_decided(world: World) -> None:
    live(world, "a")
    world.pusher.breaks["manifest"] = Unavailable("registry", "down")
    with pytest.raises(Temporary):
        world.start("b")
    assert started(world) == ["acme/a"]
    world.pusher.breaks.clear()
    world.tick()
    assert world.condition("Built", "b")[:2] == ("True", "Reused")


@pytest.mark.parametrize("method", ["bring", "tag"])
@pytest.mark.parametrize(
    "error",
    [
        Refused.because("/registry", "no"),
        Unavailable("registry", "it broke off"),
        Untrusted("registry", "who is that"),
    ],
)
def test_what_cannot_be_brought_over_is_built(world: World, method: str, error: Exception) -> None:
    live(world, "a")
    world.pusher.breaks[method] = error
    world.start("b")
    assert started(world) == ["acme/a", "acme/b"]


def test_what_would_take_too_long_is_built(world: World) -> None:
    live(world, "a")
    assert world.product.workshop.reuse is not None
    moments = iter((0.0, 1.0, 60.0))
    slow = replace(world.product.workshop.reuse, clock=lambda: next(moments))
    world.product = replace(world.product, workshop=replace(world.product.workshop, reuse=slow))
    world.start("b")
    assert started(world) == ["acme/a", "acme/b"]


def test_an_image_of_several_platforms_is_built_again(world: World) -> None:
    live(world, "a")
    world.pusher.manifests["registry/acme/a"][IMAGE.digest] = Manifest(INDEXES[0], b"{}")
    world.start("b")
    assert started(world) == ["acme/a", "acme/b"]


def test_what_a_build_says_of_an_image_elsewhere_is_not_believed(world: World) -> None:
    """Even where there is one: what did not come to the Build's own destination, the Build has not made."""
    first = live(world, "a")
    world.pusher.add("registry/acme/a-evil", IMAGE)
    status = {**first["status"], "image": f"registry/acme/a-evil@{IMAGE.digest}"}
    world.cluster.replace_status(BUILD, {**first, "status": status})
    world.start("b")
    assert started(world) == ["acme/a", "acme/b"]


def test_a_label_alone_does_not_make_a_build_one_of_the_same_input(world: World) -> None:
    """It shows a part of the hash, and anybody who may label a Build can write it; the whole stands in the spec."""
    first = live(world, "a", source=TWO)
    apart = World(builds_reuse="tenant")
    apart.start("b", source=ONE)
    label = {names.MAKES_LABEL: apart.build("b")["metadata"]["labels"][names.MAKES_LABEL]}
    meta = first["metadata"]
    world.cluster.replace(BUILD, {**first, "metadata": {**meta, "labels": {**meta["labels"], **label}}})
    world.start("b", source=ONE)
    assert world.build("b")["metadata"]["labels"].items() >= label.items()
    assert started(world) == ["acme/a", "acme/b"]


@pytest.mark.parametrize(("lost", "served"), [("cd", True), ("bcd", False)])
def test_three_images_are_looked_for_and_no_more(world: World, lost: str, served: bool) -> None:  # noqa: FBT001
    """The newest first: a registry that has lost many is not asked for each of them, at every build."""
    live(world, "a")
    for name in "bcd":
        world.start(name)
    for name in lost:
        del world.pusher.manifests[f"registry/acme/{name}"][IMAGE.digest]
    world.start("e")
    assert started(world) == (["acme/a"] if served else ["acme/a", "acme/e"])


@pytest.mark.parametrize(("source", "served"), [(PINNED, True), (LOOSE, False)])
def test_a_dockerfile_that_names_its_images_by_digest_is_served_and_no_other(
    world: World,
    source: Any,
    served: bool,  # noqa: FBT001 - a case
) -> None:
    live(world, "a", runtime="dockerfile", source=source)
    world.start("b", runtime="dockerfile", source=source)
    assert (world.condition("Built", "b")[1] == "Reused") is served


@pytest.mark.parametrize(("policy", "served"), [("none", False), ("tenant", False), ("all", True)])
def test_another_tenants_image_serves_only_where_policy_says_so(policy: str, served: bool) -> None:  # noqa: FBT001
    world = World(builds_reuse=policy)
    first = live(world, "a")
    world.start("a", tenant="other")
    build = build_of(world, "other", "a")
    assert (condition(build, "Succeeded")["reason"] == "Reused") is served
    if served:
        assert condition(build, "Reused")["message"] == f"acme/{first['metadata']['name']}"
        assert build["status"]["image"] == f"registry/other/a@{IMAGE.digest}"
    else:
        assert started(world) == ["acme/a", "other/a"]
        assert first["metadata"]["name"] not in json.dumps(build)


def test_with_none_not_even_ones_own_tenants(world: World) -> None:
    apart = World(builds_reuse="none")
    live(apart, "a")
    apart.start("b")
    assert started(apart) == ["acme/a", "acme/b"]
    assert names.MAKES_LABEL not in apart.build("a")["metadata"]["labels"]
