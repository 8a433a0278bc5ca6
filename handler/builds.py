"""Which Build a Function wants: the one of its inputs, made if need be, and no other beside it.

Called by `converge`, and by the use cases that end a build. Names are derived, so that the API server's `AlreadyExists`
is the lock; which one is wanted is written on the Function before it is made.
"""

import logging
from dataclasses import replace

from knative_lambda.builds import dependencies, ends, record, sharing
from knative_lambda.builds.choice import Choice, choose
from knative_lambda.builds.inputs import repository, source
from knative_lambda.builds.inputs.prepare import Inputs
from knative_lambda.builds.jobs import given
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.handler import status
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Conflict, NotLetIn, Refused, Temporary, Untrusted

CHAIN = 100
"""Rebuilds of one input that are followed."""
TOLD = "Told"
"""The condition of a Build that ended while its Function did not point to it: whether the Function owes that."""
log = logging.getLogger(__name__)


def wanted(function: Object, inputs: Inputs, product: Product) -> tuple[Object, Object | None]:
    """Return the Function and the Build of its inputs, or None where its source is a ready image.

    An older Build that still runs is superseded. One that has ended serves again if the registry has its image, which
    it is asked when the source comes again. Raises `Conflict` where a twin was faster.
    """
    latest = latest_of(function, product)
    if not inputs.context:
        if latest is not None:
            latest = supersede(latest, f"an image was given, by {inputs.cause}", product)
        return _point(function, "", None, latest, product), None
    spec = _spec(function, inputs, product)
    found = latest if latest and latest["spec"]["inputHash"] == spec["inputHash"] else _newest(function, spec, product)
    if found is not None and _is_news(found, function) and not _has_image(found, product):
        inputs = replace(inputs, lost=found["metadata"]["name"])
    if found is not None and _serves(found, function, inputs):
        name = found["metadata"]["name"]
    else:
        spec |= _renewed(found, function, inputs)
        name = names.build_name(
            function["metadata"]["name"], function["metadata"]["uid"], spec["inputHash"], spec["rebuild"]
        )
        found = None
    if latest is not None and latest["metadata"]["name"] != name:
        latest = supersede(latest, f"{name} has newer source, by {inputs.cause}", product)
    function = _point(function, name, found, latest, product)
    return function, found or _make(name, function, (spec, _made(spec, inputs, product)), product)


def is_wanted(build: Object, function: Object, inputs: Inputs, product: Product) -> bool:
    """Say whether a Build is the one that `wanted` finds: of just these inputs, and of no earlier try or rebuild."""
    same: bool = bool(inputs.context) and build["spec"]["inputHash"] == _spec(function, inputs, product)["inputHash"]
    return same and _serves(build, function, inputs)


def lost(build: Object | None, product: Product) -> str:
    """Return a Build's name where the registry has its image no more, else ""."""
    return "" if build is None or _has_image(build, product) else str(build["metadata"]["name"])


def latest_of(function: Object, product: Product) -> Object | None:
    """Return the Build that a Function points to."""
    return named(function, function.get("status", {}).get("latestBuild", ""), product)


def named(function: Object, name: str, product: Product) -> Object | None:
    """Return a Build of this very Function by its name."""
    found = product.cluster.get(BUILD, function["metadata"]["namespace"], name) if name else None
    return found if found and found["spec"]["functionUID"] == function["metadata"]["uid"] else None


def supersede(build: Object, message: str, product: Product) -> Object:
    """End a Build that is not wanted any more, with all that still runs of it; return it as it is then."""
    return ends.cancel(build, "Superseded", message, product.workshop, product.now())


def give_up(function: Object, why: str, product: Product) -> Object | None:
    """End the Build that a Function points to and that is not to go on; return it as it is then, None for none."""
    latest = latest_of(function, product)
    return latest if latest is None else supersede(latest, why, product)


def abandon(build: Object, function: Object, message: str, product: Product) -> Object:
    """End a Build that its Function does not point to, and owe that to subscribers; return it as it is then.

    That it is to be told of is on its record before its end, so that whoever finds it goes on from there. Raises
    `Conflict` where a twin was faster.
    """
    if record.phase(build) not in record.TERMINAL:
        build = supersede(_say_told(build, ("False", "Owed", ""), product), message, product)
    if is_owed(build):
        meta, state = function["metadata"], function.get("status", {})
        after = status.owing(state, status.build_notes(build, condition({}, "Built")))
        product.cluster.replace_status(FUNCTION, {**function, "status": after})
        product.owes(meta["namespace"], meta["name"])
        build = _say_told(build, ("True", "Owed", "by its Function"), product)
    return build


def is_owed(build: Object) -> bool:
    """Say whether a Build that was abandoned is still to be told of."""
    return bool(condition(build, TOLD)["status"] == "False")


def last_notes(function: Object, product: Product) -> list[Object]:
    """Return what is owed for the wanted Build of a Function that is about to be deleted, which ends what runs."""
    latest = latest_of(function, product)
    if latest is None:
        return []
    if record.phase(latest) not in record.TERMINAL:
        end = ("False", "FunctionDeleted", "its function was deleted")
        told = conditions.told(latest, "Succeeded", end, product.now())
        latest = {**latest, "status": {**latest.get("status", {}), "phase": "Cancelled", "conditions": told}}
    return status.build_notes(latest, condition(function, "Built"))


def require_room(function: Object, product: Product) -> None:
    """Raise `Temporary` where so many notifications wait for the tenant's Broker that nothing new may begin."""
    if status.is_full(function):
        tenant, name = function["metadata"]["namespace"], function["metadata"]["name"]
        product.owes(tenant, name)
        raise Temporary(f"the Broker of {tenant} has not taken the notifications of {name}: too many wait")


def _spec(function: Object, inputs: Inputs, product: Product) -> Object:
    meta, spec = function["metadata"], function["spec"]
    chosen = choose(spec.get("builder", "auto"), inputs.auto, product.builder, "/spec/builder")
    entrypoint, beside = source.entrypoint(spec), _given(spec, inputs, chosen)
    settings = {**beside, "secrets": inputs.secrets} if beside else None
    registry = product.settings.registry_of(meta["namespace"])
    wanted = {
        "function": meta["name"],
        "functionUID": meta["uid"],
        "inputHash": names.input_hash(
            context=inputs.context,
            runtime=spec["runtime"],
            entrypoint=entrypoint,
            builder=chosen.builder,
            base=inputs.base,
            platform=product.settings.platform,
            settings=settings,
        ),
        "runtime": spec["runtime"],
        "context": inputs.context,
        "base": inputs.base,
        "entrypoint": entrypoint,
        "builder": chosen.builder,
        "choice": chosen.why,
        "destination": names.repository(registry, meta["namespace"], meta["name"]),
        "cause": inputs.cause,
        **({"git": repository.at(spec["source"]["git"], inputs.commit)} if "git" in spec["source"] else {}),
        **({"build": beside} if beside else {}),
        **({"moved": f"{inputs.moved} is {inputs.base} now"} if inputs.moved else {}),
        **({"secretVersions": dict(inputs.secrets)} if beside and inputs.secrets else {}),
    }
    if chosen.dependencies:
        shaped_by = {**wanted, "dependencies": chosen.dependencies}
        platform = product.settings.platform
        wanted["dependencies"] = dependencies.image(registry, meta["namespace"], shaped_by, platform, settings)
    return wanted


def _given(spec: Object, inputs: Inputs, chosen: Choice) -> Object:
    """Return what a Function's build is given beside its source: nothing where nothing is run."""
    return given.of(spec, inputs.indexes) if chosen.builder != "layer" or chosen.dependencies else {}


def _is_news(build: Object, function: Object) -> bool:
    """Say whether a Function has not pointed to a Build until now, or has changed since that was written."""
    state = function.get("status", {})
    generation = function["metadata"].get("generation", 1)
    return (state.get("latestBuild"), state.get("observedGeneration")) != (build["metadata"]["name"], generation)


def _has_image(build: Object, product: Product) -> bool:
    """Say whether the image of a Build is there, if it should be; raise `Unavailable` if the registry cannot say it.

    Where the registry lets nobody ask, or is not believed, the image is taken to be there: it is not built anew for it.
    """
    image = record.image_of(build)
    try:
        return not image or product.workshop.registry.digest(image) is not None
    except (Refused, NotLetIn, Untrusted) as error:
        log.warning("%s is taken to be there: %s", image, error)
        return True


def _renewed(before: Object | None, function: Object, inputs: Inputs) -> Object:
    """Return what a Build's spec says of the one that it replaces, and of why."""
    said: Object = {"rebuild": record.lineage(before) if before else ""}
    if before is not None and "git" in before["spec"]:
        said["git"] = repository.at(before["spec"]["git"], record.commit(before))
    if function["spec"].get("rebuild"):
        said["fresh"] = True
    if before is not None and before["metadata"]["name"] == inputs.lost:
        said["because"] = f"the registry no longer has {record.image_of(before)}, of {before['metadata']['name']}"
    return said


def _made(spec: Object, inputs: Inputs, product: Product) -> str:
    """Return the digest of what the Job of a Build makes; "" where it has none, or makes it for this Build alone."""
    if "dependencies" in spec:
        return str(spec["dependencies"].rpartition(":")[2])
    is_shared = product.workshop.reuse is not None and spec["builder"] == "kaniko" and inputs.auto.pinned
    is_shared &= "git" not in spec  # who may clone it is not asked again
    return str(spec["inputHash"]) if is_shared else ""


def _newest(function: Object, spec: Object, product: Product) -> Object | None:
    """Follow the Builds of one input from the first, each named after the one that it replaced."""
    meta, newest, replaced = function["metadata"], None, ""
    for _ in range(CHAIN):
        name = names.build_name(meta["name"], meta["uid"], spec["inputHash"], replaced)
        found = named(function, name, product)
        if found is None:
            break
        newest, replaced = found, record.lineage(found)
    return newest


def _serves(build: Object, function: Object, inputs: Inputs) -> bool:
    """Say whether a Build of the same input will do: not an earlier failure, nor an earlier success for a rebuild.

    Nor one whose image is gone, nor one that was cancelled though nothing on the Function asks for that: an older
    cancel was late, and met it.
    """
    if build["metadata"]["name"] == inputs.lost:
        return False
    same_cause: bool = build["spec"]["cause"] == inputs.cause
    phase = record.phase(build)
    if phase == "Cancelled":
        return same_cause and inputs.cancelled != ""
    if phase == "Failed":
        return same_cause
    return phase != "Succeeded" or same_cause or not function["spec"].get("rebuild")


def _point(function: Object, name: str, found: Object | None, latest: Object | None, product: Product) -> Object:
    """Write which Build is wanted, `found` or one that is made then: a Build that nobody points to is nobody's.

    What was not told yet of `latest`, which was wanted until now and has ended, is owed to subscribers from the same
    write on. Raises `Temporary` where too many notifications are owed already.
    """
    before = function.get("status", {})
    if before.get("latestBuild", "") == name:
        return function
    require_room(function, product)
    after = {key: value for key, value in before.items() if key != "latestBuild"}
    if name:
        after["latestBuild"] = name
        pending = ("Unknown", status.PENDING, f"{name} is to be built")
        if found is not None and record.phase(found) in record.TERMINAL:
            pending = ("Unknown", status.FOUND, f"{name} was built before")
        after["conditions"] = conditions.told({"status": after}, "Built", pending, product.now())
    if latest is not None:
        after = status.owing(after, status.build_notes(latest, condition(function, "Built")))
    return product.cluster.replace_status(FUNCTION, {**function, "status": after})


def _say_told(build: Object, saying: Saying, product: Product) -> Object:
    state = build.get("status", {})
    told = conditions.told(build, TOLD, saying, product.now())
    return product.cluster.replace_status(BUILD, {**build, "status": {**state, "conditions": told}})


def _make(name: str, function: Object, spec: tuple[Object, str], product: Product) -> Object:
    body, made = spec
    try:
        return product.cluster.create(BUILD, record.manifest(name, function, body, sharing.label(made), product.now()))
    except AlreadyExists:
        found = named(function, name, product)
        if found is None:
            raise Conflict(f"Build {name} is another function's, or going") from None
        return found
