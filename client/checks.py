"""What `doctor` looks at: each check says whether it holds, and what to do where it does not.

Whether the registry can be pushed to and pulled from, and whether the store keeps what it is given, no reader can see:
a small function is built, run and removed, which needs all three.
"""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from knative_lambda.client.client import Client
from knative_lambda.client.cluster import API, EVENTING, SERVING, Cluster
from knative_lambda.client.door import PRODUCT, event
from knative_lambda.client.errors import ClientError
from knative_lambda.client.http import Http
from knative_lambda.client.models import Resource

CODE = "def handle(event, context):\n    return event.data\n"
TRIAL_SECONDS = 180.0
RIGHTS = (
    ("knative-lambda.dev", "functions", ("list", "get", "create", "update", "delete")),
    ("knative-lambda.dev", "builds", ("list", "get")),
    ("knative-lambda.dev", "deadletters", ("list", "patch")),
)
STAGES = (
    ("refused", "the source was not taken: `deadletters list -n knative-lambda` has the reason"),
    ("Registry", "look at `registry` in the chart's values: its host, its certificate, and the Secret to push with"),
    ("Store", "look at `storage` in the chart's values: its URL, its bucket, and the Secret with its keys"),
    ("Image", "nodes cannot pull what was pushed: look at the registry's host and the tenant's pull Secrets"),
    ("Quota", "the tenant's quota is used up: `kubectl describe quota`"),
    ("Built", "`logs` and `describe build` have more; the receiver's own log has the rest"),
)
"""A word of the failure → what to do; the first that fits."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    fault: str = ""
    """Why it does not hold; "" where it does."""
    hint: str = ""
    """What to do then."""


def checks(client: Client, tenant: str, *, trial: bool) -> Iterator[Check]:
    """Yield each check once it was made; after one that the others need, none comes where it does not hold."""
    door = client.door
    found = _of_cluster(door.http, tenant) if isinstance(door, Cluster) else _of_service(client, tenant)
    for check in found:
        yield check
        if check.fault and check.what in ("API server", "custom resources", "service"):
            return
    if trial:
        yield _try("registry and store: a function is built, runs and is removed", lambda: _trial(client, tenant))


def _of_service(client: Client, tenant: str) -> Iterator[Check]:
    hint = "start it with `knative-lambda dev`, or name another with --url or a cluster with --context"
    yield _try("service", lambda: client.functions(tenant), hint)


def _of_cluster(http: Http, tenant: str) -> Iterator[Check]:
    yield _try("API server", lambda: http.get("/version"), "look at the kubeconfig, and at --context")
    yield _try("custom resources", lambda: http.get(API), "install the chart: `make deploy`")
    yield _try("Knative Serving", lambda: http.get(SERVING), "install Knative Serving")
    yield _try("Knative Eventing", lambda: http.get(EVENTING), "install Knative Eventing")
    receiver = f"{SERVING}/namespaces/{PRODUCT}/services/receiver"
    yield _try("receiver", lambda: _ready(http, receiver), f"`kubectl describe ksvc receiver -n {PRODUCT}`")
    for namespace, name in ((PRODUCT, "default"), (PRODUCT, "cluster"), (tenant, "default")):
        path = f"{EVENTING}/namespaces/{namespace}/brokers/{name}"
        hint = f"`kubectl describe broker {name} -n {namespace}`; is {namespace} a tenant? `tenant list` has them"
        yield _try(f"Broker {namespace}/{name}", lambda path=path: _ready(http, path), hint)  # type: ignore[misc] # its default is its type
    for group, resource, verbs in RIGHTS:
        hint = f"whoever gives rights in {tenant} can add you to `people` in the chart's values"
        yield _try(
            f"rights: {', '.join(verbs)} {resource} in {tenant}",
            lambda group=group, resource=resource, verbs=verbs: _rights(http, tenant, group, resource, verbs),  # type: ignore[misc] # the same
            hint,
        )


def _ready(http: Http, path: str) -> None:
    ready = Resource(http.get(path)).conditions.get("Ready")
    if ready is None or ready.status != "True":
        raise ClientError(f"it is not ready: {ready.reason}: {ready.message}" if ready else "it has no status yet")


def _rights(http: Http, tenant: str, group: str, resource: str, verbs: tuple[str, ...]) -> None:
    missing = []
    for verb in verbs:
        asked = {"namespace": tenant, "group": group, "resource": resource, "verb": verb}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": asked},
        }
        review = http.send("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body)
        if not review["status"]["allowed"]:
            missing.append(verb)
    if missing:
        raise ClientError(f"you may not {', '.join(missing)} {resource}")


def _trial(client: Client, tenant: str) -> None:
    name = f"doctor-{uuid.uuid4().hex[:8]}"
    sent = client.deploy(tenant, name, "python", {"inline": {"main.py": CODE}})
    try:
        client.wait(tenant, name, sent, seconds=TRIAL_SECONDS)
        if client.invoke(tenant, name, event("doctor", {"asked": name})).event is None:
            raise ClientError("the function runs, and does not answer an event")
    finally:
        client.delete(tenant, name)


def _try(what: str, look: Callable[[], object], hint: str = "") -> Check:
    try:
        look()
    except ClientError as error:
        told = str(error)
        return Check(what, told, hint or error.hint or next((advice for word, advice in STAGES if word in told), ""))
    return Check(what)
