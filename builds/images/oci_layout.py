"""A folder in OCI image layout that plays the registry of the embedded mode.

`local.py` pushes to it, `settle.py` asks it for digests, and what runs functions unpacks images from it. Any number of
threads and processes may use one folder at once; a process that dies leaves at most an unused temporary file.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from knative_lambda.schemas.errors import Refused, Unavailable

REF_NAME = "org.opencontainers.image.ref.name"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


class OciLayout:
    """Images below `folder`; a reference is ``host/repository:tag`` or ``host/repository@sha256:…``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._blobs = folder / "blobs" / "sha256"
        with _registry_errors():
            self._blobs.mkdir(parents=True, exist_ok=True)
            self._replace(folder / "oci-layout", _json({"imageLayoutVersion": "1.0.0"}))

    def digest(self, reference: str) -> str | None:
        """Return the digest that `reference` names, or None; raise `Unavailable` ("registry") when it can't be read."""
        repository, digest, _ = _parsed(reference)
        with _registry_errors():
            for entry in self._index()["manifests"]:
                name = entry["annotations"][REF_NAME]
                if name == reference or (entry["digest"] == digest and _parsed(name)[0] == repository):
                    return str(entry["digest"])
        return None

    def tags(self, repository: str) -> list[str]:
        """See `Registry.tags`."""
        with _registry_errors():
            names = [_parsed(entry["annotations"][REF_NAME]) for entry in self._index()["manifests"]]
        return [tag for place, _, tag in names if place == repository and tag]

    def referrers(self, repository: str, digest: str) -> list[str]:  # noqa: ARG002 - the port's
        """Return nothing: nobody attaches anything here."""
        return []

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`. The blobs stay: a push that is under way may count on any of them."""

        def stays(entry: Mapping[str, Any]) -> bool:
            return bool(entry["digest"] != digest or _parsed(entry["annotations"][REF_NAME])[0] != repository)

        with _registry_errors(), self._locked():
            index = self._index()
            index["manifests"] = [entry for entry in index["manifests"] if stays(entry)]
            self._replace(self._folder / "index.json", _json(index))

    def push(self, reference: str, layers: Sequence[bytes | Path], config: Mapping[str, Any]) -> str:
        """Write an image of these uncompressed tars under `reference` and return its digest.

        `config` is what the image runs (``Cmd``, ``Env``, ``WorkingDir``). Equal images have equal digests. A tag that
        was there before moves; what it named can still be read by its digest.
        """
        repository, _, _ = _parsed(reference)
        with _registry_errors():
            descriptors = [self._layer(layer) for layer in layers]
            image = {
                "architecture": MACHINES.get(platform.machine(), platform.machine()),
                "os": "linux",
                "config": dict(config),
                "rootfs": {"type": "layers", "diff_ids": [descriptor["digest"] for descriptor in descriptors]},
            }
            manifest = {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "config": self._blob(_json(image), CONFIG_TYPE),
                "layers": descriptors,
            }
            entry = self._blob(_json(manifest), MANIFEST_TYPE) | {"annotations": {REF_NAME: reference}}
            with self._locked():
                index = self._index()
                entries = {known["annotations"][REF_NAME]: known for known in index["manifests"]}
                moved = entries.get(reference)
                if moved is not None and moved["digest"] != entry["digest"]:
                    by_digest = f"{repository}@{moved['digest']}"
                    entries[by_digest] = moved | {"annotations": {REF_NAME: by_digest}}
                entries[reference] = entry
                index["manifests"] = [entries[name] for name in sorted(entries)]
                self._replace(self._folder / "index.json", _json(index))
        return str(entry["digest"])

    def config(self, digest: str) -> Mapping[str, Any] | None:
        """Return what the image runs (``Cmd``, ``Env``, ``WorkingDir``), or None where there is no such image."""
        with _registry_errors():
            manifest = self._manifest(digest)
            if manifest is None:
                return None
            config: Mapping[str, Any] = json.loads(self._read(manifest["config"]["digest"]))["config"]
            return config

    def unpack(self, digest: str, target: Path) -> None:
        """Write the image's files into the new folder `target`, whole or not at all; already there is success.

        Raises `Refused` for an entry that is no plain file or folder inside `target`, or where there is no such image.
        """
        if target.exists():
            return
        with _registry_errors():
            manifest = self._manifest(digest)
            if manifest is None:
                raise Refused.because("/image", f"there is no image {digest}")
            target.parent.mkdir(parents=True, exist_ok=True)
            staging = Path(tempfile.mkdtemp(prefix=".unpack-", dir=target.parent))
            try:
                for layer in manifest["layers"]:
                    with self._verified(layer["digest"]) as blob:
                        _extract(blob, staging)
                staging.chmod(0o755)
                _rename_once(staging, target)
            finally:
                shutil.rmtree(staging, ignore_errors=True)

    def _manifest(self, digest: str) -> dict[str, Any] | None:
        if not any(entry["digest"] == digest for entry in self._index()["manifests"]):
            return None
        manifest: dict[str, Any] = json.loads(self._read(digest))
        return manifest

    def _index(self) -> dict[str, Any]:
        try:
            text = (self._folder / "index.json").read_text(encoding="utf-8")
        except FileNotFoundError:
            return {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": []}
        index: dict[str, Any] = json.loads(text)
        return index

    def _layer(self, layer: bytes | Path) -> dict[str, Any]:
        if isinstance(layer, bytes):
            return self._blob(layer, LAYER_TYPE)
        with layer.open("rb") as source:
            return self._keep(source, LAYER_TYPE)

    def _blob(self, body: bytes, media_type: str) -> dict[str, Any]:
        with tempfile.SpooledTemporaryFile() as source:
            source.write(body)
            source.seek(0)
            return self._keep(source, media_type)

    def _keep(self, source: IO[bytes], media_type: str) -> dict[str, Any]:
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".blob-", delete=False) as copy:
            shutil.copyfileobj(source, copy)
            copy.flush()
            os.fsync(copy.fileno())
        path = Path(copy.name)
        with path.open("rb") as written:
            name = hashlib.file_digest(written, "sha256").hexdigest()
        size = path.stat().st_size
        path.replace(self._blobs / name)
        return {"mediaType": media_type, "digest": f"sha256:{name}", "size": size}

    def _read(self, digest: str) -> bytes:
        with self._verified(digest) as blob:
            return blob.read()

    @contextlib.contextmanager
    def _verified(self, digest: str) -> Iterator[IO[bytes]]:
        with (self._blobs / digest.removeprefix("sha256:")).open("rb") as blob:
            if f"sha256:{hashlib.file_digest(blob, 'sha256').hexdigest()}" != digest:
                raise Unavailable("registry", f"blob {digest} is damaged")
            blob.seek(0)
            yield blob

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with (self._folder / ".lock").open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace(self, path: Path, body: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._folder, prefix=".index-", delete=False) as copy:
            copy.write(body)
            copy.flush()
            os.fsync(copy.fileno())
        Path(copy.name).replace(path)


@contextlib.contextmanager
def _registry_errors() -> Iterator[None]:
    try:
        yield
    except (OSError, json.JSONDecodeError, tarfile.TarError) as error:
        raise Unavailable("registry", str(error)) from error


def _json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _parsed(reference: str) -> tuple[str, str, str]:
    """Return a reference's repository, digest and tag; the one that it doesn't have is ""."""
    repository, _, digest = reference.partition("@")
    if digest:
        return repository, digest, ""
    repository, _, tag = reference.rpartition(":")
    if not repository or "/" in tag:
        raise Refused.because("/image", f"{reference} has neither tag nor digest")
    return repository, "", tag


def _extract(blob: IO[bytes], root: Path) -> None:
    """Write a layer's plain files below `root`.

    Python's own filters of tar entries can be led outside by links: here a link is refused, so that a path without
    ``..`` stays inside.
    """
    with tarfile.open(fileobj=blob, mode="r|") as tar:
        for entry in tar:
            parts = entry.name.removesuffix("/").split("/")
            if not (entry.isreg() or entry.isdir()) or any(part in ("", "..") for part in parts):
                raise Refused.because("/image", f"entry {entry.name!r} is no plain file or folder inside the image")
            path = root.joinpath(*parts)
            if entry.isdir():
                path.mkdir(parents=True, exist_ok=True)
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            content = tar.extractfile(entry)
            with path.open("xb") as file:
                if content is not None:
                    shutil.copyfileobj(content, file)
            path.chmod(0o755 if entry.mode & 0o100 else 0o644)


def _rename_once(staging: Path, target: Path) -> None:
    try:
        staging.rename(target)
    except OSError:
        if not target.exists():  # otherwise somebody else was quicker with the same files
            raise
