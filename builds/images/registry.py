"""The `Registry` port: what an image registry is asked.

Called by `prepare.py` (the digest of a base image), `settle.py` (whether an attempt's image is there) and the handler's
`retention.py` (what may go). One contract suite runs on them all.
"""

from typing import Protocol


class Registry(Protocol):
    """An OCI registry, or a folder that plays one.

    Every method raises `Unavailable` ("registry") when the registry does not answer, `NotLetIn` where it does not let
    us ask.
    """

    def digest(self, reference: str) -> str | None:
        """Return the digest that `reference` (``host/repository:tag`` or ``…@sha256:…``) names, or None."""

    def tags(self, repository: str) -> list[str]:
        """Return every tag of ``host/repository``, none where there is no such repository."""

    def referrers(self, repository: str, digest: str) -> list[str]:
        """Return the digests of what refers to the image of this digest in ``host/repository``, signatures left out.

        What the registry lists by itself, or, where it lists nothing so, what is listed under the tag for that.
        """

    def delete(self, repository: str, digest: str) -> None:
        """Remove the image of this digest from ``host/repository``, with all its tags; already gone is success.

        Raises `Refused` where the registry does not let it go. Freeing the space is the registry's own business.
        """
