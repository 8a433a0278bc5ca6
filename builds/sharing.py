"""Builds of one tenant that make the same thing share it: one makes it, the others wait for that, without a slot.

Called by `settle.py`, before a slot is taken. What a Build makes stands on it as a label (`label`): the hash of all
that its Job's outcome follows from, be that an image or a layer of dependencies. Who makes it now is a Lease
`making-<hash>`, taken by creating it, so that the API server's own lock is ours. It is held by the Build's UID and
given back with the Build's slots (`Slots.free`), whatever ended it and whoever finds that out. It comes before a slot:
who holds a slot waits for nobody, so no two wait for each other.

Whether the thing was made before is asked by the one whose turn it is, never by those who wait.
"""

from collections.abc import Mapping
from datetime import datetime

from knative_lambda.builds import record, slots
from knative_lambda.deploy.cluster import BUILD, LEASE, Cluster, Object
from knative_lambda.deploy.conditions import age
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Conflict

MAKING = "making"
KEPT = 40
"""Characters of a hash that a label shows: it has room for 63."""


def label(digest: str) -> Mapping[str, str]:
    """Return the label of a Build that makes what has this digest, ``sha256:…``; none for "", which is not shared."""
    return {names.MAKES_LABEL: digest.removeprefix("sha256:")[:KEPT]} if digest else {}


def makes(build: Object) -> str:
    """Return the hash of what a Build makes, or "" where that is its alone."""
    found: str = build["metadata"].get("labels", {}).get(names.MAKES_LABEL, "")
    return found


def maker(build: Object, cluster: Cluster, now: datetime) -> str:
    """Return the name of the Build that makes the same as this one now, or "" where this one is to.

    Then others wait for it. Raises `Conflict` where that changed between two looks: read again.
    """
    key = makes(build)
    if not key:
        return ""
    place = slots.place_of(build, now)
    namespace, name = names.builds_namespace(place.tenant), f"{MAKING}-{key}"
    lease = slots.lease(namespace, name, MAKING, place)
    lease["metadata"]["labels"][names.MAKES_LABEL] = key
    try:
        cluster.create(LEASE, lease)
    except AlreadyExists:
        found = cluster.get(LEASE, namespace, name)
        if found is None:
            raise Conflict(f"what {place.build} makes was given back at this moment") from None
        return "" if slots.holder(found) == place.uid else str(found["metadata"]["labels"][names.BUILD_LABEL])
    return ""


def waiting(tenant: str, key: str, cluster: Cluster) -> list[Object]:
    """Return the Builds to be looked at once nobody makes this: all that wait where it was made, else the first."""
    alike = cluster.list(BUILD, tenant, {names.MAKES_LABEL: key})
    waiters = sorted(filter(record.shares, alike), key=_age)
    return waiters if any(map(record.image_of, alike)) else waiters[:1]


def _age(build: Object) -> tuple[str, str]:
    return age(build), build["metadata"]["uid"]
