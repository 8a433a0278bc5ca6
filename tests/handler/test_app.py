"""The HTTP door: every answer says what to do next, and an accepted event is answered with nothing."""

import io
import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import jsonschema_rs
import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from werkzeug.test import TestResponse

from knative_lambda.deploy.cluster import FUNCTION, Kind
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.api.live import Look
from knative_lambda.handler.api.pages import Part, Wanted
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import app as http
from knative_lambda.handler.receive import intake
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Conflict, Malformed, Refused, TooLarge, Unavailable

HEADERS = {
    "Ce-Specversion": "1.0",
    "Ce-Id": "1",
    "Ce-Source": "/shop",
    "Ce-Type": "dev.knative-lambda.function.delete",
    "Ce-Subject": "hello",
    "Content-Type": "application/json",
}
DATA = json.dumps({"tenant": "acme", "name": "hello"}).encode()
BATCH = {"Content-Type": intake.BATCHED}


HELLO = {
    "metadata": {"name": "hello", "namespace": "acme", "uid": "1", "resourceVersion": "1"},
    "spec": {"function": "hello", "functionUID": "1"},
    "state": "Ready",
    "allowed_actions": ["start", "cancel", "retry", "rollback", "pause", "resume", "delete", "resend"],
}


@dataclass
class Records:
    """One Function, one Build and its log, one DeadLetter, all named hello in acme."""

    def _one(self, *names: str) -> dict[str, Any] | None:
        return dict(HELLO) if names in (("acme",), ("acme", "hello")) else None

    def page(self, kind: Kind, namespace: str, wanted: Wanted) -> Part | None:
        found = self._one(namespace)
        return Part([found], "") if found else None

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        return self._one(namespace, name)

    def get_log(self, tenant: str, name: str) -> bytes | None:
        return b"<b>step 1</b>\n" if self._one(tenant, name) else None

    def resend(self, namespace: str, name: str) -> dict[str, Any] | None:
        return self._one(namespace, name)

    def look(self, tenant: str, name: str, before: Look | None) -> Look | None:
        found = self._one(tenant, name)
        return Look(found, {}) if found else None

    def has(self, kind: Kind, namespace: str) -> bool:
        return namespace == "acme"

    def now(self) -> datetime:
        return datetime.now(UTC)

    def resend_all(self, namespace: str) -> int | None:
        return 1 if self._one(namespace) else None


@dataclass
class FakeDoor:
    """Keeps what it receives; raises what it was told to raise at an event of that id."""

    raises: dict[str, Exception] = field(default_factory=dict)
    states: dict[str, str] = field(default_factory=lambda: {"store": "closed", "cluster": "closed"})
    read: Records | None = None
    received: list[Event] = field(default_factory=list)
    answers: int = 0
    access: Entrances = field(default_factory=lambda: Entrances(lambda _: None))

    def receive(self, event: Event) -> None:
        self.received.append(event)
        if event.id in self.raises:
            raise self.raises[event.id]

    def answered(self) -> None:
        self.answers += 1

    def dependencies(self) -> Mapping[str, str]:
        return self.states


@pytest.fixture
def door() -> FakeDoor:
    return FakeDoor()


def client_of(
    door: FakeDoor, limits: Limits | None = None, draining: Callable[[], bool] = lambda: False
) -> FlaskClient:
    return http.create_app(door, HttpSettings(limits or Limits()), draining=draining).test_client()


@pytest.fixture
def client(door: FakeDoor) -> FlaskClient:
    return client_of(door)


def problem(answer: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """Return the problem that an answer tells, as `openapi.json` describes it."""
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    body: dict[str, Any] = answer.get_json(force=True)
    jsonschema_rs.validate(catalogue.openapi()["components"]["schemas"]["Problem"], body)
    assert (body["type"], body["status"]) == (f"https://knative-lambda.dev/problems/{slug}", status)
    assert body["correlation_id"] == answer.headers["X-Correlation-Id"]
    return body


def batch_of(*ids: str) -> bytes:
    common = {"specversion": "1.0", "source": "/shop", "type": HEADERS["Ce-Type"], "data": json.loads(DATA)}
    return json.dumps([{**common, "id": name} for name in ids]).encode()


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]


@pytest.mark.parametrize("path", ["/", "/events"])
def test_an_accepted_event_is_answered_with_nothing(client: FlaskClient, door: FakeDoor, path: str) -> None:
    answer = client.post(path, data=DATA, headers=HEADERS)
    assert (answer.status_code, answer.data, answer.content_type) == (202, b"", None)
    assert [event.data for event in door.received] == [json.loads(DATA)]


def test_every_event_of_a_batch_is_handled_and_answered_with_nothing(client: FlaskClient, door: FakeDoor) -> None:
    answer = client.post("/", data=batch_of("1", "2", "3"), headers=BATCH)
    assert (answer.status_code, answer.data) == (202, b"")
    assert [event.id for event in door.received] == ["1", "2", "3"]
    assert client.post("/", data=b"[]", headers=BATCH).status_code == 202


@pytest.mark.parametrize(
    ("error", "status", "slug"),
    [
        (Malformed.because("id", "is odd"), 400, "malformed"),
        (TooLarge.because("/data/source", "is huge"), 413, "too-large"),
        (Refused.because("/data/tenant", "is nobody's"), 422, "refused"),
        (Unavailable("store", "breaker is open", retry_after=7), 503, "unavailable"),
        (Conflict("somebody wrote first"), 503, "unavailable"),
        (ZeroDivisionError("secret detail"), 500, "internal"),
    ],
)
def test_an_error_says_what_to_do_next(
    client: FlaskClient, door: FakeDoor, error: Exception, status: int, slug: str
) -> None:
    door.raises["1"] = error
    body = problem(client.post("/", data=DATA, headers=HEADERS), status, slug)
    faults = error.faults if isinstance(error, Refused) else ()
    assert body["faults"] == [{"where": fault.where, "message": fault.message} for fault in faults]


def test_a_temporary_error_says_when_to_come_again(client: FlaskClient, door: FakeDoor) -> None:
    door.raises["1"] = Unavailable("store", "breaker is open", retry_after=7)
    assert client.post("/", data=DATA, headers=HEADERS).headers["Retry-After"] == "7"


def test_a_bug_is_told_to_the_log_and_not_to_the_sender(
    client: FlaskClient, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    door.raises["1"] = ZeroDivisionError("secret detail")
    answer = client.post("/", data=DATA, headers=HEADERS)
    assert b"secret" not in answer.data
    assert b"ZeroDivision" not in answer.data
    (record,) = caplog.records
    assert record.exc_info
    assert record.exc_info[1] is door.raises["1"]
    assert lines(caplog)[0]["correlation_id"] == answer.headers["X-Correlation-Id"]


def test_all_faults_of_an_event_are_told(client: FlaskClient, door: FakeDoor) -> None:
    answer = client.post("/", data=b"{}", headers={**HEADERS, "Ce-Id": "", "Ce-Time": "junk"})
    faults = problem(answer, 400, "malformed")["faults"]
    assert [fault["where"] for fault in faults] == ["time", "id", "/data", "/data"]
    assert door.received == []


@pytest.mark.parametrize(
    ("raised", "status", "wheres"),
    [
        ({"2": Refused.because("/data/a", "x"), "3": Refused.because("b", "y")}, 422, ["/1/data/a", "/2/b"]),
        ({"1": Refused.because("a", "x"), "3": Malformed.because("b", "y")}, 400, ["/0/a", "/2/b"]),
        ({"1": TooLarge.because("a", "x")}, 413, ["/0/a"]),
        ({"1": Refused.because("a", "x"), "2": Conflict("later"), "3": KeyError("bug")}, 503, []),
        ({"1": Refused.because("a", "x"), "3": KeyError("bug")}, 500, []),
    ],
)
def test_a_batch_is_answered_by_what_can_still_succeed(
    client: FlaskClient, door: FakeDoor, raised: dict[str, Exception], status: int, wheres: list[str]
) -> None:
    """Every event is handled, whatever the others raise: handling one twice is harmless."""
    door.raises = raised
    answer = client.post("/", data=batch_of("1", "2", "3"), headers=BATCH)
    assert answer.status_code == status
    assert [fault["where"] for fault in answer.get_json(force=True)["faults"]] == wheres
    assert len(door.received) == 3


def test_a_batch_waits_as_long_as_its_slowest_event_asks(client: FlaskClient, door: FakeDoor) -> None:
    door.raises = {"1": Conflict("x", retry_after=3), "2": Unavailable("store", "x", retry_after=9)}
    assert client.post("/", data=batch_of("1", "2"), headers=BATCH).headers["Retry-After"] == "9"


class Endless(io.RawIOBase):
    """A body without an end, or one that breaks."""

    def __init__(self, *, breaks: bool) -> None:
        self.breaks = breaks
        self.given = 0

    def read(self, size: int = -1) -> bytes:
        if self.breaks:
            raise ConnectionResetError
        self.given += size
        return b"x" * size


def test_a_body_without_a_length_or_an_end_is_refused_and_not_read_for_ever(door: FakeDoor) -> None:
    body = Endless(breaks=False)
    sent = {"wsgi.input": body, "wsgi.input_terminated": True}
    answer = client_of(door, Limits(body=200_000)).post("/", headers=HEADERS, environ_overrides=sent)
    problem(answer, 413, "too-large")
    assert body.given < 100_000_000


def test_a_length_beyond_all_measure_is_refused_unread(door: FakeDoor) -> None:
    body = Endless(breaks=False)
    sent = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": "1000000000"}
    problem(client_of(door, Limits(body=100)).post("/", headers=HEADERS, environ_overrides=sent), 413, "too-large")
    assert body.given == 0


@pytest.mark.parametrize("body", [Endless(breaks=True), io.BytesIO(DATA)], ids=["reset", "short"])
def test_a_client_that_leaves_early_is_no_error_of_ours(client: FlaskClient, body: io.IOBase) -> None:
    sent = {"wsgi.input": body, "wsgi.input_terminated": True, "CONTENT_LENGTH": "100"}
    problem(client.post("/", headers=HEADERS, environ_overrides=sent), 400, "malformed")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"X-Request-Id": "req-1"}, "req-1"),
        (
            {"Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
            "4bf92f3577b34da6a3ce929d0e0e4736",
        ),
        ({"X-Request-Id": "req-1", "Traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}, "req-1"),
    ],
)
def test_the_caller_names_the_correlation(
    client: FlaskClient, caplog: pytest.LogCaptureFixture, headers: dict[str, str], expected: str
) -> None:
    caplog.set_level(logging.INFO)
    answer = client.post("/", data=DATA, headers={**HEADERS, **headers})
    assert answer.headers["X-Correlation-Id"] == expected
    assert lines(caplog)[0]["correlation_id"] == expected


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Request-Id": "a b"},
        {"X-Request-Id": "x" * 129},
        {"X-Request-Id": '{"forged": "line"}'},
        {"Traceparent": "00-00000000000000000000000000000000-00f067aa0ba902b7-01"},
        {"Traceparent": "junk"},
    ],
)
def test_a_correlation_that_is_not_well_formed_is_replaced(client: FlaskClient, headers: dict[str, str]) -> None:
    first, second = (client.get("/health/live", headers=headers).headers["X-Correlation-Id"] for _ in range(2))
    assert len(first) == 32
    assert first != second


def test_each_event_handled_has_one_line(client: FlaskClient, door: FakeDoor, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    door.raises["2"] = Conflict("later")
    client.post("/", data=batch_of("1", "2"), headers={**BATCH, "X-Request-Id": "r"})
    assert [(line["event_id"], line["status"], line["why"]) for line in lines(caplog)] == [
        ("1", 202, ""),
        ("2", 503, "later"),
    ]
    line = lines(caplog)[0]
    assert (line["event_type"], line["event_source"], line["event_subject"]) == (HEADERS["Ce-Type"], "/shop", "")
    assert (line["correlation_id"], line["milliseconds"] >= 0) == ("r", True)
    assert (line["tenant"], line["function"], line["build"]) == ("acme", "hello", "")


def test_what_is_not_let_in_has_its_line_too(client: FlaskClient, caplog: pytest.LogCaptureFixture) -> None:
    """With every fault, and with what the sender says of the event: nobody else tells which one it was."""
    client.post("/", data=b"{}", headers=HEADERS)
    [line] = lines(caplog)
    assert (line["status"], line["event_id"], line["event_type"]) == (422, HEADERS["Ce-Id"], HEADERS["Ce-Type"])
    assert len(line["faults"]) > 1
    assert "/data: `tenant` is missing" in line["faults"]


def test_what_the_product_tells_itself_is_a_line_only_where_it_fails(
    client: FlaskClient, door: FakeDoor, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    door.raises["2"] = Conflict("later")
    for name in ("1", "2"):
        client.post("/", data=b"{}", headers={**HEADERS, "Ce-Type": "dev.knative.sources.ping", "Ce-Id": name})
    assert [line["event_id"] for line in lines(caplog)] == ["2"]


def test_health_is_about_the_process_alone(client: FlaskClient, door: FakeDoor) -> None:
    door.states = {"store": "open"}
    assert client.get("/health/live").status_code == 200
    ready = client.get("/health/ready")
    assert (ready.status_code, ready.get_json()) == (200, {"status": "ready", "degraded": ["store"]})


def test_a_draining_process_is_alive_and_not_ready(door: FakeDoor) -> None:
    client = client_of(door, draining=lambda: True)
    assert client.get("/health/live").status_code == 200
    assert client.get("/health/ready").status_code == 503


def test_a_draining_process_takes_nothing_new(door: FakeDoor) -> None:
    """What comes on a connection that was open already is for another process, and says so."""
    answer = client_of(door, draining=lambda: True).post("/", data=DATA, headers=HEADERS)
    assert "about to end" in problem(answer, 503, "unavailable")["detail"]
    assert answer.headers["Retry-After"] == "1"
    assert door.received == []


def test_what_waits_for_the_answer_is_done_once_it_is_out(door: FakeDoor) -> None:
    """Also where the event could not be handled, or is none."""
    client = client_of(door)
    for number, (event_id, body) in enumerate([("1", DATA), ("bug", DATA), ("3", b"no JSON")], 1):
        door.raises["bug"] = ZeroDivisionError()
        with client.post("/", data=body, headers={**HEADERS, "Ce-Id": event_id}, buffered=False):
            assert door.answers == number - 1
        assert door.answers == number


def test_listeners_hear_of_every_event_and_what_it_was_answered(door: FakeDoor) -> None:
    heard: list[tuple[str, int]] = []
    listeners = [lambda kind, status, seconds: heard.append((kind, status)) if seconds >= 0 else None]
    client = http.create_app(door, HttpSettings(), listeners=listeners).test_client()
    door.raises["2"] = Conflict("later")
    for name in ("1", "2"):
        client.post("/", data=DATA, headers={**HEADERS, "Ce-Id": name})
    client.post("/", data=b"{}")
    assert heard == [(HEADERS["Ce-Type"], 202), (HEADERS["Ce-Type"], 503), ("", 400)]


@pytest.mark.parametrize(("state", "status"), [("closed", 200), ("open", 503), ("half-open", 503)])
def test_broken_dependencies_are_named(client: FlaskClient, door: FakeDoor, state: str, status: int) -> None:
    door.states["store"] = state
    answer = client.get("/health/dependencies")
    assert answer.status_code == status
    assert answer.get_json()["dependencies"] == {"store": state, "cluster": "closed"}


def test_the_description_of_the_paths_is_served_and_true(door: FakeDoor) -> None:
    door.read = Records()
    client = client_of(door)
    described = client.get("/openapi.json").get_json()
    assert described == catalogue.openapi()
    served = {
        (re.sub(r"<(\w+)>", r"{\1}", rule.rule), method.lower())
        for rule in client.application.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if rule.rule.startswith("/v1/")
    }
    assert served == {(path, method) for path, methods in described["paths"].items() for method in methods}
    for path, method in served:
        start = {"runtime": "python", "source": {"inline": {"main.py": "x = 1"}}} if path.endswith("/start") else None
        answer = client.open(path.format(tenant="acme", name="hello"), method=method, json=start)
        assert str(answer.status_code) in described["paths"][path][method]["responses"]
        assert answer.status_code == (202 if method == "post" else 200)
        problem(client.open(path.format(tenant="other", name="hello"), method=method), 404, "not-found")


def test_the_records_are_served(door: FakeDoor) -> None:
    door.read = Records()
    client = client_of(door)
    assert client.get("/v1/tenants/acme/functions").get_json() == {
        "items": [HELLO],
        "metadata": {"continue": ""},
    }
    assert client.get("/v1/tenants/acme/builds/hello").get_json() == HELLO
    log = client.get("/v1/tenants/acme/builds/hello/log")
    assert (log.data, log.content_type) == (b"<b>step 1</b>\n", "text/plain; charset=utf-8")


def test_without_a_read_model_the_records_are_not_enabled(client: FlaskClient) -> None:
    assert "not enabled" in problem(client.get("/v1/tenants/acme/functions"), 404, "not-found")["detail"]


def test_a_name_that_can_be_no_objects_is_not_looked_for(door: FakeDoor) -> None:
    class Strict(Records):
        def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
            raise AssertionError(name)

    door.read = Strict()
    for name in ("..", "Hello", "a%2Fb", "x" * 64, "a%00"):
        assert client_of(door).get(f"/v1/tenants/acme/functions/{name}").status_code == 404


def test_a_dependency_that_is_away_while_reading_is_told(door: FakeDoor, caplog: pytest.LogCaptureFixture) -> None:
    class Away(Records):
        def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
            raise Unavailable("cluster", "no answer") if kind == FUNCTION else KeyError("secret")

    door.read = Away()
    problem(client_of(door).get("/v1/tenants/acme/functions/hello"), 503, "unavailable")
    assert "secret" not in str(problem(client_of(door).get("/v1/tenants/acme/builds/hello"), 500, "internal"))
    assert [(line["status"], line["why"]) for line in lines(caplog)] == [(503, "cluster: no answer"), (500, "")]


@pytest.mark.parametrize("path", ["/other", "/health//live", "/events/", "/health", "/v1"])
def test_an_unknown_path_is_a_problem(client: FlaskClient, path: str) -> None:
    problem(client.post(path, data=DATA, headers=HEADERS), 404, "not-found")


def test_whoever_has_but_the_address_is_told_where_to_go(client: FlaskClient) -> None:
    """Where there is a page, it leads there; here there is none."""
    said = client.get("/").get_json()
    assert (said["events"], said["description"]) == ("/", "/openapi.json")
    for path in (said["description"], *said["health"]):
        assert client.get(path).status_code == 200
    assert client.post(said["events"], data=DATA, headers=HEADERS).status_code == 202


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/"), ("PUT", "/events"), ("OPTIONS", "/"), ("POST", "/health/live"), ("X", "/")]
)
def test_a_wrong_method_is_a_problem_that_names_the_right_one(client: FlaskClient, method: str, path: str) -> None:
    answer = client.open(path, method=method)
    problem(answer, 405, "method-not-allowed")
    assert answer.headers["Allow"]


@settings(max_examples=100, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "HEAD"]),
    path=st.sampled_from(["/", "/events", "/v1/tenants/acme/functions/x", "/health/ready"])
    | st.text(max_size=20).map(lambda text: f"/{text}").filter(lambda path: path[:2] != "//"),  # to this client a host
    headers=st.dictionaries(
        st.sampled_from([*HEADERS, "X-Request-Id", "Traceparent", "Ce-Time", "Host", "Content-Encoding", "Expect"]),
        st.text(st.characters(max_codepoint=255, exclude_characters="\r\n"), max_size=30)
        | st.sampled_from(list(HEADERS.values())),
    ),
    body=st.binary(max_size=50) | st.sampled_from([DATA, b"[]", b"{}", batch_of("1")]),
)
def test_no_request_is_an_error_of_ours(
    client: FlaskClient, method: str, path: str, headers: dict[str, str], body: bytes
) -> None:
    answer = client.open(path, method=method, headers=headers, data=body)
    assert answer.status_code in (200, 202, 400, 404, 405, 413, 422)
    if answer.status_code >= 400 and method != "HEAD":
        problem(answer, answer.status_code, answer.get_json(force=True)["type"].rpartition("/")[2])
