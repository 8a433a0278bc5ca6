"""A layer build beside real registries that say no, are full or break off: the Build says why, nothing half is used."""

from pathlib import Path

import pytest
from support.images import BASE, Made, check
from support.registry import WRONG, Gate, config
from support.world import World

from knative_lambda.builds.pusher_http import HttpPusher
from knative_lambda.builds.registry_client import RegistrySettings
from knative_lambda.builds.registry_http import HttpRegistry
from knative_lambda.deploy.cluster import KNATIVE_SERVICE
from knative_lambda.deploy.conditions import condition

Gated = tuple[Gate, RegistrySettings, World, str]


def based(settings: RegistrySettings, host: str, image: Made = BASE) -> str:
    """Push a runtime's base into a registry and return its reference."""
    pusher = HttpPusher(settings)
    for body in image.blobs:
        pusher.put(f"{host}/runtime", body)
    pusher.tag(f"{host}/runtime:1", image.manifest)
    return f"{host}/runtime@{image.digest}"


def world(settings: RegistrySettings, place: str, base: str) -> World:
    """Return a product that pushes below a place in a real registry."""
    return World(real=(HttpRegistry(settings), HttpPusher(settings)), layers=True, registry=place, python_base=base)


def later(made: World) -> None:
    """Let a minute pass, and the sweep come."""
    made.time = made.time.replace(minute=made.time.minute + 1)
    made.tick()


def nothing_is_used(made: World, settings: RegistrySettings) -> bool:
    """Say whether there is neither an image of the function nor anything that would run it."""
    tags = HttpRegistry(settings).tags(f"{made.settings.registry}/acme/hello")
    return not tags and made.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None


def is_built(made: World, settings: RegistrySettings) -> bool:
    """Say whether the function runs an image, all of whose parts are in the registry."""
    repository, _, _ = (image := made.service_image()).partition("@")
    pusher = HttpPusher(settings)
    manifest = pusher.manifest(image)
    assert manifest is not None
    check(manifest.body, lambda digest: pusher.blob(repository, digest))
    return made.condition("Built")[:2] == ("True", "Built")


@pytest.fixture
def gated(before: Gate, tmp_path: Path) -> Gated:
    """Return a gate in front of a registry, a world that pushes through it, and the path of the function's uploads."""
    settings, place = RegistrySettings(insecure=True), tmp_path.name.lower()
    made = world(settings, f"{before.host}/{place}", based(settings, before.host))
    return before, settings, made, f"/v2/{place}/acme/hello"


def test_a_wrong_password_fails_the_build_and_says_so(guarded: str, tmp_path: Path) -> None:
    right = RegistrySettings(insecure=True, config=config(tmp_path, guarded))
    base = based(right, guarded)
    (tmp_path / "wrong").mkdir()
    wrong = RegistrySettings(insecure=True, config=config(tmp_path / "wrong", guarded, WRONG))
    made = world(wrong, f"{guarded}/{tmp_path.name.lower()}", base)
    made.start()
    assert made.condition("Built")[:2] == ("False", "RegistryRefused")
    assert "answered 401" in made.condition("Built")[2]
    assert nothing_is_used(made, right)
    config(tmp_path / "wrong", guarded)
    made.start()
    assert is_built(made, right)


def test_a_certificate_of_nobody_fails_the_build_and_says_so(secure: tuple[str, Path]) -> None:
    host, ca = secure
    right = RegistrySettings(ca=ca)
    made = world(RegistrySettings(), f"{host}/functions", based(right, host))
    made.start()
    assert made.condition("Built")[:2] == ("False", "RegistryUntrusted")
    assert "certificate that is not trusted" in made.condition("Built")[2]
    assert nothing_is_used(made, right)


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_a_registry_that_is_full_is_tried_again_and_the_build_says_so(gated: Gated, method: str) -> None:
    kept, settings, made, path = gated
    kept.refuses[f"{method} {path}/blobs/uploads"] = (507, {})
    made.start()
    assert condition(made.build(), "Retrying")["status"] == "True"
    assert "answered 507" in condition(made.build(), "Retrying")["message"]
    assert nothing_is_used(made, settings)
    later(made)
    later(made)
    assert made.condition("Built")[:2] == ("False", "RegistryUnavailable")
    assert "answered 507" in made.condition("Built")[2]
    assert nothing_is_used(made, settings)
    kept.refuses.clear()
    made.start()
    assert is_built(made, settings)


def test_a_connection_cut_in_the_middle_of_a_blob_is_tried_again_and_the_build_says_so(gated: Gated) -> None:
    kept, settings, made, path = gated
    kept.cuts = f"PUT {path}/blobs"
    made.start()
    assert condition(made.build(), "Retrying")["status"] == "True"
    assert "did not answer" in condition(made.build(), "Retrying")["message"]
    assert nothing_is_used(made, settings)
    kept.cuts = ""
    later(made)
    assert is_built(made, settings)


def test_a_manifest_that_is_cut_off_is_no_image(gated: Gated) -> None:
    kept, settings, made, path = gated
    kept.cuts = f"PUT {path}/manifests"
    made.start()
    assert condition(made.build(), "Retrying")["status"] == "True"
    assert nothing_is_used(made, settings)
    kept.cuts = ""
    later(made)
    assert is_built(made, settings)
