"""What every `Pusher` does: one suite, run on the fake and on a real registry over HTTP, with and without its guard."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.images import BASE, FakePusher, Made, check, made, sha256, tarred
from support.registry import patient
from support.world import FakeRegistry

from knative_lambda.builds.guard import GuardedPusher
from knative_lambda.builds.images import layers
from knative_lambda.builds.images.pusher import Blob, Pusher
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.referrers import Document
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.guard import Guard, GuardSettings

NOWHERE = "sha256:" + "0" * 64


@dataclass(frozen=True)
class Place:
    """A registry with two repositories of this test's: `base` holds the base image, `own` nothing."""

    pusher: Pusher
    digest: Callable[[str], str | None]
    base: str
    own: str


@pytest.fixture(params=["fake", "http", "guarded"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "fake":
        registry = FakeRegistry()
        found = Place(FakePusher(registry), registry.digest, "registry/base", "registry/own")
    else:
        reached = patient(insecure=True)
        pusher: Pusher = HttpPusher(reached)
        if request.param == "guarded":
            pusher = GuardedPusher(pusher, Guard("registry", GuardSettings()))
        name = f"{request.getfixturevalue('server')}/{tmp_path.name.lower()}"
        found = Place(pusher, HttpRegistry(reached).digest, f"{name}/base", f"{name}/own")
    pushed(found, BASE)
    return found


def pushed(place: Place, image: Made) -> None:
    for body in image.blobs:
        place.pusher.put(place.base, Blob.of(body))
    place.pusher.tag(f"{place.base}:1", image.manifest)


def test_an_image_is_read_as_it_was_pushed(place: Place) -> None:
    by_tag = place.pusher.manifest(f"{place.base}:1")
    assert by_tag == BASE.manifest == place.pusher.manifest(f"{place.base}@{BASE.digest}")
    assert place.digest(f"{place.base}:1") == BASE.digest
    assert place.pusher.blob(place.base, sha256(BASE.blobs[0])) == BASE.blobs[0]


def test_what_is_not_there_is_an_answer(place: Place) -> None:
    assert place.pusher.manifest(f"{place.base}@{NOWHERE}") is None
    assert place.pusher.manifest(f"{place.own}:1") is None
    assert place.pusher.blob(place.base, NOWHERE) is None
    assert place.pusher.blob(place.own, sha256(BASE.blobs[0])) is None


def test_a_base_with_one_more_layer_is_an_image_of_its_own(place: Place) -> None:
    """The whole of it twice: what is there stays, and the digest is the same."""
    base = layers.base_of(f"{place.base}@{BASE.digest}", BASE.manifest, BASE.blobs[-1])
    image = layers.upon(base, layers.Layer(*packed("code")), {"knative-lambda.dev/input-hash": "x"}, "COPY")
    for tag in ("one-1", "one-2"):
        for blob in base.blobs:
            place.pusher.bring(blob, base.repository, place.own)
        place.pusher.put(place.own, image.layer)
        place.pusher.put(place.own, Blob.of(image.config))
        place.pusher.tag(f"{place.own}:{tag}", image.manifest)
    assert place.digest(f"{place.own}:one-1") == place.digest(f"{place.own}:one-2") == sha256(image.manifest.body)
    check(image.manifest.body, lambda digest: place.pusher.blob(place.own, digest))


def test_a_manifest_whose_blobs_are_missing_is_refused(place: Place) -> None:
    with pytest.raises(Refused):
        place.pusher.tag(f"{place.own}:1", BASE.manifest)
    assert place.digest(f"{place.own}:1") is None


def test_what_names_a_subject_is_kept_by_its_digest_and_not_as_an_image_of_that_name(place: Place) -> None:
    """Attached twice it is there once; whether the registry lists it is an answer, and the same both times."""
    subject = layers.descriptor(BASE.manifest.media_type, BASE.manifest.body)
    document = Document("application/x", "application/x", b"said of it").manifest(subject)
    with pytest.raises(Refused):
        place.pusher.attach(place.base, document)
    for body in (b"{}", b"said of it"):
        place.pusher.put(place.base, Blob.of(body))
    assert place.pusher.attach(place.base, document) == place.pusher.attach(place.base, document)
    digest = sha256(document.body)
    assert place.digest(f"{place.base}@{digest}") == digest
    assert place.pusher.manifest(f"{place.base}@{digest}") == document
    assert place.digest(f"{place.base}:1") == BASE.digest


def packed(code: str) -> tuple[Blob, str]:
    [layer, _], tar = made(tarred(code=code)).blobs, tarred(code=code)
    return Blob.of(layer), sha256(tar)
