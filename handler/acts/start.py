"""build.start: this is the function's source now.

The source goes to the store first, then one write of the Function is the commit point: from there on nothing needs the
event, and any sweep can finish what it began. A source that is on record already need not be sent again (`earlier.py`).
"""

import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from knative_lambda.builds.choice import Choice, choose
from knative_lambda.builds.inputs import prepare, source
from knative_lambda.builds.inputs.prepare import Inputs, Source
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import builds
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.earlier import AGAIN, again
from knative_lambda.handler.acts.order import Key
from knative_lambda.handler.acts.pause import PAUSE, kept, pause
from knative_lambda.handler.converge import converge, rests
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas import trace
from knative_lambda.schemas.anew import restart
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Temporary
from knative_lambda.schemas.names import EVENT_ANNOTATION, INPUT_ANNOTATION, TRACE_ANNOTATION

log = logging.getLogger(__name__)
WRITES = 5
TAKEN_OVER = (
    "runtime",
    "entrypoint",
    "env",
    "envFrom",
    "secrets",
    "mounts",
    "probes",
    "triggers",
    "scale",
    "resources",
    "timeout",
    "nodeSelector",
    "architecture",
    "labels",
    "annotations",
    "pullSecrets",
    "paused",
    "builder",
    "build",
)


def start_build(event: Event, product: Product) -> None:
    """Make the event's source what the function should be, unless a newer event has been seen.

    Raises `Refused` with every fault of the source, `Temporary` where a dependency or a twin is in the way.
    """
    data = event.data
    tenant, name = data["tenant"], data["name"]
    if PAUSE in data:
        pause(event, product)
        return
    _check(data, product)
    key = order.key_of(event, product.now())
    prepared: Source | None = None
    for _ in range(WRITES):
        found = product.cluster.get(FUNCTION, tenant, name)
        mark = order.key_in(order.mark(product.workshop.store, tenant, name))
        if found is not None and found["metadata"].get("deletionTimestamp"):
            raise Temporary(f"the old {tenant}/{name} is still being deleted")
        stands = order.against(key, order.seen_by(found), mark)
        if stands == "older" or (stands == "equal" and found is None):
            log.info("%s/%s has seen a newer event than %s: nothing changes", tenant, name, event.id)
            return
        if stands == "newer":
            try:
                build = None
                if AGAIN in data:
                    body, inputs = again(found, data, key, product)
                else:
                    prepared = prepared or _prepared(event, found, key, product)
                    spec = {**wanted(data, prepared.context, key), **restart(found or {}, product.now())}
                    body = {**(found or _new(tenant, name)), "spec": kept(spec, found, key)}
                    inputs, build = _inputs(body, prepared, key, product)
                written = _write(_traced(body, found, product), inputs, key, product)
            except (Conflict, AlreadyExists):
                continue
            is_late = found is None and _is_late(written, key, product)
            if is_late or rests(written, inputs, build, product):
                return
        converge(tenant, name, product)
        return
    raise Temporary(f"too many writers of {tenant}/{name} at once")


def _check(data: Mapping[str, Any], product: Product) -> None:
    """Raise `Refused` for a tenant that is none, or a source that cannot be taken; one on record was."""
    if AGAIN not in data:
        source.check(data, "/data")
    product.require_tenant(data["tenant"])
    if AGAIN not in data:
        product.require_runnable(data["tenant"], data, "/data")


def wanted(data: Mapping[str, Any], context: str, key: Key) -> Object:
    """Return the Function's spec that an event asks for; its source is by reference."""
    given = data["source"]
    spec = {field: data[field] for field in TAKEN_OVER if field in data}
    spec["source"] = given if given.keys() & {"git", "image"} else {"context": {"hash": context}}
    if data.get("rebuild"):
        spec["rebuild"] = key.cause
    return spec


def _prepared(event: Event, function: Object | None, key: Key, product: Product) -> Source:
    """Put the event's source into the store, unless it is elsewhere; return what is known of it."""
    data = event.data
    if "image" in data["source"]:
        return Source("", Choice())
    if "git" in data["source"]:
        return product.source_of(data["source"]["git"], key.cause)
    objects = product.objects(data["tenant"], event.stored)
    plain = source.context(data, objects, product.limits, "/data")
    auto = product.automatic(plain)
    choose(data.get("builder", "auto"), auto, product.builder, "/data/builder")
    place = (data["tenant"], data["name"])
    known = prepare.recorded_context(function["metadata"].get("annotations", {}) if function else {})
    return Source(prepare.put_context(plain, place, product.workshop.store, product.now(), known), auto)


def _inputs(body: Object, prepared: Source, key: Key, product: Product) -> tuple[Inputs, Object | None]:
    """Return what a Function's spec is prepared into, and the Build that it points to where that was made of the same.

    The registry is asked for the image of that one.
    """
    meta, spec = body["metadata"], body["spec"]
    before = product.believed(meta["namespace"], spec, prepare.recorded(meta.get("annotations", {}), spec))
    build = builds.latest_of(body, product) if before is not None else None
    lost = builds.lost(build, product)
    if lost or condition(body, "Built").get("reason") == "BaseMissing":
        before = None  # the base that it was built upon may be gone too
    inputs = prepare.inputs(spec, prepared, key.cause, before, partial(product.base, spec["runtime"]))
    return product.with_given(replace(inputs, lost=lost), meta["namespace"], spec), build


def _write(body: Object, inputs: Inputs, key: Key, product: Product) -> Object:
    """Create or replace the Function in one write: its spec, its order key and its inputs."""
    meta = body["metadata"]
    notes = {EVENT_ANNOTATION: key.dumps(), INPUT_ANNOTATION: inputs.dumps()}
    body = {**body, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), **notes}}}
    is_new = "resourceVersion" not in meta
    return product.cluster.create(FUNCTION, body) if is_new else product.cluster.replace(FUNCTION, body)


def _traced(body: Object, found: Object | None, product: Product) -> Object:
    """Let a Function be of this event's trace; of the one before where what came again is there already."""
    now = trace.current() if product.spans.is_on else ""
    if not now or (found and found["spec"] == body["spec"] and condition(found, "Built")["status"] == "True"):
        return body
    meta = body["metadata"]
    return {**body, "metadata": {**meta, "annotations": {**meta.get("annotations", {}), TRACE_ANNOTATION: now}}}


def _new(tenant: str, name: str) -> Object:
    return {
        "apiVersion": FUNCTION.api_version,
        "kind": FUNCTION.kind,
        "metadata": {"namespace": tenant, "name": name},
        "spec": {},
    }


def _is_late(created: Object, key: Key, product: Product) -> bool:
    """Take back a Function that was created while a newer event found none and left its mark."""
    meta = created["metadata"]
    mark = order.mark(product.workshop.store, meta["namespace"], meta["name"])
    if mark is None or mark.key.rank < key.rank:
        return False
    try:
        product.cluster.delete(
            FUNCTION, meta["namespace"], meta["name"], uid=meta["uid"], version=meta["resourceVersion"]
        )
    except Conflict:  # by now it has seen something newer than this event
        return False
    return True
