"""Images of installed dependencies that no Build names go, a day after that was seen first.

Called by `retention` for each tenant, with what its Builds name. An image in a registry says nothing of its age, so a
mark in the store does. Nothing that runs needs these images: a function's own repository holds every blob of its image.
So what goes at the very moment at which a new Build names it again costs that Build a Job, and nothing else.
"""

import logging
import re
from collections.abc import Callable, Iterator
from datetime import timedelta

from knative_lambda.builds.inputs.source import RUNTIMES
from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep import inventory
from knative_lambda.handler.upkeep.inventory import Marks, file_of
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError
from knative_lambda.storage import keys

GRACE = timedelta(hours=24)
"""How long an image stays that no Build names."""
_KEY = re.compile(r"[0-9a-f]{64}")
"""The tag by which installed dependencies are found."""
log = logging.getLogger(__name__)


def collect(tenant: str, marks: Marks, product: Product, is_late: Callable[[], bool]) -> None:
    """Mark what of a tenant's installed dependencies no Build names, and remove what has had its mark for a day."""
    for runtime, known in RUNTIMES.items():
        if known.lists is not None and not is_late():
            _collect(tenant, runtime, marks, product)


def _collect(tenant: str, runtime: str, marks: Marks, product: Product) -> None:
    store, before = product.workshop.store, product.now() - GRACE
    repository = names.dependencies(product.settings.registry_of(tenant), tenant, runtime)
    unnamed = set(_unnamed(repository, marks, product))
    marked = {file_of(stored): stored for stored in store.list(keys.unnamed(tenant, runtime))}
    for digest_hex in unnamed - marked.keys():
        store.put(keys.unnamed(tenant, runtime, digest_hex), b"")
    for digest_hex, mark in marked.items():
        if digest_hex in unnamed:
            if mark.modified >= before:
                continue
            try:
                product.workshop.registry.delete(repository, f"sha256:{digest_hex}")
            except ProductError as error:
                log.warning("%s: installed dependencies stay for now: %s", repository, error)
                continue
        store.delete(mark.key)


def _unnamed(repository: str, marks: Marks, product: Product) -> Iterator[str]:
    """Yield the digests, in hex, of the images of a repository that no Build names, nor any attempt of one."""
    registry = product.workshop.registry
    tags = registry.tags(repository)
    keys_left = {tag for tag in tags if _KEY.fullmatch(tag) and f"{repository}:{tag}" not in marks.dependencies}
    going = marks.orphans(tags) | keys_left
    if not going:
        return
    found = inventory.digests(repository, tags, registry)
    kept = {digest for tag, digest in found.items() if tag not in going}
    yield from {digest.removeprefix("sha256:") for digest in {*found.values()} - kept}
