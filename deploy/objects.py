"""What an API server does to an object before it keeps it, as pure functions.

Called by the adapters of the `Cluster` port: `embedded/objects.py` keeps what these return, `kubernetes.py` asks for
the checks alone, so that a bad name never becomes part of a path. Nothing here changes its arguments.
"""

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any

from knative_lambda.deploy.cluster import NAMESPACE, Kind, Object
from knative_lambda.schemas.errors import Conflict, Fault, Unsent

SET_BY_SERVER = (
    "uid",
    "creationTimestamp",
    "generation",
    "resourceVersion",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "managedFields",
)
"""The metadata that a writer cannot change."""

_WORD = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_LABEL = re.compile(rf"(?=.{{1,63}}$){_WORD}")
_DNS_SUBDOMAIN = re.compile(rf"(?=.{{1,253}}$){_WORD}(\.{_WORD})*")
_QUALIFIED = r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?"
_LABEL_KEY = re.compile(rf"([a-z0-9.-]{{1,253}}/)?{_QUALIFIED}")
_LABEL_VALUE = re.compile(rf"({_QUALIFIED})?")


def is_name(name: str) -> bool:
    """Say whether an object can be called that."""
    return bool(_DNS_SUBDOMAIN.fullmatch(name))


def check_address(kind: Kind, namespace: str, name: str | None = None) -> None:
    """Raise `Unsent` where no object of `kind` can be called that, or lie there; no name asks for the place alone."""
    faults = []
    if kind.namespaced and not _DNS_LABEL.fullmatch(namespace):
        faults.append(Fault("/metadata/namespace", f"{namespace!r} is no DNS label"))
    pattern = _DNS_LABEL if kind == NAMESPACE else _DNS_SUBDOMAIN
    if name is not None and not pattern.fullmatch(name):
        faults.append(Fault("/metadata/name", f"{name!r} is no DNS name"))
    if faults:
        raise Unsent(faults)


def check_labels(labels: Mapping[str, Any]) -> None:
    """Raise `Unsent` where these are not labels, of an object or of a selection."""
    if faults := list(_faults_of_labels(labels)):
        raise Unsent(faults)


def check(kind: Kind, body: Object) -> tuple[str, str]:
    """Return the namespace ("" where the kind has none) and name of `body`; raise `Unsent` if it is not of `kind`."""
    metadata = body.get("metadata", {})
    namespace = metadata.get("namespace", "") if kind.namespaced else ""
    name = metadata.get("name", "")
    check_address(kind, namespace, name)
    faults = list(_faults_of_labels(metadata.get("labels") or {}))
    if (body.get("apiVersion"), body.get("kind")) != (kind.api_version, kind.kind):
        faults.append(Fault("/kind", f"is not {kind.api_version} {kind.kind}"))
    for key, value in (metadata.get("annotations") or {}).items():
        if not isinstance(value, str):
            faults.append(Fault(f"/metadata/annotations/{_escaped(key)}", "is no string"))
    for index, owner in enumerate(metadata.get("ownerReferences") or []):
        if not all(owner.get(field) for field in ("apiVersion", "kind", "name", "uid")):
            faults.append(Fault(f"/metadata/ownerReferences/{index}", "needs apiVersion, kind, name and uid"))
    if faults:
        raise Unsent(faults)
    return namespace, name


def check_new(kind: Kind, body: Object) -> tuple[str, str]:
    """Return and raise like `check`, for an object that is not there yet."""
    if body.get("metadata", {}).get("resourceVersion"):
        raise Unsent.because("/metadata/resourceVersion", "is set, on an object to be created")
    return check(kind, body)


def check_read(kind: Kind, body: Object) -> tuple[str, str]:
    """Return and raise like `check`, for an object that was read before."""
    if not body.get("metadata", {}).get("resourceVersion"):
        raise Unsent.because("/metadata/resourceVersion", "is missing: only what was read can be replaced")
    return check(kind, body)


def check_same(live: Object | None, body: Object) -> None:
    """Raise `Conflict` where `body` names a UID or a version, and `live` is not that one."""
    metadata, stored = body["metadata"], live["metadata"] if live else {}
    if metadata.get("uid") and metadata["uid"] != stored.get("uid"):
        raise Conflict(f"{metadata['uid']} is not the object of this name")
    if live and metadata.get("resourceVersion") and metadata["resourceVersion"] != stored["resourceVersion"]:
        raise Conflict(f"{stored['name']} was changed since it was read")


def created(body: Object, *, uid: str, now: str) -> Object:
    """Return `body` as a new object: without a status, which is written by itself."""
    new = writable(body)
    new["metadata"] |= {"uid": uid, "creationTimestamp": now, "generation": 1}
    return new


def replaced(live: Object, body: Object) -> Object:
    """Return `live` with the metadata and content of `body`; a change of the content makes a new generation."""
    new = writable(body)
    new["metadata"] |= {key: live["metadata"][key] for key in SET_BY_SERVER if key in live["metadata"]}
    if _content(new) != _content(live):
        new["metadata"]["generation"] += 1
    return with_status(new, live)


def with_status(live: Object, body: Object) -> Object:
    """Return `live` with the status of `body`."""
    new = {key: value for key, value in live.items() if key != "status"}
    return copy.deepcopy(new | {"status": body["status"]} if "status" in body else new)


def applied(live: Object, before: Object, body: Object) -> Object:
    """Return `live` with the fields of `body`, and without those of `before` that `body` has no more.

    `before` is what the last `apply` set. A list is one value. A field that has another value than `before` gave it is
    somebody else's by now, and stays.
    """
    return replaced(live, _merged(live, before, writable(body)))


def writable(body: Object) -> Object:
    """Return a copy of `body` with the fields alone that a writer of metadata and spec can set."""
    metadata = {key: value for key, value in body["metadata"].items() if key not in SET_BY_SERVER}
    return copy.deepcopy({key: value for key, value in body.items() if key != "status"} | {"metadata": metadata})


def owners(obj: Object) -> list[str]:
    """Return the UIDs of the objects that own `obj`."""
    return [owner["uid"] for owner in obj["metadata"].get("ownerReferences") or []]


def _content(obj: Object) -> Object:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status")}


def _merged(live: Object, before: Object, body: Object) -> Object:
    merged = dict(live)
    for key in before.keys() - body.keys():
        if isinstance(before[key], dict) and isinstance(live.get(key), dict):
            merged[key] = _merged(live[key], before[key], {})
        if merged.get(key) in (before[key], {}):
            del merged[key]
    for key, value in body.items():
        if isinstance(value, dict) and isinstance(live.get(key), dict):
            earlier = before.get(key)
            merged[key] = _merged(live[key], earlier if isinstance(earlier, dict) else {}, value)
        else:
            merged[key] = value
    return merged


def _faults_of_labels(labels: Mapping[str, Any]) -> Iterator[Fault]:
    for key, value in labels.items():
        if not (_LABEL_KEY.fullmatch(key) and isinstance(value, str) and _LABEL_VALUE.fullmatch(value)):
            yield Fault(f"/metadata/labels/{_escaped(key)}", f"{key}={value!r} is no label")


def _escaped(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
