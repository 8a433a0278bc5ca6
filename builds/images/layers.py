"""A function's code as one layer upon its base image: what `function.Dockerfile` makes, without running anything.

Called by `layered.py`, and by `source.py` for what fits. Pure functions, bytes in, bytes out: equal input gives equal
digests. What is written is what the OCI image specification 1.1 says, whatever the base was written as:
https://github.com/opencontainers/image-spec/blob/v1.1.0/config.md, manifest.md and layer.md beside it.
"""

import gzip
import hashlib
import io
import json
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest
from knative_lambda.builds.inputs import tar_reader
from knative_lambda.builds.inputs.tar_reader import Damaged
from knative_lambda.schemas.errors import Refused

OCI, DOCKER = "application/vnd.oci.image.", "application/vnd.docker."
MANIFEST, INDEX, CONFIG = (f"{OCI}{kind}.v1+json" for kind in ("manifest", "index", "config"))
LAYER = f"{OCI}layer.v1.tar+gzip"
INDEXES = (INDEX, f"{DOCKER}distribution.manifest.list.v2+json")
MANIFESTS = (MANIFEST, f"{DOCKER}distribution.manifest.v2+json")
_PIECE = 64 * 1024
_LAYERS = {
    f"{DOCKER}image.rootfs.diff.tar.gzip": LAYER,
    f"{DOCKER}image.rootfs.diff.tar": f"{OCI}layer.v1.tar",
    f"{DOCKER}image.rootfs.foreign.diff.tar.gzip": f"{OCI}layer.nondistributable.v1.tar+gzip",
}
"""Docker's types of layers, as OCI has them; the bytes are the same."""


@dataclass(frozen=True)
class Bounds:
    """How large a context may be whose code is laid here."""

    unpacked: int = 50 * 1024 * 1024
    """Bytes: they pass by twice, and cost time."""

    @property
    def packed(self) -> int:
        """Return the bytes that it may have packed: of two at once they are held in memory."""
        return self.unpacked // 4

    def unfit(self, packed: int, unpacked: int) -> str:
        """Return why a context of these sizes (bytes) is not laid here, or ""."""
        if packed > self.packed:
            return f"the source has more than {_mib(self.packed)} MiB packed"
        return f"the source has more than {_mib(self.unpacked)} MiB" if unpacked > self.unpacked else ""


@dataclass(frozen=True)
class Layer:
    """A layer, packed."""

    blob: Blob
    diff_id: str
    """``sha256:…`` of its tar."""


BOUNDS = Bounds()


@dataclass(frozen=True)
class Base:
    """The image that a layer is laid upon."""

    reference: str
    """``host/repository@digest``, as it was pinned."""
    manifest: Mapping[str, Any]
    config: Mapping[str, Any]

    @property
    def repository(self) -> str:
        """Return where its blobs are."""
        return self.reference.partition("@")[0]

    @property
    def blobs(self) -> list[Descriptor]:
        """Return the layers that an image upon it needs beside it; others lie where their ``urls`` say."""
        return [layer for layer in self.manifest["layers"] if not layer.get("urls")]


@dataclass(frozen=True)
class Image:
    """What is to be pushed beside the base's own layers, in this order."""

    layer: Blob
    config: bytes
    manifest: Manifest


def code_layer(
    context: bytes, digest: str, folder: str, why_not: Callable[[str], str], bounds: Bounds = BOUNDS
) -> Layer:
    """Return the layer that ``COPY folder /folder`` makes of a context: root's files, as executable as they were.

    It is made twice, once to be named and once to be sent, and never held: of a large one there is the context alone.
    That is a gzip of a canonical tar whose hash is `digest`; `why_not` says of the path of a file below `folder`
    why it cannot just be laid there, or "". Raises `Refused` for such a file, where it is another context, or where
    that holds more than is laid here.
    """

    def laid(seen: "hashlib._Hash", tar: "hashlib._Hash") -> Iterator[bytes]:
        with gzip.GzipFile(fileobj=io.BytesIO(context)) as packed:
            yield from _packed(_noted(_relaid(_bounded(packed, seen, bounds), folder, why_not), tar))

    seen, tar, whole, size = hashlib.sha256(), hashlib.sha256(), hashlib.sha256(), 0
    try:
        for piece in _noted(laid(seen, tar), whole):
            size += len(piece)
    except (Damaged, OSError, EOFError, zlib.error) as error:
        raise Refused.because("/context", f"the build context is damaged: {error}") from error
    if f"sha256:{seen.hexdigest()}" != digest:
        raise Refused.because("/context", "the build context is not the one that was asked for")
    blob = Blob(f"sha256:{whole.hexdigest()}", size, lambda: laid(hashlib.sha256(), hashlib.sha256()))
    return Layer(blob, f"sha256:{tar.hexdigest()}")


def chosen(index: Manifest, platform: str) -> str:
    """Return the digest of the image for a platform (``linux/amd64``) in an index; raise `Refused` where none is."""
    for entry in _read(index.body, "the base image's index").get("manifests", []):
        about = entry.get("platform", {})
        names = ("os", "architecture", "variant")[: platform.count("/") + 1]
        if "/".join(about.get(name, "") for name in names) == platform:
            return str(entry["digest"])
    raise Refused.because("/base", f"the base image has nothing for {platform}")


def base_of(reference: str, manifest: Manifest, config: bytes) -> Base:
    """Return a base image, once it is one that can be laid upon; raise `Refused` otherwise."""
    read, inside = _read(manifest.body, "the base image's manifest"), _read(config, "the base image's config")
    if manifest.media_type not in MANIFESTS or not isinstance(read.get("layers"), list):
        raise Refused.because("/base", f"the base image is of a kind that nothing is laid upon: {manifest.media_type}")
    if len(inside.get("rootfs", {}).get("diff_ids", [])) != len(read["layers"]):
        raise Refused.because("/base", "the base image's config is not of its manifest")
    return Base(reference, read, inside)


def config_of(manifest: Manifest) -> str:
    """Return the digest of the config that a manifest names; raise `Refused` where it names none."""
    found = _read(manifest.body, "the base image's manifest").get("config", {}).get("digest", "")
    if not isinstance(found, str) or not found.startswith("sha256:"):
        raise Refused.because("/base", "the base image's manifest names no config")
    return found


def upon(base: Base, layer: Layer, labels: Mapping[str, str], created_by: str) -> Image:
    """Return the image of a base with one more layer: all else of the base's stays, its own labels too."""
    told = {**labels, "org.opencontainers.image.base.name": base.repository}
    told["org.opencontainers.image.base.digest"] = base.reference.partition("@")[2]
    runs = dict(base.config.get("config") or {})
    runs["Labels"] = {**(runs.get("Labels") or {}), **told}
    inside = {**base.config, "config": runs}
    inside["rootfs"] = {"type": "layers", "diff_ids": [*base.config["rootfs"]["diff_ids"], layer.diff_id]}
    history = base.config.get("history") or []
    if sum(not step.get("empty_layer") for step in history) == len(base.manifest["layers"]):
        inside["history"] = [*history, {"created_by": created_by}]
    config = canonical(inside)
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [*map(_as_oci, base.manifest["layers"]), _described(LAYER, layer.blob)],
        "annotations": told,
    }
    return Image(layer.blob, config, Manifest(MANIFEST, canonical(manifest)))


def descriptor(media_type: str, body: bytes) -> dict[str, Any]:
    """Return what a manifest says of a blob."""
    return _described(media_type, Blob.of(body))


def canonical(value: object) -> bytes:
    """Return a JSON value in its one form."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _described(media_type: str, blob: Blob) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": blob.digest, "size": blob.size}


def _mib(size: int) -> str:
    return f"{size / (1 << 20):g}"


def _as_oci(layer: Descriptor) -> Descriptor:
    return {**layer, "mediaType": _LAYERS.get(layer["mediaType"], layer["mediaType"])}


def _relaid(read: Callable[[int], bytes], folder: str, why_not: Callable[[str], str]) -> Iterator[bytes]:
    """Yield the tar of a context's folder: each folder before what is in it, no times, root's, modes 0644 and 0755."""
    made, written = set[str](), 0
    for entry, body in tar_reader.entries(read):
        if not entry.path.startswith(folder):
            continue
        if entry.kind != "file":
            raise Damaged(f"{entry.path} is no file")
        if reason := why_not(entry.path.removeprefix(folder)):
            raise Refused.because("/context", reason)
        for above in reversed(PurePosixPath(entry.path).parents[:-1]):
            if str(above) not in made:
                made.add(str(above))
                yield (header := _header(str(above), 0o755, folder=True))
                written += len(header)
        yield (header := _header(entry.path, 0o755 if entry.executable else 0o644, entry.size))
        yield from body
        yield (padding := bytes(-entry.size % tarfile.BLOCKSIZE))
        written += len(header) + entry.size + len(padding)
    yield bytes(2 * tarfile.BLOCKSIZE + -(written + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE)


def _packed(tar: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the gzip of a tar, equal for equal ones, as it comes."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=6, mtime=0) as sink:
        for piece in tar:
            sink.write(piece)
            if out.tell() >= _PIECE:
                yield out.getvalue()
                out.seek(0)
                out.truncate()
    yield out.getvalue()


def _noted(pieces: Iterable[bytes], seen: "hashlib._Hash") -> Iterator[bytes]:
    for piece in pieces:
        seen.update(piece)
        yield piece


def _header(path: str, mode: int, size: int = 0, *, folder: bool = False) -> bytes:
    entry = tarfile.TarInfo(path)
    entry.type = tarfile.DIRTYPE if folder else tarfile.REGTYPE
    entry.mode, entry.size = mode, size
    return entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _bounded(source: gzip.GzipFile, seen: "hashlib._Hash", bounds: Bounds) -> Callable[[int], bytes]:
    total = 0

    def read(size: int) -> bytes:
        nonlocal total
        piece = source.read(size)
        seen.update(piece)
        total += len(piece)
        if total > bounds.unpacked:
            raise Refused.because("/context", bounds.unfit(0, total))
        return piece

    return read


def _read(body: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Refused.because("/base", f"{what} is no JSON") from error
    if not isinstance(found, dict):
        raise Refused.because("/base", f"{what} is no JSON object")
    return found
