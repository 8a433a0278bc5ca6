"""Images for tests: a base, a registry that can be pushed to, and a strict reader of what was pushed."""

import gzip
import hashlib
import io
import json
import re
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from knative_lambda.builds.images.layers import CONFIG, LAYER, MANIFEST, canonical, descriptor
from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest
from knative_lambda.schemas.errors import Refused

MEDIA_TYPE = re.compile(r"[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}")
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
RUNS = {
    "User": "65532:65532",
    "Env": ["PATH=/usr/bin", "PYTHONUNBUFFERED=1"],
    "Entrypoint": ["python3", "/runtime/serve.py"],
    "WorkingDir": "/function",
    "Labels": {"org.opencontainers.image.version": "1", "whose": "the base's"},
}


@dataclass(frozen=True)
class Made:
    """An image as it would be pushed: its blobs, then its manifest."""

    blobs: list[bytes]
    manifest: Manifest

    @property
    def digest(self) -> str:
        return sha256(self.manifest.body)


def sha256(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def made(*tars: bytes, types: tuple[str, str, str] = (MANIFEST, CONFIG, LAYER), **inside: Any) -> Made:
    """Return an image of these layers, each an uncompressed tar, of these media types (manifest, config, layer)."""
    packed = [gzip.compress(tar, mtime=0) for tar in tars]
    history = [{"created": "2026-01-01T00:00:00Z", "created_by": f"layer {number}"} for number, _ in enumerate(tars)]
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "2026-01-01T00:00:00Z",
        "config": RUNS,
        "rootfs": {"type": "layers", "diff_ids": [sha256(tar) for tar in tars]},
        "history": [*history, {"created_by": "USER 65532:65532", "empty_layer": True}],
        **inside,
    }
    body = canonical(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": types[0],
        "config": descriptor(types[1], body),
        "layers": [descriptor(types[2], layer) for layer in packed],
    }
    return Made([*packed, body], Manifest(types[0], canonical(manifest)))


def tarred(**files: str) -> bytes:
    """Return a tar of these files, below a folder ``runtime``."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, text in files.items():
            entry = tarfile.TarInfo(f"runtime/{name}")
            entry.size = len(text)
            tar.addfile(entry, io.BytesIO(text.encode()))
    return out.getvalue()


BASE = made(tarred(wrapper="one"), tarred(wrapper="two"))
INSTALLED = made(tarred(wrapper="one"), tarred(wrapper="two"), tarred(package="three"))
"""The same, with dependencies installed."""


def check(manifest: bytes, blob: Callable[[str], bytes | None]) -> dict[str, Any]:
    """Hold an image against what OCI's image specification demands of it, blob by blob; return its config."""
    said = json.loads(manifest)
    assert said["schemaVersion"] == 2
    assert said["mediaType"] == MANIFEST
    assert set(said) <= {"schemaVersion", "mediaType", "config", "layers", "annotations"}
    assert all(isinstance(text, str) and name for name, text in said["annotations"].items())
    bodies = [_checked(each, blob) for each in (said["config"], *said["layers"])]
    assert said["config"]["mediaType"] == CONFIG
    assert said["layers"], "an image has a layer at least"
    config: dict[str, Any] = json.loads(bodies[0])
    assert config["os"] == "linux"
    assert isinstance(config["architecture"], str)
    assert config["rootfs"]["type"] == "layers"
    assert config["rootfs"]["diff_ids"] == [sha256(gzip.decompress(body)) for body in bodies[1:]]
    runs = config["config"]
    assert {type(each) for each in runs.get("Env", [])} <= {str}
    assert all(isinstance(runs.get(name, ""), str) for name in ("User", "WorkingDir"))
    assert {type(each) for each in runs["Labels"].values()} == {str}
    if "history" in config:
        assert sum(not step.get("empty_layer") for step in config["history"]) == len(said["layers"])
    for moment in (config.get("created"), *(step.get("created") for step in config.get("history", []))):
        assert moment is None or datetime.fromisoformat(moment)
    return config


def _checked(said: Descriptor, blob: Callable[[str], bytes | None]) -> bytes:
    assert MEDIA_TYPE.fullmatch(said["mediaType"])
    assert DIGEST.fullmatch(said["digest"])
    body = blob(said["digest"])
    assert body is not None, f"{said['digest']} is missing"
    assert (sha256(body), len(body)) == (said["digest"], said["size"])
    return body


def files(layer: bytes) -> list[tuple[str, int, int, int, int, bytes]]:
    """Return the entries of a packed layer: name, mode, owner, group, time, content."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(layer))) as tar:
        return [
            (
                entry.name + ("/" if entry.isdir() else ""),
                entry.mode,
                entry.uid,
                entry.gid,
                int(entry.mtime),
                content.read() if (content := tar.extractfile(entry)) else b"",
            )
            for entry in tar
        ]


class Knows(Protocol):
    """A registry that knows what it is told."""

    known: dict[str, str]
    listed: dict[str, list[str]]


@dataclass
class FakePusher:
    """A registry that can be pushed to, as strict as a real one; `registry` learns of its images."""

    registry: Knows
    blobs: dict[str, dict[str, bytes]] = field(default_factory=dict)
    """By repository, by digest."""
    manifests: dict[str, dict[str, Manifest]] = field(default_factory=dict)
    breaks: dict[str, Exception] = field(default_factory=dict)
    """What a method raises, by its name."""
    sent: list[str] = field(default_factory=list)
    """The digests that were put, one after the other."""
    lists: bool = True
    """Whether it lists by itself what refers to an image."""

    def add(self, repository: str, image: Made, digest: str = "") -> str:
        """Have an image in a repository, under a digest that is not its own if a test says so."""
        for body in image.blobs:
            self.blobs.setdefault(repository, {})[sha256(body)] = body
        self.manifests.setdefault(repository, {})[digest or image.digest] = image.manifest
        return image.digest

    def manifest(self, reference: str) -> Manifest | None:
        self._break("manifest")
        repository, _, digest = reference.partition("@")
        if not digest:
            repository, digest = reference.rpartition(":")[0], self.registry.known.get(reference, "")
        return self.manifests.get(repository, {}).get(digest)

    def blob(self, repository: str, digest: str) -> bytes | None:
        self._break("blob")
        return self.blobs.get(repository, {}).get(digest)

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        self._break("bring")
        there = self.blobs.setdefault(target, {})
        if blob["digest"] not in there:
            there[blob["digest"]] = self.blobs[source][blob["digest"]]

    def put(self, repository: str, blob: Blob) -> None:
        self._break("put")
        if blob.digest not in self.blobs.setdefault(repository, {}):
            body = b"".join(blob.pieces())
            assert (sha256(body), len(body)) == (blob.digest, blob.size)
            self.blobs[repository][blob.digest] = body
            self.sent.append(blob.digest)

    def tag(self, reference: str, manifest: Manifest) -> None:
        self._break("tag")
        self._keep(reference.rpartition(":")[0], manifest)
        self.registry.known[reference] = sha256(manifest.body)

    def attach(self, repository: str, manifest: Manifest) -> bool:
        self._break("attach")
        self._keep(repository, manifest)
        subject = json.loads(manifest.body)["subject"]["digest"]
        refers = self.registry.listed.setdefault(f"{repository}@{subject}", [])
        if sha256(manifest.body) not in refers:
            refers.append(sha256(manifest.body))
        return self.lists

    def _keep(self, repository: str, manifest: Manifest) -> None:
        said, there = json.loads(manifest.body), self.blobs.get(repository, {})
        if "manifests" in said:
            parts, there = said["manifests"], self.manifests.get(repository, {})
        else:
            parts = [said["config"], *said["layers"]]
        missing = [each["digest"] for each in parts if each["digest"] not in there]
        if missing:
            raise Refused.because("/registry", f"blobs are missing: {missing}")
        self.manifests.setdefault(repository, {})[sha256(manifest.body)] = manifest

    def _break(self, method: str) -> None:
        if method in self.breaks:
            raise self.breaks[method]
