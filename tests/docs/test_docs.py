"""Docs that cannot lie: what they name exists, and what they tell people to send is taken."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_lambda.handler.settings import PREFIX, Settings
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.catalogue import event_faults, resource_faults, resource_schema

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "charts" / "knative-lambda"
FUNCTIONS = ROOT / "docs" / "functions.md"
DOCS = [ROOT / "README.md", CHART / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FILES = (".md", ".py", ".json", ".yaml", ".sh", ".txt")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return what a link into a page may name: its headings, as GitHub writes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^a-z0-9 _-]", "", title.lower()).replace(" ", "-") for title in titles}


def payloads(page: Path) -> Iterator[tuple[str, Any]]:
    """Yield the data of every event that a page shows whole, with its schema; what a shell makes of it is left out."""
    text = page.read_text("utf-8")
    for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL) + re.findall(r"-d '(\{.*?\})'", text, re.DOTALL):
        data = json.loads(found)
        if "source" in data:
            yield "build.start", data
        elif "tenant" in data:
            yield "build.complete" if "image" in data else "function.delete", data


def table(heading: str) -> dict[str, Any]:
    """Return the examples of a table in functions.md, by the first cell."""
    rows = FUNCTIONS.read_text("utf-8").partition(heading)[2].partition("\n#")[0]
    return {
        field: json.loads(example) for field, example in re.findall(r"^\| `(\w+)` \| `(.+?)` \|", rows, re.MULTILINE)
    }


def undescribed(schema: dict[str, Any], path: str = "") -> Iterator[str]:
    for name, child in schema.get("properties", {}).items():
        if not path and name not in ("spec", "status"):
            continue  # apiVersion, kind and metadata are Kubernetes' own
        if "description" not in child:
            yield f"{path}.{name}"
        yield from undescribed(child.get("items", child), f"{path}.{name}")


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_every_relative_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if not link.startswith(("http://", "https://")):
            file, _, anchor = link.partition("#")
            target = (page.parent / file).resolve() if file else page
            assert target.exists(), link
            assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_every_make_target_is_in_the_makefile(page: Path) -> None:
    known = set(re.findall(r"^([a-z][a-z0-9-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    asked = set(re.findall(r"(?:`|^    )make (?:-s )?([a-z][a-z0-9-]*)", page.read_text("utf-8"), re.MULTILINE))
    assert asked <= known


@pytest.mark.parametrize("page", DOCS, ids=named)
def test_every_setting_and_chart_value_exists(page: Path) -> None:
    text = page.read_text("utf-8")
    settings = {f"{PREFIX}{field.upper()}" for field in Settings.__dataclass_fields__}
    assert set(re.findall(rf"\b{PREFIX}[A-Z_]+\b", text)) <= settings

    values = yaml.safe_load((CHART / "values.yaml").read_text("utf-8"))
    dotted = [name for name in re.findall(r"`([a-z]\w*(?:\.\w+)+)(?:: [^`]*)?`", text) if not name.endswith(FILES)]
    for name in [*dotted, *re.findall(r"--set '?([\w.]+)=", text)]:
        top, *rest = name.split(".")
        if top in values or name not in dotted:
            found = values[top]
            for step in rest:
                found = found[step]


@pytest.mark.parametrize("page", [page for page in DOCS if list(payloads(page))], ids=named)
def test_every_event_that_is_shown_would_be_taken(page: Path) -> None:
    path = {"tenant": "demo", "name": "hello"} if page == ROOT / "docs" / "api.md" else {}  # what a path says there
    for schema, data in payloads(page):
        assert event_faults(schema, path | data) == [], data


def test_the_readme_shows_what_to_send() -> None:
    assert [schema for schema, _ in payloads(ROOT / "README.md")] == ["build.start", "build.start"]


def test_every_field_of_a_build_start_is_explained_with_an_example_that_would_be_taken() -> None:
    fields = table("## Sending one")
    assert fields.keys() == catalogue.event_schema("build.start")["properties"].keys()
    for field, example in fields.items():
        assert event_faults("build.start", {**fields, field: example}) == [], field


def test_every_form_of_a_source_is_explained_with_an_example_that_would_be_taken() -> None:
    forms = table("### Source")
    assert forms.keys() == catalogue.event_schema("common")["$defs"]["source"]["properties"].keys()
    for form, example in forms.items():
        data = {"tenant": "demo", "name": "hello", "runtime": "python", "source": example}
        assert [form] == list(example)
        assert event_faults("build.start", data) == []


def test_the_function_to_apply_is_one() -> None:
    [shown] = re.findall(r"```yaml\n(.*?)```", FUNCTIONS.read_text("utf-8"), re.DOTALL)
    body = yaml.safe_load(shown)
    assert resource_faults("Function", body) == []
    assert body["spec"].keys() <= resource_schema("Function")["properties"]["spec"]["properties"].keys()


@pytest.mark.parametrize("kind", ["Function", "Build"])
def test_kubectl_explains_every_field(kind: str) -> None:
    assert list(undescribed(resource_schema(kind))) == []


def threats() -> Iterator[tuple[str, str]]:
    """Yield each threat of the security model with what shows its control."""
    rows = (ROOT / "docs" / "SECURITY_MODEL.md").read_text("utf-8").partition("## Threats")[2].partition("## Gaps")[0]
    for threat, _control, shown in re.findall(r"^\| (.+?) \| (.+?) \| (.+?) \|$", rows, re.MULTILINE):
        if threat != "threat":
            yield threat, shown


@pytest.mark.parametrize(("threat", "shown"), list(threats()))
def test_every_threat_names_a_test_that_is_there(threat: str, shown: str) -> None:
    tests = re.findall(r"`(tests/[^`]+\.py)::(test_\w+)`", shown)
    assert tests, f"{threat}: {shown} names no test"
    for file, name in tests:
        assert re.search(rf"^def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{file} has no {name}"
