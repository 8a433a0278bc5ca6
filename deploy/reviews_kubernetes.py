"""The `Reviews` port over a Kubernetes API server: TokenReview and SubjectAccessReview.

Joined by `handler` on a cluster. Both are created and never kept; the ClusterRole `system:auth-delegator` allows them.
"""

from knative_lambda.deploy.cluster import FUNCTION, Kind, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster
from knative_lambda.deploy.reviews import Identity, Right
from knative_lambda.schemas.errors import Refused, Unavailable

TOKEN = Kind("authentication.k8s.io", "v1", "TokenReview", "tokenreviews", namespaced=False)
ACCESS = Kind("authorization.k8s.io", "v1", "SubjectAccessReview", "subjectaccessreviews", namespaced=False)


class KubernetesReviews:
    """`Reviews` by the API server of a cluster."""

    def __init__(self, cluster: KubernetesCluster) -> None:
        self._cluster = cluster

    def who(self, token: str, audience: str) -> Identity | None:
        """See `Reviews.who`."""
        status = self._ask(TOKEN, {"token": token, **({"audiences": [audience]} if audience else {})})
        # an authenticator that knows of no audiences says yes and names none
        if not status.get("authenticated") or (audience and audience not in (status.get("audiences") or [])):
            return None
        user = status["user"]
        extra = tuple((key, tuple(values)) for key, values in sorted((user.get("extra") or {}).items()))
        return Identity(user["username"], user.get("uid", ""), tuple(user.get("groups") or []), extra)

    def may(self, identity: Identity, right: Right) -> bool:
        """See `Reviews.may`."""
        of_object = {"group": FUNCTION.group, "resource": right.resource, "verb": right.verb}
        where = {"namespace": right.namespace, "name": right.name}
        of_object |= {key: value for key, value in where.items() if value}
        of_path = {"path": right.path, "verb": right.verb}
        status = self._ask(
            ACCESS,
            {
                "user": identity.name,
                "uid": identity.uid,
                "groups": list(identity.groups),
                "extra": {key: list(values) for key, values in identity.extra},
                **({"nonResourceAttributes": of_path} if right.path else {"resourceAttributes": of_object}),
            },
        )
        return bool(status.get("allowed"))

    def _ask(self, kind: Kind, spec: Object) -> Object:
        try:
            return self._cluster.review(kind, spec)
        except Refused as error:  # it is the product's lack, and no fault of who sends
            raise Unavailable("cluster", f"{kind.kind}: {error}") from error
