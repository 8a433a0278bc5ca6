"""build.cancel: stop what is being built. What runs goes on running.

One write of the Function is the commit point: its order key, and that what was prepared is not to be built. `converge`
does the rest, at any time. Where there is no Function the key is left as a mark, so that an older start, which comes
later, begins nothing.
"""

from dataclasses import replace

from knative_lambda.builds import ends, record
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.handler import builds
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.delete import remove
from knative_lambda.handler.acts.order import Key, Mark
from knative_lambda.handler.converge import converge, prepared
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Refused, Temporary
from knative_lambda.schemas.names import EVENT_ANNOTATION, INPUT_ANNOTATION

TRIES = 5


def cancel_build(event: Event, product: Product) -> None:
    """Cancel the Build that is wanted, or the one that the event names; none that runs is success.

    A source that was taken and not begun yet is not begun: its Build is made, and cancelled. Raises `Refused` where the
    event cannot be ordered, `Temporary` where twins are too many.
    """
    tenant, name = event.data["tenant"], event.data["name"]
    product.require_tenant(tenant)
    key = order.key_of(event, product.now())
    mark = order.mark(product.workshop.store, tenant, name)
    if mark is not None:
        remove(tenant, name, mark, product)
    found = product.cluster.get(FUNCTION, tenant, name)
    stands = order.against(key, order.seen_by(found), order.key_in(mark))
    if stands == "older":
        return
    if (
        stands == "equal" and order.seen_by(found) is None
    ):  # of one that a person made it is not said whether it is newer
        converge(tenant, name, product)
        return
    if stands == "newer" and (found is None or found["metadata"].get("deletionTimestamp")):
        order.leave(product.workshop.store, tenant, name, Mark(key))
    cancel(tenant, name, key, product, event.data.get("build", ""))


def cancel(tenant: str, name: str, key: Key, product: Product, build: str = "") -> None:
    """Record a cancel on a Function that has seen nothing as new, then converge; raise `Temporary` like `cancel_build`.

    Called by the sweep, too: with the mark of a cancel whose Function came into being beside it.
    """
    for _ in range(TRIES):
        found = product.cluster.get(FUNCTION, tenant, name)
        if found is None:
            return
        seen = order.seen_by(found)
        try:
            if seen is None or seen.rank < key.rank:
                _record(found, key, build, product)
        except Conflict:
            continue
        converge(tenant, name, product)
        return
    raise Temporary(f"too many writers of {tenant}/{name} at once")


def _record(function: Object, key: Key, build: str, product: Product) -> None:
    """Write the order key, and with it that the inputs are not to be built, where it is their Build that is meant.

    Of those that have been built already that is not said: it would end the Build that makes a lost image again.
    """
    notes = {EVENT_ANNOTATION: key.dumps()}
    other = None
    try:
        function, inputs = prepared(function, product)
        other = builds.named(function, build, product) if build else builds.latest_of(function, product)
        is_wanted = other is not None and builds.is_wanted(other, function, inputs, product)
        if other is not None and is_wanted and record.phase(other) in record.TERMINAL:
            other = None
        elif is_wanted or not build:
            notes[INPUT_ANNOTATION] = replace(inputs, cancelled=key.cause).dumps()
            other = None
    except Refused:  # a source that cannot be taken is not built
        pass
    meta = function["metadata"]
    annotations = {**meta.get("annotations", {}), **notes}
    product.cluster.replace(FUNCTION, {**function, "metadata": {**meta, "annotations": annotations}})
    if other is not None:
        ends.cancel(other, "Cancelled", f"asked for by event {key.cause}", product.workshop, product.now())
