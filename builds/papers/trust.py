"""Whether an image may run: where an installation asks for it, only what bears the signature of a key that it trusts.

Called by the handler's `converge.py` right before a Service is applied. What was found good stays good for the same
keys, as digest and signature cannot change; what was not is looked at again each time.
"""

import json
from dataclasses import dataclass, field
from typing import Literal

from knative_lambda.builds.images import referrers
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.papers.signing import Keys, Unusable
from knative_lambda.schemas.errors import Refused

MISSING, WRONG = "/image/signature/missing", "/image/signature/wrong"
LOOSE, KEYLESS = "/image/digest", "/image/keys"
"""Where the fault of an image is that may not run: there is no signature, none is right, it is named by a tag, or there
is no key to verify with."""
KEPT = 10_000
"""Images that are remembered at most."""


@dataclass(frozen=True)
class Trust:
    """Verifies images by their signatures."""

    pusher: Pusher
    keys: Keys
    whose: Literal["own", "all"]
    """``own``: what is built here; ``all``: ready images, and what outside builders say, too."""
    _good: set[tuple[str, tuple[bytes, ...]]] = field(default_factory=set, repr=False, compare=False)

    def require(self, image: str, builder: str) -> None:
        """Raise `Refused` where an image may not run, which a `builder` has made ("" or ``external``: nobody here).

        Raises `Unavailable` where the registry does not answer.
        """
        if self.whose == "own" and builder in ("", "external"):
            return
        try:
            known = image, self.keys.public()
            if known in self._good:
                return
            self._verify(image)
        except Unusable as error:
            raise Refused.because(KEYLESS, str(error)) from error
        if len(self._good) >= KEPT:
            self._good.clear()
        self._good.add(known)

    def _verify(self, image: str) -> None:
        digest = image.partition("@")[2]
        if not digest:
            raise Refused.because(LOOSE, f"{image} is named by a tag: only by digest can a signature be for it")
        found = 0
        for payload, signature in referrers.signatures(image, self.pusher):
            if self.keys.is_signed(signature, payload) and _signed(payload) == digest:
                return
            found += 1
        if found:
            raise Refused.because(WRONG, f"none of {found} signatures of {image} is by a trusted key, and of it")
        raise Refused.because(MISSING, f"{image} bears no signature")


def _signed(payload: bytes) -> str:
    """Return the digest of the image that a payload, which is believed, is about."""
    try:
        critical = json.loads(payload)["critical"]
        return str(critical["image"]["docker-manifest-digest"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return ""
