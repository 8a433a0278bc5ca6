"""Writes what the chart takes from the schemas: its CustomResourceDefinitions, and the event types of its Triggers.

Called by `make crds`; with ``--check`` it writes nothing and fails where the chart's copies are stale. Nothing imports
this at run time.
"""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind
from knative_lambda.schemas import names, words
from knative_lambda.schemas.catalogue import resource_schema
from knative_lambda.schemas.types import SOURCES, TYPES

ANY_TEXT = r"^[^\x00]*$"
"""A pattern that nobody meets by mistake; as a rule it would cost more than the API server grants."""
CHART = Path(__file__).parent / "charts" / "knative-lambda"
HEADER = "# Written by `make crds` from schemas/; change it there.\n"


@dataclass(frozen=True)
class Column:
    """A column of `kubectl get`; a wide one shows with ``-o wide`` only."""

    name: str
    path: str
    type: str = "string"
    wide: bool = False


@dataclass(frozen=True)
class Shown:
    """What `kubectl` knows of a kind besides its schema."""

    kind: Kind
    columns: tuple[Column, ...]
    short_name: str = ""
    status: bool = True
    by_hand: bool = False
    """Whether people write it, and read what is wrong with it."""


def _condition(kind: str, field: str) -> str:
    return f'.status.conditions[?(@.type=="{kind}")].{field}'


def _annotation(name: str) -> str:
    return f".metadata.annotations.{name.replace('.', chr(92) + '.')}"


AGE = Column("Age", ".metadata.creationTimestamp", "date")
RESOURCES = (
    Shown(
        FUNCTION,
        (
            Column("Ready", _condition("Ready", "status")),
            Column("Reason", _condition("Ready", "reason")),
            Column("URL", ".status.url"),
            Column("Image", ".status.image", wide=True),
            Column("Built", _condition("Built", "status")),
            AGE,
        ),
        short_name="fn",
        by_hand=True,
    ),
    Shown(
        BUILD,
        (
            Column("Succeeded", _condition("Succeeded", "status")),
            Column("Reason", _condition("Succeeded", "reason")),
            Column("Function", ".spec.function"),
            Column("Attempt", ".status.attempt", "integer"),
            Column("Image", ".status.image", wide=True),
            AGE,
        ),
    ),
    Shown(
        DEAD_LETTER,
        (
            Column("Reason", ".spec.reason"),
            Column("Code", ".spec.code", "integer"),
            Column("Type", ".spec.event.type"),
            Column("Source", ".spec.event.source"),
            Column("Count", ".spec.count", "integer"),
            Column("Note", _annotation(names.NOTE_ANNOTATION), wide=True),
            AGE,
        ),
        short_name="dl",
        status=False,
    ),
)


def definition(shown: Shown) -> dict[str, Any]:
    """Return the CustomResourceDefinition of a kind."""
    kind = shown.kind
    names: dict[str, Any] = {
        "kind": kind.kind,
        "listKind": f"{kind.kind}List",
        "plural": kind.plural,
        "singular": kind.kind.lower(),
        "categories": ["knative-lambda"],
    }
    if shown.short_name:
        names["shortNames"] = [shown.short_name]
    schema = structural(resource_schema(kind.kind))
    version: dict[str, Any] = {
        "name": kind.version,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [_column(column) for column in shown.columns],
        "schema": {"openAPIV3Schema": _worded(schema) if shown.by_hand else schema},
    }
    if shown.status:
        version["subresources"] = {"status": {}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{kind.group}",
            # an uninstall that took the definitions along would take every function with them
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {"group": kind.group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def structural(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a resource's JSON Schema without the keywords that the API server does not take."""
    return {key: value for key, value in schema.items() if key not in ("$schema", "$id")}


def _worded(schema: Any) -> Any:
    """Return a schema with a rule for each pattern: of a pattern the API server shows nothing but the pattern."""
    if isinstance(schema, list):
        return [_worded(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    worded = {key: _worded(value) for key, value in schema.items()}
    if isinstance(pattern := worded.get("pattern"), str) and pattern != ANY_TEXT:
        del worded["pattern"]
        said = words.patterns()[pattern]
        rule = {"rule": f"self.matches(r'{pattern}')", "messageExpression": f'"`" + self + "` {said}"', "message": said}
        worded["x-kubernetes-validations"] = [*worded.get("x-kubernetes-validations", []), rule]
    return worded


def event_types() -> dict[str, list[str]]:
    """Return the types that the receiver takes, by the Broker of the product's namespace that they come through."""
    reports = {source.type for source in SOURCES}
    received = [known.type for known in TYPES.values() if known.received]
    return {
        "default": [name for name in received if name not in reports],
        "cluster": [name for name in received if name in reports],
    }


def files() -> dict[Path, str]:
    """Return every generated file and its text."""
    templates = CHART / "charts" / "crds" / "templates"
    written = {templates / f"{shown.kind.plural}.yaml": _yaml(definition(shown)) for shown in RESOURCES}
    return written | {CHART / "files" / "event-types.yaml": _yaml(event_types())}


def main(arguments: list[str]) -> int:
    """Write the files, or with ``--check`` name the stale ones; return the exit code."""
    stale = [path for path, text in files().items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    check = arguments == ["--check"]
    for path in stale:
        if not check:
            path.write_text(files()[path], encoding="utf-8")
        sys.stderr.write(f"{'stale, run `make crds`' if check else 'written'}: {path.relative_to(CHART.parent)}\n")
    return 1 if check and stale else 0


def _column(column: Column) -> dict[str, Any]:
    body: dict[str, Any] = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return body | {"priority": 1} if column.wide else body


def _yaml(value: object) -> str:
    return HEADER + yaml.safe_dump(value, sort_keys=False, width=120)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
