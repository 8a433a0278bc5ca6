"""What a tenant writes into its own Function's record is not what the product does with its own credentials."""

import json
from dataclasses import replace
from typing import Any

import pytest
from support.images import INSTALLED, sha256
from support.world import World, versions

from knative_lambda.builds import prepare
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
    with pytest.raises(Refused, match="an image of the tenant acme"):
        world.start("mine", tenant="other", source={"image": image})


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
    assert "an image of the tenant acme" in built["message"]


def test_a_base_whose_digest_has_moved_since_is_still_believed() -> None:
    """An upgrade rebuilds nothing by itself."""
    world = World(layers=True)
    world.start()
    before = world.build()["metadata"]["name"]
    world.product = replace(world.product, settings=replace(world.settings, python_base="registry/python:2"))
    world.registry.known["registry/python:2"] = "sha256:" + "7" * 64
    world.tick()
    assert world.build()["metadata"]["name"] == before
