"""Who may come in, as the chart has it: what each mode brings with it, and what none of them does."""

from typing import Any

import pytest
from support.chart import PRODUCT, render

from knative_lambda.deploy.cluster import Object
from knative_lambda.handler import settings
from knative_lambda.handler.settings import Settings


def of(objects: list[Object], kind: str) -> dict[tuple[str, str], Object]:
    return {
        (item["metadata"].get("namespace", ""), item["metadata"]["name"]): item
        for item in objects
        if item["kind"] == kind
    }


def pod(objects: list[Object]) -> Any:
    return of(objects, "Service")[PRODUCT, "receiver"]["spec"]["template"]["spec"]


def given(objects: list[Object]) -> Settings:
    return settings.read({entry["name"]: entry["value"] for entry in pod(objects)["containers"][0]["env"]})


def volume(objects: list[Object], name: str) -> Any:
    """Return a volume of the receiver's and where it lies, None where there is none."""
    found = [each for each in pod(objects)["volumes"] if each["name"] == name]
    places = [each["mountPath"] for each in pod(objects)["containers"][0]["volumeMounts"] if each["name"] == name]
    assert len(found) == len(places)
    return (found[0], places[0]) if found else None


def may_create_events(objects: list[Object]) -> bool:
    rules = of(objects, "Role")[PRODUCT, "knative-lambda-receiver"]["rules"]
    return {"apiGroups": [""], "resources": ["events"], "verbs": ["create"]} in rules


def test_by_default_it_is_as_inside_a_mesh_and_the_records_are_not_served() -> None:
    objects = render()
    assert given(objects).access_events == ("none",)
    assert not given(objects).api
    assert not of(objects, "ClusterRoleBinding")
    assert not of(objects, "EventPolicy")
    assert not may_create_events(objects)
    assert volume(objects, "keys") is volume(objects, "brokers") is None
    assert all("audience" not in each["spec"]["subscriber"] for each in of(objects, "Trigger").values())


def test_the_records_are_served_to_who_has_a_token() -> None:
    read = given(render(receiver={"api": True}))
    assert (read.api, read.access_api) == (True, ("token",))


@pytest.mark.parametrize(
    ("receiver", "asks"),
    [
        ({}, False),
        ({"api": True}, True),
        ({"api": True, "access": {"api": ["none"]}}, False),
        ({"access": {"events": ["oidc"]}}, True),
        ({"access": {"events": ["oidc", "token"]}}, True),
    ],
)
def test_the_cluster_is_asked_about_others_only_where_a_mode_does(receiver: dict[str, Any], asks: bool) -> None:  # noqa: FBT001 - a row of the table
    bindings = list(of(render(receiver=receiver), "ClusterRoleBinding").values())
    assert len(bindings) == asks
    for binding in bindings:
        assert binding["roleRef"]["name"] == "system:auth-delegator"
        who = ["receiver", "deadletters"] if "oidc" in receiver.get("access", {}).get("events", ()) else ["receiver"]
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": each, "namespace": PRODUCT} for each in who]


def test_keys_are_files_of_a_secret_that_is_only_named() -> None:
    objects = render(receiver={"access": {"events": ["oidc", "hmac"], "keysSecret": "senders"}})
    found, place = volume(objects, "keys")
    assert found["secret"] == {"secretName": "senders"}
    assert given(objects).access_keys == place
    assert may_create_events(objects)


def test_who_may_send_to_the_products_brokers_are_few_and_named() -> None:
    access = {"events": ["oidc"]}
    objects = render(tenants=["demo"], receiver={"access": access}, eventing={"senders": ["demo/ci", "ops/ci"]})
    policies = of(objects, "EventPolicy")
    assert policies.keys() == {(PRODUCT, "default"), (PRODUCT, "cluster"), ("demo", "default")}
    for (_, name), policy in policies.items():
        (to,) = policy["spec"]["to"]
        assert to == {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": name}}
    receiver = {"sub": f"system:serviceaccount:{PRODUCT}:receiver"}
    named = {place: policy["spec"]["from"] for place, policy in policies.items()}
    senders = [{"sub": "system:serviceaccount:demo:ci"}, {"sub": "system:serviceaccount:ops:ci"}]
    assert named[PRODUCT, "default"] == [receiver, *senders]
    assert named["demo", "default"] == [receiver, {"sub": "system:serviceaccount:demo:*"}]
    sources = {*of(objects, "ApiServerSource"), *of(objects, "PingSource")}
    told = named[PRODUCT, "cluster"]
    assert {(each["ref"]["namespace"], each["ref"]["name"]) for each in told if "ref" in each} == sources
    assert [each for each in told if "sub" in each] == [receiver]


def test_without_tenants_no_source_is_named_that_is_not_there() -> None:
    objects = render(tenants=[], receiver={"access": {"events": ["oidc"]}})
    told = of(objects, "EventPolicy")[PRODUCT, "cluster"]["spec"]["from"]
    assert [each["ref"]["name"] for each in told if "ref" in each] == ["letters", "sweep"]


def test_what_brokers_deliver_bears_a_token_for_the_receiver_and_the_other_way_round() -> None:
    """One for each Broker, so that none of them could use it at another."""
    objects = render(tenants=["demo"], receiver={"access": {"events": ["oidc"], "audience": "here"}})
    assert {each["spec"]["subscriber"]["audience"] for each in of(objects, "Trigger").values()} == {"here"}
    assert given(objects).access_audience == "here"
    found, place = volume(objects, "brokers")
    assert given(objects).broker_tokens == place
    tokens = {
        each["serviceAccountToken"]["path"]: each["serviceAccountToken"] for each in found["projected"]["sources"]
    }
    brokers = [(namespace, name) for namespace, name in of(objects, "Broker")]
    assert tokens.keys() == {f"{namespace}.{name}" for namespace, name in brokers}
    for namespace, name in brokers:
        assert tokens[f"{namespace}.{name}"]["audience"] == f"eventing.knative.dev/broker/{namespace}/{name}"


def test_dead_letters_are_asked_for_the_brokers_token_where_events_are() -> None:
    plain, asked = (render(receiver={"access": {"events": [mode]}}) for mode in ("none", "oidc"))

    def env(objects: list[Object]) -> Any:
        service = of(objects, "Service")[PRODUCT, "deadletters"]
        return {e["name"]: e["value"] for e in service["spec"]["template"]["spec"]["containers"][0]["env"]}

    def audiences(objects: list[Object]) -> set[str]:
        brokers = of(objects, "Broker").values()
        return {each["spec"]["delivery"]["deadLetterSink"].get("audience", "") for each in brokers}

    assert (settings.read(env(plain)).access_events, audiences(plain)) == (("none",), {""})
    assert (settings.read(env(asked)).access_events, audiences(asked)) == (("oidc",), {"knative-lambda"})
