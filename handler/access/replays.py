"""What was signed is taken once, whichever process it comes to.

The API server is asked to make an Event of that name, and who comes second is told that it is there. Events go by
themselves (after an hour, unless the cluster says otherwise), and a signature is too old after minutes.
"""

from knative_lambda.deploy.cluster import EVENT, Cluster
from knative_lambda.schemas.errors import AlreadyExists

KEPT = 40
"""Characters of the hash in the name."""


def is_first(cluster: Cluster, namespace: str, digest: str) -> bool:
    """Say whether nobody has asked this of that digest before; raise `Temporary` where that can't be known."""
    body = {
        "apiVersion": EVENT.api_version,
        "kind": EVENT.kind,
        "metadata": {"namespace": namespace, "name": f"signed-{digest[:KEPT]}"},
        "involvedObject": {"apiVersion": "v1", "kind": "Namespace", "name": namespace, "namespace": namespace},
        "type": "Normal",
        "reason": "SignedRequest",
        "message": "A signed request was taken; it is not taken again.",
    }
    try:
        cluster.create(EVENT, body)
    except AlreadyExists:
        return False
    return True
