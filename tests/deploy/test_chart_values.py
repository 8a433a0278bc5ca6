"""What the chart refuses, and how it says so."""

import json
from typing import Any

import pytest
import yaml
from support.chart import CHART, REQUIRED, refusal


@pytest.mark.parametrize(
    ("values", "where"),
    [
        ({"tenants": "demo"}, "/tenants"),
        ({"tenants": [1]}, "/tenants/0"),
        ({"tenants": ["demo", "demo"]}, "/tenants"),
        ({"keepTenants": "yes"}, "/keepTenants"),
        ({"tenant": ["demo"]}, "tenant"),
        ({"receiver": {"threads": "10"}}, "/receiver/threads"),
        ({"receiver": {"threads": 0}}, "/receiver/threads"),
        ({"receiver": {"replicas": 2}}, "replicas"),
        ({"receiver": {"resources": {"limits": {"memory": 512}}}}, "/receiver/resources/limits/memory"),
        ({"store": {"url": "ftp://bucket"}}, "/store/url"),
        ({"store": {"endpoint": "http://key:secret@store.test"}}, "/store/endpoint"),  # pragma: allowlist secret
        ({"store": {"secretKey": "hush"}}, "secretKey"),
        ({"builds": {"kanikoImage": ""}}, "/builds/kanikoImage"),
        ({"eventing": {"delivery": {"backoffDelay": "1s"}}}, "/eventing/delivery/backoffDelay"),
        ({"eventing": {"sweep": "often"}}, "/eventing/sweep"),
        ({"receiver": {"drainSeconds": 26}}, "/receiver/drainSeconds"),
        ({"receiver": {"access": {"events": []}}}, "/receiver/access/events"),
        ({"receiver": {"access": {"events": ["password"]}}}, "/receiver/access/events/0"),
        ({"receiver": {"access": {"api": ["hmac"]}}}, "/receiver/access/api/0"),
        ({"receiver": {"access": {"audience": ""}}}, "/receiver/access/audience"),
        ({"eventing": {"senders": ["alice"]}}, "/eventing/senders/0"),
        ({"metrics": {"port": 9090}}, "/metrics/port"),
        ({"receiver": {"rates": {"tenant": {"perSecond": 0, "burst": 1}}}}, "/receiver/rates/tenant/perSecond"),
        # pragma: allowlist nextline secret
        ({"audit": {"sink": "https://me:hush@host/"}}, "/audit/sink"),
        ({"notifications": {"webhooks": {"CI": {"url": "https://ci.test/"}}}}, "invalid propertyName 'CI'"),
        (
            {"notifications": {"webhooks": {"ci": {"url": "https://me:hush@ci.test/"}}}},  # pragma: allowlist secret
            "/notifications/webhooks/ci/url",
        ),
        ({"notifications": {"webhooks": {"ci": {}}}}, "/notifications/webhooks/ci"),
        (
            {"notifications": {"webhooks": {"ci": {"url": "https://ci.test/"}}}},
            "notifications.keysSecret: name the Secret",
        ),
        ({"supply": {"verify": False}}, "/supply/verify"),
        ({"supply": {"sign": True}}, "supply.keysSecret: name the Secret"),
        ({"supply": {"verify": "own"}}, "supply.keysSecret: name the Secret"),
        ({"receiver": {"page": True}}, "receiver.page: it shows what receiver.api serves"),
        ({"networkPolicies": {"enabled": 1}}, "/networkPolicies/enabled"),
    ],
)
def test_a_value_of_the_wrong_kind_or_name_is_refused_by_where_it_is(values: dict[str, Any], where: str) -> None:
    assert where in refusal(**(REQUIRED | values))


@pytest.mark.parametrize(
    ("tenants", "why"),
    [
        (["knative-lambda"], "the product's own namespace"),
        (["default"], "a namespace of the system"),
        (["kube-system"], "a namespace of the system"),
        (["knative-serving"], "a namespace of the system"),
        (["istio-system"], "a namespace of the system"),
        (["a" * 57], "56 at most"),
        (["Demo"], "is no name for a namespace"),
        (["demo", "demo-builds"], "can't be a tenant too"),
    ],
)
def test_a_tenant_that_would_take_somebody_elses_namespace_is_refused(tenants: list[str], why: str) -> None:
    assert why in refusal(**REQUIRED, tenants=tenants)


def test_a_product_in_the_builds_namespace_of_a_tenant_is_refused() -> None:
    assert "the product's own namespace" in refusal("demo-builds", **REQUIRED, tenants=["demo"])


def test_people_are_a_tenants() -> None:
    assert '"acme" is not among the tenants' in refusal(
        **REQUIRED, tenants=["demo"], people={"acme": {"users": ["jane"]}}
    )


@pytest.mark.parametrize(
    ("access", "why"),
    [
        ({"events": ["none", "token"]}, "none stands alone"),
        ({"api": ["token", "none"]}, "none stands alone"),
        ({"events": ["token"]}, "none or oidc must be among them"),
        ({"events": ["oidc", "hmac"]}, "receiver.access.keysSecret"),
    ],
)
def test_ways_in_that_would_keep_out_too_many_or_too_few_are_refused(access: dict[str, Any], why: str) -> None:
    assert why in refusal(**REQUIRED, receiver={"access": access})


def test_senders_are_named_only_where_they_are_asked_for() -> None:
    assert "eventing.senders" in refusal(**REQUIRED, eventing={"senders": ["acme/ci"]})


def test_the_older_families_tenant_must_be_one() -> None:
    assert "is not among the tenants" in refusal(**REQUIRED, tenants=["demo"], receiver={"legacyTenant": "acme"})


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"image": ""}, "image:"),
        ({"registry": {}}, "registry.prefix:"),
        ({"runtimes": {"node": "r.test/node"}}, "runtimes.python:"),
        ({"runtimes": {"python": "r.test/python"}}, "runtimes.node:"),
    ],
)
def test_what_has_no_default_is_asked_for_by_name(values: dict[str, Any], named: str) -> None:
    """The receiver does not start without them, and would say so only in its log."""
    assert named in refusal(**(REQUIRED | values))


def test_the_schema_knows_every_value_and_no_other() -> None:
    """Every object that has fields of its own refuses others, so that a misspelt value is told."""
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())

    def compare(value: Any, described: Any, where: str) -> None:
        if "$ref" in described:
            described = schema["definitions"][described["$ref"].rpartition("/")[2]]
        if "properties" not in described:
            return
        assert described["additionalProperties"] is False, where
        for name, inner in value.items():
            assert name in described["properties"], f"{where}.{name}"
            compare(inner, described["properties"][name], f"{where}.{name}")

    compare(values, schema, "")
    assert set(schema["properties"]) - {"global"} == set(values)
