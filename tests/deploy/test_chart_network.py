"""Who reaches whom by the chart's NetworkPolicies, evaluated as a network that enforces them would."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from typing import Any

import pytest
from support.chart import PRODUCT, render

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.jobs import kaniko_job
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.deploy.cluster import Object
from knative_lambda.handler import settings

PUBLIC, METADATA, API_SERVER = "9.9.9.9", "169.254.169.254", "10.96.0.1"


@dataclass(frozen=True)
class Peer:
    """A Pod, or what has an address alone."""

    namespace: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    address: str = "10.244.0.7"


def part(service: str, namespace: str = PRODUCT) -> Peer:
    return Peer(namespace, {"serving.knative.dev/service": service})


RECEIVER, DEADLETTERS = part("receiver"), part("deadletters")
SOURCES = Peer(PRODUCT, {"eventing.knative.dev/source": "apiserver-source-controller"})
OTHER = Peer(PRODUCT, {"knative-lambda.dev/part": "warm-images"})
FUNCTION, NEIGHBOUR, SAME = part("hello", "demo"), part("hello", "acme"), part("other", "demo")
BUILD = Peer("demo-builds", {"app.kubernetes.io/managed-by": "knative-lambda"})
STRAY, NEIGHBOURS_BUILD = Peer("demo-builds"), Peer("acme-builds", BUILD.labels)
ACTIVATOR, BROKER, DNS = Peer("knative-serving"), Peer("knative-eventing"), Peer("kube-system")
GATEWAY = Peer("kourier-system")
SOMEBODY, MONITORING = Peer("default"), Peer("monitoring")
EVERYBODY = [RECEIVER, DEADLETTERS, SOURCES, OTHER, FUNCTION, NEIGHBOUR, SAME, BUILD, STRAY, NEIGHBOURS_BUILD]


def at(address: str) -> Peer:
    return Peer(address=address)


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    wanted = selector.get("matchLabels", {}).items()
    rules = selector.get("matchExpressions", [])
    return wanted <= labels.items() and all(
        rule["key"] in labels and (rule["operator"] == "Exists" or labels[rule["key"]] in rule["values"])
        for rule in rules
    )


def is_meant(rule: Object, peer: Peer, own: str) -> bool:
    """Say whether a rule's peer is this one; a rule without peers means all."""
    if "ipBlock" in rule:
        block, address = rule["ipBlock"], ip_address(peer.address)
        return address in ip_network(block["cidr"]) and not any(
            address in ip_network(net) for net in block.get("except", [])
        )
    if not peer.namespace:
        return False
    place = {"kubernetes.io/metadata.name": peer.namespace}
    near = selects(rule["namespaceSelector"], place) if "namespaceSelector" in rule else peer.namespace == own
    return near and selects(rule.get("podSelector", {}), peer.labels)


def permits(policies: list[Object], pod: Peer, other: Peer, port: int, way: str) -> bool:
    """Say whether policies let a Pod send to (``Egress``), or be reached by (``Ingress``), another one at a port."""
    mine = [
        policy["spec"]
        for policy in policies
        if policy["metadata"]["namespace"] == pod.namespace
        and way in policy["spec"]["policyTypes"]
        and selects(policy["spec"]["podSelector"], pod.labels)
    ]
    side = "to" if way == "Egress" else "from"
    rules = [rule for spec in mine for rule in spec.get(way.lower(), [])]
    return not mine or any(
        any(is_meant(peer, other, pod.namespace) for peer in rule[side])
        and port in {each["port"] for each in rule.get("ports", [{"port": port}])}
        for rule in rules
    )


def reaches(source: Peer, target: Peer, port: int, **values: Any) -> bool:
    """Say whether a connection is let out here and in there."""
    rendered = render(**{"tenants": ["demo", "acme"]} | values)
    policies = [item for item in rendered if item["kind"] == "NetworkPolicy"]
    out = not source.namespace or permits(policies, source, target, port, "Egress")
    return out and (not target.namespace or permits(policies, target, source, port, "Ingress"))


def needed() -> Iterator[tuple[Peer, Peer, int]]:
    for pod in (RECEIVER, DEADLETTERS, SOURCES, FUNCTION, BUILD):
        yield pod, DNS, 53
    for pod in (RECEIVER, DEADLETTERS, SOURCES):
        yield pod, at(API_SERVER), 443
        yield pod, at("10.99.0.1"), 6443
    for pod in (RECEIVER, DEADLETTERS, FUNCTION):
        yield ACTIVATOR, pod, 8012
    yield RECEIVER, BROKER, 8080
    yield SOURCES, BROKER, 8080
    yield FUNCTION, BROKER, 8080
    yield FUNCTION, GATEWAY, 8081
    yield FUNCTION, at(PUBLIC), 5432
    yield RECEIVER, at("10.99.0.1"), 9000
    yield RECEIVER, at("10.99.0.1"), 5000
    for port in (80, 443, 5000, 9000):
        yield BUILD, at(PUBLIC), port


def refused() -> Iterator[tuple[Peer, Peer, int]]:
    for pod in EVERYBODY:
        yield SOMEBODY, pod, 8080  # a Pod of somebody else's comes by a Broker, or not at all
        yield pod, SOMEBODY, 8080
        yield pod, at(METADATA), 80
        yield FUNCTION, pod, 8080
        yield BUILD, pod, 443
        yield pod, BUILD, 443
    for address in ("10.96.0.1", "10.99.0.1", "172.16.0.1", "192.168.0.1", "100.64.0.1", METADATA):
        yield FUNCTION, at(address), 443
        yield BUILD, at(address), 443
    for pod in (OTHER, STRAY):
        yield pod, DNS, 53
        yield pod, at(PUBLIC), 443
        yield ACTIVATOR, pod, 8012
    yield ACTIVATOR, BUILD, 8012
    yield BUILD, BROKER, 8080
    yield BUILD, at(PUBLIC), 22
    yield DEADLETTERS, BROKER, 8080
    yield DEADLETTERS, at(PUBLIC), 9000
    yield SOURCES, at(PUBLIC), 9000
    yield ACTIVATOR, SOURCES, 8080


@pytest.mark.parametrize(("source", "target", "port"), list(needed()))
def test_what_a_part_needs_is_let_through(source: Peer, target: Peer, port: int) -> None:
    assert reaches(source, target, port)


@pytest.mark.parametrize(("source", "target", "port"), list(refused()))
def test_nothing_else_is_and_would_be_where_policies_are_switched_off(source: Peer, target: Peer, port: int) -> None:
    assert not reaches(source, target, port)
    assert reaches(source, target, port, networkPolicies={"enabled": False})


def test_a_private_store_and_registry_or_database_is_reached_where_the_values_name_it() -> None:
    inside = {"networkPolicies": {"inside": {"builds": ["10.99.0.0/24"], "functions": ["10.98.0.5/32"]}}}
    assert reaches(BUILD, at("10.99.0.1"), 5000, **inside)
    assert not reaches(BUILD, at("10.99.0.1"), 6443, **inside)
    assert not reaches(BUILD, at("10.98.0.5"), 443, **inside)
    assert reaches(FUNCTION, at("10.98.0.5"), 5432, **inside)
    assert not reaches(FUNCTION, at("10.99.0.1"), 5000, **inside)


def test_dns_is_asked_where_its_pods_listen() -> None:
    """A policy sees the Pod behind a Service, whose port may be another."""
    there = {"networkPolicies": {"ports": {"dns": [5353]}}}
    assert reaches(FUNCTION, DNS, 5353, **there)
    assert not reaches(FUNCTION, DNS, 53, **there)
    assert not reaches(FUNCTION, DNS, 5353)


def test_the_metrics_are_read_from_the_namespaces_that_are_named_and_their_port_is_not_declared() -> None:
    """A Knative Service has one port, and its proxy has others in the same pod."""
    values: dict[str, Any] = {"metrics": {"port": 9999, "namespaces": ["monitoring"]}}
    for pod, name in ((RECEIVER, "receiver"), (DEADLETTERS, "deadletters")):
        assert reaches(MONITORING, pod, 9999, **values)
        assert not reaches(MONITORING, pod, 8080, **values)
        assert not reaches(MONITORING, pod, 9464)
        [service] = [each for each in render(**values) if (each["kind"], each["metadata"]["name"]) == ("Service", name)]
        [container] = service["spec"]["template"]["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container["env"]}
        assert settings.read(given).metrics_port == 9999
        assert "ports" not in container


def test_prometheus_operator_is_told_where_to_read_and_only_where_that_is_wanted() -> None:
    values: dict[str, Any] = {"port": 9999, "podMonitor": {"enabled": True, "labels": {"release": "prometheus"}}}
    [monitor] = [each for each in render(metrics=values) if each["kind"] == "PodMonitor"]
    assert monitor["metadata"]["labels"].items() >= {"release": "prometheus"}.items()
    [endpoint] = monitor["spec"]["podMetricsEndpoints"]
    assert endpoint["port"] == "user-port", "the one that Knative declares, in every pod of a Service"
    assert endpoint["relabelings"][0]["replacement"] == "$1:9999"
    for without in ({}, {"metrics": {**values, "port": 0}}):
        assert not [each for each in render(**without) if each["kind"] == "PodMonitor"]


def test_the_policies_select_every_pod_and_what_the_product_makes() -> None:
    """Knative labels the Pods of a Service with its name; a build's have the labels of its Job."""
    attempt = Attempt(
        "demo", "hello", "hello-1", "uid-1", 1, "python", "contexts/demo/hello/1.tar.gz", "r.test/hello:1"
    )
    made = kaniko_job.job(attempt, "http://store.test/", KanikoSettings("r.test/kaniko", "r.test/product"))
    assert made["metadata"]["namespace"] == BUILD.namespace
    assert BUILD.labels.items() <= made["spec"]["template"]["metadata"]["labels"].items()
    rendered = render(tenants=["demo"])
    covered = {
        item["metadata"]["namespace"]
        for item in rendered
        if item["kind"] == "NetworkPolicy" and item["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    }
    assert covered == {PRODUCT, "demo", "demo-builds"}
