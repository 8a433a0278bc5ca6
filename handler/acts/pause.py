"""pause and resume, asked for under ``/v1``: one field of a Function, and no place among its events.

Called by `start.py`: for a ``build.start`` that asks for nothing else, and for each other one, as that may have been
sent before. Its source is recorded like any, and `paused` stays as it was asked for since.
"""

from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.order import Key
from knative_lambda.handler.converge import converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas import trace
from knative_lambda.schemas.errors import Conflict, Refused, Temporary
from knative_lambda.schemas.names import PAUSE_ANNOTATION, TRACE_ANNOTATION

PAUSE = "pause"
"""In the data of a ``build.start``: whether its function is to be paused. The gate lets no such event in."""
WRITES = 5


def pause(event: Event, product: Product) -> None:
    """Write that a Function is paused, or is not, and when that was asked for.

    Raises `Refused` where there is none, `Temporary` where twins are too many.
    """
    tenant, name, paused = event.data["tenant"], event.data["name"], event.data[PAUSE]
    product.require_tenant(tenant)
    notes = {PAUSE_ANNOTATION: order.key_of(event, product.now()).time}
    if product.spans.is_on and (now := trace.current()):
        notes[TRACE_ANNOTATION] = now
    for _ in range(WRITES):
        found = product.cluster.get(FUNCTION, tenant, name)
        if found is None:
            raise Refused.because("/data/name", "there is no such function")
        meta, spec = found["metadata"], _paused(found["spec"], paused=paused)
        try:
            if spec != found["spec"]:
                annotations = {**meta.get("annotations", {}), **notes}
                body = {**found, "spec": spec, "metadata": {**meta, "annotations": annotations}}
                product.cluster.replace(FUNCTION, body)
        except Conflict:
            continue
        converge(tenant, name, product)
        return
    raise Temporary(f"too many writers of {tenant}/{name} at once")


def kept(spec: Object, found: Object | None, key: Key) -> Object:
    """Return the spec that an event asks for, paused as its Function is where that was asked for after the event."""
    asked = found["metadata"].get("annotations", {}).get(PAUSE_ANNOTATION, "") if found else ""
    return _paused(spec, paused=bool(found["spec"].get("paused"))) if found and "" < key.time < asked else spec


def _paused(spec: Object, *, paused: bool) -> Object:
    if bool(spec.get("paused")) == paused:
        return spec
    rest = {field: value for field, value in spec.items() if field != "paused"}
    return {**rest, "paused": True} if paused else rest
