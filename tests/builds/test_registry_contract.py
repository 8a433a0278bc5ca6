"""What every registry does: one suite, run on the fake, a folder, and a real registry over HTTP, with its guard."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.registry import patient, push
from support.world import FakeRegistry

from knative_lambda.builds.guard import GuardedRegistry
from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.schemas.guard import Guard, GuardSettings
from knative_lambda.schemas.names import sha256

NOWHERE = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Place:
    """A registry, the repository of this test below it, and how an image is pushed: tag and content to digest."""

    registry: Registry
    repository: str
    push: Callable[[str, str], str]


@pytest.fixture(params=["fake", "layout", "http", "guarded"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Return an empty repository of each kind."""
    if request.param == "fake":
        return fake(FakeRegistry(), "registry/acme/hello")
    if request.param == "layout":
        return layout(OciLayout(tmp_path), "embedded.local/acme/hello")
    host, name = request.getfixturevalue("server"), f"acme/{tmp_path.name.lower()}"
    registry: Registry = HttpRegistry(patient(insecure=True))
    if request.param == "guarded":
        registry = GuardedRegistry(registry, Guard("registry", GuardSettings()))
    return Place(registry, f"{host}/{name}", lambda tag, content: push(host, name, tag, content.encode()))


def fake(registry: FakeRegistry, repository: str) -> Place:
    def push(tag: str, content: str) -> str:
        registry.known[f"{repository}:{tag}"] = sha256(content)
        return sha256(content)

    return Place(registry, repository, push)


def layout(registry: OciLayout, repository: str) -> Place:
    def push(tag: str, content: str) -> str:
        return registry.push(f"{repository}:{tag}", [archive.canonical({"main": File(content.encode())})], {})

    return Place(registry, repository, push)


def test_an_image_is_known_by_its_tag_and_by_its_digest(place: Place) -> None:
    digest = place.push("one-1", "content")
    assert place.registry.digest(f"{place.repository}:one-1") == digest
    assert place.registry.digest(f"{place.repository}@{digest}") == digest


def test_what_is_not_there_is_an_answer(place: Place) -> None:
    place.push("one-1", "content")
    assert place.registry.digest(f"{place.repository}:two-1") is None
    assert place.registry.digest(f"{place.repository}@{NOWHERE}") is None
    assert place.registry.digest(f"{place.repository}-other:one-1") is None


def test_every_tag_of_a_repository_is_told_and_none_of_another(place: Place) -> None:
    tags = [f"build-{number}" for number in range(1, 8)]
    for tag in tags:
        place.push(tag, tag[-1])
    assert sorted(place.registry.tags(place.repository)) == tags
    assert place.registry.tags(f"{place.repository}-other") == []
    assert place.registry.tags(place.repository.rpartition("/")[0]) == []


def test_an_image_that_is_deleted_goes_with_all_its_tags_and_leaves_the_others(place: Place) -> None:
    digest = place.push("one-1", "content")
    assert place.push("two-1", "content") == digest
    other = place.push("three-1", "other content")
    place.registry.delete(place.repository, digest)
    assert place.registry.digest(f"{place.repository}:one-1") is None
    assert place.registry.digest(f"{place.repository}:two-1") is None
    assert place.registry.digest(f"{place.repository}@{digest}") is None
    assert place.registry.digest(f"{place.repository}:three-1") == other


def test_a_repository_that_has_lost_its_last_image_has_no_tags(place: Place) -> None:
    place.registry.delete(place.repository, place.push("one-1", "content"))
    assert place.registry.tags(place.repository) == []


def test_deleting_what_is_gone_is_success(place: Place) -> None:
    digest = place.push("one-1", "content")
    for _ in range(2):
        place.registry.delete(place.repository, digest)
    place.registry.delete(f"{place.repository}-other", digest)
    assert place.registry.tags(place.repository) == []


def test_an_image_that_nothing_refers_to_has_no_referrers_nor_has_one_that_is_not_there(place: Place) -> None:
    digest = place.push("one-1", "content")
    assert place.registry.referrers(place.repository, digest) == []
    assert place.registry.referrers(place.repository, NOWHERE) == []
    assert place.registry.referrers(f"{place.repository}-other", digest) == []


def test_a_deleted_image_can_be_pushed_again(place: Place) -> None:
    digest = place.push("one-1", "content")
    place.registry.delete(place.repository, digest)
    assert place.push("two-1", "content") == digest
    assert place.registry.digest(f"{place.repository}:two-1") == digest
