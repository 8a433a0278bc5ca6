"""What a build's Pod is given to push with: what a token is for, and the Secret that it comes in. Pure.

Called by `kaniko.py`, where an `Issuer` mints.
"""

import base64
import json
from collections.abc import Sequence

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.images.registry_client import Place
from knative_lambda.builds.jobs.issuer import PUSH, Grant
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import SECRET, Object
from knative_lambda.schemas.errors import Refused


def grants(attempt: Attempt, host: str, registry: str, reads: Sequence[str]) -> list[Grant]:
    """Return what an attempt's Pod may do with the registry at `host`; a stranger's code runs beside what it holds.

    Raises `Refused` where a Build names a place outside of its tenant's.
    """
    pushed = [Place.of(each) for each in (attempt.destination, attempt.cache) if each]
    own = Place.of(f"{registry}/{attempt.tenant}/")
    if strange := [f"{each.host}/{each.repository}" for each in pushed if not _lies_below(each, own)]:
        raise Refused.because("/registry", f"{', '.join(strange)}: not a place of the tenant {attempt.tenant}")
    read = [Place.of(each) for each in reads]
    return [
        *(Grant(each.repository, PUSH) for each in pushed),
        *(Grant(name) for name in sorted({each.repository for each in read if each.host == host})),
    ]


def _lies_below(place: Place, own: Place) -> bool:
    return place.host == own.host and place.repository.startswith(own.repository) and ".." not in place.repository


def secret(owner: Object, host: str, token: str) -> Object:
    """Return the Secret with which an attempt pushes, owned by its Job: removed with it at the latest."""
    meta = owner["metadata"]
    config = json.dumps({"auths": {host: {"registrytoken": token}}}).encode()
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": meta["name"],
            "namespace": meta["namespace"],
            "labels": dict(meta.get("labels", {})),
            "ownerReferences": [conditions.owner(owner)],
        },
        "type": "kubernetes.io/dockerconfigjson",
        "immutable": True,
        "data": {".dockerconfigjson": base64.b64encode(config).decode()},
    }
