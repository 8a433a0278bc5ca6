"""Who sends something wrong reads what is wrong in plain words, and never a regular expression or a schema's word."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.schemas import words
from knative_lambda.schemas.catalogue import event_faults, resource_faults

SCHEMAS = sorted((Path(__file__).parents[2] / "schemas").glob("*/v1*/*.json"))
START: dict[str, Any] = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": {"main.py": ""}}}
TELLING = {"$schema", "$id", "$ref", "$defs", "title", "description", "default", "format", "contentMediaType"}
"""Keywords that refuse nothing."""
MEANT = {
    "items": "its entries are looked at",
    "properties": "so are its fields",
    "dependentRequired": "the validator says `required` of it",
    "contentEncoding": "nothing is refused for it in this draft",
}
"""Keywords that say nothing by themselves."""


def keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield every keyword of a schema and of those in it, with its value."""
    if isinstance(schema, list):
        for each in schema:
            yield from keywords(each)
    for name, value in schema.items() if isinstance(schema, dict) else ():
        yield name, value
        if name in ("properties", "$defs"):
            yield from keywords([*value.values()])
        elif name not in ("default", "dependentRequired") and not name.startswith("x-kubernetes-"):
            yield from keywords(value)


USED = [found for path in SCHEMAS for found in keywords(json.loads(path.read_text()))]


def test_every_pattern_has_words_and_no_words_are_of_a_pattern_that_is_gone() -> None:
    assert {value for name, value in USED if name == "pattern"} == {*words.patterns()}


def test_every_keyword_that_refuses_something_has_words() -> None:
    used = {name for name, _ in USED if not name.startswith("x-kubernetes-")}
    assert used - TELLING - {*MEANT} == {*words.KEYWORDS}


NAME = "lower case letters, digits and -, a letter first and no - at the end"


@pytest.mark.parametrize(
    ("field", "value", "where", "said"),
    [
        ("name", "Bad_Name", "name", f"`Bad_Name` is no name: {NAME}"),
        ("runtime", "ruby", "runtime", "`ruby` is none of python, node, go, dockerfile"),
        ("timeout", "1h", "timeout", "`1h` is no duration from 1s to 10m, like 30s or 5m"),
        ("env", {"PORT": "1"}, "env", "`PORT` belongs to the platform, as do all of K_*, LAMBDA_*, HOST and PORT"),
        ("env", {"A": 1}, "env/A", "`1` is not a string: put it in quotes"),
        ("env", {"A": True}, "env/A", "`true` is not a string: put it in quotes"),
        ("env", ["A"], "env", "a list is not an object"),
        ("env", {"A" * 257: ""}, "env", "has 257 characters, at most 256"),
        ("sequence", "7", "sequence", "`7` is not a whole number"),
        ("sequence", -1, "sequence", "`-1` is less than 0"),
        ("scale", {"max": 1001}, "scale/max", "`1001` is more than 1000"),
        ("scale", {"most": 1, "least": 1}, "scale", "`most` and `least` are not known here"),
        ("source", {}, "source", "has 0 entries, at least 1"),
        ("source", {"inline": {"a": ""}, "image": "r/a"}, "source", "has 2 entries, at most 1"),
        ("source", {"git": {}}, "source/git", "`url` is missing"),
        ("secrets", ["a", "b", "a"], "secrets", "`a` is there twice"),
        ("triggers", [{"type": "a"}] * 65, "triggers", "has 65 entries, at most 64"),
        ("triggers", [{"type": ""}], "triggers/0/type", "has 0 characters, at least 1"),
        ("envFrom", [{}], "envFrom/0", "one of `secret` and `configMap` is missing"),
        ("envFrom", ["db"], "envFrom/0", "`db` is not an object"),
        (
            "mounts",
            [{"path": "/data", "secret": "a", "configMap": "b"}],
            "mounts/0",
            "2 of `configMap`, `path` and `secret` exclude each other",
        ),
        ("entrypoint", "x" * 200, "entrypoint", f"`{'x' * 79}…` is no entrypoint: module or file, a dot, the function"),
    ],
)
def test_what_is_wrong_with_a_start_is_said_in_plain_words(field: str, value: Any, where: str, said: str) -> None:
    fault = event_faults("build.start", {**START, field: value})[0]
    assert fault.where == f"/data/{where}"
    assert fault.message.startswith(said)


def test_a_function_that_a_person_applied_reads_the_same() -> None:
    spec = {"runtime": "ruby", "source": {"inline": {"main.py": ""}}, "timeout": "1h"}
    assert {(fault.where, fault.message) for fault in resource_faults("Function", {"spec": spec})} == {
        ("/spec/runtime", "`ruby` is none of python, node, go, dockerfile"),
        ("/spec/timeout", "`1h` is no duration from 1s to 10m, like 30s or 5m"),
    }


def test_a_report_that_names_nothing_is_told_what_it_lacks() -> None:
    assert "one of `name` and `metadata` is missing" in [
        fault.message for fault in event_faults("apiserver.resource", {})
    ]
