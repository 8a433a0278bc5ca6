"""The guard around a cluster: it fails at once while the breaker is open, and only what is safe is tried again.

Wrapped around the cluster, once, by whoever joins a service. "Not there", `Conflict`, `AlreadyExists`, `Refused` and a
quota that is used up are the API server's answers. A Pod's log is the kubelet's: a node that is gone is no failure of
the API server, so a log gets one attempt and the breaker does not hear of it.

When no answer came to a write, nobody knows whether it was done. What a second attempt would then say decides:

    create          `AlreadyExists`, of the object that the first one made: who asked would take it for another's
    replace(_status)  `Conflict`, with the version that the first one wrote: who asked would take it for a twin's
    apply           nothing, if nobody has written since; but a twin may have applied something newer by then
    delete by uid   "already gone", or `Conflict` where another object has the name: both are true

So reads, and deletes that say which object they mean, are tried again. The others get one attempt: the whole use case
comes again, reads what is there, and is right either way. A review changes nothing, and is asked again too.
"""

from collections.abc import Mapping

from knative_lambda.deploy.cluster import Cluster, Kind, Object, Page
from knative_lambda.deploy.reviews import Identity, Reviews, Right
from knative_lambda.schemas.guard import Guard, GuardSettings

PATIENCE = GuardSettings(attempts=2, deadline=12.0, attempt_timeout=10.0, failures=3)
"""An API server that fails at once is asked again; one that hangs is not, or no time were left to say 503."""


class GuardedCluster:
    """A `Cluster` that asks another one through `guard`."""

    def __init__(self, cluster: Cluster, guard: Guard) -> None:
        self._cluster = cluster
        self._guard = guard

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """See `Cluster.get`."""
        return self._guard.call(self._cluster.get, kind, namespace, name)

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """See `Cluster.heads`."""
        return self._guard.call(self._cluster.heads, kind, namespace, labels)

    def page(self, kind: Kind, namespace: str, labels: Mapping[str, str], *, most: int, after: str = "") -> Page:
        """See `Cluster.page`."""
        return self._guard.call(self._cluster.page, kind, namespace, labels, most=most, after=after)

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        """See `Cluster.list`."""
        return self._guard.call(self._cluster.list, kind, namespace, labels, most=most)

    def create(self, kind: Kind, body: Object) -> Object:
        """See `Cluster.create`."""
        return self._guard.once(self._cluster.create, kind, body)

    def replace(self, kind: Kind, body: Object) -> Object:
        """See `Cluster.replace`."""
        return self._guard.once(self._cluster.replace, kind, body)

    def replace_status(self, kind: Kind, body: Object) -> Object:
        """See `Cluster.replace_status`."""
        return self._guard.once(self._cluster.replace_status, kind, body)

    def apply(self, kind: Kind, body: Object) -> Object:
        """See `Cluster.apply`."""
        return self._guard.once(self._cluster.apply, kind, body)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, version: str = "") -> None:
        """See `Cluster.delete`."""
        ask = self._guard.call if uid else self._guard.once
        ask(self._cluster.delete, kind, namespace, name, uid=uid, version=version)

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        """See `Cluster.pod_log`."""
        return self._guard.aside(self._cluster.pod_log, namespace, pod, container, limit=limit, seconds=seconds)


class GuardedReviews:
    """`Reviews` that ask others through `guard`."""

    def __init__(self, reviews: Reviews, guard: Guard) -> None:
        self._reviews = reviews
        self._guard = guard

    def who(self, token: str, audience: str) -> Identity | None:
        """See `Reviews.who`."""
        return self._guard.call(self._reviews.who, token, audience)

    def may(self, identity: Identity, right: Right) -> bool:
        """See `Reviews.may`."""
        return self._guard.call(self._reviews.may, identity, right)
