"""The `Registry` port: what an image registry is asked.

Called by `prepare.py` (the digest of a base image) and `settle.py` (whether an attempt's image is there).
"""

from typing import Protocol


class Registry(Protocol):
    """An OCI registry, or a folder that plays one."""

    def digest(self, reference: str) -> str | None:
        """Return the digest (``sha256:…``) that `reference` (``host/repository:tag`` or ``…@sha256:…``) names, or None.

        Raises `Unavailable` ("registry") when the registry does not answer.
        """
