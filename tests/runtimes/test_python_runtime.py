"""What only the Python wrapper promises: other people's signatures and events, and room for any package."""

from pathlib import Path

import pytest
from support.wrappers import RUNTIMES, Runtime, binary

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_function_for_functions_framework_runs_without_that_package(python: Runtime) -> None:
    """Its event is read as the SDK's first generation has it, and that SDK can write it."""
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.framework")
    seen = served.send("demo", {"a": 1}, subject="s").json()
    attributes = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "demo", "subject": "s"}
    attributes["datacontenttype"] = "application/json"
    assert seen == {
        "item": "demo",
        "get": ["s", None, 5],
        "in": [True, False],
        "names": sorted(attributes),
        "attributes": attributes,
        "data": {"a": 1},
        "structured": attributes | {"data": {"a": 1}},
        "shim": str(RUNTIMES / "python" / "shims" / "functions_framework.py"),
    }


def test_a_functions_framework_among_the_dependencies_wins(python: Runtime, tmp_path: Path) -> None:
    (tmp_path / "functions_framework.py").write_text("def cloud_event(function):\n    return function\n")
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.framework", LAMBDA_DEPENDENCIES=str(tmp_path))
    assert served.send("demo", {"a": 1}).json()["shim"] == str(tmp_path / "functions_framework.py")


def test_an_event_is_read_as_the_second_generation_of_the_sdk_has_it(python: Runtime) -> None:
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.second_generation")
    seen = served.send("demo", [1], time="2026-01-02T03:04:05.6789+01:00", tier="gold", dataschema="urn:x").json()
    assert seen == {
        "required": ["1.0", "1", "/tests", "demo"],
        "optional": ["application/json", "urn:x", None],
        "time": "2026-01-02T02:04:05.678900+00:00",
        "extension": ["gold", None],
        "data": [1],
        "properties": ["1", "/tests", "demo", None, "2026-01-02T03:04:05.6789+01:00", "urn:x"],
        "extensions": {"tier": "gold"},
        "missing": False,
    }


def test_an_event_cannot_be_changed(python: Runtime) -> None:
    assert python.serve(LAMBDA_ENTRYPOINT="sdk.change").send("demo").json()["detail"] == "AttributeError"


def test_events_of_both_generations_of_the_sdk_are_answers(python: Runtime) -> None:
    """Text is sent as it is, as the SDK's own bindings do, and what has no type is told to be text."""
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.reply")
    for kind in ("v1", "v2"):
        answer = served.send(kind)
        assert (answer.status, answer.json(), answer.headers["content-type"]) == (200, {"a": 1}, "application/json")
        assert {name: answer.headers[f"ce-{name}"] for name in ("type", "source", "id", "tier", "specversion")} == {
            "type": "t",
            "source": "/s",
            "id": "1",
            "tier": "gold",
            "specversion": "1.0",
        }
    text, json_text = served.send("v1-text"), served.send("v1-json-text")
    assert (text.body, text.headers["content-type"]) == ("grüß".encode(), "text/plain; charset=utf-8")
    assert (json_text.body, json_text.headers["content-type"]) == (b'{"a":1}', "application/json")
    assert served.send("v2-time").headers["ce-time"] == "2026-01-02T00:00:00+00:00"
    assert (served.send("v2-null").status, served.send("v2-null").body) == (200, b"")


@pytest.mark.parametrize("entrypoint", ["sdk.leave", "sdk.leaving_coroutine"])
def test_a_function_that_exits_fails_alone(python: Runtime, entrypoint: str) -> None:
    served = python.serve(LAMBDA_ENTRYPOINT=entrypoint)
    answers = [served.send("leave") for _ in range(2)]
    assert [(answer.status, answer.json()["detail"]) for answer in answers] == [(500, "SystemExit")] * 2
    assert served.request("GET", "/readyz").status == 200
    assert served.process.poll() is None


def test_all_coroutines_share_one_loop(python: Runtime) -> None:
    """So that what they open once, such as an HTTP client's session, can be used by all."""
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.coroutine")
    assert {served.send("demo").json() for _ in range(3)} == {"event-loop"}


def test_other_loggers_print_the_event_and_the_trace_too(python: Runtime) -> None:
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.log")
    headers, body = binary("demo", id="7")
    served.post([*headers, ("traceparent", TRACE)], body)
    [line] = served.lines(logger="a.library")
    assert (line["message"], line["level"], line["event_id"]) == ("from elsewhere", "WARNING", "7")
    assert line["trace_id"] == TRACE.split("-")[1]


def test_imports_find_the_function_then_the_standard_library_then_the_dependencies(
    python: Runtime, tmp_path: Path
) -> None:
    """An old backport among the dependencies does not break the interpreter; the wrapper's modules are out of sight."""
    dependencies, code = tmp_path / "dependencies", tmp_path / "function"
    for folder in (dependencies, code):
        folder.mkdir()
    for name in ("typing", "asyncio", "http", "helper", "serve", "idna"):
        (dependencies / f"{name}.py").write_text("WHERE = 'dependencies'")
    (code / "helper.py").write_text("WHERE = 'function'")
    (code / "main.py").write_text(
        "import asyncio, helper, idna, serve, typing\n"
        "def handle(event, context):\n"
        "    return [helper.WHERE, serve.WHERE, idna.WHERE, hasattr(typing, 'WHERE'), hasattr(asyncio, 'WHERE')]\n"
    )
    served = python.serve(code, LAMBDA_DEPENDENCIES=str(dependencies))
    assert served.send("demo").json() == ["function", "dependencies", "dependencies", False, False]


def test_a_function_runs_in_its_own_folder(python: Runtime, tmp_path: Path) -> None:
    (tmp_path / "greeting.txt").write_text("hello")
    (tmp_path / "main.py").write_text("def handle(event):\n    return open('greeting.txt', encoding='utf-8').read()\n")
    assert python.serve(tmp_path).send("demo").json() == "hello"
