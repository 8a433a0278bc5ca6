"""The clock's tick: every Function converges that a lost report may have left behind, and orphans go.

Level-based and bounded: what is settled costs a look at what the listing already holds. Once an hour what nobody needs
any more is collected too.
"""

import logging

from knative_lambda.builds import settle
from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import order, retention
from knative_lambda.handler.converge import converge
from knative_lambda.handler.delete import remove
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.reports import retire
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError

log = logging.getLogger(__name__)


def sweep(event: Event, product: Product) -> None:
    """Settle what no event told, in every tenant; one that fails does not keep the others from their turn.

    Raises the last failure, so that the tick is delivered again.
    """
    failed: ProductError | None = None
    for tenant in product.settings.tenants:
        if not product.is_tenant(tenant):
            continue
        builds = product.cluster.list(BUILD, tenant)
        try:
            _orphans(tenant, builds, product)
        except ProductError as error:
            failed = error
        for function in product.cluster.list(FUNCTION, tenant):
            try:
                _function(function, product)
            except ProductError as error:
                log.warning("%s/%s could not be swept: %s", tenant, function["metadata"]["name"], error)
                failed = error
    if retention.is_due(event.time or product.now()):
        retention.collect(product)
    if failed is not None:
        raise failed


def _function(function: Object, product: Product) -> None:
    meta = function["metadata"]
    seen = order.seen_by(function)
    if seen is not None and not _is_settled(function):
        mark = order.buried(product.workshop.store, meta["namespace"], meta["name"])
        if mark is not None and order.standing(seen, mark) != "newer":  # a delete that was cut off
            remove(meta["namespace"], meta["name"], function, product)
            return
    if not _is_settled(function):
        converge(meta["namespace"], meta["name"], product)


def _is_settled(function: Object) -> bool:
    state = function.get("status", {})
    return (
        state.get("observedGeneration") == function["metadata"].get("generation", 1)
        and not state.get("outbox")
        and condition(function, "Built")["status"] != "Unknown"
        and condition(function, "Ready")["status"] == "True"
    )


def _orphans(tenant: str, builds: list[Object], product: Product) -> None:
    """End Builds that nobody wants, and remove Jobs whose Build is gone."""
    for build in builds:
        if settle.phase(build) not in ("Succeeded", "Failed"):
            retire(build, product)
    known = {build["metadata"]["uid"] for build in builds}
    namespace = names.builds_namespace(tenant)
    for job in product.cluster.list(JOB, namespace):
        uid = job["metadata"].get("labels", {}).get(names.BUILD_UID_LABEL)
        if uid is None or uid in known:
            continue
        name = job["metadata"]["labels"].get(names.BUILD_LABEL, "")
        if product.cluster.get(BUILD, tenant, name) is None:  # asked again: it may be younger than the listing
            product.cluster.delete(JOB, namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
