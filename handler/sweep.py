"""The clock's tick: every Function converges that a lost report may have left behind, and orphans go.

Level-based and bounded: what is settled costs a look at what the listing already holds. Once an hour what nobody needs
any more is collected too.
"""

import logging
from collections.abc import Callable, Iterator
from functools import partial

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
from knative_lambda.schemas.errors import Refused, Temporary
from knative_lambda.storage import keys

ENDED_BY_THEMSELVES = ("Succeeded", "Failed")
log = logging.getLogger(__name__)


def sweep(event: Event, product: Product) -> None:
    """Settle what no event told, in every tenant; one thing that fails does not keep the others from their turn.

    Raises the last failure that may pass, so that the tick is delivered again.
    """
    failures: list[Temporary] = []
    for tenant in product.settings.tenants:
        for look in _looks(tenant, product):
            try:
                look()
            except Temporary as error:
                log.warning("something of %s could not be swept: %s", tenant, error)
                failures.append(error)
            except Refused:
                log.exception("something of %s cannot be swept", tenant)
    if retention.is_due(event.time or product.now()):
        retention.collect(product)
    if failures:
        raise failures[-1]


def _looks(tenant: str, product: Product) -> Iterator[Callable[[], None]]:
    """Yield what there is to do in a tenant, one thing after the other."""
    if not product.is_tenant(tenant):
        return
    builds = product.cluster.list(BUILD, tenant)
    yield from (partial(retire, build, product) for build in builds if settle.phase(build) not in ENDED_BY_THEMSELVES)
    yield partial(_orphans, tenant, builds, product)
    prefix = keys.tombstones(tenant)
    buried = {stored.key.removeprefix(prefix).removesuffix(".json") for stored in product.workshop.store.list(prefix)}
    for function in product.cluster.list(FUNCTION, tenant):
        if function["metadata"]["name"] in buried:
            yield partial(_deleted, function, product)
        if not _is_settled(function):
            yield partial(converge, tenant, function["metadata"]["name"], product)


def _deleted(function: Object, product: Product) -> None:
    """Finish a delete that was cut off after its mark."""
    meta, seen = function["metadata"], order.seen_by(function)
    mark = order.buried(product.workshop.store, meta["namespace"], meta["name"])
    if seen is not None and mark is not None and order.standing(seen, mark) != "newer":
        remove(meta["namespace"], meta["name"], function, product)


def _is_settled(function: Object) -> bool:
    state = function.get("status", {})
    return (
        state.get("observedGeneration") == function["metadata"].get("generation", 1)
        and not state.get("outbox")
        and condition(function, "Built")["status"] != "Unknown"
        and condition(function, "Ready")["status"] == "True"
    )


def _orphans(tenant: str, builds: list[Object], product: Product) -> None:
    """Remove Jobs whose Build is gone."""
    known = {build["metadata"]["uid"] for build in builds}
    namespace = names.builds_namespace(tenant)
    for job in product.cluster.list(JOB, namespace):
        uid = job["metadata"].get("labels", {}).get(names.BUILD_UID_LABEL)
        if uid is None or uid in known:
            continue
        name = job["metadata"]["labels"].get(names.BUILD_LABEL, "")
        if product.cluster.get(BUILD, tenant, name) is None:  # asked again: it may be younger than the listing
            product.cluster.delete(JOB, namespace, job["metadata"]["name"], uid=job["metadata"]["uid"])
