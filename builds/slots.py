"""Slots: how many builds run at once, and who is next. No Job without a slot, whatever races.

Called by `settle.py` (to take and to free) and by the handler's `queue.py` (who is next). A slot is a Lease `slot-<n>`,
taken by creating it, so that the API server's own lock is ours: first one of the tenant's, in ``<tenant>-builds``, then
one of all, in the product's namespace. Both are held by a Build's UID. A Build that finds none leaves a ticket, which
is a Lease too: whoever frees a slot, and every sweep, admits from there.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from knative_lambda.deploy.cluster import LEASE, Cluster, Object
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Conflict

SLOT, TICKET = "slot", "ticket"


@dataclass(frozen=True)
class SlotLimits:
    """How many builds may run at once."""

    tenant: int = 5
    """Of one tenant."""
    everywhere: int = 10
    """Of all tenants together."""


@dataclass(frozen=True)
class Place:
    """A Build that holds a slot, or waits for one."""

    tenant: str
    function: str
    build: str
    uid: str
    since: str
    """RFC 3339 in UTC with microseconds, so that text order is the order of arrival."""


@dataclass(frozen=True)
class Slots:
    """The slots of all tenants; `namespace` is the product's."""

    cluster: Cluster
    namespace: str
    limits: SlotLimits = field(default_factory=SlotLimits)
    passed: set[str] = field(default_factory=set)
    """UIDs of Builds that had their turn and did not begin: until the next admission they keep nobody from theirs."""

    def take(self, build: Object, now: datetime) -> str:
        """Return the slots that a Build holds, taken now if it is its turn and there are some; "" otherwise."""
        place, everywhere = place_of(build, now), None
        local = names.builds_namespace(place.tenant)
        # the tenant's slot comes first: who has none has none of all
        mine = self.cluster.list(LEASE, local, {names.QUEUE_LABEL: SLOT, names.BUILD_UID_LABEL: place.uid})
        if mine or self.cluster.list(LEASE, self.namespace, {names.QUEUE_LABEL: TICKET}, most=1):
            everywhere = self._taken(self.namespace)
            if place.uid not in map(holder, everywhere) and not self._is_turn(place, everywhere):
                return ""
        first = self._hold(local, place, self.limits.tenant, mine or None)
        if not first:
            return ""
        # the tenant's slot is kept where there is none of all: a twin of this call may be at work with it
        second = self._hold(self.namespace, place, self.limits.everywhere, everywhere)
        return f"{first} of {place.tenant}, {second} of all" if second else ""

    def wait(self, build: Object, now: datetime) -> None:
        """Leave a Build's ticket; one that is there keeps its time."""
        place = place_of(build, now)
        with suppress(AlreadyExists):
            self.cluster.create(LEASE, lease(self.namespace, _ticket(place.uid), TICKET, place))

    def leave(self, uid: str) -> None:
        """Take a Build's ticket away: it waits no more."""
        self.cluster.delete(LEASE, self.namespace, _ticket(uid))

    def free(self, tenant: str, uid: str) -> list[str]:
        """Give back what a Build holds, and its ticket; return what it made, which is its twins' to make from now on.

        Nothing to give back is success.
        """
        places = (self.namespace, names.builds_namespace(tenant))
        freed = (labels.get(names.MAKES_LABEL, "") for namespace in places for labels in self._drop(namespace, uid))
        return [key for key in freed if key]

    def next(self) -> Place | None:
        """Return the Build whose turn it is, if a slot is free for one."""
        return self._first(self._taken(self.namespace))

    def places(self, tenant: str, build: str = "") -> list[Place]:
        """Return each Build of a tenant, or the one of this name, that holds a slot or has a ticket."""
        labels = {names.TENANT_LABEL: tenant, **({names.BUILD_LABEL: build} if build else {})}
        mine = self.cluster.list(LEASE, self.namespace, labels)
        mine += self.cluster.list(LEASE, names.builds_namespace(tenant), labels)
        return list({found.uid: found for found in map(_place, mine)}.values())

    def everywhere(self) -> list[Place]:
        """Return each Build of any tenant, served or not, that holds a slot of all or has a ticket."""
        found = (
            one
            for sort in (SLOT, TICKET)
            for one in self.cluster.list(LEASE, self.namespace, {names.QUEUE_LABEL: sort})
        )
        return list({place.uid: place for place in map(_place, found)}.values())

    def release(self, uid: str) -> None:
        """Give back what a Build holds of all, and its ticket, whatever its tenant's namespace has become."""
        for _ in self._drop(self.namespace, uid):
            pass

    def waiting(self, tenant: str) -> set[str]:
        """Return the names of a tenant's Builds that have a ticket and hold no slot yet: only these can but wait."""
        mine = self.cluster.list(LEASE, self.namespace, {names.TENANT_LABEL: tenant})
        mine += self.cluster.list(LEASE, names.builds_namespace(tenant), {names.TENANT_LABEL: tenant})
        holders = {holder(found) for found in mine if found["metadata"]["labels"].get(names.QUEUE_LABEL) == SLOT}
        tickets = [found for found in mine if found["metadata"]["labels"].get(names.QUEUE_LABEL) == TICKET]
        return {found.build for found in map(_place, tickets) if found.uid not in holders}

    def has_room(self, tenant: str) -> bool:
        """Say whether a tenant may have one slot more now: what a Build looks for that has just got its ticket."""
        return self._has_room(tenant, self._taken(self.namespace))

    def _taken(self, namespace: str) -> list[Object]:
        return self.cluster.list(LEASE, namespace, {names.QUEUE_LABEL: SLOT})

    def _has_room(self, tenant: str, everywhere: list[Object]) -> bool:
        mine = [slot for slot in everywhere if _place(slot).tenant == tenant]
        return len(everywhere) < self.limits.everywhere and len(mine) < self.limits.tenant

    def _is_turn(self, place: Place, everywhere: list[Object]) -> bool:
        if not self._has_room(place.tenant, everywhere):
            return False
        first = self._first(everywhere)
        return first is None or first.uid == place.uid

    def _first(self, everywhere: list[Object]) -> Place | None:
        """Return the oldest ticket of the tenant with the fewest slots, of those that may have one more."""
        if len(everywhere) >= self.limits.everywhere:
            return None
        held = Counter(_place(slot).tenant for slot in everywhere)
        holders = {holder(slot) for slot in everywhere} | self.passed
        tickets = map(_place, self.cluster.list(LEASE, self.namespace, {names.QUEUE_LABEL: TICKET}))
        waiting = [one for one in tickets if one.uid not in holders and held[one.tenant] < self.limits.tenant]
        return min(waiting, key=lambda one: (held[one.tenant], one.since, one.uid), default=None)

    def _hold(self, namespace: str, place: Place, limit: int, taken: list[Object] | None) -> str:
        """Return the name of the slot that a Build holds in a namespace, created if need be; "" where all are taken.

        Which ones are taken is looked at once the first is, where it is not known: there may be thousands.
        """
        for slot in taken or ():
            if holder(slot) == place.uid:
                return str(slot["metadata"]["name"])
        names_taken = {slot["metadata"]["name"] for slot in taken or ()}
        # those who come at once begin at different ones, or each would be in the way of all others; twins at the same
        first = int(names.sha256([place.tenant, place.function])[-8:], 16)
        for name in (f"slot-{(first + number) % limit}" for number in range(limit)):
            if name in names_taken:
                continue
            try:
                self.cluster.create(LEASE, lease(namespace, name, SLOT, place))
            except AlreadyExists:  # somebody was faster: a twin of ours, or another Build
                if taken is None:
                    return self._hold(namespace, place, limit, self._taken(namespace))
                found = self.cluster.get(LEASE, namespace, name)
                if found is None or holder(found) != place.uid:
                    continue
            return name
        return ""

    def _drop(self, namespace: str, uid: str) -> Iterator[Mapping[str, str]]:
        """Delete the Leases of a Build, one by one, and yield their labels."""
        for found in self.cluster.list(LEASE, namespace, {names.BUILD_UID_LABEL: uid}):
            meta = found["metadata"]
            with suppress(Conflict):  # of that name there is another one by now, which is not this Build's
                self.cluster.delete(LEASE, namespace, meta["name"], uid=meta["uid"])
            yield meta.get("labels", {})


def place_of(build: Object, now: datetime) -> Place:
    """Return a Build's place as of now."""
    meta = build["metadata"]
    since = now.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return Place(meta["namespace"], build["spec"]["function"], meta["name"], meta["uid"], since)


def _ticket(uid: str) -> str:
    return f"ticket-{names.sha256(uid)[7:39]}"


def lease(namespace: str, name: str, sort: str, place: Place) -> Object:
    """Return a Lease that a Build holds."""
    return {
        "apiVersion": LEASE.api_version,
        "kind": LEASE.kind,
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {
                names.QUEUE_LABEL: sort,
                names.TENANT_LABEL: place.tenant,
                names.FUNCTION_LABEL: place.function,
                names.BUILD_LABEL: place.build,
                names.BUILD_UID_LABEL: place.uid,
                "app.kubernetes.io/managed-by": names.MANAGER,
            },
        },
        "spec": {"holderIdentity": place.uid, "acquireTime": place.since},
    }


def _place(lease: Object) -> Place:
    labels, spec = lease["metadata"].get("labels", {}), lease.get("spec", {})
    return Place(
        labels.get(names.TENANT_LABEL, ""),
        labels.get(names.FUNCTION_LABEL, ""),
        labels.get(names.BUILD_LABEL, ""),
        holder(lease),
        spec.get("acquireTime", ""),
    )


def holder(lease: Object) -> str:
    """Return the UID of the Build that holds a Lease."""
    return str(lease.get("spec", {}).get("holderIdentity", ""))
