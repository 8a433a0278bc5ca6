"""The `Cluster` port: the Kubernetes objects that are the product's only memory.

Called by every room that reads or writes the cluster. `kubernetes.py` speaks to an API server,
`embedded/objects.py` keeps the objects in SQLite, `memory.py` is the same without a file, for tests;
one contract suite runs on all three. Objects are plain dicts as the API server returns them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

Object = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """Some of the objects of a list."""

    items: list[Object]
    after: str = ""
    """Where the next page begins, in the words of whoever gave this one; "" where nothing follows."""


@dataclass(frozen=True)
class Kind:
    """A kind of object: its group ("" for core), version, kind, and plural as in the API's path."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        """Return what stands in an object's `apiVersion`."""
        return f"{self.group}/{self.version}" if self.group else self.version


FUNCTION = Kind("knative-lambda.dev", "v1alpha1", "Function", "functions")
BUILD = Kind("knative-lambda.dev", "v1alpha1", "Build", "builds")
DEAD_LETTER = Kind("knative-lambda.dev", "v1alpha1", "DeadLetter", "deadletters")
NAMESPACE = Kind("", "v1", "Namespace", "namespaces", namespaced=False)
SERVICE_ACCOUNT = Kind("", "v1", "ServiceAccount", "serviceaccounts")
SECRET = Kind("", "v1", "Secret", "secrets")
POD = Kind("", "v1", "Pod", "pods")
EVENT = Kind("", "v1", "Event", "events")
JOB = Kind("batch", "v1", "Job", "jobs")
LEASE = Kind("coordination.k8s.io", "v1", "Lease", "leases")
KNATIVE_SERVICE = Kind("serving.knative.dev", "v1", "Service", "services")
REVISION = Kind("serving.knative.dev", "v1", "Revision", "revisions")
BROKER = Kind("eventing.knative.dev", "v1", "Broker", "brokers")
TRIGGER = Kind("eventing.knative.dev", "v1", "Trigger", "triggers")

KINDS = (
    FUNCTION,
    BUILD,
    DEAD_LETTER,
    NAMESPACE,
    SERVICE_ACCOUNT,
    SECRET,
    POD,
    EVENT,
    JOB,
    LEASE,
    KNATIVE_SERVICE,
    REVISION,
    BROKER,
    TRIGGER,
)


class Cluster(Protocol):
    """What the product asks of a cluster.

    Every method raises `Unavailable` ("cluster") when the cluster does not answer (or answers 429 or 5xx), and
    `Refused` when it says that the object is invalid or forbidden (400, 403, 422), with its own words in the fault. A
    quota that is used up, or a namespace that is being deleted, is `Temporary`. What is no name is refused unsent.
    `namespace` is "" for kinds that have none.
    """

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None where there is none; 403 counts as none: what may not be seen is not there."""

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that `list` does, of each its kind and metadata alone."""

    def page(self, kind: Kind, namespace: str, labels: Mapping[str, str], *, most: int, after: str = "") -> Page:
        """Return `most` (1 or more) of the objects that `list` does, from where an earlier page says.

        What it costs does not grow with what there is. Raise `Refused` for an `after` that no page has said.
        """

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        """Return the objects of a namespace whose labels include `labels`, by name: the first `most`, all for 0."""

    def create(self, kind: Kind, body: Object) -> Object:
        """Create the object and return it as stored; raise `AlreadyExists` where the name is taken.

        The status subresource of the product's own kinds is not written by this.
        """

    def replace(self, kind: Kind, body: Object) -> Object:
        """Write metadata and spec of an object that was read before; its `resourceVersion` must be the stored one.

        Raise `Conflict` where it is not, or where the object is gone. The status is not written by this.
        """

    def replace_status(self, kind: Kind, body: Object) -> Object:
        """Write the status of an object that was read before, and nothing else; raise `Conflict` like `replace`."""

    def apply(self, kind: Kind, body: Object) -> Object:
        """Write the fields of `body` as ours (server-side apply, forced): create it, or change what differs.

        A field that an earlier `apply` set and this one does not is removed; fields that others set stay. An equal
        second `apply` changes nothing, not even the `resourceVersion`. With a `uid` or `resourceVersion`
        in its metadata, raise `Conflict` where the object of that name is another one, or another version.
        """

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, version: str = "") -> None:
        """Delete the object and, in the background, what it owns; already gone is success.

        With `uid`, raise `Conflict` where the object of that name is another one; with `version`, a `resourceVersion`,
        where it was changed since it was read.
        """

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        """Return the last `limit` bytes at most of a container's log, or None where there is none to read.

        With `seconds`, only of what it said in the last so many.
        """
