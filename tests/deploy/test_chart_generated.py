"""The parts of the chart that are written from the schemas."""

import contextlib
from typing import Any

import pytest

from knative_lambda.deploy import crds
from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.schemas.catalogue import resource_schema
from knative_lambda.schemas.errors import Refused


def test_what_is_committed_is_what_the_schemas_say_now() -> None:
    assert crds.main(["--check"]) == 0, "run `make crds`"


def test_a_stale_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without this the test above would hold for a check that never fails."""
    path = next(iter(crds.files()))
    monkeypatch.setattr(crds, "HEADER", "# another time\n")
    assert crds.main(["--check"]) == 1
    assert path.name in capsys.readouterr().err


def unworded(schema: Any) -> Any:
    """Return a schema with a pattern for each rule that was made of one."""
    if isinstance(schema, list):
        return [unworded(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: unworded(value) for key, value in schema.items()}
    if any("messageExpression" in rule for rule in found.get("x-kubernetes-validations", [])):
        [rule] = found.pop("x-kubernetes-validations")
        found["pattern"] = rule["rule"].removeprefix("self.matches(r'").removesuffix("')")
    return found


@pytest.mark.parametrize("shown", crds.RESOURCES, ids=lambda shown: shown.kind.kind)
def test_a_definition_holds_the_resource_schema_with_its_rules(shown: crds.Shown) -> None:
    version = crds.definition(shown)["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    source = resource_schema(shown.kind.kind)
    assert not {"$schema", "$id"} & schema.keys()
    assert unworded(schema["properties"]) == source["properties"]
    assert schema.get("x-kubernetes-validations") == source.get("x-kubernetes-validations")


def messages(schema: Any) -> list[str]:
    """Return what the rules in a schema say, at any depth."""
    if isinstance(schema, list):
        return [message for each in schema for message in messages(each)]
    if not isinstance(schema, dict):
        return []
    said = [rule["message"] for rule in schema.get("x-kubernetes-validations", []) if "message" in rule]
    return said + [message for each in schema.values() for message in messages(each)]


@pytest.mark.parametrize("shown", crds.RESOURCES, ids=lambda shown: shown.kind.kind)
def test_no_rule_shows_a_pattern(shown: crds.Shown) -> None:
    said = messages(crds.definition(shown))
    assert said or shown.kind != FUNCTION
    assert [message for message in said if set(message) & set("[]^$\\")] == []


def test_status_is_written_apart_where_there_is_one() -> None:
    """Otherwise whoever may write a Function could also say that it is ready."""
    for shown in crds.RESOURCES:
        has_status = "status" in resource_schema(shown.kind.kind)["properties"]
        assert ("subresources" in crds.definition(shown)["spec"]["versions"][0]) == has_status


@pytest.mark.parametrize("shown", crds.RESOURCES, ids=lambda shown: shown.kind.kind)
def test_a_column_shows_a_field_that_the_schema_has(shown: crds.Shown) -> None:
    schema = resource_schema(shown.kind.kind)
    for column in shown.columns:
        node: Any = schema
        for step in column.path.partition("[")[0].strip(".").split("."):
            if step == "metadata" or node.get("x-kubernetes-preserve-unknown-fields"):
                break
            node = node["properties"][step]


@pytest.mark.parametrize(
    ("asked", "mended", "said"),
    [
        ({"timeout": "1h"}, {"timeout": "10m"}, "spec.timeout: `1h` is no duration from 1s to 10m, like 30s or 5m"),
        ({"secrets": ["Db"]}, {"secrets": ["db"]}, "spec.secrets[0]: `Db` is no name of an object: lower case letters"),
        (
            {"resources": {"limits": {"memory": "much"}}},
            {"resources": {"limits": {"memory": "64Mi"}}},
            "spec.resources.limits.memory: `much` is no quantity, like 2, 500m or 64Mi",
        ),
        (
            {"mounts": [{"path": "/usr", "secret": "db"}]},
            {"mounts": [{"path": "/etc/db", "secret": "db"}]},
            "spec.mounts[0].path: `/usr` is no place for a function's files",
        ),
        ({"labels": {"team": "-"}}, {"labels": {"team": "shop"}}, "spec.labels[team]: `-` is no value of a label"),
    ],
)
def test_who_applies_a_function_with_kubectl_reads_words_and_no_pattern(
    kubeconfig: str, asked: dict[str, Any], mended: dict[str, Any], said: str
) -> None:
    """By the API server itself, which shows nothing but the pattern where there is one."""
    meta = {"namespace": "default", "name": "worded"}
    spec = {"runtime": "python", "source": {"inline": {"main.py": ""}}}
    body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind, "metadata": meta}
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig))) as cluster:
        with pytest.raises(Refused) as refused:
            cluster.create(FUNCTION, {**body, "spec": {**spec, **asked}})
        _, fault = refused.value.faults
        assert f"{fault.where}: {fault.message}".replace('Invalid value: "string": ', "").startswith(said)
        assert "^" not in fault.message
        cluster.create(FUNCTION, {**body, "spec": {**spec, **mended}})
        cluster.delete(FUNCTION, **meta)
