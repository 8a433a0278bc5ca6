"""An image's papers in a real registry: found by others' rules, valid by others' schemas, verified by others' tools."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from support.images import BASE, Made
from support.papers import keys, listed, sealed, signed, statement, verifies
from support.registry import Gate, patient

from knative_lambda.builds.images import referrers
from knative_lambda.builds.images.layers import INDEX, MANIFEST, canonical, descriptor
from knative_lambda.builds.images.pusher import Blob, Manifest
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.builds.papers.attest import BILL, Attestor
from knative_lambda.builds.papers.signing import STATEMENT, Keys
from knative_lambda.builds.papers.trust import Trust
from knative_lambda.schemas.errors import Refused, Unavailable
from knative_lambda.storage import keys as store_keys
from knative_lambda.storage.memory import MemoryStore

PLAIN = patient(insecure=True)
MOMENT = "2026-01-01T00:00:00Z"
FILES = {
    "Dockerfile": File(b"FROM base"),
    "function/main.py": File(b"x = 1\n"),
    "function/requirements.txt": File(b"requests==2.32.0\nurllib3\n"),
    "function/n\udcffme.txt": File(b"no UTF-8"),
}


@pytest.fixture
def pushed(server: str, tmp_path: Path) -> str:
    """Return an image, by digest, in a repository that nobody else has."""
    return push(f"{server}/{tmp_path.name.lower()}/hello")


def push(repository: str, image: Made = BASE) -> str:
    pusher = HttpPusher(PLAIN)
    for body in image.blobs:
        pusher.put(repository, Blob.of(body))
    pusher.tag(f"{repository}:one-1", image.manifest)
    return f"{repository}@{image.digest}"


def build(context: str, **spec: Any) -> dict[str, Any]:
    """Return the record of a Build whose image has been pushed."""
    whole = {
        "function": "hello",
        "context": context,
        "runtime": "python",
        "entrypoint": "main.handle",
        "base": "registry/python@sha256:" + "b" * 64,
        "builder": "layer",
        "inputHash": "sha256:" + "c" * 64,
        **spec,
    }
    meta = {"name": "hello-1", "namespace": "acme", "uid": "u-1", "creationTimestamp": MOMENT}
    told = [{"type": "Pushed", "status": "True", "reason": "Pushed", "message": "", "lastTransitionTime": MOMENT}]
    return {"metadata": meta, "spec": whole, "status": {"startTime": MOMENT, "attempt": 1, "conditions": told}}


def attest(image: str, folder: Path | None = None) -> None:
    store, packed = MemoryStore(), archive.pack(FILES)
    store.put(store_keys.context("acme", "hello", packed.digest[7:]), packed.body)
    attestor = Attestor(HttpPusher(PLAIN), store, "kaniko:latest", keys=Keys(folder) if folder else None)
    attestor.attest(build(packed.digest), image)


def test_the_bill_is_valid_by_the_schema_of_cyclonedx(pushed: str) -> None:
    attest(pushed)
    bill = listed(pushed, HttpPusher(PLAIN))[BILL]
    kept = resources.files("cyclonedx.schema").joinpath("_res")
    schema, *others = (
        (f"http://cyclonedx.org/schema/{name}", json.loads(kept.joinpath(name).read_text("utf-8")))
        for name in (f"{part}.SNAPSHOT.schema.json" for part in ("bom-1.6", "spdx", "jsf-0.82"))
    )
    registry = jsonschema_rs.Registry(others)
    jsonschema_rs.validator_for(schema[1], registry=registry, validate_formats=True).validate(json.loads(bill))
    with pytest.raises(jsonschema_rs.ValidationError):
        jsonschema_rs.validator_for(schema[1], registry=registry).validate({**json.loads(bill), "version": "x"})


def test_done_twice_nothing_is_pushed_anew(before: Gate, tmp_path: Path) -> None:
    image = push(f"{before.host}/{tmp_path.name.lower()}/hello")
    folder = keys(tmp_path)
    attest(image, folder)
    first = {tag: HttpRegistry(PLAIN).digest(f"{image.partition('@')[0]}:{tag}") for tag in tags(image)}
    before.asked.clear()
    attest(image, folder)
    assert {tag: HttpRegistry(PLAIN).digest(f"{image.partition('@')[0]}:{tag}") for tag in tags(image)} == first
    assert not [path for method, path, _ in before.asked if method == "POST"], "no blob is sent again"


def test_a_registry_that_lists_referrers_by_itself_gets_no_tag_for_them(before: Gate, tmp_path: Path) -> None:
    image = push(f"{before.host}/{tmp_path.name.lower()}/hello")
    before.adds = {"OCI-Subject": image.partition("@")[2]}
    attest(image)
    assert tags(image) == ["one-1"]
    before.adds = {}
    attest(image)
    assert tags(image) == ["one-1", image.partition("@")[2].replace(":", "-")], "the same, and the list by hand"


def test_a_registry_that_breaks_off_leaves_what_the_next_try_completes(before: Gate, tmp_path: Path) -> None:
    image, folder = push(f"{before.host}/{tmp_path.name.lower()}/hello"), keys(tmp_path)
    place = f"/v2/{tmp_path.name.lower()}/hello"
    for line in (f"POST {place}", f"PUT {place}/blobs", f"PUT {place}/manifests"):
        before.refuses = {line: (503, {})}
        with pytest.raises(Unavailable):
            attest(image, folder)
        assert not signed(image, HttpPusher(PLAIN))
    before.refuses = {}
    attest(image, folder)
    assert len(signed(image, HttpPusher(PLAIN))) == 1
    assert set(listed(image, HttpPusher(PLAIN))) == {BILL, STATEMENT}


def test_removed_with_its_image_nothing_of_it_is_left_and_others_stay(pushed: str, tmp_path: Path) -> None:
    attest(pushed, keys(tmp_path))
    repository, _, digest = pushed.partition("@")
    registry = HttpRegistry(PLAIN)
    found = registry.referrers(repository, digest)
    assert len(found) == 2
    referrers.remove(repository, digest, {found[0]}, registry)
    assert registry.tags(repository) == []
    assert [registry.digest(f"{repository}@{one}") is not None for one in found] == [True, False]
    assert registry.referrers(repository, digest) == []
    referrers.remove(repository, digest, (), registry)


@pytest.mark.parametrize("kind", ["listed", "tagged", "list"])
def test_what_is_kept_stays_however_it_is_found(pushed: str, tmp_path: Path, kind: str) -> None:
    attest(pushed, keys(tmp_path))
    repository, _, digest = pushed.partition("@")
    registry = HttpRegistry(PLAIN)
    found = {
        "listed": registry.referrers(repository, digest)[0],
        "tagged": registry.digest(referrers.tag(pushed, ".sig")),
        "list": registry.digest(referrers.tag(pushed)),
    }
    kept = found[kind]
    assert kept is not None
    assert kept in referrers.papers(repository, digest, registry)
    referrers.remove(repository, digest, {kept}, registry)
    left = {one for one in found.values() if registry.digest(f"{repository}@{one}") is not None}
    assert left == {kept}


def test_the_signature_is_openssls_too_and_the_product_trusts_it(pushed: str, tmp_path: Path) -> None:
    folder = keys(tmp_path)
    trust = Trust(HttpPusher(PLAIN), Keys(folder), "all")
    with pytest.raises(Refused, match="bears no signature"):
        trust.require(pushed, "layer")
    attest(pushed, folder)
    [(payload, signature)] = signed(pushed, HttpPusher(PLAIN))
    assert verifies(folder, signature, payload, tmp_path)
    trust.require(pushed, "layer")
    with pytest.raises(Refused, match="none of 1 signatures"):
        Trust(HttpPusher(PLAIN), Keys(keys(tmp_path / "other")), "all").require(pushed, "layer")


def test_no_more_signatures_of_an_image_are_looked_at_than_are_worth_it(pushed: str, tmp_path: Path) -> None:
    """Whoever may push can put as many there as a manifest holds."""
    folder, others = keys(tmp_path), keys(tmp_path / "others")
    sign_often(pushed, referrers.MANY - 1)
    attest(pushed, folder)
    attest(pushed, others)
    pusher = HttpPusher(PLAIN)
    Trust(pusher, Keys(folder), "all").require(pushed, "layer")
    with pytest.raises(Refused, match=f"none of {referrers.MANY} signatures"):
        Trust(pusher, Keys(others), "all").require(pushed, "layer")


def sign_often(image: str, times: int) -> None:
    for number in range(times):
        referrers.sign(image, b"{}", b"another's %d" % number, HttpPusher(PLAIN))


def test_a_list_of_papers_grows_no_longer_than_is_looked_at(pushed: str, tmp_path: Path) -> None:
    """Of others' as many stay as are listed at most, and one's own are there whatever others listed."""
    pusher = HttpPusher(PLAIN)
    about = descriptor(MANIFEST, BASE.manifest.body)
    others = [{**about, "artifactType": f"x/{number}"} for number in range(referrers.MANY + 1)]
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": others}
    pusher.tag(referrers.tag(pushed), Manifest(INDEX, canonical(index)))
    attest(pushed, keys(tmp_path))
    found = pusher.manifest(referrers.tag(pushed))
    assert found is not None
    kinds = [entry["artifactType"] for entry in json.loads(found.body)["manifests"]]
    assert kinds == [*(f"x/{n}" for n in range(referrers.MANY)), BILL, STATEMENT]


# --- the real tool


@pytest.fixture
def cosign(tmp_path: Path) -> Iterator[list[str]]:
    """Return cosign's command, where it is on PATH, which looks nowhere but at the registry and the key."""
    program = shutil.which("cosign")
    if program is None:
        pytest.skip("cosign is not on PATH")
    os.environ["TUF_ROOT"] = str(tmp_path / "tuf")
    yield [program]
    del os.environ["TUF_ROOT"]


def ran(*command: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)


def test_cosign_verifies_signature_and_provenance_by_the_key_and_by_no_other(
    pushed: str, tmp_path: Path, cosign: list[str]
) -> None:
    folder, other = keys(tmp_path), keys(tmp_path / "other")
    attest(pushed, folder)
    offline = ["--insecure-ignore-tlog=true", "--allow-http-registry"]
    by = [*cosign, "verify", *offline, "--key"]
    done = ran(*by, folder / "cosign.pub", pushed)
    assert done.returncode == 0, done.stderr
    assert ran(*by, other / "cosign.pub", pushed).returncode != 0
    stated = [*cosign, "verify-attestation", *offline, "--type", "slsaprovenance1", "--key"]
    done = ran(*stated, folder / "cosign.pub", pushed)
    assert done.returncode == 0, done.stderr
    assert statement(done.stdout.encode())["predicateType"] == "https://slsa.dev/provenance/v1"
    assert ran(*stated, other / "cosign.pub", pushed).returncode != 0


def test_a_key_made_by_cosign_signs(pushed: str, tmp_path: Path, cosign: list[str]) -> None:
    environment = {**os.environ, "COSIGN_PASSWORD": "correct horse"}
    subprocess.run([*cosign, "generate-key-pair"], check=True, cwd=tmp_path, env=environment, capture_output=True)
    (tmp_path / "cosign.password").write_text("correct horse")
    attest(pushed, tmp_path)
    Trust(HttpPusher(PLAIN), Keys(tmp_path), "all").require(pushed, "layer")
    sealed(keys(tmp_path / "again"), b"ours")  # the tests' own way of sealing is cosign's
    done = subprocess.run(
        [*cosign, "public-key", "--key", "cosign.key"],
        check=True,
        cwd=tmp_path / "again",
        env={**os.environ, "COSIGN_PASSWORD": "ours"},
        capture_output=True,
    )
    assert done.stdout.split() == (tmp_path / "again" / "cosign.pub").read_bytes().split()


def tags(image: str) -> list[str]:
    return sorted(HttpRegistry(PLAIN).tags(image.partition("@")[0]))
