"""The contract of the `Reviews` port, held against the fake of the tests and a real API server."""

import contextlib
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import pytest
from support.reviews import FakeReviews, account

from knative_lambda.deploy.cluster import NAMESPACE, SERVICE_ACCOUNT, Kind, Object
from knative_lambda.deploy.guard import PATIENCE, GuardedReviews
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.deploy.reviews import Identity, Reviews, Right
from knative_lambda.deploy.reviews_kubernetes import KubernetesReviews
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.guard import Guard

ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
CLUSTER_ROLE = Kind("rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_BINDING = Kind("rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
AUDIENCE = "knative-lambda"


class Site(Protocol):
    """A cluster with one ServiceAccount, alice, in a namespace of the test's own."""

    reviews: Reviews
    namespace: str
    own: str
    """The audience of the API server's own tokens."""

    def token(self, audience: str) -> str: ...

    def allow_path(self, path: str) -> None:
        """Let alice read a path that is no object's; return when the cluster says that she may."""

    def allow(self, verb: str) -> None:
        """Let alice do something to Functions; return when the cluster says that she may."""


@dataclass
class Fake:
    reviews: Reviews
    known: FakeReviews
    namespace: str = "acme"
    own: str = ""

    def allow_path(self, path: str) -> None:
        self.known.allow(account(self.namespace, "alice"), "get", path, "")

    def token(self, audience: str) -> str:
        return self.known.give(account(self.namespace, "alice"), audience)

    def allow(self, verb: str) -> None:
        self.known.allow(account(self.namespace, "alice"), verb, "functions", self.namespace)


@dataclass
class Real:
    reviews: Reviews
    cluster: KubernetesCluster
    namespace: str
    own: str = "https://test"

    def allow_path(self, path: str) -> None:
        name = f"{self.namespace}-reads"
        rule = {"nonResourceURLs": [path], "verbs": ["get"]}
        for kind, more in (
            (CLUSTER_ROLE, {"rules": [rule]}),
            (
                CLUSTER_BINDING,
                {
                    "roleRef": {"apiGroup": ROLE.group, "kind": "ClusterRole", "name": name},
                    "subjects": [{"kind": "ServiceAccount", "name": "alice", "namespace": self.namespace}],
                },
            ),
        ):
            meta = {"name": name}
            body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, **more}
            self.cluster._send("POST", f"/apis/{kind.api_version}/{kind.plural}", body=body)
        self._wait(Right("get", path=path))

    def token(self, audience: str) -> str:
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/alice/token"
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": [audience]}}
        token: str = self.cluster._send("POST", path, body=body).object()["status"]["token"]
        return token

    def allow(self, verb: str) -> None:
        meta = {"name": f"alice-{verb}", "namespace": self.namespace}
        rule = {"apiGroups": ["knative-lambda.dev"], "resources": ["functions"], "verbs": [verb]}
        self.cluster.create(ROLE, {"apiVersion": ROLE.api_version, "kind": "Role", "metadata": meta, "rules": [rule]})
        role = {"apiGroup": ROLE.group, "kind": "Role", "name": meta["name"]}
        subject = {"kind": "ServiceAccount", "name": "alice", "namespace": self.namespace}
        body = {"apiVersion": BINDING.api_version, "kind": "RoleBinding", "metadata": meta}
        self.cluster.create(BINDING, body | {"roleRef": role, "subjects": [subject]})
        self._wait(Right(verb, "functions", self.namespace))

    def _wait(self, right: Right) -> None:
        """Wait until alice has a right: the API server learns of a binding a little later."""
        who = Identity(f"system:serviceaccount:{self.namespace}:alice")
        end = time.monotonic() + 90
        while not self.reviews.may(who, right):
            assert time.monotonic() < end, "the binding does not count"
            time.sleep(0.05)


@pytest.fixture(params=["fake", "guarded", "kubernetes"])
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    if request.param != "kubernetes":
        known = FakeReviews()
        yield Fake(GuardedReviews(known, Guard("cluster", PATIENCE)) if request.param == "guarded" else known, known)
        return
    with contextlib.closing(KubernetesCluster(KubernetesSettings(request.getfixturevalue("kubeconfig")))) as cluster:
        name = f"test-{uuid.uuid4().hex[:8]}"
        cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        meta = {"name": "alice", "namespace": name}
        cluster.create(SERVICE_ACCOUNT, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        yield Real(KubernetesReviews(cluster), cluster, name)


def alice(site: Site) -> Identity:
    found = site.reviews.who(site.token(AUDIENCE), AUDIENCE)
    assert found is not None
    return found


def test_a_token_says_who_one_is_with_all_that_the_cluster_knows(site: Site) -> None:
    found = alice(site)
    assert found.name == f"system:serviceaccount:{site.namespace}:alice"
    assert found.uid
    assert f"system:serviceaccounts:{site.namespace}" in found.groups


@pytest.mark.parametrize("audience", ["another", "https://test"])
def test_a_token_for_somebody_else_says_nothing(site: Site, audience: str) -> None:
    """The API server's own audience among them."""
    assert site.reviews.who(site.token(audience), AUDIENCE) is None


@pytest.mark.parametrize("token", ["x", "a.b.c", "nobody"])
def test_a_token_that_nobody_gave_says_nothing(site: Site, token: str) -> None:
    assert site.reviews.who(token, AUDIENCE) is None


def test_a_right_is_had_where_it_was_given(site: Site) -> None:
    caller, right = alice(site), Right("update", "functions", site.namespace, "hello")
    assert not site.reviews.may(caller, right)
    site.allow("update")
    assert site.reviews.may(caller, right)
    assert site.reviews.may(caller, replace(right, name=""))
    for other in (
        replace(right, verb="delete"),
        replace(right, resource="builds"),
        replace(right, namespace="no-such-place"),
        replace(right, namespace=""),
    ):
        assert not site.reviews.may(caller, other)


def test_a_token_of_the_api_servers_own_says_who_one_is_to_whom_asks_for_no_other_audience(site: Site) -> None:
    found = site.reviews.who(site.token(site.own), "")
    assert found is not None
    assert found.name == f"system:serviceaccount:{site.namespace}:alice"
    assert site.reviews.who(site.token(AUDIENCE), "") is None


def test_a_path_that_is_no_objects_is_read_by_who_has_that_right(site: Site) -> None:
    caller, right = alice(site), Right("get", path="/metrics")
    assert not site.reviews.may(caller, right)
    site.allow_path("/metrics")
    assert site.reviews.may(caller, right)
    assert not site.reviews.may(caller, replace(right, path="/logs"))


def test_nobody_else_has_it(site: Site) -> None:
    site.allow("update")
    other = replace(alice(site), name=f"system:serviceaccount:{site.namespace}:bob")
    assert not site.reviews.may(other, Right("update", "functions", site.namespace))


def test_what_more_the_cluster_knows_of_a_caller_is_told_to_it_again(kubeconfig: str) -> None:
    """An authorizer may decide by any of it, so none is lost: what is asked is taken as it is."""
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig))) as cluster:
        whole = Identity("jane", "1", ("system:masters",), (("scopes.test/a", ("b", "c")),))
        assert KubernetesReviews(cluster).may(whole, Right("get", "functions", "default"))
        assert not KubernetesReviews(cluster).may(replace(whole, groups=()), Right("get", "functions", "default"))


def test_a_product_that_may_not_ask_says_so_and_blames_nobody_else(kubeconfig: str) -> None:
    """The sender is told to come again: the right may be given meanwhile."""
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig, "nobody"))) as cluster:
        reviews = KubernetesReviews(cluster)
        with pytest.raises(Unavailable, match="TokenReview"):
            reviews.who("a.b.c", AUDIENCE)
        with pytest.raises(Unavailable, match="SubjectAccessReview"):
            reviews.may(Identity("jane"), Right("get", "functions", "default"))


@dataclass
class Answering:
    """A `KubernetesCluster` as far as reviews go, whose authenticator is one that a real one of the tests has not."""

    status: dict[str, Any]

    def review(self, kind: Kind, spec: Object) -> Object:
        assert (kind.kind, spec) == ("TokenReview", {"token": "a.b.c", "audiences": [AUDIENCE]})
        return self.status


@pytest.mark.parametrize(
    ("audiences", "known"),
    [
        ({}, False),
        ({"audiences": None}, False),
        ({"audiences": []}, False),
        ({"audiences": ["https://kubernetes.default.svc"]}, False),
        ({"audiences": [AUDIENCE]}, True),
    ],
)
def test_an_authenticator_that_knows_of_no_audiences_says_nothing(audiences: dict[str, Any], *, known: bool) -> None:
    """A webhook of before there were audiences, say: it lets in a token that was made for anybody."""
    status = {"authenticated": True, "user": {"username": "jane"}, **audiences}
    found = KubernetesReviews(Answering(status)).who("a.b.c", AUDIENCE)  # type: ignore[arg-type] # as far as reviews go
    assert found == (Identity("jane") if known else None)


def test_who_is_not_authenticated_is_nobody_whatever_else_is_said() -> None:
    status = {"authenticated": False, "user": {"username": "jane"}, "audiences": [AUDIENCE]}
    assert KubernetesReviews(Answering(status)).who("a.b.c", AUDIENCE) is None  # type: ignore[arg-type] # the same
