"""What is asked of the API server, as its authorization sees it: a verb, a resource, and where."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from support.estate import Estate
from support.faults import Handler

from knative_lambda.deploy.cluster import LEASE, POD, Cluster, Kind, Object, Page
from knative_lambda.handler.guards import Ports
from knative_lambda.handler.product import Product
from knative_lambda.schemas.names import BUILD_UID_LABEL

Asked = tuple[str, str, str]
"""Where (a namespace, or one of ``product``, ``tenant``, ``builds``), the resource with its group, and the verb."""


def place(namespace: str) -> str:
    """Return which of the product's namespaces it is."""
    if namespace == "knative-lambda":
        return "product"
    return "builds" if namespace.endswith("-builds") else "tenant"


def resource(group: str, plural: str) -> str:
    return f"{plural}.{group}" if group else plural


def allowed(objects: Iterable[Object], account: str, home: str) -> set[Asked]:
    """Return what Roles and their bindings allow a ServiceAccount of the namespace `home`, by namespace."""
    kinds = {kind: [each for each in objects if each["kind"] == kind] for kind in ("Role", "RoleBinding")}
    roles = {(each["metadata"]["namespace"], each["metadata"]["name"]): each["rules"] for each in kinds["Role"]}
    return {
        (namespace, what, verb)
        for each in kinds["RoleBinding"]
        for namespace in [each["metadata"]["namespace"]]
        if (account, home) in [(subject["name"], subject.get("namespace")) for subject in each["subjects"]]
        for rule in roles[namespace, each["roleRef"]["name"]]
        for what, verb in spread(rule)
    }


def spread(rule: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Return what one rule allows: each resource with each verb."""
    places = [resource(group, plural) for group in rule["apiGroups"] for plural in rule["resources"]]
    return {(what, verb) for what in places for verb in rule["verbs"]}


@dataclass
class AskedCluster:
    """A cluster that notes what it was asked."""

    behind: Cluster
    asked: set[Asked] = field(default_factory=set)
    is_crowded: bool = False
    """Whether somebody else takes every slot of all a moment before."""

    def _note(self, kind: Kind, namespace: str, verb: str, more: str = "") -> None:
        self.asked.add((place(namespace), resource(kind.group, kind.plural + more), verb))

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        self._note(kind, namespace if kind.namespaced else name, "get")
        return self.behind.get(kind, namespace, name)

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        self._note(kind, namespace, "list")
        return self.behind.heads(kind, namespace, labels)

    def page(self, kind: Kind, namespace: str, labels: Mapping[str, str], *, most: int, after: str = "") -> Page:
        self._note(kind, namespace, "list")
        return self.behind.page(kind, namespace, labels, most=most, after=after)

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        self._note(kind, namespace, "list")
        return self.behind.list(kind, namespace, labels, most=most)

    def create(self, kind: Kind, body: Object) -> Object:
        self._note(kind, body["metadata"]["namespace"], "create")
        meta = body["metadata"]
        if self.is_crowded and kind == LEASE and place(meta["namespace"]) == "product":
            other = {**meta, "labels": {**meta["labels"], BUILD_UID_LABEL: "another"}}
            self.behind.create(kind, {**body, "metadata": other, "spec": {**body["spec"], "holderIdentity": "another"}})
        return self.behind.create(kind, body)

    def replace(self, kind: Kind, body: Object) -> Object:
        self._note(kind, body["metadata"]["namespace"], "update")
        return self.behind.replace(kind, body)

    def replace_status(self, kind: Kind, body: Object) -> Object:
        self._note(kind, body["metadata"]["namespace"], "update", "/status")
        return self.behind.replace_status(kind, body)

    def apply(self, kind: Kind, body: Object) -> Object:
        """Note what server-side apply takes: to patch, and to create what is not there."""
        meta = body["metadata"]
        self._note(kind, meta["namespace"], "patch")
        if self.behind.get(kind, meta["namespace"], meta["name"]) is None:
            self._note(kind, meta["namespace"], "create")
        return self.behind.apply(kind, body)

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, version: str = "") -> None:
        self._note(kind, namespace, "delete")
        self.behind.delete(kind, namespace, name, uid=uid, version=version)

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        self._note(POD, namespace, "get", "/log")
        return self.behind.pod_log(namespace, pod, container, limit=limit, seconds=seconds)


class AskedEstate(Estate):
    """An estate that notes what the product asks of its cluster, and not what the cluster does by itself."""

    def __init__(self, **settings: Any) -> None:
        self.asked: set[Asked] = set()
        super().__init__(**settings)

    def process(self, handler: Handler) -> tuple[Ports, Product]:
        """See `Estate.process`."""
        bare: Any = self.cluster
        self.seen = AskedCluster(bare, self.asked)
        self.cluster = self.seen  # type: ignore[assignment]
        try:
            return super().process(handler)
        finally:
            self.cluster = bare
