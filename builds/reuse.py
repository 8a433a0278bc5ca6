"""What was made before of the same input serves again: its image is brought to the function's own repository.

Called by `settle.py` for the Build whose turn it is to make something. The Builds themselves say what there is, by the
label that says what they make (`sharing.py`); whether it is there still the registry says. Blobs are mounted where
the registry does that, and the manifest goes last, under a tag of the Build's own: so each function keeps its images
for as long as it needs them. What cannot be brought over, or not in a moment, is built.
"""

import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knative_lambda.builds import record, sharing
from knative_lambda.builds.images.layers import INDEXES
from knative_lambda.builds.images.pusher import Manifest, Pusher
from knative_lambda.deploy.cluster import BUILD, Cluster, Object
from knative_lambda.deploy.conditions import age
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import NotLetIn, Refused, Unavailable, Untrusted

ASKED = 3
"""Builds whose images are looked for, the newest of each tenant first."""
BEGIN = 10.0
"""Seconds within which the next blob is begun with."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Served:
    """An image that serves."""

    image: str
    """By digest, in the repository that it was brought to."""
    by: str
    """The Build that made it; with its tenant where that is another."""


@dataclass(frozen=True)
class Reuse:
    """Looks among a tenant's Builds, and those of `others`."""

    cluster: Cluster
    pusher: Pusher
    others: tuple[str, ...] = ()
    """Tenants whose images serve all: each then gets what another has built of the same, and sees that it has."""
    clock: Callable[[], float] = time.monotonic

    def serve(self, build: Object, destination: str) -> Served | None:
        """Bring an image of the same input under the tag `destination`; None where there is none to be had.

        Raises `Unavailable` where the registry does not answer.
        """
        end = self.clock() + BEGIN
        for other, _ in zip(self._same(build), range(ASKED), strict=False):
            image = record.image_of(other)
            try:
                found = self.pusher.manifest(image)
                if found is None or found.media_type in INDEXES:
                    log.info("%s has no image any more that could serve: %s", other["metadata"]["name"], image)
                    continue
                if self._bring(found, image, destination, end):
                    repository, digest = destination.rpartition(":")[0], image.rpartition("@")[2]
                    return Served(f"{repository}@{digest}", _name(other, build))
            except (Refused, NotLetIn, Untrusted) as error:
                log.warning("%s is built, though %s serves: %s", build["metadata"]["name"], image, error)
            return None
        return None

    def _same(self, build: Object) -> Iterator[Object]:
        """Yield the Builds of the same input that have an image."""
        meta, spec = build["metadata"], build["spec"]
        for tenant in (meta["namespace"], *(other for other in self.others if other != meta["namespace"])):
            try:
                alike = self.cluster.list(BUILD, tenant, {names.MAKES_LABEL: sharing.makes(build)})
            except Refused:  # it is served no more
                continue
            newest = sorted(alike, key=age, reverse=True)
            yield from (
                one
                for one in newest
                if one["spec"]["inputHash"] == spec["inputHash"]
                and record.image_of(one).startswith(f"{one['spec']['destination']}@")
            )

    def _bring(self, manifest: Manifest, image: str, destination: str, end: float) -> bool:
        """Have an image under a tag; say whether there was time for it. What fails in the middle is built, too."""
        said, source, target = json.loads(manifest.body), image.partition("@")[0], destination.rpartition(":")[0]
        try:
            for blob in (said["config"], *said["layers"]):
                if self.clock() > end:
                    return False
                self.pusher.bring(blob, source, target)
            self.pusher.tag(destination, manifest)
        except (NotLetIn, Untrusted):
            raise
        except Unavailable as error:  # it did answer before
            log.warning("%s could not be brought to %s: %s", image, target, error)
            return False
        return True


def _name(made: Object, build: Object) -> str:
    tenant, name = made["metadata"]["namespace"], str(made["metadata"]["name"])
    return name if tenant == build["metadata"]["namespace"] else f"{tenant}/{name}"
