"""The parts of the chart that are written from the schemas."""

from typing import Any

import pytest

from knative_lambda.deploy import crds
from knative_lambda.schemas.catalogue import resource_schema


def test_what_is_committed_is_what_the_schemas_say_now() -> None:
    assert crds.main(["--check"]) == 0, "run `make crds`"


def test_a_stale_file_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without this the test above would hold for a check that never fails."""
    path = next(iter(crds.files()))
    monkeypatch.setattr(crds, "HEADER", "# another time\n")
    assert crds.main(["--check"]) == 1
    assert path.name in capsys.readouterr().err


@pytest.mark.parametrize("shown", crds.RESOURCES, ids=lambda shown: shown.kind.kind)
def test_a_definition_holds_the_resource_schema_with_its_rules(shown: crds.Shown) -> None:
    version = crds.definition(shown)["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    source = resource_schema(shown.kind.kind)
    assert not {"$schema", "$id"} & schema.keys()
    assert schema["properties"] == source["properties"]
    assert schema.get("x-kubernetes-validations") == source.get("x-kubernetes-validations")


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
