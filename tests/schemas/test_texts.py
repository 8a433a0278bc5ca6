"""Texts that no environment and no object could hold are refused by the schemas, before anything is made of them."""

from typing import Any

import pytest

from knative_lambda.schemas.catalogue import event_faults, resource_faults

START: dict[str, Any] = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": {"main.py": ""}}}
NUL = "a\0b"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tenant", NUL),
        ("name", NUL),
        ("runtime", NUL),
        ("entrypoint", "main.handle\0"),
        ("env", {"A": NUL}),
        ("env", {NUL: "a"}),
        ("secrets", [NUL]),
        ("triggers", [{"type": NUL}]),
        ("timeout", "60s\0"),
        ("builder", NUL),
        ("resources", {"limits": {"memory": "1Gi\0"}}),
        ("source", {"inline": {NUL: ""}}),
        ("source", {"archive": NUL}),
        ("source", {"object": NUL}),
        ("source", {"image": "registry/a\0b"}),
        ("source", {"git": {"url": NUL}}),
        ("source", {"git": {"url": "https://git.test", "revision": NUL}}),
    ],
)
def test_a_nul_in_a_build_start_is_refused(field: str, value: Any) -> None:
    [fault] = event_faults("build.start", {**START, field: value})
    assert fault.where.startswith(f"/data/{field}")


@pytest.mark.parametrize(("field", "value"), [("env", {"A": NUL}), ("triggers", [{"type": NUL}])])
def test_a_nul_in_a_function_is_refused(field: str, value: Any) -> None:
    spec = {"runtime": "python", "source": {"inline": {"main.py": ""}}}
    assert resource_faults("Function", {"spec": {**spec, field: value}})


@pytest.mark.parametrize("text", ["", "two\nlines\n", "ümlaut \U0001f600", "tab\t\x7f"])
def test_other_texts_are_taken(text: str) -> None:
    assert event_faults("build.start", {**START, "env": {"A": text}}) == []
    assert event_faults("build.start", {**START, "source": {"inline": {"data": f"{text}\0"}}}) == []
    spec = {"runtime": "python", "source": {"inline": {"main.py": ""}}, "env": {"A": text}}
    assert resource_faults("Function", {"spec": spec}) == []


@pytest.mark.parametrize("schema", ["build.failed", "legacy.build.failed"])
def test_a_nul_in_what_a_builder_says_is_refused(schema: str) -> None:
    data = {"tenant": "acme", "name": "hello", "build": "b", "reason": "Broken", "message": NUL}
    assert "/data/message" in {fault.where for fault in event_faults(schema, data)}
