"""What only the Python wrapper promises: other people's signatures and events, and room for any package."""

import json
from pathlib import Path

import pytest
from support.wrappers import RUNTIMES, Runtime, binary

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_function_for_functions_framework_runs_without_that_package(python: Runtime) -> None:
    """Its event is read as the SDK's first generation has it, and that SDK can write it."""
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.framework")
    served.send("demo", {"a": 1}, subject="s")
    [line] = served.lines(logger="framework")
    seen = json.loads(line["message"])
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


@pytest.mark.parametrize("entrypoint", ["sdk.framework", "sdk.framework_coroutine"])
@pytest.mark.parametrize("kind", ["json", "set"])
def test_what_an_event_function_of_functions_framework_returns_is_dropped(
    python: Runtime, entrypoint: str, kind: str
) -> None:
    """As the framework does: it answers "OK" whatever that is, so nobody means it as an event for the broker."""
    served = python.serve(LAMBDA_ENTRYPOINT=entrypoint)
    answer = served.send(kind)
    assert (answer.status, answer.body, "ce-id" in answer.headers) == (202, b"", False)
    assert served.lines(logger="framework")


def test_what_an_event_function_of_functions_framework_raises_is_a_failure(python: Runtime) -> None:
    answer = python.serve(LAMBDA_ENTRYPOINT="sdk.framework_fails").send("demo")
    assert (answer.status, answer.json()["detail"]) == (500, "LookupError")


def test_a_functions_framework_among_the_dependencies_changes_nothing(python: Runtime, tmp_path: Path) -> None:
    """There is one server in the process, and it is the wrapper's: so its stand-in comes first."""
    (tmp_path / "functions_framework.py").write_text("1 / 0")
    served = python.serve(LAMBDA_ENTRYPOINT="sdk.framework", LAMBDA_DEPENDENCIES=str(tmp_path))
    served.send("demo", {"a": 1})
    [line] = served.lines(logger="framework")
    assert json.loads(line["message"])["shim"] == str(RUNTIMES / "python" / "shims" / "functions_framework.py")


def test_what_the_stand_in_for_functions_framework_does_not_have_is_named(python: Runtime, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("import functions_framework\n\n@functions_framework.typed\ndef handle(x): ...\n")
    code, lines = python.fail(tmp_path)
    assert (code, "functions_framework has no 'typed' here" in lines[-1]) == (1, True)


class TestHttpFunctions:
    """Written for functions-framework, as its documentation has them; Flask is among their dependencies."""

    def test_it_answers_every_request_as_flask_makes_it(self, python: Runtime) -> None:
        served = python.serve(LAMBDA_ENTRYPOINT="web.hello")
        assert served.request("GET", "/?name=Ada").body == b"Hello Ada!"
        posted = served.post([("content-type", "application/json")], b'{"name": "Grace"}')
        assert (posted.status, posted.body) == (200, b"Hello Grace!")
        assert (posted.headers["content-type"], "ce-id" in posted.headers) == ("text/html; charset=utf-8", False)

    def test_methods_paths_headers_and_bodies_are_what_was_sent(self, python: Runtime) -> None:
        served = python.serve(LAMBDA_ENTRYPOINT="web.echo")
        answer = served.request("PATCH", "/a%20b/c?x=1&x=2", [("X-One", "1"), ("X-One", "2")], iter([b"bo", b"dy"]))
        assert (answer.status, answer.headers["x-made"]) == (201, "here")
        assert answer.json() == {"method": "PATCH", "path": "/a b/c", "x": ["1", "2"], "one": "1,2", "body": "body"}
        assert served.request("HEAD", "/").body == b""
        assert served.request("GET", "/readyz").body == b"", "the probes are the wrapper's"

    def test_who_sends_an_event_gets_an_event(self, python: Runtime) -> None:
        """A broker takes nothing else for an answer; a failure is what it is."""
        served = python.serve(LAMBDA_ENTRYPOINT="web.echo")
        answer = served.send("demo", {"a": 1}, id="7")
        assert (answer.status, answer.json()["body"]) == (200, '{"a": 1}')
        assert answer.headers["ce-type"] == "dev.knative-lambda.function.result"
        assert (answer.headers["ce-causationid"], answer.headers["content-type"]) == ("7", "application/json")
        assert served.request("POST", "/missing", *binary("demo")).status == 404

    def test_exceptions_are_answered_by_their_handler_or_with_a_500_and_a_line(self, python: Runtime) -> None:
        served = python.serve(LAMBDA_ENTRYPOINT="web.fails")
        assert served.request("GET", "/?handled").status == 418
        answer = served.request("GET", "/")
        assert (answer.status, answer.json()["detail"], b"1234" in answer.body) == (500, "LookupError", False)
        [line] = served.lines(exception="LookupError")
        assert "the password is 1234" in line["traceback"]

    def test_without_flask_it_is_told_where_that_comes_from(self, python: Runtime, tmp_path: Path) -> None:
        (tmp_path / "flask.py").write_text("raise ModuleNotFoundError(name='flask')")
        text = "import functions_framework\n\n@functions_framework.http\ndef handle(request): ...\n"
        (tmp_path / "main.py").write_text(text)
        code, lines = python.fail(tmp_path)
        assert (code, "is functions-framework in requirements.txt?" in lines[-1]) == (1, True)


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
