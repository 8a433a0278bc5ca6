"""Layers that Kaniko keeps go when their time is over: it takes none that are older, and builds what is not there.

Called by `retention` for each tenant. Nothing names them but Kaniko, by a hash of what made them, and an image in a
registry says nothing of its age: a mark in the store says since when a tag has been there. One that is pushed anew
keeps its mark, and is pushed once more when it is gone.
"""

import logging
from collections.abc import Callable
from datetime import timedelta

from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep.inventory import file_of
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError
from knative_lambda.storage import keys

log = logging.getLogger(__name__)


def collect(tenant: str, product: Product, is_late: Callable[[], bool]) -> None:
    """Mark a tenant's kept layers that have no mark yet, and remove those whose time is over."""
    registry, store = product.workshop.registry, product.workshop.store
    repository = names.kept_layers(product.settings.registry_of(tenant), tenant)
    before = product.now() - timedelta(hours=product.settings.build_cache)
    tags = set(registry.tags(repository))
    marked = {file_of(stored): stored for stored in store.list(keys.kept_layers(tenant))}
    for tag in tags - marked.keys():
        store.put(keys.kept_layer(tenant, tag), b"")
    for tag, mark in marked.items():
        if is_late():
            return
        if tag in tags and mark.modified >= before:
            continue
        try:
            if tag in tags and (digest := registry.digest(f"{repository}:{tag}")):
                registry.delete(repository, digest)
        except ProductError as error:
            log.warning("%s: layers stay for now: %s", repository, error)
            return
        store.delete(mark.key)
