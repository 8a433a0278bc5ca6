"""The `Pusher` port: how an image gets into a registry without anything being run.

Called by `layered.py` alone. It is apart from `registry.py`, which everybody may ask: whoever holds this one can write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Descriptor = Mapping[str, Any]
"""What OCI's manifests say of a blob: ``mediaType``, ``digest``, ``size``."""


@dataclass(frozen=True)
class Manifest:
    """A manifest as a registry keeps it."""

    media_type: str
    body: bytes


class Pusher(Protocol):
    """The write side of an OCI registry, and what is to be read of an image before another is laid upon it.

    Everything is named by its digest and checked against it, so every method may be called twice. Each raises
    `Unavailable` ("registry") where the registry does not answer, or not as it should; `Refused` where it says no.
    """

    def manifest(self, reference: str) -> Manifest | None:
        """Return the manifest, or the index, that ``host/repository@digest`` (or a tag) names, or None."""

    def blob(self, repository: str, digest: str) -> bytes | None:
        """Return a small blob of ``host/repository``, such as an image's config, or None."""

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        """Have a blob of the repository `source` in `target` too: there already, mounted, or copied piece by piece."""

    def put(self, repository: str, body: bytes) -> None:
        """Put a blob into ``host/repository``; there already is success."""

    def tag(self, reference: str, manifest: Manifest) -> None:
        """Put a manifest, all of whose blobs are there, under ``host/repository:tag``: from then on there is an image.

        Nothing that was put before it is an image, or ever deployed.
        """
