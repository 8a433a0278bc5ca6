"""Knative's own authentication, turned on: who sends to a Broker, and who brings what to the product, says who it is.

The feature and the product's mode `oidc` are turned on for these stories, and off after them. What is refused here was
taken before, when nobody asked: see `Before`.
"""

import json
import signal
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

import pytest
from support.callers import PRODUCT, Answer, event, forget, inside, introduce, kubectl, token
from support.live import TENANT, Live, within

from knative_lambda.deploy.cluster import DEAD_LETTER, TRIGGER, Object
from knative_lambda.schemas import types

RELEASE = "knative-lambda"
CHART = "deploy/charts/knative-lambda"
NAME = "oidc"
SOURCES = ("builds", "functions", "letters")
SOURCE = {"inline": {"main.py": "def handle(event, context):\n    return {'n': 1}\n"}}
ON = {
    "receiver.access.events": ["oidc"],
    "eventing.senders": [f"{TENANT}/e2e-alice"],
    "eventing.sweep": "* * * * *",  # nobody waits five minutes for it
}
OURS = "brokers,triggers,apiserversources,pingsources,eventpolicies,services.serving.knative.dev"


def audience(broker: str) -> str:
    """Return whom a token for a Broker, `<namespace>/<name>`, must be made for."""
    return f"eventing.knative.dev/broker/{broker}"


def feature(said: str) -> None:
    patch = json.dumps({"data": {"authentication-oidc": said}})
    done = kubectl("patch", "configmap", "config-features", "-n", "knative-eventing", "--type=merge", "-p", patch)
    assert done.returncode == 0, done.stderr


def helm(*arguments: str) -> str:
    """Return what Helm says against something, "" where it is done."""
    done = subprocess.run(["helm", *arguments, "-n", PRODUCT], capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def objects(*namespaces: str) -> list[Object]:
    """Return what Knative looks after of the product's, in these namespaces."""
    label = f"app.kubernetes.io/instance={RELEASE}"
    said = [kubectl("get", OURS, "-n", one, "-l", label, "-o", "json").stdout for one in namespaces]
    return [item for each in said if each for item in json.loads(each)["items"]]


def unready(*, asked: bool) -> list[str]:
    """Return which of the product's objects are not as they should be, with or without identities."""
    found = []
    for item in objects(PRODUCT, TENANT):
        status = item.get("status", {})
        ready = next((each["status"] for each in status.get("conditions", []) if each["type"] == "Ready"), "")
        observed = status.get("observedGeneration") == item["metadata"]["generation"]
        said = {
            "Broker": "audience" in status.get("address", {}),
            "Trigger": "auth" in status,
            "ApiServerSource": "auth" in status,
            "PingSource": "auth" in status,
        }.get(item["kind"], asked)
        if not (ready == "True" and (observed or item["kind"] == "EventPolicy") and said == asked):
            found.append(f"{item['kind']}/{item['metadata']['name']}")
    return found


def told(live: Live, broker: str, sent: bytes, headers: dict[str, str]) -> int:
    """Return a Broker's answer to an event in structured mode."""
    whole = {"content-type": "application/cloudevents+json", **headers}
    return live.http.request("POST", f"{live.ingress}/{broker}", body=sent, headers=whole).status


def forged() -> bytes:
    return event(types.FUNCTION_DELETE, TENANT, "no-such-function")


def straight(live: Live, headers: dict[str, str]) -> Answer:
    """Return the receiver's answer to an event that no Broker brings."""
    return inside(live, "receiver").send(forged(), headers)


def letter(live: Live, headers: dict[str, str]) -> Answer:
    """Return the dead-letter service's answer to a letter that no Broker brings."""
    whole = {"content-type": "application/cloudevents+json", **headers}
    return inside(live, "deadletters").ask("POST", f"/{TENANT}", whole, forged())


def remove_letters(live: Live) -> None:
    for namespace in (TENANT, PRODUCT):
        for found in live.cluster.list(DEAD_LETTER, namespace):
            if found["spec"]["event"].get("source") == "/e2e":
                live.cluster.delete(DEAD_LETTER, namespace, found["metadata"]["name"])


def leave_nothing() -> None:
    """Take away what Knative leaves, or nobody could turn identities on a second time.

    Policies, without whose removal channels take no subscriber; the sources' rights; and tokens of accounts that are
    gone, which its parts remember for an hour, though the accounts that come in their place have the same names.
    """
    kubectl("delete", "eventpolicies", "-A", "-l", "eventing.knative.dev/broker-kind=Broker")
    for kind in ("role", "rolebinding"):
        kubectl("delete", kind, "-n", PRODUCT, *(f"{source}-create-oidc-token" for source in SOURCES))
    parts = ["-n", "knative-eventing", "deployment/mt-broker-filter", "deployment/imc-dispatcher"]
    kubectl("rollout", "restart", *parts)
    for part in parts[2:]:
        done = kubectl("rollout", "status", *parts[:2], part, "--timeout=240s")
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Before:
    """What was answered when nobody was asked."""

    broker: int
    receiver: int
    letter: int


def stopped(_: int, __: FrameType | None) -> None:
    """End as after the last story, so that things are put back."""
    sys.exit(1)


@pytest.fixture(scope="module", autouse=True)
def before(live: Live) -> Iterator[Before]:
    """Turn identities on, and off again."""
    introduce(live)
    found = Before(told(live, f"{PRODUCT}/default", forged(), {}), straight(live, {}).status, letter(live, {}).status)
    last = signal.signal(signal.SIGTERM, stopped)
    revision = json.loads(
        subprocess.run(
            ["helm", "history", RELEASE, "-n", PRODUCT, "--max=1", "-o", "json"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    )[0]["revision"]
    try:
        feature("enabled")
        values = [each for key, value in ON.items() for each in ("--set-json", f"{key}={json.dumps(value)}")]
        # refused until Knative's webhook has heard of the feature
        within(60, "it is installed", lambda: not helm("upgrade", RELEASE, CHART, "--reuse-values", *values), every=2)
        within(120, f"all of it has an identity: {unready(asked=True)}", lambda: not unready(asked=True), every=2)
        yield found
    finally:
        helm("rollback", RELEASE, str(revision))
        feature("disabled")
        within(120, "nobody is asked any more", lambda: not unready(asked=False), every=2)
        leave_nothing()
        live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": NAME})
        remove_letters(live)
        forget(live)
        signal.signal(signal.SIGTERM, last)


@pytest.fixture
def reports(live: Live) -> Iterator[Any]:
    """Yield what looks for events of a type that the Broker `cluster` has brought."""
    name = f"e2e-{uuid.uuid4().hex[:8]}"
    spec = {"broker": "cluster", "subscriber": {"uri": live.collector.url}}
    body = {"apiVersion": TRIGGER.api_version, "kind": TRIGGER.kind, "metadata": {"name": name, "namespace": PRODUCT}}
    live.cluster.create(TRIGGER, {**body, "spec": spec})
    within(60, "it is ready", lambda: live.is_ready(TRIGGER, PRODUCT, name))
    yield live.told
    live.cluster.delete(TRIGGER, PRODUCT, name)


def test_a_named_account_is_heard_through_the_broker_and_all_that_follows_is(live: Live, reports: Any) -> None:
    """Reports come to the Broker `cluster` and on to the receiver, words of it to the tenant, replies to its Broker."""
    alice = token("e2e-alice", audience(f"{PRODUCT}/default"))
    wanted = {"runtime": "python", "source": SOURCE, "triggers": [{"type": f"e2e.{NAME}"}]}
    assert told(live, f"{PRODUCT}/default", event(types.BUILD_START, TENANT, NAME, **wanted), alice) == 202
    live.ready(NAME, seconds=120)
    within(30, "its tenant hears", lambda: [each for each in live.told(types.FUNCTION_READY) if NAME in str(each)])
    assert reports(types.REFERENCE_UPDATED)
    within(90, "the clock ticks", lambda: reports(types.PING), every=1)
    mine = token("e2e-alice", audience(f"{TENANT}/default"))
    call = json.dumps({**json.loads(event(f"e2e.{NAME}", TENANT, NAME)), "id": "call"}).encode()
    assert told(live, f"{TENANT}/default", call, mine) == 202
    within(60, "it answers", lambda: live.collector.replies(NAME))
    codes = [found["spec"].get("code") for found in live.cluster.list(DEAD_LETTER, PRODUCT)]
    assert not {401, 403} & set(codes)


def test_a_broker_takes_nothing_of_whom_it_does_not_know_or_is_not_told_of(live: Live, before: Before) -> None:
    place, said = f"{PRODUCT}/default", audience(f"{PRODUCT}/default")
    assert before.broker == 202
    assert told(live, place, forged(), {}) == 401
    assert told(live, place, forged(), {"authorization": "Bearer a.b.c"}) == 401
    assert told(live, place, forged(), token("e2e-alice", audience(f"{TENANT}/default"))) == 401
    assert told(live, place, forged(), token("e2e-carol", said)) == 403
    assert told(live, place, forged(), token("e2e-alice", said)) == 202


def test_nobody_tells_the_product_what_its_own_sources_do_nor_a_tenant_what_others_do(live: Live) -> None:
    cluster, tenant = f"{PRODUCT}/cluster", f"{TENANT}/default"
    tick = json.dumps({**json.loads(event(types.PING, TENANT, NAME)), "data": {}}).encode()
    assert told(live, cluster, tick, token("e2e-alice", audience(cluster))) == 403
    assert told(live, tenant, forged(), token("e2e-bob", audience(tenant))) == 403
    assert told(live, tenant, forged(), token("e2e-carol", audience(tenant))) == 202


def test_who_goes_round_the_broker_is_not_heard(live: Live, before: Before) -> None:
    assert before.receiver == 202
    for headers in ({}, token("e2e-alice"), token("e2e-alice", audience(f"{PRODUCT}/default"))):
        assert straight(live, headers).status == 401
    assert straight(live, made(PRODUCT)).status == 202


def test_dead_letters_are_taken_from_brokers_alone(live: Live, before: Before) -> None:
    """What nobody can handle ends as one, by a Broker that says who it is; a stranger's does not."""
    assert before.letter == 202
    for headers in ({}, token("e2e-bob"), made(PRODUCT)):
        assert letter(live, headers).status == 401
    refused = event(types.BUILD_START, TENANT, NAME, runtime="perl")
    identifier = json.loads(refused)["id"]
    alice = token("e2e-alice", audience(f"{PRODUCT}/default"))
    assert told(live, f"{PRODUCT}/default", refused, alice) == 202

    def kept() -> list[Object]:
        found = live.cluster.list(DEAD_LETTER, PRODUCT)
        return [each for each in found if each["spec"]["event"].get("id") == identifier]

    within(90, "it is kept", kept, every=1)


def made(namespace: str) -> dict[str, str]:
    """Return a token for the product such as Knative makes for its Triggers there."""
    done = kubectl("create", "token", "default", "-n", namespace, f"--audience={PRODUCT}")
    assert done.returncode == 0, done.stderr
    return {"authorization": f"Bearer {done.stdout.strip()}"}
