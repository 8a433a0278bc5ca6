"""A function once more: a build that failed is tried again, or an earlier source comes back.

Called by `start.py` for a ``build.start`` that names no source of its own but one that is on record. The gate lets no
such event in; the actions under ``/v1`` make it. What is read is read of the Function that is then written, so that a
newer source is never overwritten by one that was asked for before it. Called by `converge.py` where a person has
written an earlier source into the Function itself.
"""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from knative_lambda.builds import record
from knative_lambda.builds.choice import Choice
from knative_lambda.builds.inputs import prepare, repository, source
from knative_lambda.builds.inputs.prepare import Inputs, Source
from knative_lambda.builds.inputs.source import RUNTIMES
from knative_lambda.builds.jobs import given
from knative_lambda.deploy.cluster import BUILD, Object
from knative_lambda.deploy.conditions import age, condition
from knative_lambda.handler import builds
from knative_lambda.handler.acts.order import Key
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.names import FUNCTION_LABEL

AGAIN = "again"
"""In the data of a ``build.start``: the Build whose source is meant, "" for what the Function has now."""
SOURCE = ("runtime", "source", "entrypoint", "builder", "build", "rebuild")
"""The fields of a Function that an earlier source brings back; all others are settings, which stay as they are."""


def again(function: Object | None, asked: Mapping[str, Any], key: Key, product: Product) -> tuple[Object, Inputs]:
    """Return a Function as it is to be, and its inputs; `asked` is the event's data.

    Raises `Refused` where there is no such function, or nothing of it that could be built.
    """
    if function is None:
        raise Refused.because("/data/name", "there is no such function")
    if asked[AGAIN]:
        return _earlier(function, asked[AGAIN], key, product)
    meta, spec = function["metadata"], function["spec"]
    before = product.believed(meta["namespace"], spec, prepare.recorded(meta.get("annotations", {}), spec))
    if before is None:
        raise Refused.because("/data/again", "nothing of its source is on record")
    is_base_gone = condition(function, "Built").get("reason") == "BaseMissing"
    known = None if is_base_gone else before
    base = partial(product.base, spec["runtime"])
    inputs = prepare.inputs(spec, Source(before.context, before.auto, before.commit), key.cause, known, base)
    return function, product.with_given(inputs, meta["namespace"], spec)


def _earlier(function: Object, name: str, key: Key, product: Product) -> tuple[Object, Inputs]:
    """Return a Function with the source of one of its Builds, upon the same base: the same image, while that is there.

    Who builds is what built it then, so that it is the same input.
    """
    build = builds.named(function, name, product)
    if build is None or record.phase(build) != "Succeeded":
        raise Refused.because("/data/again", f"{name} is no build of this function that succeeded")
    was = build["spec"]
    spec = {field: value for field, value in function["spec"].items() if field not in SOURCE}
    spec |= {"runtime": was["runtime"], "source": _source(build)}
    if was.get("entrypoint", "") != RUNTIMES[was["runtime"]].entrypoint:
        spec["entrypoint"] = was["entrypoint"]
    if "build" in was:
        spec["build"] = was["build"]
    if was["builder"] == "external":
        spec["builder"] = "external"
    return {**function, "spec": spec}, _as_built(spec, build, key.cause, product)


def known(function: Object, cause: str, product: Product) -> Inputs | None:
    """Return what a source that a Function names by its hash or commit was built of before; None where it was not.

    Of the Builds of this Function that made an image of it the newest counts. Whoever asks for a rebuild wants none.
    """
    meta, spec = function["metadata"], function["spec"]
    said = spec["source"]
    if not ("context" in said or repository.written_out(said.get("git", {}))) or spec.get("rebuild"):
        return None
    settings = given.of(spec, {})
    wanted = (meta["uid"], said, spec["runtime"], source.entrypoint(spec), spec.get("builder") == "external")
    made = [
        build
        for build in product.cluster.list(BUILD, meta["namespace"], {FUNCTION_LABEL: meta["name"]})
        if record.phase(build) == "Succeeded"
        and _of(build) == wanted
        and build["spec"].get("build", settings) == settings
    ]
    if not made:
        return None
    newest = max(made, key=age)
    return product.believed(meta["namespace"], spec, _as_built(spec, newest, cause, product))


def _of(build: Object) -> tuple[Any, ...]:
    was = build["spec"]
    return was["functionUID"], _source(build), was["runtime"], was.get("entrypoint", ""), was["builder"] == "external"


def _as_built(spec: Object, build: Object, cause: str, product: Product) -> Inputs:
    """Return the inputs of a spec as a Build of its source had them."""
    was = build["spec"]
    auto = Choice(was["builder"], was.get("choice", ""), dependencies=_dependencies(build, product))
    inputs = Inputs(prepare.fingerprint(spec), was["context"], was.get("base", ""), cause, auto=auto)
    return replace(inputs, secrets=was.get("secretVersions", {}), commit=record.commit(build))


def _source(build: Object) -> Object:
    """Return the source of a Build, by reference: of a repository the very commit."""
    was, commit = build["spec"], record.commit(build)
    if "git" not in was:
        return {"context": {"hash": was["context"]}}
    named = {key: value for key, value in was["git"].items() if key != "commit"}
    return {"git": {**named, **({"revision": commit} if commit else {})}}


def _dependencies(build: Object, product: Product) -> str:
    """Return the hash of what a Build's source asks to be installed; "" where its code is laid upon nothing of that."""
    if "dependencies" not in build["spec"]:
        return ""
    packed = product.workshop.store.get(record.context(build), limit=product.limits.total)
    if packed is None:
        raise Refused.because("/data/again", f"the source of {build['metadata']['name']} is not there any more")
    with product.turns.turn() as turn:
        return source.asked(build["spec"]["runtime"], packed, product.limits, turn.hold)
