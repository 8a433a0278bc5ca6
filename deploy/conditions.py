"""Conditions and owner references: the parts of Kubernetes objects that every room writes the same way."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas.names import CAME_ANNOTATION
from knative_lambda.schemas.redaction import redact


def condition(body: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    """Return the condition of a type in an object's status; status ``Unknown`` where there is none."""
    for found in body.get("status", {}).get("conditions", []):
        if found["type"] == kind:
            return dict(found)
    return {"type": kind, "status": "Unknown", "reason": "", "message": ""}


Saying = tuple[str, str, str]
"""A condition's status, reason and message."""


def told(body: Object, kind: str, saying: Saying, now: datetime) -> list[Object]:
    """Return the object's conditions with one of them said anew.

    What it says holds no secret. `lastTransitionTime` changes with the status only, as Kubernetes has it, so that
    saying the same again is no change.
    """
    status, reason, message = saying
    before = condition(body, kind)
    moment = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    since = before.get("lastTransitionTime", moment) if before["status"] == status else moment
    said = {"type": kind, "status": status, "reason": reason, "message": redact(message), "lastTransitionTime": since}
    others = [found for found in body.get("status", {}).get("conditions", []) if found["type"] != kind]
    return sorted([*others, said], key=lambda found: str(found["type"]))


def came(body: Object) -> str:
    """Return when a DeadLetter's event came last, RFC 3339."""
    came: str = body["metadata"].get("annotations", {}).get(CAME_ANNOTATION, body["metadata"]["creationTimestamp"])
    return came


def age(body: Object) -> str:
    """Return what Builds are ordered by: the API server's second, and within it the finer time of who made them.

    There is one API server, and its clock is everybody's; receivers have their own, and some records no finer time.
    """
    meta = body["metadata"]
    return f"{meta['creationTimestamp']} {meta.get('annotations', {}).get(CAME_ANNOTATION, '')}"


def owner(body: Object) -> Object:
    """Return the reference that makes `body` the controller of an object in the same namespace."""
    return {
        "apiVersion": body["apiVersion"],
        "kind": body["kind"],
        "name": body["metadata"]["name"],
        "uid": body["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": False,
    }


def owned_by(body: Object, uid: str) -> bool:
    """Say whether the object's controller is the one with this UID."""
    references = body["metadata"].get("ownerReferences", [])
    return any(reference.get("controller") and reference.get("uid") == uid for reference in references)
