"""The one path that every event ends in: a Function brought to what it should be, as far as it can be now.

Called by every use case, with nothing but a name. Level-based: it reads what is there, computes what should be, applies
the difference, and is right when it runs twice, late, beside its twin, or after the pod that ran it was killed.

    prepared ─► a Build of this input ─► settled ─► deployed ─► observed ─► the status, and what is owed to subscribers
"""

import logging
from dataclasses import replace
from functools import partial

from knative_lambda.builds import ends, record, settle
from knative_lambda.builds.images import pushed
from knative_lambda.builds.inputs import prepare, source
from knative_lambda.builds.inputs.prepare import Inputs, Source
from knative_lambda.deploy import children
from knative_lambda.deploy.children import Seen
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import builds, status
from knative_lambda.handler.acts import earlier
from knative_lambda.handler.product import Product
from knative_lambda.handler.status import Told
from knative_lambda.handler.upkeep import queue
from knative_lambda.schemas.errors import Conflict, Refused, Temporary
from knative_lambda.schemas.names import INPUT_ANNOTATION

log = logging.getLogger(__name__)
TRIES = 5
UNPULLED = ("ErrImagePull", "ImagePullBackOff")
"""What a kubelet says, and Knative after it, of an image that may be gone."""


def converge(tenant: str, name: str, product: Product) -> None:
    """Bring a Function forward; one that is gone, or going, needs nothing. Then let those build whose turn it is.

    Where another thread is about to begin just that, it is left to that one. Raises `Temporary` where a dependency did
    not answer or twins are too many: the hint comes again, or the sweep finds what is left.
    """
    if product.once.do((converge, tenant, name), partial(bring_forward, tenant, name, product)):
        queue.admit(product, bring_forward)


def rests(function: Object, inputs: Inputs, build: Object | None, product: Product) -> bool:
    """Say whether a Function that was written just now is what it should be already: then nothing is left to converge.

    `build` is the one that it points to, if the registry has its image. Nothing is written here, so whoever changes the
    Function meanwhile is in nobody's way. Triggers are not looked at: their changes are reported, and the sweep counts.
    """
    state = function.get("status", {})
    if build is None or not record.image_of(build) or state.get("outbox") or function["spec"].get("paused"):
        return False
    told, entrypoint = Told.of(function, build), _entrypoint(function, inputs)
    try:
        if not builds.is_wanted(build, function, inputs, product):
            return False
    except Refused:  # as converge says it
        return False
    seen = children.standing(function, told.image, entrypoint, product.cluster, product.deploying)
    return seen is not None and status.status(function, replace(told, seen=seen), product.now()) == state


def bring_forward(tenant: str, name: str, product: Product) -> bool:
    """Bring a Function forward and no other; say whether its Build left a slot, or waits though there is room."""
    for _ in range(TRIES):
        function = product.cluster.get(FUNCTION, tenant, name)
        if function is None or function["metadata"].get("deletionTimestamp"):
            return False
        try:
            with product.spans.of(function):
                return _bring_forward(function, product)
        except Conflict:
            continue
    raise Temporary(f"too many writers of {tenant}/{name} at once")


def _bring_forward(function: Object, product: Product) -> bool:
    read, latest = function, function.get("status", {}).get("latestBuild", "")
    try:
        function, inputs = prepared(function, product)
        if function["spec"].get("paused"):
            return _pause(function, inputs, product)
        function, build = builds.wanted(function, inputs, product)
    except Refused as refused:
        why = f"its source was replaced, by generation {function['metadata'].get('generation', 1)}"
        given_up = builds.give_up(function, why, product)
        _require_room(read, product)
        _tell(function, Told.refused(refused, given_up), product)
        return True
    was_building = latest and condition(read, "Built")["status"] == "Unknown"
    moves = bool(was_building) and latest != function.get("status", {}).get("latestBuild", "")
    if build is not None:
        before, build = record.phase(build), _settled(build, inputs, product)
        moves |= before == "Running" and record.phase(build) != "Running"
        _tell_of_end(before, build, product)
        moves |= record.waits(build) and product.workshop.slots.has_room(function["metadata"]["namespace"])
    _require_room(read, product)
    told, seen = Told.of(function, build), None
    if told.image:
        try:
            if product.trust is not None:
                product.trust.require(told.image, build["spec"]["builder"] if build else "")
            seen = children.deploy(
                function, told.image, _entrypoint(function, inputs), product.cluster, product.deploying
            )
        except Refused as refused:
            told = replace(told, deploy_fault=refused.faults[0])
        if seen and seen.reason in UNPULLED and (lost := builds.lost(build, product)) not in ("", inputs.lost):
            note(function, replace(inputs, lost=lost, cancelled=""), product)
            raise Conflict(f"{told.image} is gone: it is to be built again")
    _tell(function, told, product, seen)
    if build is not None and pushed.lacks_papers(build, product.workshop):
        product.papers(build["metadata"]["namespace"], build["metadata"]["name"])
    return moves


def _pause(function: Object, inputs: Inputs, product: Product) -> bool:
    """Say how a Function is of which nothing new is to be built or deployed; end what is being built of it.

    What runs goes on. Its source is prepared already: that is what comes next.
    """
    _require_room(function, product)
    before = builds.latest_of(function, product)
    is_newest = before is not None and builds.is_wanted(before, function, inputs, product)
    latest = builds.give_up(function, "its function was paused", product)
    told = Told(status.WAITS, build=latest)
    if (latest is None and not inputs.context) or (
        latest is not None and is_newest and record.phase(latest) in ("Succeeded", "Failed")
    ):
        told = Told.of(function, latest)
    cluster, settings = product.cluster, product.deploying
    stands = (
        told.image
        and children.standing(function, told.image, _entrypoint(function, inputs), cluster, settings)
        and children.hears(function, cluster, settings)
    )
    _tell(function, replace(told, paused="newest" if stands else "waits"), product)
    return before is not None and record.phase(before) not in record.TERMINAL


def _tell_of_end(before: str, build: Object, product: Product) -> None:
    """Log that a Build ended just now, and make a span of it: only whoever has written its end comes here."""
    began = build.get("status", {}).get("startTime")
    if began and before not in record.TERMINAL and record.phase(build) in record.TERMINAL:
        end, meta = condition(build, "Succeeded"), build["metadata"]
        fields = {
            "tenant": meta["namespace"],
            "function": build["spec"]["function"],
            "build": meta["name"],
            "cause": build["spec"]["cause"],
            "builder": build["spec"]["builder"],
            "attempts": build["status"].get("attempt", 0),
            "phase": record.phase(build),
            "reason": end.get("reason", ""),
        }
        log.info("build ended", extra={"fields": fields})
        product.spans.past("build", fields, began, end["lastTransitionTime"])


def _settled(build: Object, inputs: Inputs, product: Product) -> Object:
    """Settle a Build, or cancel it where that is on the Function's record."""
    if inputs.cancelled:
        message = f"asked for by event {inputs.cancelled}"
        return ends.cancel(build, "Cancelled", message, product.workshop, product.now())
    return settle.settle(build, product.workshop, product.now())


def prepared(function: Object, product: Product) -> tuple[Object, Inputs]:
    """Return the Function with its inputs: those recorded, or made now where a person applied it.

    Raises `Refused` where its source cannot be taken, `Conflict` where a twin was faster.
    """
    meta, spec = function["metadata"], function["spec"]
    recorded = product.believed(meta["namespace"], spec, prepare.recorded(meta.get("annotations", {}), spec))
    if recorded is not None and all(recorded.secrets.values()):
        return function, recorded
    if recorded is not None:  # what was missing may have come
        found = product.with_versions(recorded, meta["namespace"], spec)
        return function if found == recorded else note(function, found, product), found
    source.check(spec, "/spec")
    product.require_runnable(meta["namespace"], spec, "/spec")
    cause = f"generation {meta.get('generation', 1)}"
    if (before := earlier.known(function, cause, product)) is not None:
        return note(function, before, product), before
    known = _source(function, cause, product)
    inputs = prepare.inputs(spec, known, cause, None, partial(product.base, spec["runtime"]))
    inputs = product.with_given(inputs, meta["namespace"], spec)
    return note(function, inputs, product), inputs


def _source(function: Object, cause: str, product: Product) -> Source:
    """Return what is known of the source that a person applied, once it is in the store."""
    meta, spec = function["metadata"], function["spec"]
    if "git" in spec["source"]:
        return product.source_of(spec["source"]["git"], cause)
    context = spec["source"].get("context", {}).get("hash", "")
    if context or "image" in spec["source"]:
        return Source(context, prepare.recorded_auto(meta.get("annotations", {}), context))
    plain = source.context(spec, product.objects(meta["namespace"]), product.limits, "/spec")
    place = (meta["namespace"], meta["name"])
    stored = prepare.put_context(plain, place, product.workshop.store, product.now())
    return Source(stored, product.automatic(plain))


def note(function: Object, inputs: Inputs, product: Product) -> Object:
    """Write its inputs on a Function's record; raise `Conflict` where it was changed since it was read."""
    meta = function["metadata"]
    annotations = {**meta.get("annotations", {}), INPUT_ANNOTATION: inputs.dumps()}
    return product.cluster.replace(FUNCTION, {**function, "metadata": {**meta, "annotations": annotations}})


def _entrypoint(function: Object, inputs: Inputs) -> str:
    """Return the entrypoint that the wrapper is told; "" where the image has none of ours inside."""
    return source.entrypoint(function["spec"]) if inputs.context else ""


def _require_room(read: Object, product: Product) -> None:
    """Raise `Temporary` where a change is to be told of, and too many notifications waited when this pass began."""
    if status.is_new(read):
        builds.require_room(read, product)


def _tell(function: Object, told: Told, product: Product, seen: Seen | None = None) -> None:
    """Write what is true now where that is a change; look at what runs where nobody has."""
    meta = function["metadata"]
    told = replace(told, seen=seen or children.observe(function, product.cluster))
    wanted = status.status(function, told, product.now())
    if wanted != function.get("status", {}):
        product.cluster.replace_status(FUNCTION, {**function, "status": wanted})
    if wanted.get("outbox"):
        product.owes(meta["namespace"], meta["name"])
