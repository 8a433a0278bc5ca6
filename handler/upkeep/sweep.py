"""The clock's tick: every Function converges that a lost report may have left behind, and orphans go.

Level-based: some listings a tenant say which Functions are as they should be; those cost nothing more. Once an
hour what nobody needs any more is collected too.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from knative_lambda.builds import record
from knative_lambda.builds.images import pushed
from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, KNATIVE_SERVICE, TRIGGER, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import builds, letters, status
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.cancel import cancel
from knative_lambda.handler.acts.delete import remove, remove_if_orphaned
from knative_lambda.handler.acts.reports import retire
from knative_lambda.handler.converge import bring_forward, converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.tell import notices
from knative_lambda.handler.upkeep import bases, queue, retention
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Temporary
from knative_lambda.storage import keys

Looks = Callable[[str, Product], Iterator[Callable[[], object]]]
"""Says of a tenant what there is to do, one thing after the other."""
log = logging.getLogger(__name__)


def sweep(event: Event, product: Product) -> None:
    """Settle what no event told, in every tenant; one thing that fails does not keep the others from their turn.

    Raises the last failure that may pass, so that the tick is delivered again.
    """
    failures: list[Temporary] = []

    def attempt(look: Callable[[], object], tenant: str) -> None:
        try:
            look()
        except Temporary as error:
            log.warning("something of %s could not be swept: %s", tenant, error)
            # with a tenant's own store the tick would come again for as long as that is away
            failures.extend([] if product.is_theirs(error, tenant) else [error])
        except Exception:
            log.exception("something of %s cannot be swept", tenant)

    def visit(looks: Looks, tenant: str) -> None:
        for look in looks(tenant, product):
            attempt(look, tenant)

    def visit_tenant(tenant: str) -> None:
        for looks in LOOKS if product.is_tenant(tenant) else ():
            attempt(partial(visit, looks, tenant), tenant)

    for tenant in product.settings.tenants:
        attempt(partial(visit_tenant, tenant), tenant)
    _sweep_all(attempt, product)
    product.census.done(product.now())
    _collect(event, product)
    if failures:
        raise failures[-1]


def _collect(event: Event, product: Product) -> None:
    if retention.is_due(event.time or product.now()):
        retention.collect(product)


def _sweep_all(attempt: Callable[[Callable[[], object], str], None], product: Product) -> None:
    """Look at what is of no one tenant: the queue of all, and the product's own letters."""
    attempt(partial(queue.clear_strangers, product), "former tenants")
    attempt(partial(queue.admit, product, bring_forward), "all tenants")
    attempt(partial(letters.tidy, product.settings.namespace, product), product.settings.namespace)


def _orphans(tenant: str, product: Product) -> Iterator[Callable[[], object]]:
    """Yield the Builds that may be wanted no more, or lack their papers, and the Jobs whose Build may be gone."""
    jobs = product.cluster.list(JOB, names.builds_namespace(tenant))
    building = {job["metadata"].get("labels", {}).get(names.BUILD_UID_LABEL) for job in jobs if not _has_ended(job)}
    wanted, found = _wanted(tenant, product), product.cluster.list(BUILD, tenant)
    product.census.builds(tenant, found, product.now())
    for build in found:
        is_wanted = (build["spec"]["functionUID"], build["metadata"]["name"]) in wanted
        is_owed = builds.is_owed(build) and not is_wanted
        goes_on = record.phase(build) not in record.TERMINAL and is_wanted
        if is_owed or not (goes_on or record.is_over(build)) or (not goes_on and build["metadata"]["uid"] in building):
            yield partial(retire, build, product)
        if pushed.lacks_papers(build, product.workshop):
            yield partial(product.papers, tenant, build["metadata"]["name"])
    yield from (partial(remove_if_orphaned, tenant, job, product) for job in jobs)


def _wanted(tenant: str, product: Product) -> set[tuple[str, str | None]]:
    """Return which Build each Function wants, by the Function's UID."""
    functions = product.cluster.list(FUNCTION, tenant)
    product.census.functions(tenant, functions, product.now())
    return {(one["metadata"]["uid"], one.get("status", {}).get("latestBuild")) for one in functions}


def _has_ended(job: Object) -> bool:
    return any(condition(job, kind)["status"] == "True" for kind in ("Complete", "Failed"))


def _unsettled(tenant: str, product: Product) -> Iterator[Callable[[], None]]:
    """Yield the Functions that are not, or whose children are not, as their status says."""
    services = {found["metadata"]["name"]: found for found in product.cluster.list(KNATIVE_SERVICE, tenant)}
    owned = [found["metadata"].get("labels", {}) for found in product.cluster.list(TRIGGER, tenant)]
    triggers = Counter(labels[names.FUNCTION_LABEL] for labels in owned if names.FUNCTION_LABEL in labels)
    waiting = product.workshop.slots.waiting(tenant)
    functions = product.cluster.list(FUNCTION, tenant)
    for function in functions:
        name = function["metadata"]["name"]
        if function.get("status", {}).get("outbox"):  # said here too: it may be that nothing else of it can be done now
            yield partial(product.owes, tenant, name)
        if _is_queued(function) and function["status"].get("latestBuild") in waiting:
            continue  # its turn comes: there may be thousands of these
        service = services.get(name, {})
        wanted = len({names.trigger_name(name, dict(each)) for each in function["spec"].get("triggers", [])})
        if not (_is_settled(function) and condition(service, "Ready")["status"] == "True" and triggers[name] == wanted):
            yield partial(converge, tenant, name, product)
    yield from bases.follow(functions, product)


def _noticed(tenant: str, product: Product) -> Iterator[Callable[[], object]]:
    """Yield the Functions, also those that are gone, of which a webhook is owed something that it did not take yet."""
    store, prefix = product.workshop.store, keys.notices(tenant)
    known = {target.name for target in notices.targets(product.settings)}
    found = [stored.key for stored in store.list(prefix)] if known else []
    yield from (partial(store.delete, key) for key in found if key.removeprefix(prefix).partition("/")[0] not in known)
    owed = {key.removeprefix(prefix).split("/")[1] for key in found}
    yield from (partial(product.owes, tenant, name) for name in sorted(owed))


def _letters(tenant: str, product: Product) -> Iterator[Callable[[], None]]:
    yield partial(letters.tidy, tenant, product)


def _is_settled(function: Object) -> bool:
    return (
        not status.is_new(function)
        and not function.get("status", {}).get("outbox")
        and condition(function, "Built")["status"] != "Unknown"
        and condition(function, "Deployed")["status"] == "True"
        and condition(function, "Ready")["status"] == "True"
    )


def _is_queued(function: Object) -> bool:
    return (
        not status.is_new(function)
        and not function.get("status", {}).get("outbox")
        and condition(function, "Built").get("reason") == "Queued"
    )


def _queued(tenant: str, product: Product) -> Iterator[Callable[[], None]]:
    """Yield the queue itself: what it holds for Builds that have ended or are gone."""
    yield partial(queue.clear_tenant, tenant, product)


def _marked(tenant: str, product: Product) -> Iterator[Callable[[], None]]:
    """Yield what was cut off after its mark, and farewells that nobody has sent."""
    store = product.workshop.store
    prefix = keys.tombstones(tenant)
    marked = {stored.key.removeprefix(prefix).partition("/")[0] for stored in store.list(prefix)}
    for function in product.cluster.list(FUNCTION, tenant) if marked else ():
        if function["metadata"]["name"] in marked:
            yield partial(_heed, function, product)
    for stored in store.list(keys.farewells(tenant)):
        yield partial(product.owes, tenant, stored.key.removeprefix(keys.farewells(tenant)).partition("/")[0])


def _heed(function: Object, product: Product) -> None:
    """Delete or cancel what is still there although a newer event has left its mark."""
    tenant, name = function["metadata"]["namespace"], function["metadata"]["name"]
    mark = order.mark(product.workshop.store, tenant, name)
    if mark is not None and mark.ends(function):
        remove(tenant, name, mark, product)
    elif mark is not None and mark.is_over(function):
        cancel(tenant, name, mark.key, product)


LOOKS: tuple[Looks, ...] = (_marked, _orphans, _unsettled, _queued, _noticed, _letters)
"""In this order: what ends goes before what begins."""
