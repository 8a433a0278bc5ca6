"""What refers to an image in its registry: documents about it, and signatures; attached, found, and removed with it.

Called by `attest.py`, `trust.py` and the handler's `retention.py`. A document is a manifest that names its image as its
subject. A registry that lists those by itself says so; for others a tag made of the image's digest holds the list:
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#pushing-manifests-with-subject
A signature lies where cosign looks for it, under a tag of its own:
https://github.com/sigstore/cosign/blob/main/specs/SIGNATURE_SPEC.md
"""

import base64
import binascii
import json
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from knative_lambda.builds.images.layers import CONFIG, INDEX, MANIFEST, canonical, descriptor
from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest, Pusher
from knative_lambda.builds.images.registry import Registry

EMPTY, NOTHING = "application/vnd.oci.empty.v1+json", b"{}"
SIGNED = "application/vnd.dev.cosign.simplesigning.v1+json"
SIGNATURE = "dev.cosignproject.cosign/signature"
MANY = 64
"""Signatures of one image that are looked at, and documents that are listed."""
TAG = re.compile(r"sha256-[0-9a-f]{64}(\.[a-z]+)?")
"""A tag of what refers to an image."""
SUFFIXES = (".sig", ".att", "")
"""Of the tags that may be there for an image: signatures, signed statements, and last the list of all."""


@dataclass(frozen=True)
class Document:
    """Something to be said of an image."""

    kind: str
    """Its artifact type: one of each kind is listed."""
    media_type: str
    body: bytes
    suffix: str = ""
    """Of a tag that it has beside."""

    def manifest(self, subject: Descriptor) -> Manifest:
        """Return the manifest that says it of a subject."""
        layer = descriptor(self.media_type, self.body)
        if self.suffix:  # as cosign looks for it
            layer = {**layer, "annotations": {"predicateType": self.kind, SIGNATURE: ""}}
        said = {
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "artifactType": self.kind,
            "config": descriptor(EMPTY, NOTHING),
            "layers": [layer],
            "subject": subject,
        }
        return Manifest(MANIFEST, canonical(said))


def tag(image: str, suffix: str = "") -> str:
    """Return the reference of what refers to an image by digest."""
    repository, _, digest = image.partition("@")
    return f"{repository}:{digest.replace(':', '-')}{suffix}"


def attach(image: str, subject: Manifest, documents: Iterable[Document], pusher: Pusher) -> None:
    """Have these documents refer to an image, whose manifest is `subject`; twice is as once."""
    repository, about = image.partition("@")[0], descriptor(subject.media_type, subject.body)
    unlisted = []
    pusher.put(repository, Blob.of(NOTHING))
    for document in documents:
        manifest = document.manifest(about)
        pusher.put(repository, Blob.of(document.body))
        is_listed = pusher.attach(repository, manifest)
        if document.suffix:
            pusher.tag(tag(image, document.suffix), manifest)
        if not is_listed:
            unlisted.append(descriptor(MANIFEST, manifest.body) | {"artifactType": document.kind})
    if unlisted:
        _list(image, unlisted, pusher)


def sign(image: str, payload: bytes, signature: bytes, pusher: Pusher) -> None:
    """Put a signature of a payload where cosign looks for those of an image, beside others' of which there are some."""
    repository, where = image.partition("@")[0], tag(image, ".sig")
    own = descriptor(SIGNED, payload) | {"annotations": {SIGNATURE: base64.b64encode(signature).decode()}}
    found = pusher.manifest(where)
    others = _entries(found, "layers") if found else []
    if own in others:
        return
    layers = [*others, own]
    diffs = [layer["digest"] for layer in layers]
    config = canonical({"architecture": "", "os": "", "config": {}, "rootfs": {"type": "layers", "diff_ids": diffs}})
    said = {"schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, config), "layers": layers}
    for body in (payload, config):
        pusher.put(repository, Blob.of(body))
    pusher.tag(where, Manifest(MANIFEST, canonical(said)))


def signatures(image: str, pusher: Pusher) -> Iterator[tuple[bytes, bytes]]:
    """Yield the payloads and signatures that are there for an image by digest; broken ones are none."""
    found = pusher.manifest(tag(image, ".sig"))
    for layer in _entries(found, "layers")[:MANY] if found else ():
        try:
            signature = base64.b64decode(layer["annotations"][SIGNATURE], validate=True)
            payload = pusher.blob(image.partition("@")[0], str(layer["digest"]))
        except (KeyError, TypeError, binascii.Error):
            continue
        if payload is not None:
            yield payload, signature


def papers(repository: str, digest: str, registry: Registry) -> list[str]:
    """Return the digests of all that refers to an image, the list that may be there last."""
    tagged = (registry.digest(tag(f"{repository}@{digest}", suffix)) for suffix in SUFFIXES)
    return [*dict.fromkeys([*registry.referrers(repository, digest), *(one for one in tagged if one is not None)])]


def remove(repository: str, digest: str, kept: Collection[str], registry: Registry) -> None:
    """Remove an image and all that refers to it, itself last: whoever finds it goes on from there.

    Who may push can list what it likes there: what is `kept` stays.
    """
    for paper in papers(repository, digest, registry):
        if paper not in kept:
            registry.delete(repository, paper)
    registry.delete(repository, digest)


def _list(image: str, documents: list[dict[str, Any]], pusher: Pusher) -> None:
    """Have these in the list that a registry does not keep by itself, instead of those of the same kinds."""
    found, kinds = pusher.manifest(tag(image)), {document["artifactType"] for document in documents}
    before = _entries(found, "manifests") if found else []
    others = [entry for entry in before if entry.get("artifactType") not in kinds]
    said = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [*others[:MANY], *documents]}
    index = Manifest(INDEX, canonical(said))
    if found != index:
        pusher.tag(tag(image), index)


def _entries(manifest: Manifest, key: str) -> list[dict[str, Any]]:
    try:
        return [entry for entry in json.loads(manifest.body)[key] if isinstance(entry, dict)]
    except (ValueError, TypeError, KeyError, RecursionError):
        return []
