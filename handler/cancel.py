"""build.cancel: stop what is being built. What runs goes on running."""

from knative_lambda.builds import settle
from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler import builds, order, queue
from knative_lambda.handler.converge import bring_forward, converge, wanted_build
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas.names import EVENT_ANNOTATION


def cancel_build(event: Event, product: Product) -> None:
    """Cancel the Build that is wanted, or the one that the event names; none that runs is success.

    A source that was taken and not begun yet is not begun: its Build is made, and cancelled.

    Raises `Conflict` where a twin was faster.
    """
    tenant, name = event.data["tenant"], event.data["name"]
    product.require_tenant(tenant)
    key = order.key_of(event, product.now())
    function = product.cluster.get(FUNCTION, tenant, name)
    if function is None or order.standing(key, order.seen_by(function)) == "older":
        return
    meta = function["metadata"]
    annotations = {**meta.get("annotations", {}), EVENT_ANNOTATION: key.dumps()}
    function = product.cluster.replace(FUNCTION, {**function, "metadata": {**meta, "annotations": annotations}})
    build = (
        builds.named(function, event.data["build"], product)
        if "build" in event.data
        else wanted_build(function, product)
    )
    if build is not None and settle.phase(build) not in settle.TERMINAL:
        settle.cancel(build, "Cancelled", f"asked for by event {key.cause}", product.workshop, product.now())
    converge(tenant, name, product)
    queue.admit(product, bring_forward)
