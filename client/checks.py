"""What `doctor` looks at: each check says whether it holds, and what to do where it does not.

Whether the registry can be pushed to and pulled from, and whether the store keeps what it is given, no reader can see:
a small function is built, run and removed, which needs all three.
"""

import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

from knative_lambda.client.client import Client
from knative_lambda.client.cluster import API, EVENTING, SERVING, Cluster
from knative_lambda.client.door import PRODUCT, Sent, event
from knative_lambda.client.errors import ClientError, Forbidden, NotServed, TimedOut
from knative_lambda.client.http import Http
from knative_lambda.client.models import STEPS, Resource
from knative_lambda.client.service import Service

CODE = "def handle(event, context):\n    return event.data\n"
TRIAL_SECONDS = 180.0
UNCALLED = "it is ready, and was not called from here"
RIGHTS = (
    ("knative-lambda.dev", "functions", ("list", "get", "create", "update", "delete")),
    ("knative-lambda.dev", "builds", ("list", "get")),
    ("knative-lambda.dev", "deadletters", ("list", "patch")),
)
STAGES = (
    (
        r"Registry|^registry:|BaseMissing|ImageMissing",
        "look at `registry` in the chart's values: its host, its certificate, and the Secret to push with",
    ),
    (
        r"^store:|: Context",
        "look at `storage` in the chart's values: its URL, its bucket, and the Secret with its keys",
    ),
    (
        r"Image|fetch image",
        "nodes cannot pull what was pushed: look at the registry's host and the tenant's pull Secrets",
    ),
    (r"[Qq]uota", "the tenant's quota is used up: `kubectl describe quota`"),
    (r"was refused:", f"`deadletters -n {PRODUCT} list` has the event, and the reason"),
    (
        r"has noticed it",
        "the receiver did not come, or its store is away: its log, and its /health/dependencies, say which",
    ),
    (r"does not answer an event", "Knative's activator passes events on: look at its log in knative-serving"),
    (r"Built is", f"the receiver's log has more: `kubectl logs -l serving.knative.dev/service=receiver -n {PRODUCT}`"),
)
"""What a fault of the trial looks like → what to do; the first that fits."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at."""

    what: str
    fault: str = ""
    """Why it does not hold; "" where it does."""
    hint: str = ""
    """What to do then."""
    unseen: str = ""
    """What could not be looked at, which is no fault; "" where all of it was."""


class _Unseen(ClientError):
    """It holds as far as can be seen from here; the text says what could not be."""


def checks(client: Client, tenant: str, *, trial: bool, seconds: float = TRIAL_SECONDS) -> Iterator[Check]:
    """Yield each check once it was made, without those that need what does not hold; a trial needs all the others.

    `seconds` is how long a function is waited for.
    """
    door, holds = client.door, True
    for check in _of_cluster(door.http, tenant) if isinstance(door, Cluster) else _of_service(client, tenant):
        yield check
        holds &= not check.fault
    if trial and holds:
        yield from _trial(client, tenant, seconds)


def _of_service(client: Client, tenant: str) -> Iterator[Check]:
    """Yield whether ``/v1`` is served, and what the service needs, which it tells also where that is not."""
    hint = f"does it serve {tenant}? -n names another tenant, --url another service"
    yield (served := _try("service", lambda: client.functions(tenant), hint))
    if not isinstance(door := client.door, Service):
        return
    states = dict[str, str]()
    asked = _try("what the service needs", lambda: states.update(door.dependencies()), hint)
    if asked.fault not in ("", served.fault):
        yield asked
    for name, state in states.items():
        yield _try(f"{name} of the service", partial(_closed, name, state))


def _of_cluster(http: Http, tenant: str) -> Iterator[Check]:
    for what, path, hint in (
        ("API server", "/version", "look at the kubeconfig, and at --context"),
        ("custom resources", API, "install the chart: `make deploy`"),
    ):
        yield (found := _try(what, partial(http.get, path), hint))
        if found.fault:
            return
    yield (serving := _try("Knative Serving", lambda: http.get(SERVING), "install Knative Serving"))
    yield (eventing := _try("Knative Eventing", lambda: http.get(EVENTING), "install Knative Eventing"))
    if not serving.fault:
        receiver = f"{SERVING}/namespaces/{PRODUCT}/services/receiver"
        hint = f"`kubectl describe ksvc receiver -n {PRODUCT}`"
        yield _try("receiver", partial(_ready, http, receiver), hint, hides=True)
    for namespace, name in () if eventing.fault else ((PRODUCT, "default"), (PRODUCT, "cluster"), (tenant, "default")):
        path = f"{EVENTING}/namespaces/{namespace}/brokers/{name}"
        hint = f"`kubectl describe broker {name} -n {namespace}`; is {namespace} a tenant? `tenant list` has them"
        yield _try(f"Broker {namespace}/{name}", partial(_ready, http, path), hint, hides=namespace == PRODUCT)
    for group, resource, verbs in RIGHTS:
        hint = f"whoever gives rights in {tenant} can add you to `people` in the chart's values"
        what = f"rights: {', '.join(verbs)} {resource} in {tenant}"
        yield _try(what, partial(_rights, http, tenant, group, resource, verbs), hint)


def _closed(name: str, state: str) -> None:
    if state != "closed":
        raise ClientError(f"{name}: it does not answer, and is asked again in a moment", "the receiver's log has why")


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


def _trial(client: Client, tenant: str, seconds: float) -> Iterator[Check]:
    """Try a function, and remove it whatever became of it; that it stays is told beside what was wrong with it."""
    name, what = f"doctor-{uuid.uuid4().hex[:8]}", "registry and store: a function is built and answers"
    sent: list[Sent] = []
    taken = _try(what, lambda: sent.append(client.deploy(tenant, name, "python", {"inline": {"main.py": CODE}})))
    if not sent:
        yield taken
        return
    try:
        tried = _try(what, lambda: _answers(client, tenant, name, sent[0], seconds))
    finally:
        hint = f"try it again: `delete {name} -n {tenant}`"
        removed = _try(f"{name} is removed", lambda: client.delete(tenant, name), hint)
    yield tried
    if removed.fault:
        yield removed


def _answers(client: Client, tenant: str, name: str, sent: Sent, seconds: float) -> None:
    try:
        client.wait(tenant, name, sent, seconds=seconds)
    except TimedOut as error:
        found = client.function(tenant, name)
        step = next((found.step(kind) for kind in STEPS if found.step(kind).status != "True"), None)
        known = f"{step.type} is {step.status}: {step.reason}: {step.message}" if found.status and step else ""
        raise TimedOut(f"after {seconds:.0f} s: {known or 'nobody has noticed it'}".rstrip(": ")) from error
    try:
        reply = client.invoke(tenant, name, event("doctor", {"asked": name}))
    except NotServed as error:  # a receiver passes no calls on
        raise _Unseen(UNCALLED) from error
    if reply.status == HTTPStatus.FORBIDDEN:  # to call it by the API server is a right of few
        raise _Unseen(UNCALLED)
    if reply.event is None:
        raise ClientError(f"the function runs, and does not answer an event: status {reply.status}")


def _try(what: str, look: Callable[[], object], hint: str = "", *, hides: bool = False) -> Check:
    """Make a check; one without a `hint` is the trial's, one that `hides` is of what is the product's own."""
    try:
        look()
    except _Unseen as unseen:
        return Check(what, unseen=str(unseen))
    except ClientError as error:
        if hides and isinstance(error, Forbidden):
            return Check(what, unseen="not yours to see")
        told = str(error)
        stage = next((advice for shape, advice in STAGES if not hint and re.search(shape, told)), "")
        own = "" if "`doctor`" in error.hint else error.hint  # who reads this has asked it
        return Check(what, told, stage or own or hint)
    return Check(what)
