"""Who builds next: slots that are free again go to the Builds that wait for one.

Called at the end of whatever may have freed a slot, and by every sweep. The tenant with the fewest slots comes first,
then the oldest ticket. Never more than the limits, whatever races: the slots are the lock (`builds/slots.py`).
"""

import logging
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta

from knative_lambda.builds import ends, record
from knative_lambda.builds.slots import Place
from knative_lambda.deploy.cluster import BUILD
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Refused, Temporary, Unavailable

TRIES = 2
"""Turns of a Build in one admission: in the first a twin may have been faster."""
Bring = Callable[[str, str, Product], bool]
log = logging.getLogger(__name__)


def admit(product: Product, bring: Bring) -> None:
    """Bring those Functions forward whose Builds have their turn, while there are free slots.

    One that cannot be brought forward now does not fail the event that freed its slot, and keeps nobody from its turn:
    it has its ticket still, and is passed over until the next admission. Threads that come at once leave it to one.
    """
    product.once.do(admit, lambda: _admit(product, bring))


def _admit(product: Product, bring: Bring) -> None:
    slots, tried = product.workshop.slots, Counter[str]()
    slots.passed.clear()
    while (place := slots.next()) is not None:
        tried[place.uid] += 1
        try:
            bring(place.tenant, place.function, product)
            _leave(place, product)
        except Temporary as error:
            if isinstance(error, Unavailable) and not product.is_theirs(error, place.tenant):
                raise
            log.warning("%s waits: %s", place.build, error)
        except Exception:
            log.exception("%s cannot be brought forward", place.build)
        if tried[place.uid] == TRIES:
            slots.passed.add(place.uid)


def clear(tenant: str, build: str, product: Product) -> None:
    """Give back the slots and the ticket of a tenant's Build that has ended or is gone, once nothing of it runs."""
    for place in product.workshop.slots.places(tenant, build):
        _leave(place, product)


def clear_tenant(tenant: str, product: Product) -> None:
    """Do that for all Builds of a tenant that have a place and may not need it."""
    places = product.workshop.slots.places(tenant)
    builds = (
        {one["metadata"]["uid"]: record.phase(one) for one in product.cluster.list(BUILD, tenant)} if places else {}
    )
    for place in places:
        if builds.get(place.uid) != "Queued":
            _leave(place, product)


def clear_strangers(product: Product) -> None:
    """Give back what Builds of tenants hold that are served no more; where these cannot be seen, after their time."""
    workshop, places = product.workshop, product.workshop.slots.everywhere()
    served = {name for name in {one.tenant for one in places} & {*product.settings.tenants} if product.is_tenant(name)}
    time = timedelta(seconds=workshop.patience.deadline + workshop.patience.overtime)
    for place in places:
        if place.tenant in served:
            continue
        try:
            is_over = workshop.builder.is_idle(place.tenant, place.uid)
        except Refused:  # the right to see goes with the tenant
            is_over = product.now() > datetime.fromisoformat(place.since) + time
        if is_over:
            workshop.slots.release(place.uid)


def _leave(place: Place, product: Product) -> None:
    """Take a Build that needs no slot any more out of the queue."""
    workshop = product.workshop
    build = product.cluster.get(BUILD, place.tenant, place.build)
    is_gone = build is None or build["metadata"]["uid"] != place.uid
    if build is not None and not is_gone and record.phase(build) in record.TERMINAL:
        with suppress(Conflict):  # a twin does it
            ends.clear(build, workshop, product.now())
        is_gone = True
    if is_gone and workshop.builder.is_idle(place.tenant, place.uid):
        ends.give_back(place.tenant, place.uid, workshop, product.now())
    elif build is not None and record.phase(build) == "Running":
        workshop.slots.leave(place.uid)
