"""What a Function owns, brought to what it should be, and read back.

Called by `converge`. Level-based: only differences are written, what is no longer wanted goes, and what a person made
under the same name is left alone and said so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knative_lambda.deploy import plain
from knative_lambda.deploy.cluster import (
    KINDS,
    KNATIVE_SERVICE,
    REVISION,
    SERVICE_ACCOUNT,
    TRIGGER,
    Cluster,
    Object,
)
from knative_lambda.deploy.conditions import condition, owned_by
from knative_lambda.deploy.manifests import DeploySettings, children, knative_service, service_account, trigger
from knative_lambda.schemas.errors import Refused, Temporary
from knative_lambda.schemas.names import FUNCTION_LABEL


@dataclass(frozen=True)
class Seen:
    """How a Function's Knative Service and Triggers are."""

    ready: str
    """``True``, ``False`` or ``Unknown``, as in a condition."""
    reason: str = ""
    message: str = ""
    url: str = ""
    image: str = ""
    """The image of the newest ready revision, where the newest is ready."""


NOTHING = Seen("Unknown", "NotDeployed", "nothing has been deployed yet")


def deploy(function: Object, image: str, entrypoint: str, cluster: Cluster, settings: DeploySettings) -> Seen:
    """Apply what the Function should own with this image, remove Triggers that are no longer wanted; say how it is.

    Each of them is read once. Raises `Refused` where a name is taken by an object that is not the Function's,
    `Temporary` where an old child of that name is still being deleted.
    """
    meta = function["metadata"]
    triggers = {found["metadata"]["name"]: found for found in _triggers(function, cluster)}
    stored = [
        _apply(
            body, triggers.pop(body["metadata"]["name"], None) if body["kind"] == TRIGGER.kind else None, meta, cluster
        )
        for body in children(function, image, entrypoint, settings)
    ]
    for name, found in triggers.items():
        cluster.delete(TRIGGER, meta["namespace"], name, uid=found["metadata"]["uid"])
    [service] = [body for body in stored if body["kind"] == KNATIVE_SERVICE.kind]
    return _seen(service, [body for body in stored if body["kind"] == TRIGGER.kind], cluster)


def standing(function: Object, image: str, entrypoint: str, cluster: Cluster, settings: DeploySettings) -> Seen | None:
    """Return how a Function's Service is; None where it or its account are not as they should be with this image."""
    meta, found = function["metadata"], None
    wanted = service_account(function, settings), knative_service(function, image, entrypoint, settings)
    for kind, body in zip((SERVICE_ACCOUNT, KNATIVE_SERVICE), wanted, strict=True):
        found = cluster.get(kind, meta["namespace"], meta["name"])
        is_mine = found is not None and owned_by(found, meta["uid"]) and not found["metadata"].get("deletionTimestamp")
        if not (is_mine and _holds(body, found)):
            return None
    return _seen(found, [], cluster) if found else None


def hears(function: Object, cluster: Cluster, settings: DeploySettings) -> bool:
    """Say whether a Function has the Triggers that it should have, and no others."""
    found = {each["metadata"]["name"]: each for each in _triggers(function, cluster)}
    wanted = [trigger(function, attributes, settings) for attributes in function["spec"].get("triggers", [])]
    names = {each["metadata"]["name"] for each in wanted}
    return names == found.keys() and all(_holds(each, found[each["metadata"]["name"]]) for each in wanted)


def observe(function: Object, cluster: Cluster) -> Seen:
    """Return how the Function's children are now, in Knative's own words."""
    meta = function["metadata"]
    service = cluster.get(KNATIVE_SERVICE, meta["namespace"], meta["name"])
    if service is None or not owned_by(service, meta["uid"]):
        return NOTHING
    return _seen(service, _triggers(function, cluster), cluster)


def _seen(service: Object, triggers: list[Object], cluster: Cluster) -> Seen:
    status = service.get("status", {})
    url = status.get("url", "")
    if status.get("observedGeneration") != service["metadata"].get("generation"):
        return Seen("Unknown", "Deploying", "Knative has not seen the newest version yet", url)
    ready = condition(service, "Ready")
    if ready["status"] != "True":
        return _waiting(service, ready, url, cluster)
    image = service["spec"]["template"]["spec"]["containers"][0]["image"]
    for each in triggers:
        told = condition(each, "Ready")
        if told["status"] != "True":
            name = each["metadata"]["name"]
            message = f"Trigger {name}: {told.get('message') or 'not ready yet'}"
            return Seen("Unknown", "TriggerNotReady", message, url)  # until its subscriber is known it says False, too
    return Seen("True", "Ready", "", url, image)


def _waiting(service: Object, ready: Mapping[str, Any], url: str, cluster: Cluster) -> Seen:
    """Return why a Service is not ready: its newest Revision knows it better, and sooner, than the Service."""
    meta, name = service["metadata"], service.get("status", {}).get("latestCreatedRevisionName", "")
    revision = cluster.get(REVISION, meta["namespace"], name) if name else None
    reason, message = plain.missing(service, revision, cluster) if revision else ("", "")
    if message:
        return Seen(ready["status"], reason, message, url)
    for kind in ("Ready", "ContainerHealthy", "ResourcesAvailable") if revision else ():
        told = condition(revision or {}, kind)
        if told["status"] != "True" and told.get("message"):
            return Seen(ready["status"], told.get("reason") or "Deploying", told["message"], url)
    return Seen(ready["status"], ready.get("reason") or "Deploying", ready.get("message", ""), url)


def _triggers(function: Object, cluster: Cluster) -> list[Object]:
    meta = function["metadata"]
    found = cluster.list(TRIGGER, meta["namespace"], {FUNCTION_LABEL: meta["name"]})
    return [trigger for trigger in found if owned_by(trigger, meta["uid"])]


def _apply(body: Object, found: Object | None, function: Object, cluster: Cluster) -> Object:
    """Return a child of a Function, by its metadata, as it is stored then; `found` is what was read of it already."""
    kind = next(kind for kind in KINDS if (kind.kind, kind.api_version) == (body["kind"], body["apiVersion"]))
    meta = body["metadata"]
    found = found or cluster.get(kind, meta["namespace"], meta["name"])
    if found is not None:
        if found["metadata"].get("deletionTimestamp"):
            raise Temporary(f"the old {kind.kind} {meta['name']} is still being deleted")
        if not owned_by(found, function["uid"]):
            raise Refused.because(
                "/metadata/name", f"there is a {kind.kind} {meta['name']} that is not this function's"
            )
        if _holds(body, found):
            return found
    try:
        return cluster.apply(kind, body)
    except Refused as refused:
        raise plain.refusal(refused) from refused


def _holds(wanted: Any, found: Any) -> bool:
    """Say whether everything wanted is there; what others added does not matter."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(key in found and _holds(wanted[key], found[key]) for key in wanted)
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(wanted) == len(found)
            and all(_holds(mine, theirs) for mine, theirs in zip(wanted, found, strict=True))
        )
    return bool(wanted == found)
