"""Functions that follow their runtime's base image: where that is another one by now, they are built upon it.

Called by the sweep, with the Functions that it has listed. Only those follow that ask for it (``onBaseChange``), each
as if its source had come again; what its base was stands on the new Build. A few of a tenant at a time: where all of
them move, the next sweeps go on.
"""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial

from knative_lambda.builds.inputs import prepare
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.converge import converge, note
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Unavailable

MOST = 10
"""Functions of a tenant that are built anew for it by one sweep."""
log = logging.getLogger(__name__)


def follow(functions: Iterable[Object], product: Product) -> Iterator[Callable[[], None]]:
    """Yield what builds these Functions upon the bases of now, those that ask for it and whose base has moved."""
    left = MOST
    for function in functions:
        spec, meta = function["spec"], function["metadata"]
        if spec.get("build", {}).get("onBaseChange") != "rebuild" or spec.get("paused"):
            continue
        inputs = prepare.recorded(meta.get("annotations", {}), spec)
        if inputs is None or not inputs.base or condition(function, "Built")["status"] == "Unknown":
            continue  # it is on its way, or has none
        base = _base(spec["runtime"], product)
        if left and base not in ("", inputs.base):
            left -= 1
            yield partial(_move, meta["namespace"], meta["name"], base, product)


def _base(runtime: str, product: Product) -> str:
    """Return a runtime's base of now, "" where nobody can say it: then nothing follows."""
    try:
        return product.bases.now(runtime, product.base, product.now())
    except Unavailable as error:
        log.warning("whether the base of %s has moved cannot be said: %s", runtime, error)
        return ""


def _move(tenant: str, name: str, base: str, product: Product) -> None:
    """Write a Function's new base on its record, unless somebody is faster, and let it be built."""
    function = product.cluster.get(FUNCTION, tenant, name)
    if function is None or function["metadata"].get("deletionTimestamp"):
        return
    inputs = prepare.recorded(function["metadata"].get("annotations", {}), function["spec"])
    if inputs is None or inputs.base == base:
        return
    cause = f"base {base.rpartition('@')[2]}"
    try:
        note(function, replace(inputs, base=base, moved=inputs.base, cause=cause, cancelled="", lost=""), product)
    except Conflict:
        return
    log.info("%s/%s is built anew: its base is %s now", tenant, name, base)
    converge(tenant, name, product)
