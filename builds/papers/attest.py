"""An image that was made gets its papers: a bill of materials, where it came from, and a signature.

Called by `pushed.py` once the digest is on the Build's record: before it has succeeded where there is a key, else
afterwards. What is said follows from that record alone, and equal bytes get equal signatures: whoever does
it again, after a crash or beside a twin, comes to the same. The bill's digest is in the statement, so what signs one
vouches for the other too.
"""

import hashlib
import threading
from dataclasses import dataclass, field

from knative_lambda.builds import record
from knative_lambda.builds.images import referrers
from knative_lambda.builds.images.layers import canonical
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.referrers import Document
from knative_lambda.builds.inputs import contents
from knative_lambda.builds.inputs.contents import Contents
from knative_lambda.builds.papers import bill, signing
from knative_lambda.builds.papers.signing import Keys
from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas.errors import Refused, TooLarge
from knative_lambda.storage.store import Store

BILL = "application/vnd.cyclonedx+json"
ENVELOPE = "application/vnd.dsse.envelope.v1+json"
LIMIT = 12 * 1024 * 1024
"""Bytes of a packed build context whose files are listed; one is held at a time. A larger one is named as a whole."""


@dataclass(frozen=True)
class Attestor:
    """Who gives an image its papers."""

    pusher: Pusher
    store: Store
    executor: str
    """The image that runs build Jobs."""
    documents: bool = True
    """Whether there are any but the signature."""
    keys: Keys | None = None
    """What signs; None leaves all unsigned, and then no image is held back for want of papers."""
    _turn: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def attest(self, build: Object, image: str) -> str:
        """Give an image by digest, which a Build has made, what it lacks of its papers, and return what it has.

        Raises `Unavailable` ("registry", "store") where one does not answer, `Unusable` where the key is of no use, and
        `Refused` ("/registry") where the registry does not take them.
        """
        repository, _, digest = image.partition("@")
        papers = []
        if self.documents:
            subject = self.pusher.manifest(image)
            if subject is None:
                raise Refused.because("/registry", f"the image is gone: {image}")
            referrers.attach(image, subject, self._documents(build, image), self.pusher)
            papers = ["bill of materials", "provenance"]
        if self.keys is not None:
            payload = simple(repository, digest)
            referrers.sign(image, payload, self.keys.sign(payload), self.pusher)
            papers.append("signature")
        return ", ".join(papers)

    def _documents(self, build: Object, image: str) -> list[Document]:
        materials = bill.materials(build, image, self._contents(build))
        digest = f"sha256:{hashlib.sha256(materials).hexdigest()}"
        statement = bill.provenance(build, image, self.executor, digest)
        kind = signing.STATEMENT
        if self.keys is None:
            return [Document(BILL, BILL, materials), Document(kind, kind, statement)]
        envelope = canonical(self.keys.envelope(statement))
        return [Document(BILL, BILL, materials), Document(kind, ENVELOPE, envelope, ".att")]

    def _contents(self, build: Object) -> Contents:
        with self._turn:
            try:
                context = self.store.get(record.context(build), limit=LIMIT)
            except TooLarge:
                context = None
            return contents.read(context) if context else Contents()


def simple(repository: str, digest: str) -> bytes:
    """Return what is signed of an image: cosign's "simple signing" payload."""
    said = {
        "identity": {"docker-reference": repository},
        "image": {"docker-manifest-digest": digest},
        "type": "cosign container image signature",
    }
    return canonical({"critical": said, "optional": None})
