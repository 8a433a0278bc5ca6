"""build.complete and build.failed from outside: the outcome of a Build whose builder is external.

Said of any other Build they change nothing: how that ended is read from the cluster and the registry. The older family
need not say which Build it means: then it is the wanted one, unless the event may be about one before it.
"""

import logging
import re
from datetime import datetime

from knative_lambda.builds import ends
from knative_lambda.builds.ends import Outcome
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.handler import builds
from knative_lambda.handler.converge import converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused, Unavailable

log = logging.getLogger(__name__)


def end_external_build(event: Event, product: Product) -> None:
    """Record the outcome of an external Build, once the registry knows its image; then converge.

    Raises `Refused` where there is no such Build, or the image is none of this function's, or unknown to the registry.
    """
    data = event.data
    tenant, name = data["tenant"], data["name"]
    product.require_tenant(tenant)
    function = product.cluster.get(FUNCTION, tenant, name)
    if function is None:
        return
    build = builds.named(function, data.get("build") or function.get("status", {}).get("latestBuild", ""), product)
    if build is None and data.get("build"):
        raise Refused.because("/data/build", f"the function {tenant}/{name} has no Build {data['build']}")
    if build is None or build["spec"]["builder"] != "external":
        return
    if not data.get("build") and not _is_meant(build, event, product):
        log.info("%s of %s/%s may be about an older Build: nothing changes", event.id, tenant, name)
        return
    if event.type == types.BUILD_COMPLETE:
        message = f"said by event {event.source} {event.id}"
        outcome = Outcome("Succeeded", "BuiltOutside", message, image=_image(build, data["image"], product))
    else:
        outcome = Outcome("Failed", data["reason"], data.get("message", ""))
    ends.finish(build, outcome, product.workshop, product.now())
    converge(tenant, name, product)


def _is_meant(build: Object, event: Event, product: Product) -> bool:
    """Say whether an event that names no Build came after this one was made, or, without a time, can mean no other."""
    meta, spec = build["metadata"], build["spec"]
    if event.time is not None:
        return event.time >= datetime.fromisoformat(meta["creationTimestamp"])
    there = product.cluster.list(BUILD, meta["namespace"], {names.FUNCTION_LABEL: spec["function"]})
    return all(
        one["metadata"]["uid"] == meta["uid"] for one in there if one["spec"]["functionUID"] == spec["functionUID"]
    )


def _image(build: Object, reference: str, product: Product) -> str:
    """Return the image by the digest that the registry knows; it must lie in the function's own repository."""
    repository = build["spec"]["destination"]
    if not re.fullmatch(re.escape(repository) + r"(:[^@/]+)?(@sha256:[0-9a-f]{64})?", reference):
        raise Refused.because("/data/image", f"the image of this function lies in {repository}")
    try:
        digest = product.workshop.registry.digest(reference)
    except Refused as refused:  # nothing is wrong with the event
        raise Unavailable("registry", refused.faults[0].message) from refused
    if digest is None:
        raise Refused.because("/data/image", f"the registry does not know {reference}")
    return f"{repository}@{digest}"
