"""A layer build beside real registries that say no, are full or break off: the Build says why, nothing half is used."""

from pathlib import Path

import pytest
from support.images import BASE, INSTALLED, Made, check
from support.registry import WRONG, Gate, config, patient
from support.world import PYTHON, World

from knative_lambda.builds.builder import Ended
from knative_lambda.builds.images.pusher import Blob
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas.errors import Unavailable

DEPENDING = {"inline": {**PYTHON, "requirements.txt": "x\n"}}
Gated = tuple[Gate, RegistrySettings, World, str]


def based(settings: RegistrySettings, host: str, image: Made = BASE) -> str:
    """Push a runtime's base into a registry and return its reference."""
    pusher = HttpPusher(settings)
    for body in image.blobs:
        pusher.put(f"{host}/runtime", Blob.of(body))
    pusher.tag(f"{host}/runtime:1", image.manifest)
    return f"{host}/runtime@{image.digest}"


def world(settings: RegistrySettings, place: str, base: str) -> World:
    """Return a product that pushes below a place in a real registry."""
    return World(real=(HttpRegistry(settings), HttpPusher(settings)), layers=True, registry=place, python_base=base)


def later(made: World) -> None:
    """Let a minute pass, and the sweep come."""
    made.time = made.time.replace(minute=made.time.minute + 1)
    made.tick()


def given_up(made: World) -> None:
    """Let more time pass than new credentials may take."""
    for _ in range(3):
        assert made.condition("Built")[0] == "Unknown"
        later(made)


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
    settings, place = patient(insecure=True), tmp_path.name.lower()
    made = world(settings, f"{before.host}/{place}", based(settings, before.host))
    return before, settings, made, f"/v2/{place}/acme/hello"


def test_a_wrong_password_fails_the_build_and_says_so(guarded: str, tmp_path: Path) -> None:
    right = patient(insecure=True, config=config(tmp_path, guarded))
    base = based(right, guarded)
    (tmp_path / "wrong").mkdir()
    wrong = patient(insecure=True, config=config(tmp_path / "wrong", guarded, WRONG))
    made = world(wrong, f"{guarded}/{tmp_path.name.lower()}", base)
    made.start()
    given_up(made)
    assert made.condition("Built")[:2] == ("False", "RegistryRefused")
    assert "answered 401" in made.condition("Built")[2]
    assert nothing_is_used(made, right)
    config(tmp_path / "wrong", guarded)
    made.start()
    assert is_built(made, right)


def test_a_certificate_of_nobody_fails_the_build_and_says_so(secure: tuple[str, Path]) -> None:
    host, trust = secure
    right = patient(trust=trust)
    made = world(patient(), f"{host}/functions", based(right, host))
    made.start()
    given_up(made)
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


@pytest.mark.parametrize("part", ["blobs", "manifests"])
def test_a_connection_cut_in_the_middle_of_a_part_is_tried_again_and_the_build_says_so(gated: Gated, part: str) -> None:
    kept, settings, made, path = gated
    kept.cuts = f"PUT {path}/{part}"
    made.start()
    assert condition(made.build(), "Retrying")["status"] == "True"
    assert "did not answer" in condition(made.build(), "Retrying")["message"]
    assert nothing_is_used(made, settings)
    kept.cuts = ""
    later(made)
    assert is_built(made, settings)


# --- the same where the registry is asked before anything is laid


def refused(guarded: str, tmp_path: Path) -> tuple[World, Path]:
    """Return a world whose password is right until a test writes another one into that folder."""
    right = patient(insecure=True, config=config(tmp_path, guarded))
    return world(right, f"{guarded}/{tmp_path.name.lower()}", based(right, guarded)), tmp_path


def test_a_wrong_password_ends_a_build_with_dependencies_too(guarded: str, tmp_path: Path) -> None:
    made, folder = refused(guarded, tmp_path)
    config(folder, guarded, WRONG)
    made.start(source=DEPENDING)
    given_up(made)
    assert made.condition("Built")[:2] == ("False", "RegistryRefused")
    assert "answered 401" in made.condition("Built")[2]
    assert not made.builder.started


def test_a_certificate_of_nobody_ends_a_build_with_dependencies_too(secure: tuple[str, Path]) -> None:
    host, trust = secure
    made = world(patient(), f"{host}/depending", based(patient(trust=trust), host))
    made.start(source=DEPENDING)
    given_up(made)
    assert made.condition("Built")[:2] == ("False", "RegistryUntrusted")
    assert "certificate that is not trusted" in made.condition("Built")[2]
    assert not made.builder.started


@pytest.mark.parametrize("fault", ["full", "cut"])
def test_a_registry_that_fails_under_installed_dependencies_is_tried_again(
    before: Gate, tmp_path: Path, fault: str
) -> None:
    settings, place = patient(insecure=True), f"{before.host}/{tmp_path.name.lower()}"
    made = world(settings, place, based(settings, before.host))
    made.start(source=DEPENDING)
    [attempt] = made.builder.started.values()
    pusher, repository = HttpPusher(settings), attempt.destination.rpartition(":")[0]
    for body in INSTALLED.blobs:
        pusher.put(repository, Blob.of(body))
    pusher.tag(attempt.destination, INSTALLED.manifest)
    made.builder.ends[attempt.name] = Ended(0)
    path = f"/v2/{place.partition('/')[2]}/acme/hello/blobs"
    if fault == "full":
        before.refuses[f"POST {path}"] = (507, {})
    else:
        before.cuts = f"PUT {path}"
    made.tick()
    assert condition(made.build(), "Retrying")["status"] == "True"
    assert ("answered 507" if fault == "full" else "did not answer") in condition(made.build(), "Retrying")["message"]
    assert nothing_is_used(made, settings)
    before.refuses.clear()
    before.cuts = ""
    later(made)
    assert is_built(made, settings)


def test_a_source_that_comes_again_keeps_its_image_where_the_registry_lets_nobody_ask(
    guarded: str, tmp_path: Path
) -> None:
    made, folder = refused(guarded, tmp_path)
    made.start()
    image, build = made.service_image(), made.build()["metadata"]["name"]
    config(folder, guarded, WRONG)
    made.start()
    assert (made.service_image(), made.build()["metadata"]["name"]) == (image, build)
    assert made.condition("Built")[:2] == ("True", "Built")


def test_a_base_that_may_not_be_asked_for_is_no_fault_of_the_sender_and_nothing_is_written(
    guarded: str, tmp_path: Path
) -> None:
    right = patient(insecure=True, config=config(tmp_path, guarded))
    tagged = based(right, guarded).partition("@")[0] + ":1"
    made = world(right, f"{guarded}/{tmp_path.name.lower()}", tagged)
    config(tmp_path, guarded, WRONG)
    with pytest.raises(Unavailable, match="answered 401"):
        made.start()
    assert made.cluster.get(FUNCTION, "acme", "hello") is None
    config(tmp_path, guarded)
    made.start()
    assert is_built(made, right)
