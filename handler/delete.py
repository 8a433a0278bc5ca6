"""function.delete: remove the function and all that belongs to it.

The mark of the deletion is written first, so that a late older start does not bring the function back; what the cluster
does not collect by owner reference (the Jobs, in another namespace) is removed by name. Every step may run again.
"""

from knative_lambda.deploy.cluster import FUNCTION, JOB, Object
from knative_lambda.handler import order
from knative_lambda.handler.events import Event
from knative_lambda.handler.order import Key
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names


def delete_function(event: Event, product: Product) -> None:
    """Delete what the event names, unless a newer event has been seen; already gone is success."""
    tenant, name = event.data["tenant"], event.data["name"]
    product.require_tenant(tenant)
    key = order.key_of(event, product.now())
    found = product.cluster.get(FUNCTION, tenant, name)
    if found is not None and order.standing(key, order.seen_by(found)) != "newer":
        return
    _mark(tenant, name, key, product)
    remove(tenant, name, found, product)


def remove(tenant: str, name: str, function: Object | None, product: Product) -> None:
    """Delete a Function and its Jobs; the cluster collects what it owns in its own namespace."""
    if function is not None:
        product.cluster.delete(FUNCTION, tenant, name, uid=function["metadata"]["uid"])
    builds = names.builds_namespace(tenant)
    for job in product.cluster.list(JOB, builds, {names.FUNCTION_LABEL: name}):
        product.cluster.delete(JOB, builds, job["metadata"]["name"], uid=job["metadata"]["uid"])


def _mark(tenant: str, name: str, key: Key, product: Product) -> None:
    store = product.workshop.store
    if order.standing(key, order.buried(store, tenant, name)) == "newer":
        order.bury(store, tenant, name, key)
