"""One list of event types: the schemas, the router, the chart's Triggers and the docs know the same ones."""

import json
import re
from pathlib import Path

import jsonschema_rs
import pytest
import yaml

from knative_lambda.handler.router import ROUTES
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.types import TYPES

ROOT = Path(__file__).parents[2]
SCHEMAS = sorted((ROOT / "schemas" / "events" / catalogue.VERSION).glob("*.json"))
RECEIVED = {known.type for known in TYPES.values() if known.received}


def test_every_type_has_a_schema_and_every_schema_a_type() -> None:
    assert {path.stem for path in SCHEMAS} - {"common"} == {known.schema for known in TYPES.values()}


@pytest.mark.parametrize("path", SCHEMAS, ids=lambda path: path.stem)
def test_a_schema_is_json_schema_2020_12_under_its_own_address(path: Path) -> None:
    schema = json.loads(path.read_text())
    assert schema["$id"] == catalogue.dataschema(path.stem)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert schema["title"]
    jsonschema_rs.meta.validate(schema)


def test_every_received_type_is_routed_and_every_route_is_a_received_type() -> None:
    meant = {TYPES[kind].alias_of or kind for kind in RECEIVED}
    assert set(ROUTES) == meant


def test_the_chart_has_a_trigger_for_every_received_type_and_no_other() -> None:
    [listed] = (ROOT / "deploy" / "charts" / "knative-lambda" / "files").glob("event-types.yaml")
    known = yaml.safe_load(listed.read_text())
    found = {entry for entries in known.values() for entry in entries} if isinstance(known, dict) else {*known}
    assert found == RECEIVED


def test_the_docs_list_every_type_and_no_other() -> None:
    text = (ROOT / "docs" / "events.md").read_text()
    listed = set(re.findall(r"^\| `([a-z][a-z.-]+)` \|", text, re.MULTILINE))
    assert listed == set(TYPES)


def test_an_alias_means_a_type_of_our_own() -> None:
    for known in TYPES.values():
        assert not known.alias_of or not TYPES[known.alias_of].alias_of
