"""The JSON Schemas (2020-12) of events and custom resources, and the checking of data against them.

Called by the receiver's gate, by `prepare` for Functions that a person applied, and by the charts' generator.
jsonschema-rs is imported here alone.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from importlib import resources
from typing import Any

import jsonschema_rs

from knative_lambda.schemas import words
from knative_lambda.schemas.errors import Fault

ROOT = "https://knative-lambda.dev/schemas/"
VERSION = "v1"
RESOURCE_VERSION = "v1alpha1"
FAULTS_SHOWN = 50


def dataschema(schema: str) -> str:
    """Return the `dataschema` of an event whose data follows `schema`, such as ``build.start``."""
    return f"{ROOT}events/{VERSION}/{schema}.json"


@cache
def event_schema(schema: str) -> dict[str, Any]:
    """Return the JSON Schema of an event's data."""
    return _read(f"events/{VERSION}/{schema}.json")


@cache
def resource_schema(kind: str) -> dict[str, Any]:
    """Return the schema of a custom resource (``Function``, ``Build``, ``DeadLetter``), structural and JSON Schema."""
    return _read(f"resources/{RESOURCE_VERSION}/{kind.lower()}.json")


@cache
def openapi() -> dict[str, Any]:
    """Return the OpenAPI 3.1 description of the paths under ``/v1``, whole: with the schemas that it names."""
    described = _read("openapi.json")
    schemas = described["components"]["schemas"]
    for kind in ("Function", "Build", "DeadLetter"):
        schemas[f"{kind}Resource"] = _bare(resource_schema(kind))
    schemas |= {f"common.{name}": schema for name, schema in _bare(event_schema("common"))["$defs"].items()}
    start = _bare(event_schema("build.start"))
    schemas["Start"] = {**start, "required": [name for name in start["required"] if name not in ("tenant", "name")]}
    return described


def _bare(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a schema as a part of the description, its references as they are there."""
    text = json.dumps({key: value for key, value in schema.items() if key not in ("$schema", "$id")})
    for local in ('"common.json#/$defs/', '"#/$defs/'):
        text = text.replace(local, '"#/components/schemas/common.')
    bare: dict[str, Any] = json.loads(text)
    return bare


def event_faults(schema: str, data: object, where: str = "/data") -> list[Fault]:
    """Return everything that is wrong with an event's data, each fault with its JSON pointer below `where`."""
    return _faults(_checker(dataschema(schema)), data, where)


def resource_faults(kind: str, body: object) -> list[Fault]:
    """Return everything that is wrong with a custom resource, as far as JSON Schema can say it."""
    return _faults(_checker(f"{ROOT}resources/{RESOURCE_VERSION}/{kind.lower()}.json"), body, "")


def defaults(kind: str) -> dict[str, Any]:
    """Return what an API server fills into the spec of a custom resource that does not say it, by field."""
    known = resource_schema(kind)["properties"].get("spec", {}).get("properties", {})
    return {field: said["default"] for field, said in known.items() if "default" in said}


def _read(path: str) -> dict[str, Any]:
    text = resources.files(__package__).joinpath(path).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


@cache
def _checker(identifier: str) -> Callable[[object], list[tuple[str, str]]]:
    path = identifier.removeprefix(ROOT)
    common = event_schema("common")
    registry = jsonschema_rs.Registry([(common["$id"], common)])
    validator = jsonschema_rs.Draft202012Validator(_read(path), registry=registry)

    def check(data: object) -> list[tuple[str, str]]:
        found = []
        for error in validator.iter_errors(data):
            pointer = "".join(f"/{str(step).replace('~', '~0').replace('/', '~1')}" for step in error.instance_path)
            found.append((pointer, words.plain(error)))
            if len(found) == FAULTS_SHOWN:
                break
        return found

    return check


def _faults(check: Callable[[object], list[tuple[str, str]]], data: object, where: str) -> list[Fault]:
    return [Fault(f"{where}{pointer}" or "/", message[:500]) for pointer, message in check(data)]
