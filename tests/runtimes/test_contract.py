"""What every runtime's wrapper promises, asked of real processes over HTTP."""

import base64
import hashlib
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from support.wrappers import Answer, Runtime, Served, binary

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
BARE = {"specversion": "1.0", "id": "1", "source": "/tests", "type": "see"}
WAYS = {
    "python": ["main.one", "main.coroutine", "package.module.handle"],
    "node": [
        *("index.one", "index.coroutine", "whole.handle", "common.handle"),
        *("folder/module.handle", "folder/module.default"),
    ],
    "go": ["handle.One", "handle.ByPointer", "package/module.New"],
}
FAILING = {"python": ["handle", "failing_coroutine"], "node": ["handle", "failing_coroutine"], "go": ["Handle"]}
EXCEPTION = {"python": "LookupError", "node": "RangeError", "go": "function.rangeError"}
MODULE = {"python": "main", "node": "index", "go": "handle"}
FILE = {"python": "main.py", "node": "index.js", "go": "handle.go"}
ENTRYPOINT = {"python": "main.handle", "node": "index.handle", "go": "handle.Handle"}
GO = "package function\n\n"
STRUCTURED = [("Content-Type", "application/cloudevents+json; charset=UTF-8")]


def structured(served: Served, event: Any) -> Answer:
    return served.post(STRUCTURED, event if isinstance(event, bytes) else json.dumps(event).encode())


class TestReading:
    @pytest.mark.parametrize(
        ("content_type", "body", "seen"),
        [
            ("application/json", b'{"a": [1, "\\u00e9", null]}', {"value": {"a": [1, "é", None]}}),
            ("application/json", b'"text"', {"value": "text"}),
            ("application/vnd.acme+json; charset=utf-8", b"17", {"value": 17}),
            (None, b"[true]", {"value": [True]}),
            ("text/plain", "grüß".encode(), {"value": "grüß"}),
            ("text/plain; charset=iso-8859-1", "grüß".encode("latin-1"), {"value": "grüß"}),
            ("application/octet-stream", b"\x00\xff", {"bytes": "00ff"}),
            ("application/xml", b"<a/>", {"bytes": "3c612f3e"}),
            ("application/json", b"", {"value": None}),
        ],
    )
    def test_data_is_what_its_content_type_says_in_either_mode(
        self, served: Served, content_type: str | None, body: bytes, seen: dict[str, Any]
    ) -> None:
        """JSON (and no type at all) is parsed, text is text, all else is bytes; base64 makes no difference."""
        attributes = BARE | ({"datacontenttype": content_type} if content_type else {})
        headers = [(f"ce-{name}", value) for name, value in BARE.items()]
        answer = served.post([*headers, ("content-type", content_type)] if content_type else headers, body)
        assert answer.json() == {"attributes": attributes, **seen}
        if content_type and body:
            encoded = {"data_base64": base64.b64encode(body).decode()}
            assert structured(served, attributes | encoded).json() == {"attributes": attributes, **seen}

    @pytest.mark.parametrize(
        ("members", "seen"),
        [
            ({"data": {"a": 1}}, {"value": {"a": 1}}),
            ({"data": "text"}, {"value": "text"}),
            ({"data": "text", "datacontenttype": "text/plain"}, {"value": "text"}),
            ({"data": "text", "datacontenttype": "application/octet-stream"}, {"bytes": "74657874"}),
            ({"data_base64": "AP8="}, {"bytes": "00ff"}),
            ({"data": None}, {"value": None}),
            ({}, {"value": None}),
        ],
    )
    def test_a_structured_event_may_hold_its_data_in_any_way(
        self, served: Served, members: dict[str, Any], seen: dict[str, Any]
    ) -> None:
        answer = structured(served, BARE | members)
        expected = BARE | {
            name: value for name, value in members.items() if not name.startswith("data") or "type" in name
        }
        assert answer.json() == {"attributes": expected, **seen}

    def test_every_attribute_reaches_the_function(self, served: Served) -> None:
        attributes = BARE | {
            "subject": "s",
            "time": "2026-01-02T03:04:05.678+01:00",
            "dataschema": "urn:x",
            "tier": "gold",
        }
        headers = [(f"CE-{name.title()}", value) for name, value in attributes.items()]
        assert served.post(headers).json()["attributes"] == attributes
        counted = attributes | {"retries": 3, "urgent": True, "gone": None}
        assert structured(served, counted).json()["attributes"] == attributes | {"retries": 3, "urgent": True}

    @pytest.mark.parametrize(
        ("sent", "meant"),
        [
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
            ("50%25", "50%"),
            ("50% off %zz", "50% off %zz"),
            (r'"quoted \"so\" %C3%A9"', 'quoted "so" é'),
            ("é".encode().decode("latin-1"), "é"),
        ],
    )
    def test_headers_are_decoded_as_the_http_binding_says(self, served: Served, sent: str, meant: str) -> None:
        assert served.send("see", subject=sent).json()["attributes"]["subject"] == meant

    @pytest.mark.parametrize("name", ["constructor", "hasownproperty", "length"])
    def test_an_attribute_may_have_any_name(self, served: Served, name: str) -> None:
        assert served.send("see", **{name: "x"}).json()["attributes"][name] == "x"

    def test_a_body_may_come_in_chunks(self, served: Served) -> None:
        """Knative's queue-proxy sends what it doesn't know the length of in this way."""
        headers, body = binary("give", {"a": "b" * 100_000})
        with served.connect() as connection:
            for _ in range(2):
                answer = connection.request("POST", "/", headers, iter([body[:10], body[10:70_000], body[70_000:]]))
                assert answer.json() == {"a": "b" * 100_000}

    @pytest.mark.parametrize("kind", ["application/cloudevents-batch+json", "application/cloudevents+xml"])
    def test_other_ways_to_send_events_are_refused_with_words(self, served: Served, kind: str) -> None:
        answer = served.post([("content-type", kind)], b"[]")
        assert (answer.status, answer.headers["content-type"]) == (415, "application/problem+json")
        assert "one by one" in answer.json()["detail"] or "cloudevents+json" in answer.json()["detail"]


class TestRefusing:
    @pytest.mark.parametrize(
        ("headers", "body", "faulty"),
        [
            ([], b"", ["specversion", "id", "source", "type"]),
            (
                [("ce-specversion", "0.3"), ("ce-id", ""), ("ce-time", "noon")],
                b"",
                ["specversion", "id", "source", "type", "time"],
            ),
            (
                [(f"ce-{name}", value) for name, value in BARE.items()] + [("ce-a_b", "x"), ("ce-data", "x")],
                b"{",
                ["a_b", "data", "data"],
            ),
            ([*binary("see")[0], ("ce-id", "2"), ("ce-subject", "%FF")], b"", ["id", "subject"]),
            (
                [*binary("see")[0], ("content-type", "nonsense"), ("ce-time", "2026-02-30T00:00:00Z")],
                b"x",
                ["datacontenttype", "time"],
            ),
            ([*binary("see")[0], ("content-type", "text/plain")], b"\xff", ["data"]),
            ([*binary("see")[0], ("content-type", "text/plain; charset=klingon")], b"x", ["data"]),
        ],
    )
    def test_all_faults_of_an_event_are_named_together(
        self, served: Served, headers: list[tuple[str, str]], body: bytes, faulty: list[str]
    ) -> None:
        answer = served.post(headers, body)
        assert (answer.status, answer.headers["content-type"]) == (400, "application/problem+json")
        problem = answer.json()
        assert (problem["status"], problem["title"]) == (400, "Bad Request")
        assert sorted(fault["where"] for fault in problem["faults"]) == sorted(faulty)
        assert all(fault["message"] for fault in problem["faults"])

    @pytest.mark.parametrize(
        ("body", "faulty"),
        [
            (b"", ["body"]),
            (b"\xff", ["body"]),
            (b"[]", ["body"]),
            (b"null", ["body"]),
            (b'{"specversion": NaN}', ["body"]),
            ({}, ["specversion", "id", "source", "type"]),
            (
                BARE | {"id": 1, "source": None, "time": 5, "list": [], "float": 1.5},
                ["id", "source", "time", "list", "float"],
            ),
            (BARE | {"subject": "a\nb", "x": "\ud800"}, ["subject", "x"]),
            (BARE | {"data_base64": "!"}, ["data_base64"]),
            (BARE | {"data_base64": 5}, ["data_base64"]),
            (BARE | {"data_base64": "AA==", "data": 1}, ["data_base64"]),
            (BARE | {"data_base64": "AA==", "datacontenttype": "application/json"}, ["data"]),
        ],
    )
    def test_all_faults_of_a_structured_event_are_named_together(
        self, served: Served, body: Any, faulty: list[str]
    ) -> None:
        answer = structured(served, body)
        assert answer.status == 400
        assert sorted(fault["where"] for fault in answer.json()["faults"]) == sorted(faulty)

    @pytest.mark.parametrize("data", [b"[" * 100_000, b"9" * 5_000, b'{"a":' * 50_000])
    def test_no_json_breaks_the_wrapper(self, served: Served, data: bytes) -> None:
        headers = [*binary("nothing")[0], ("content-type", "application/json")]
        assert served.post(headers, data).status in (202, 400)

    def test_only_events_and_probes_have_a_path(self, served: Served) -> None:
        assert served.request("POST", "/elsewhere", *binary("nothing")).status == 404
        assert served.request("GET", "/").status == 404
        assert served.request("PUT", "/", *binary("nothing")).status == 501

    @pytest.mark.parametrize("pieces", [1, 2])
    def test_a_body_over_the_limit_is_refused_and_the_connection_goes_on(self, runtime: Runtime, pieces: int) -> None:
        """What goes far beyond the limit is not read to its end, but still answered."""
        served = runtime.serve(LAMBDA_MAX_BODY="1000")
        headers, _ = binary("give")
        headers.append(("content-type", "text/plain"))
        with served.connect() as connection:
            for size, status in ((1000, 200), (1001, 413), (3000, 413), (1000, 200)):
                body = b"x" * size
                answer = connection.request(
                    "POST", "/", headers, iter([body[:600], body[600:]]) if pieces > 1 else body
                )
                assert answer.status == status
            assert connection.request("POST", "/", headers, b"x" * 4100).status == 413

    def test_the_limit_is_10_mib_unless_said_otherwise(self, served: Served) -> None:
        headers = [*binary("nothing")[0], ("content-type", "text/plain")]
        assert served.post(headers, b"x" * 10 * 1024 * 1024).status == 202
        assert served.post(headers, b"x" * (10 * 1024 * 1024 + 1)).status == 413

    @pytest.mark.parametrize(
        "framing",
        [
            b"content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            b"content-length: -1\r\n\r\n",
            b"content-length: 1\r\ncontent-length: 2\r\n\r\nxx",
            b"transfer-encoding: chunked\r\n\r\nzz\r\n",
            b"transfer-encoding: chunked\r\n\r\n1\r\nxx\r\n0\r\n\r\n",
        ],
    )
    def test_a_request_of_unclear_length_is_refused_and_the_connection_closed(
        self, served: Served, framing: bytes
    ) -> None:
        """Whoever sits in between could take the rest for a request of its own."""
        if served.runtime == "go" and framing.count(b": ") == 2 and b"chunked" in framing:
            pytest.skip("Go's own server goes by the chunks and drops the length, as RFC 9112 (6.3) allows")
        with served.connect() as connection:
            connection.http.connect()
            connection.http.sock.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n" + framing)
            with connection.http.sock.makefile("rb") as answer:
                assert answer.read().startswith(b"HTTP/1.1 400 ")


class TestAnswering:
    def test_nothing_is_answered_with_an_empty_202(self, served: Served) -> None:
        answer = served.send("nothing")
        assert (answer.status, answer.body) == (202, b"")
        assert not [name for name in answer.headers if name.startswith("ce-")]

    @pytest.mark.parametrize("value", [{"a": [1, "é"]}, [], "text", 0, False, ""])
    def test_json_is_wrapped_as_a_result_event(self, served: Served, value: Any) -> None:
        answer = served.send("give", value, subject="order 7", id="in")
        assert (answer.status, answer.json()) == (200, value)
        headers = answer.headers
        assert headers.pop("ce-time")
        assert {name: text for name, text in headers.items() if name.startswith(("ce-", "content-type"))} == {
            "ce-specversion": "1.0",
            "ce-id": hashlib.sha256(b"/tests\0in\0dev.knative-lambda.function.result").hexdigest(),
            "ce-source": "/knative-lambda/functions/acme/hello",
            "ce-type": "dev.knative-lambda.function.result",
            "ce-subject": "order%207",
            "ce-causationid": "in",
            "content-type": "application/json",
        }

    def test_an_event_that_comes_twice_is_answered_with_the_same_id(self, served: Served) -> None:
        def answered(**attributes: str) -> str:
            return served.send("give", 1, **attributes).headers["ce-id"]

        assert answered(id="1", source="/a") == answered(id="1", source="/a", subject="x")
        assert len({answered(id="1", source="/a"), answered(id="2", source="/a"), answered(id="1", source="/b")}) == 3

    def test_the_trace_goes_on_in_the_answer(self, served: Served) -> None:
        """The event's own trace is its origin and stays; one that has none gets that of the delivery."""
        headers, body = binary("give", 1)
        other = TRACE.replace("b7ad", "0000")
        assert served.post([*headers, ("Traceparent", TRACE)], body).headers["ce-traceparent"] == TRACE
        both = served.post([*headers, ("traceparent", other), ("ce-traceparent", TRACE)], body)
        assert both.headers["ce-traceparent"] == TRACE

    def test_a_function_may_make_its_own_event(self, served: Served) -> None:
        first, second = (served.send("made", {"type": kind, "data": {"x": 1}}) for kind in ("one.type", "another"))
        assert (first.status, first.json()) == (200, {"x": 1})
        assert (first.headers["ce-type"], first.headers["ce-subject"]) == ("one.type", "its%20own")
        assert first.headers["ce-source"] == "/knative-lambda/functions/acme/hello"
        assert first.headers["ce-id"] != second.headers["ce-id"]
        assert served.send("made", {"type": "one.type", "data": None}).body == b""

    def test_a_plain_value_that_looks_like_an_event_is_one(self, served: Served) -> None:
        answer = served.send("plain-event")
        assert (answer.status, answer.body) == (200, "grüß".encode())
        assert {name: text for name, text in answer.headers.items() if name.startswith(("ce-", "content-type"))} == {
            "ce-specversion": "1.0",
            "ce-id": "7",
            "ce-source": "/elsewhere",
            "ce-type": "plain",
            "ce-subject": "%C3%A9%20%22%25",
            "ce-flag": "true",
            "content-type": "text/plain",
        }

    def test_bytes_are_sent_as_they_are(self, served: Served) -> None:
        answer = served.send("binary-event")
        assert (answer.body, answer.headers["content-type"]) == (b"\x00\xff", "application/octet-stream")

    @pytest.mark.parametrize("content_type", ["application/json", "text/plain", "application/octet-stream"])
    def test_an_event_can_be_passed_on(self, served: Served, content_type: str) -> None:
        headers = [*binary("same", time="2026-01-02T03:04:05Z", tier="gold")[0], ("content-type", content_type)]
        answer = served.post(headers, b'"x"')
        assert (answer.status, answer.body) == (200, b'"x"')
        assert {(name, value) for name, value in answer.headers.items() if name != "content-length"} >= set(headers)

    @pytest.mark.parametrize(
        ("kind", "reason"),
        [("no-json", "JSON"), ("bytes", "bytes are no JSON"), ("bad-event", "id is empty; bad_name")],
    )
    def test_what_cannot_be_sent_is_a_failure_with_its_reason_in_the_log(
        self, served: Served, kind: str, reason: str
    ) -> None:
        answer = served.send(kind, id=f"odd-{kind}")
        assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
        [line] = served.lines(event_id=f"odd-{kind}")
        assert (line["level"], reason in line["message"]) == ("ERROR", True)

    @pytest.mark.parametrize("way", [0, 1])
    def test_an_exception_is_a_500_that_keeps_its_secrets_and_one_line_in_the_log(
        self, runtime: Runtime, way: int
    ) -> None:
        if way >= len(FAILING[runtime.name]):
            pytest.skip("there is one way alone")
        served = runtime.serve(LAMBDA_ENTRYPOINT=f"{MODULE[runtime.name]}.{FAILING[runtime.name][way]}")
        headers, body = binary("fail", id="7")
        answer = served.post([*headers, ("traceparent", TRACE)], body)
        assert (answer.status, answer.headers["content-type"]) == (500, "application/problem+json")
        assert (answer.json()["detail"], b"1234" in answer.body) == (EXCEPTION[runtime.name], False)
        assert served.send("fail", id="8").status == 500
        assert served.lines(event_id="8")  # so all of the first one's are there
        [line] = served.lines(event_id="7")
        assert (line["level"], line["event_type"], line["trace_id"]) == ("ERROR", "fail", TRACE_ID)
        assert "the password is 1234" in line["traceback"]
        assert FILE[runtime.name] in line["traceback"].split("\n")[1]


class TestContext:
    def test_a_function_is_told_who_it_is_and_how_long_it_has(self, served: Served) -> None:
        headers, body = binary("about")
        about = served.post([*headers, ("traceparent", TRACE)], body).json()
        assert about == {
            "name": "hello",
            "tenant": "acme",
            "revision": "hello-00001",
            "traceparent": TRACE,
            "seconds": pytest.approx(1000, abs=100),
        }

    def test_what_a_function_logs_bears_the_event_and_the_trace(self, served: Served) -> None:
        headers, body = binary("say", id="log-1")
        served.post([*headers, ("traceparent", TRACE)], body)
        [line] = served.lines(event_id="log-1")
        expected = {"level": "INFO", "message": "said by the function", "event_type": "say", "trace_id": TRACE_ID}
        identity = {"function": "hello", "tenant": "acme", "revision": "hello-00001"}
        assert line == line | expected | identity


class TestLoading:
    def test_functions_may_be_written_in_these_ways(self, runtime: Runtime) -> None:
        for entrypoint in WAYS[runtime.name]:
            assert runtime.serve(LAMBDA_ENTRYPOINT=entrypoint).send("x", {"a": 1}).json() == {"a": 1}

    @pytest.mark.parametrize(
        ("source", "entrypoint", "words"),
        [
            ({}, "", ["there is no"]),
            (
                {
                    "python": "import nowhere",
                    "node": "require('nowhere')",
                    "go": f'{GO}import _ "example.com/nowhere"\n',
                },
                "",
                ["nowhere", "requirements.txt|package.json|go.mod"],
            ),
            (
                {"python": "def other(e, c): ...", "node": "exports.other = () => {}", "go": f"{GO}func Other() {{}}"},
                "",
                ["andle"],
            ),
            (
                {"python": "def handle(", "node": "exports.handle = (", "go": f"{GO}func Handle("},
                "",
                ["main.py, line 1|SyntaxError|handle.go:3:13: syntax error"],
            ),
            (
                {"python": "handle = 5", "node": "exports.handle = 5", "go": f"{GO}var Handle = 5"},
                "",
                ["no function but a int|no function but a number"],
            ),
            (
                {
                    "python": "def handle(a, b, c): ...",
                    "node": "exports.handle = (a, b, c) => {}",
                    "go": f"{GO}func Handle(a, b, c int) {{}}",
                },
                "",
                ["must take (event, context)|must take (context.Context, lambda.Event)"],
            ),
            ({"python": "1 / 0", "node": "throw new Error('division')"}, "", ["division"]),
            ({"python": "", "node": "", "go": GO}, "handle", ["main.handle|index.handle|handle.Handle"]),
        ],
        ids=[
            "no file",
            "no dependency",
            "no function",
            "no syntax",
            "not callable",
            "parameters",
            "raises",
            "no module",
        ],
    )
    def test_what_cannot_be_loaded_ends_with_one_clear_last_line(
        self, runtime: Runtime, tmp_path: Path, source: dict[str, str], entrypoint: str, words: list[str]
    ) -> None:
        """For Go that is where it is compiled."""
        if source and runtime.name not in source:
            pytest.skip("nothing of a Go function is run where it is compiled")
        if source:
            (tmp_path / FILE[runtime.name]).write_text(source[runtime.name])
        code, lines = runtime.fail(tmp_path, LAMBDA_ENTRYPOINT=entrypoint or ENTRYPOINT[runtime.name])
        assert code == 1
        assert lines[-1].startswith("the function cannot be loaded: ")
        for word in words:
            assert any(choice in lines[-1] for choice in word.split("|")), lines

    def test_code_that_raises_while_it_is_loaded_is_shown_with_its_place(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        name = FILE[runtime.name]
        text = {
            "python": "\n\n1 / 0",
            "node": "\n\nnull.x",
            "go": f'{GO}func init() {{ panic("x") }}\n\nfunc Handle() {{}}',
        }
        (tmp_path / name).write_text(text[runtime.name])
        _, lines = runtime.fail(tmp_path)
        shown = lines if runtime.name == "go" else lines[:-1]
        assert any(name in line and "3" in line for line in shown), lines

    def test_a_folder_that_is_not_there_is_named(self, runtime: Runtime, tmp_path: Path) -> None:
        code, lines = runtime.fail(tmp_path / "gone")
        assert (code, lines[-1].endswith(f"there is no folder {tmp_path / 'gone'}")) == (1, True)

    def test_all_faults_of_the_environment_are_named_together(self, runtime: Runtime, tmp_path: Path) -> None:
        if runtime.name == "go":
            (tmp_path / "handle.go").write_text(f"{GO}func Handle() {{}}")
        code, lines = runtime.fail(tmp_path, PORT="http", LAMBDA_MAX_BODY="10M")
        assert (code, "PORT" in lines[-1], "LAMBDA_MAX_BODY" in lines[-1]) == (1, True, True)


class TestRunning:
    def test_both_probes_answer_once_the_function_is_loaded(self, served: Served) -> None:
        assert served.request("GET", "/healthz").status == 200
        assert served.request("GET", "/readyz").status == 200

    def test_it_listens_on_all_addresses_unless_told_otherwise(self, runtime: Runtime) -> None:
        everywhere = runtime.serve(HOST="")
        with everywhere.connect("127.0.0.2") as connection:
            assert connection.request("GET", "/readyz").status == 200
        with runtime.serve().connect("127.0.0.2") as connection, pytest.raises(ConnectionRefusedError):
            connection.request("GET", "/readyz")

    def test_events_are_handled_at_the_same_time(self, served: Served) -> None:
        """Each of the two waits for the other."""
        assert [answer.json() for answer in _at_once(served, "meet", 2)] == ["met", "met"]

    def test_no_more_events_are_handled_at_once_than_allowed(self, runtime: Runtime) -> None:
        served = runtime.serve(LAMBDA_CONCURRENCY="2")
        assert [answer.json() for answer in _at_once(served, "meet", 2)] == ["met", "met"]
        assert max(answer.json() for answer in _at_once(served, "crowd", 8)) <= 2

    def test_sigterm_lets_what_runs_finish_and_takes_nothing_new(self, runtime: Runtime, tmp_path: Path) -> None:
        served = runtime.serve()
        began, until = tmp_path / "began", tmp_path / "until"
        with served.connect() as running, served.connect() as kept:
            assert kept.request("GET", "/readyz").status == 200
            running.send("POST", "/", *binary("wait", {"began": str(began), "until": str(until)}))
            _until(began.exists)
            served.terminate()
            _until(lambda: kept.request("GET", "/readyz").status == 503)
            with served.connect() as late, pytest.raises((ConnectionRefusedError, ConnectionResetError)):
                late.request("GET", "/readyz")
            until.touch()
            answer = running.answer()
        assert (answer.status, answer.json(), answer.headers["connection"]) == (200, "done", "close")
        assert served.exit_code() == 0

    def test_sigterm_ends_an_idle_process_at_once_though_connections_are_kept(self, runtime: Runtime) -> None:
        served = runtime.serve()
        with served.connect() as kept:
            assert kept.request("GET", "/readyz").status == 200
            served.terminate()
            assert served.exit_code() == 0

    def test_it_ends_with_its_parent(self, runtime: Runtime, tmp_path: Path) -> None:
        """A parent that was killed can say nothing, but the pipe that it held is closed; what runs is given up."""
        served = runtime.serve(LAMBDA_PARENT_PIPE="1")
        began = tmp_path / "began"
        with served.connect() as running:
            running.send("POST", "/", *binary("wait", {"began": str(began), "until": str(tmp_path / "never")}))
            _until(began.exists)
            assert served.process.stdin is not None
            served.process.stdin.close()
            assert served.exit_code() == 0

    def test_it_goes_on_without_a_parent_unless_told(self, runtime: Runtime) -> None:
        served = runtime.serve()
        assert served.process.stdin is not None
        served.process.stdin.close()
        assert served.send("give", 1).json() == 1


def _at_once(served: Served, kind: str, number: int) -> list[Answer]:
    answers: list[Answer] = []
    threads = [
        threading.Thread(target=lambda at=at: answers.append(served.send(kind, id=str(at)))) for at in range(number)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def _until(condition: Any) -> None:
    deadline = threading.Event()
    for _ in range(3000):
        if condition():
            return
        deadline.wait(0.01)
    pytest.fail("it never happened")
