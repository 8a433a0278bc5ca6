"""Who builds next: slots that are free again go to the Builds that wait for one.

Called at the end of whatever may have freed a slot, and by every sweep. The tenant with the fewest slots comes first,
then the oldest ticket. Never more than the limits, whatever races: the slots are the lock (`builds/slots.py`).
"""

import logging
from collections import Counter
from collections.abc import Callable

from knative_lambda.builds import settle
from knative_lambda.deploy.cluster import BUILD
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Temporary, Unavailable

TRIES = 2
"""Turns of a Build in one admission: in the first a twin may have been faster."""
Bring = Callable[[str, str, Product], bool]
log = logging.getLogger(__name__)


def admit(product: Product, bring: Bring) -> None:
    """Bring those Functions forward whose Builds have their turn, while there are free slots.

    One that cannot be brought forward now does not fail the event that freed its slot. It leaves the queue, so that it
    does not keep all others from theirs; the sweep puts it there again. Threads that come at once leave it to one.
    """
    product.admission.do(lambda: _admit(product, bring))


def _admit(product: Product, bring: Bring) -> None:
    slots, tried = product.workshop.slots, Counter[str]()
    while (place := slots.next()) is not None:
        if tried[place.uid] == TRIES:
            log.warning("%s had its turn and does not begin: it goes to the end of the queue", place.build)
            slots.leave(place.uid)
            continue
        tried[place.uid] += 1
        try:
            bring(place.tenant, place.function, product)
            _leave(place.tenant, place.build, place.uid, product)
        except Unavailable:
            raise
        except Temporary as error:
            log.warning("%s waits: %s", place.build, error)
        except Exception:
            log.exception("%s cannot be brought forward", place.build)


def clear(tenant: str, product: Product) -> None:
    """Give back the slots and tickets of a tenant's Builds that have ended or are gone, once nothing of them runs."""
    for place in product.workshop.slots.places(tenant):
        _leave(place.tenant, place.build, place.uid, product)


def _leave(tenant: str, name: str, uid: str, product: Product) -> None:
    """Take a Build that needs no slot any more out of the queue."""
    workshop = product.workshop
    build = product.cluster.get(BUILD, tenant, name)
    if build is None or build["metadata"]["uid"] != uid:
        if workshop.builder.is_idle(tenant, uid):
            workshop.slots.free(tenant, uid)
    elif settle.phase(build) in settle.TERMINAL:
        try:
            settle.clear(build, workshop, product.now())
        except Conflict:  # a twin does it
            return
        if workshop.builder.is_idle(tenant, uid):
            workshop.slots.free(tenant, uid)
    elif settle.phase(build) == "Running":
        workshop.slots.leave(uid)
