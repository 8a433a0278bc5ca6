"""What a tenant writes into its own Function's record is not what the product does with its own credentials."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.images import INSTALLED, sha256
from support.world import World, versions

from knative_lambda.builds.inputs import prepare
from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.names import INPUT_ANNOTATION

LIST = {"requirements.txt": "inflection==0.5.1\n"}
PRIVATE = "registry/acme/dependencies.python"


def forged(world: World, **said: Any) -> None:
    """Let the tenant `other` write into the record of its function `mine`."""
    function = world.function("mine", "other")
    notes = function["metadata"]["annotations"]
    notes[INPUT_ANNOTATION] = json.dumps({**json.loads(notes[INPUT_ANNOTATION]), **said})
    world.cluster.replace(FUNCTION, function)
    world.report("Function", "other", "mine")


@pytest.mark.parametrize(
    "base", [f"{PRIVATE}@{INSTALLED.digest}", "elsewhere.test/python@sha256:1", f"registry/acme/x@{INSTALLED.digest}"]
)
def test_a_base_that_is_none_of_the_installations_is_not_laid_upon(base: str) -> None:
    world = World(layers=True)
    [source] = versions("one")
    world.start(source={"inline": {**source["inline"], **LIST}})
    world.finish()
    world.start("mine", tenant="other")
    before = [build["spec"]["base"] for build in world.builds("other")]
    forged(world, base=base, cause="x")
    world.tick()
    assert [build["spec"]["base"] for build in world.builds("other")] == before
    assert sha256(INSTALLED.blobs[2]) not in world.pusher.blobs.get("registry/other/mine", {})
    assert json.loads(world.function("mine", "other")["metadata"]["annotations"][INPUT_ANNOTATION])["base"] != base


@pytest.mark.parametrize("host", ["registry.test", "Registry.test", "registry.test:443"])
def test_an_image_of_another_tenant_is_refused_however_its_host_is_written(host: str) -> None:
    world = World(registry="registry.test")
    image = f"{host}/acme/hello@sha256:{'1' * 64}"
    with pytest.raises(Refused, match="of this registry"):
        world.start("mine", tenant="other", source={"image": image})


@pytest.mark.parametrize("place", ["gone/billing", "kube-system/x", "x", "otherwise/x", "other-builds/x", "other"])
def test_nobody_learns_by_an_image_whose_place_it_is_nor_has_what_a_removed_tenant_left(place: str) -> None:
    """Its repositories stay when a tenant goes; one refusal is for all of them."""

    def told(where: str) -> list[str]:
        with pytest.raises(Refused) as refused:
            World(registry="registry.test").start(
                "mine", tenant="other", source={"image": f"registry.test/{where}@sha256:{'1' * 64}"}
            )
        return [f"{fault.where}: {fault.message}" for fault in refused.value.faults]

    assert told(place) == told("acme/hello")
    assert "acme" not in str(told("acme/hello"))


@pytest.mark.parametrize("image", ["registry/python:1", "registry/shared/tool:2", "registry/other/hello:1"])
def test_an_image_of_the_registry_that_is_ones_own_or_everybodys_is_taken(image: str) -> None:
    world = World(registry_reads=("registry/shared/tool",))
    world.start("mine", tenant="other", source={"image": image})
    assert world.cluster.get(KNATIVE_SERVICE, "other", "mine")


def test_nor_does_a_record_that_is_there_let_it_pass() -> None:
    world = World()
    spec = {"runtime": "python", "source": {"image": f"registry/acme/hello@sha256:{'1' * 64}"}}
    record = prepare.Inputs(prepare.fingerprint(spec), "", "", "x").dumps()
    meta = {"namespace": "other", "name": "mine", "annotations": {INPUT_ANNOTATION: record}}
    function = {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
    world.cluster.create(FUNCTION, function)
    world.report("Function", "other", "mine")
    assert world.cluster.get(KNATIVE_SERVICE, "other", "mine") is None
    [built] = [each for each in world.function("mine", "other")["status"]["conditions"] if each["type"] == "Built"]
    assert "of this registry" in built["message"]


def test_a_base_whose_digest_has_moved_since_is_still_believed() -> None:
    """An upgrade rebuilds nothing by itself."""
    world = World(layers=True)
    world.start()
    before = world.build()["metadata"]["name"]
    world.product = replace(world.product, settings=replace(world.settings, python_base="registry/python:2"))
    world.registry.known["registry/python:2"] = "sha256:" + "7" * 64
    world.tick()
    assert world.build()["metadata"]["name"] == before


RESERVED = {"reserved_secrets": ("licence",), "registry_pull_secret": "pull"}


NAMING: dict[str, Callable[[str], dict[str, Any]]] = {
    "whole": lambda secret: {"secrets": ["mine", secret]},
    "key": lambda secret: {"envFrom": [{"name": "A", "secret": secret, "key": "a"}]},
    "file": lambda secret: {"mounts": [{"path": "/secrets", "secret": secret}]},
    "pull": lambda secret: {"pullSecrets": [secret]},
}
"""The ways in which a function names a Secret."""


@pytest.mark.parametrize("way", NAMING)
@pytest.mark.parametrize("secret", ["licence", "pull"])
def test_a_secret_of_the_platforms_own_is_no_functions(secret: str, way: str) -> None:
    with pytest.raises(Refused, match="a Secret of the platform's own"):
        World(**RESERVED).start(**NAMING[way](secret))
    World().start(**NAMING[way](secret))


@pytest.mark.parametrize("way", NAMING)
def test_nor_does_it_become_one_when_a_function_that_runs_is_edited(way: str) -> None:
    """What was recorded of its source before still holds, and is no leave."""
    world = World(**RESERVED)
    world.start(**NAMING[way]("own"))
    world.finish()
    function = world.function()
    function["spec"] |= NAMING[way]("licence")
    world.cluster.replace(FUNCTION, function)
    world.report("Function", "acme", "hello")
    [built] = [each for each in world.function()["status"]["conditions"] if each["type"] == "Built"]
    assert "licence is a Secret of the platform's own" in built["message"]
    [service] = world.cluster.list(KNATIVE_SERVICE, "acme")
    assert "licence" not in str(service)


@pytest.mark.parametrize("host", ["inside.test", "inside.test:5000", "INSIDE.test"])
def test_a_ready_image_is_not_asked_for_inside_of_the_cluster(host: str) -> None:
    """Knative's controller would ask that host for the tag's digest, from a place where it sees everything."""
    image = f"{host}/latest/meta-data:x"
    world = World()
    world.addresses = {"inside.test": ["10.96.0.1"]}
    with pytest.raises(Refused, match=r"10\.96\.0\.1 is not public"):
        world.start(source={"image": image})
    assert not world.cluster.list(FUNCTION, "acme")
    allowed = World(reach_allowed=("10.96.0.0/16",))
    allowed.addresses = world.addresses
    allowed.start(source={"image": image})
    assert allowed.cluster.list(KNATIVE_SERVICE, "acme")


@pytest.mark.parametrize("port", ["", ":9000", ":6443", ":22"])
def test_nor_beside_the_registry_on_its_machine(port: str) -> None:
    world = World(registry="10.0.0.5:5000/lambda")
    world.addresses = {"10.0.0.5": ["10.0.0.5"]}
    with pytest.raises(Refused, match="is not public"):
        world.start(source={"image": f"10.0.0.5{port}/latest/meta-data"})
    world.start(source={"image": f"10.0.0.5:5000/lambda/acme/x@{INSTALLED.digest}"})


def test_nor_is_one_that_a_person_applies() -> None:
    world = World()
    spec = {"runtime": "python", "source": {"image": "169.254.169.254/latest/meta-data:x"}}
    world.addresses = {"169.254.169.254": ["169.254.169.254"]}
    meta = {"namespace": "acme", "name": "mine"}
    body = {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
    world.cluster.create(FUNCTION, body)
    world.report("Function", "acme", "mine")
    assert not world.cluster.list(KNATIVE_SERVICE, "acme")
    [built] = [each for each in world.function("mine")["status"]["conditions"] if each["type"] == "Built"]
    assert "is not public" in built["message"]


def test_where_hosts_are_named_ready_images_come_from_these_and_the_registry() -> None:
    world = World(image_hosts=("images.test", "*.images.test"), registry="registry.test:5000/fn")
    for image in ("images.test/a:1", "eu.images.test:444/a:1", f"registry.test:5000/fn/acme/a@{INSTALLED.digest}"):
        world.start(source={"image": image})
    with pytest.raises(Refused, match="no images are taken from elsewhere"):
        world.start(source={"image": "elsewhere.test/a:1"})
