"""The `Pusher` port: how an image gets into a registry without anything being run.

Called by `layered.py`, `reuse.py` and `referrers.py` alone. It is apart from `registry.py`, which everybody may ask:
whoever holds this one can write.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

Descriptor = Mapping[str, Any]
"""What OCI's manifests say of a blob: ``mediaType``, ``digest``, ``size``."""


@dataclass(frozen=True)
class Manifest:
    """A manifest as a registry keeps it."""

    media_type: str
    body: bytes


@dataclass(frozen=True)
class Blob:
    """Bytes for a registry that are never held whole: they are made each time that they are sent."""

    digest: str
    """``sha256:…``"""
    size: int
    """Bytes."""
    pieces: Callable[[], Iterable[bytes]] = field(compare=False)
    """Begins to give them."""

    @classmethod
    def of(cls, body: bytes) -> "Blob":
        """Return the blob of bytes that are there."""
        return cls(f"sha256:{hashlib.sha256(body).hexdigest()}", len(body), lambda: (body,))


class Pusher(Protocol):
    """The write side of an OCI registry, and what is to be read of an image before another is laid upon it.

    Everything is named by its digest and checked against it, so every method may be called twice. Each raises
    `Unavailable` ("registry") where the registry does not answer, or not as it should; `NotLetIn` where it does not
    take our credentials; `Refused` where it says no to what is pushed.
    """

    def manifest(self, reference: str) -> Manifest | None:
        """Return the manifest, or the index, that ``host/repository@digest`` (or a tag) names, or None."""

    def blob(self, repository: str, digest: str) -> bytes | None:
        """Return a small blob of ``host/repository``, such as an image's config, or None."""

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        """Have a blob of the repository `source` in `target` too: there already, mounted, or copied piece by piece."""

    def put(self, repository: str, blob: Blob) -> None:
        """Put a blob into ``host/repository``, piece by piece; there already is success, and none of it is made."""

    def tag(self, reference: str, manifest: Manifest) -> None:
        """Put a manifest, all of whose blobs are there, under ``host/repository:tag``: from then on there is an image.

        Nothing that was put before it is an image, or ever deployed.
        """

    def attach(self, repository: str, manifest: Manifest) -> bool:
        """Put a manifest that names a subject into ``host/repository``, by its digest; there already is success.

        Say whether the registry lists it by itself among what refers to the subject.
        """
