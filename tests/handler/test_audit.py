"""The audit trail: exactly one record for each call that is to change something, whatever is answered."""

import http.server
import io
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from support.door import Site, envelope
from support.reviews import FakeReviews, account
from support.stories import letter
from support.world import PYTHON, World

from knative_lambda.deploy.cluster import DEAD_LETTER
from knative_lambda.handler import router
from knative_lambda.handler.api.actions import ACTIONS
from knative_lambda.handler.audit.sink import Sink, sink_of
from knative_lambda.handler.audit.trail import AT_ONCE, NAME, Trail
from knative_lambda.handler.observe import logs
from knative_lambda.handler.observe.metrics import Metrics
from knative_lambda.handler.receive import asked
from knative_lambda.handler.receive.rates import Rates
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary, Unavailable
from knative_lambda.schemas.redaction import learn

PLACE = {"tenant": "acme", "name": "hello"}
IDS = {"third_party_id": "acme", "parser_id": "hello"}
OBJECT = {"apiVersion": "v1", "kind": "Pod", "namespace": "acme-builds", "name": "hello"}
BUILD = {"build": "hello-abc"}
SOURCE = {"source": {"inline": PYTHON}}
DATA: dict[str, dict[str, Any]] = {
    "build.start": {**PLACE, "runtime": "python", **SOURCE},
    "build.cancel": PLACE,
    "build.complete": {**PLACE, **BUILD, "image": "registry/acme/hello@sha256:" + "1" * 64},
    "build.failed": {**PLACE, **BUILD, "reason": "Broken"},
    "function.delete": PLACE,
    "legacy.build.start": {**IDS, "runtime": "python", **SOURCE},
    "legacy.build.complete": {**IDS, **BUILD, "image": "registry/acme/hello@sha256:" + "1" * 64},
    "legacy.build.failed": {**IDS, **BUILD},
    "legacy.build.cancel": IDS,
    "legacy.service.delete": IDS,
    "sources.ping": {},
    "apiserver.resource": OBJECT,
}
"""Data of each schema that is received."""
RECEIVED = [known for known in types.TYPES.values() if known.received]
MUTATING = [known for known in RECEIVED if known not in types.SOURCES]
FIELDS = (
    *("time", "caller", "operation", "tenant", "name", "status", "reason"),
    *("correlation_id", "event_id", "event_source", "event_type"),
)
SECRETIVE = ("hush", "payload", "def handle")


@dataclass
class FakeSink:
    """Keeps what is written, unless it is away."""

    lines: list[dict[str, Any]] = field(default_factory=list)
    writes: int = 0
    away: str = ""

    def write(self, lines: bytes) -> None:
        if self.away:
            raise Temporary(self.away)
        self.writes += 1
        self.lines += [json.loads(line) for line in lines.splitlines()]


def site_of(world: World | None = None, rates: Rates | None = None) -> tuple[Site, FakeSink]:
    sink = FakeSink()
    return Site(world or World(api=True), rates or Rates(), Trail(sink)), sink


def records(site: Site, sink: FakeSink) -> list[dict[str, Any]]:
    """Return the records that came since the last time."""
    assert site.trail is not None
    while site.trail.deliver() and site.trail._waiting:
        pass
    found, sink.lines = sink.lines, []
    return found


def test_every_type_of_event_that_is_handled_is_walked_over() -> None:
    assert {known.type for known in RECEIVED if not known.alias_of} == set(router.ROUTES)
    assert {known.schema for known in RECEIVED} == set(DATA)


@pytest.mark.parametrize("known", RECEIVED, ids=lambda known: known.type)
def test_each_event_has_one_record_and_hints_have_none(known: types.EventType) -> None:
    """Twice: what is sent again is asked for again, whether or not that changes anything."""
    site, sink = site_of()
    for number in ("1", "2"):
        answer = site.send(known.type, DATA[known.schema], id=number)
        found = records(site, sink)
        if known in types.SOURCES:
            assert (answer.status_code, found) == (202, [])
            continue
        [record] = found
        assert tuple(record) == FIELDS
        assert record == {
            "time": "2026-01-01T00:00:00.000+00:00",
            "caller": "",
            "operation": (known.alias_of or known.type).removeprefix(types.PREFIX),
            **PLACE,
            "status": answer.status_code,
            "reason": "" if answer.status_code == 202 else record["reason"],
            "correlation_id": answer.headers["X-Correlation-Id"],
            "event_id": number,
            "event_source": "/shop",
            "event_type": known.type,
        }


def test_each_request_that_may_change_something_has_one_record() -> None:
    """Walks over the paths that are served: one that is new and has no record fails here."""
    site, sink = site_of()
    letter(labels="")(site.world)  # type: ignore[arg-type] # a world is enough for it
    walked = set()
    for rule in site.http.application.url_map.iter_rules():
        for method in (rule.methods or set()) - {"GET", "HEAD", "OPTIONS"}:
            path = rule.rule.replace("<tenant>", "acme").replace("<name>", "lost")
            answer = site.http.open(path, method=method, json=PLACE, headers=envelope("function.delete"))
            [record] = records(site, sink)
            assert record["operation"] in asked.API | asked.EVENTS
            assert (record["tenant"], record["status"]) == ("acme", answer.status_code)
            walked.add((rule.rule, method))
    assert len(walked) == 4 + len(ACTIONS)
    assert site.world.cluster.list(DEAD_LETTER, "acme")


def test_who_only_reads_is_not_in_it_unless_turned_away() -> None:
    site, sink = site_of(rates=Rates({"tenant": {"perSecond": 1, "burst": 2}}, ("acme",), lambda: 0.0))
    assert [site.http.get("/v1/tenants/acme/functions").status_code for _ in range(3)] == [200, 200, 429]
    [record] = records(site, sink)
    assert (record["operation"], record["tenant"], record["reason"]) == ("listFunctions", "acme", "too-many")


@pytest.mark.parametrize(
    ("error", "status", "reason"),
    [(Unavailable("store", "away"), 503, "unavailable"), (ZeroDivisionError("hush"), 500, "internal")],
)
def test_what_goes_wrong_has_its_one_record(
    monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, reason: str
) -> None:
    site, sink = site_of()

    def fail(_: Any) -> None:
        raise error

    monkeypatch.setattr(site.door, "receive", fail)
    site.send("function.delete", PLACE)
    assert [(each["status"], each["reason"]) for each in records(site, sink)] == [(status, reason)]


def test_what_is_over_a_rate_has_its_one_record() -> None:
    site, sink = site_of(rates=Rates({"tenant": {"perSecond": 1, "burst": 1}}, ("acme",), lambda: 0.0))
    for number in ("1", "2", "3"):
        site.send("function.delete", PLACE, id=number)
    assert [(each["event_id"], each["status"]) for each in records(site, sink)] == [("1", 202), ("2", 429), ("3", 429)]


def test_a_request_of_a_caller_who_is_over_the_rate_has_one_record_that_says_who_and_what() -> None:
    site, sink = site_of(
        World(access_events=("token",)), Rates({"caller": {"perSecond": 1, "burst": 1}}, clock=lambda: 0.0)
    )
    site.door.reviews = reviews = FakeReviews()
    alice = account("acme", "alice")
    event = {"specversion": "1.0", "source": "/shop", "type": types.FUNCTION_DELETE, "data": PLACE}
    whole = json.dumps([{**event, "id": name, "time": "2026-01-01T00:00:00Z"} for name in ("1", "2")])
    headers = {"Content-Type": "application/cloudevents-batch+json"}
    headers["Authorization"] = f"Bearer {reviews.give(alice, 'knative-lambda')}"
    assert [site.http.post("/", data=whole, headers=headers).status_code for _ in range(2)] == [403, 429]
    found = [[each[key] for key in ("caller", "operation", "name", "status")] for each in records(site, sink)]
    assert found == [[alice.name, "function.delete", "hello", status] for status in (403, 429)]


@pytest.mark.parametrize(
    ("sent", "status", "operation", "event_id"),
    [
        ({"json": {"tenant": "acme"}, "headers": envelope("function.delete", "9")}, 422, "function.delete", "9"),
        ({"json": {}, "headers": envelope("io.strange", "9")}, 422, "event", "9"),
        ({"data": b"payload", "headers": {"Content-Type": "text/plain"}}, 400, "event", ""),
        ({"data": b"[{}, 1]", "headers": {"Content-Type": "application/cloudevents-batch+json"}}, 400, "event", ""),
    ],
)
def test_what_is_not_let_in_has_one_record_of_what_it_says_of_itself(
    sent: dict[str, Any], status: int, operation: str, event_id: str
) -> None:
    site, sink = site_of()
    assert site.http.post("/", **sent).status_code == status
    [record] = records(site, sink)
    assert (record["operation"], record["status"], record["event_id"]) == (operation, status, event_id)


@pytest.mark.parametrize("known", RECEIVED, ids=lambda known: known.type)
def test_whoever_may_not_has_one_record_and_is_named_where_it_is_known_who(known: types.EventType) -> None:
    """Also of a hint: only the product's own Brokers may bring one."""
    site, sink = site_of(World(access_events=("token",)))
    site.door.reviews = reviews = FakeReviews()
    alice = account("acme", "alice")
    token = {"Authorization": f"Bearer {reviews.give(alice, 'knative-lambda')}"}
    found = []
    for headers in ({}, token):
        site.send(known.type, DATA[known.schema], **headers)
        found += records(site, sink)
    assert [(each["status"], each["caller"]) for each in found] == [(401, ""), (403, alice.name)]
    assert {each["operation"] for each in found} == {asked.operation_of(known.type)}


@pytest.mark.parametrize("known", MUTATING, ids=lambda known: known.type)
def test_whoever_may_is_named_in_their_one_record(known: types.EventType) -> None:
    site, sink = site_of(World(access_events=("token",)))
    site.door.reviews = reviews = FakeReviews()
    alice = account("acme", "alice")
    for verb, resource in product(("create", "update", "delete"), ("functions", "builds")):
        reviews.allow(alice, verb, resource, "acme")
    token = f"Bearer {reviews.give(alice, 'knative-lambda')}"
    answer = site.send(known.type, DATA[known.schema], Authorization=token)
    [record] = records(site, sink)
    assert (record["status"], record["caller"]) == (answer.status_code, alice.name)
    assert answer.status_code not in (401, 403)


def test_whoever_may_not_read_or_resend_has_one_record_for_each_path() -> None:
    site, sink = site_of(World(api=True, access_api=("token",)))
    site.door.reviews = reviews = FakeReviews()
    headers = {"Authorization": f"Bearer {reviews.give(account('acme', 'alice'), 'knative-lambda')}"}
    walked = set()
    for rule in site.http.application.url_map.iter_rules():
        if rule.rule.startswith("/v1/"):
            path = rule.rule.replace("<tenant>", "acme").replace("<name>", "hello")
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                assert site.http.open(path, method=method, headers=headers).status_code == 403
                [record] = records(site, sink)
                assert (record["operation"], record["tenant"], record["status"]) == (rule.endpoint, "acme", 403)
                walked.add(rule.endpoint)
    assert walked == asked.API


def test_who_may_not_takes_nothing_of_what_a_tenant_may() -> None:
    rates = Rates({"tenant": {"perSecond": 1, "burst": 1}}, ("acme",), lambda: 0.0)
    site, _ = site_of(World(access_events=("token",)), rates)
    site.door.reviews = reviews = FakeReviews()
    alice, bob = account("acme", "alice"), account("other", "bob")
    reviews.allow(alice, "delete", "functions", "acme")
    tokens = {who: f"Bearer {reviews.give(who, 'knative-lambda')}" for who in (alice, bob)}
    sent = [site.send("function.delete", PLACE, Authorization=tokens[who]) for who in (bob, bob, alice, alice)]
    assert [answer.status_code for answer in sent] == [403, 403, 202, 429]


def test_each_event_of_a_batch_has_its_own() -> None:
    site, sink = site_of()
    event = {"specversion": "1.0", "source": "/shop", "type": types.FUNCTION_DELETE, "data": PLACE, "sequence": "1"}
    whole = [{**event, "id": name, "time": "2026-01-01T00:00:00Z"} for name in ("1", "2")]
    site.http.post("/", data=json.dumps(whole), headers={"Content-Type": "application/cloudevents-batch+json"})
    assert [each["event_id"] for each in records(site, sink)] == ["1", "2"]


def test_nothing_of_what_was_sent_stands_in_a_record() -> None:
    site, sink = site_of()
    secret = {"source": {"inline": {"main.py": "def handle(event, context): 'payload'\n"}}, "env": {"KEY": "hush-hush"}}
    site.send("build.start", {**DATA["build.start"], **secret}, Authorization="Bearer hush-hush-hush")
    site.send("build.start", {**DATA["build.start"], "env": {"no name": "hush-hush"}})
    found = records(site, sink)
    assert len(found) == 2
    assert not any(word in json.dumps(found) for word in SECRETIVE)


def test_a_record_is_a_marked_line_on_standard_output_sink_or_none() -> None:
    stream = io.StringIO()
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        logs.configure(stream)
        Site(World(), trail=Trail()).send("function.delete", PLACE)
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    lines = [json.loads(line) for line in stream.getvalue().splitlines()]
    [line] = [each for each in lines if each["msg"] == "audit"]
    assert (line["operation"], line["name"], line["status"]) == ("function.delete", "hello", 202)


def test_a_sinks_copy_holds_no_secret_either() -> None:
    """It goes by another way than the log's lines, which are cleaned once more."""
    site, sink = site_of()
    secret = learn("Zq7wPl0vR4tYb2NcXs9MdEfGhJk5Ua8i")
    # pragma: allowlist nextline secret
    site.send("function.delete", PLACE, id=secret, Ce_Source=f"https://me:hush-hush@shop/?token={secret}")
    site.send("function.delete", PLACE, id="x" * (logs.SHOWN - 8) + secret)
    first, second = records(site, sink)
    assert (first["event_id"], first["event_source"]) == ("***", "https://***shop/?token=***")
    assert second["event_id"] == "x" * (logs.SHOWN - 8) + "***"


def test_a_sender_chooses_no_length_of_a_record() -> None:
    site, sink = site_of()
    site.send("function.delete", PLACE, id="x" * 4000)
    [record] = records(site, sink)
    assert len(record["event_id"]) == logs.SHOWN


# the queue


def filled(trail: Trail, number: int) -> None:
    for each in range(number):
        trail.add({"event_id": str(each)})


def test_a_dead_sink_is_told_once_and_loses_what_does_not_fit_and_no_more(caplog: pytest.LogCaptureFixture) -> None:
    sink, metrics = FakeSink(away="no route"), Metrics()
    trail = Trail(sink, [metrics.audited], bound=20)
    filled(trail, 25)
    assert [trail.deliver() for _ in range(3)] == [False] * 3
    sink.away = ""
    assert trail.deliver()
    assert [line["event_id"] for line in sink.lines] == [str(number) for number in range(20)]
    assert trail.deliver()
    warnings = [record.getMessage() for record in caplog.records if record.name != NAME]
    assert warnings == ["the audit sink is away: no route", "the audit sink takes records again"]
    counts = {"sent": 20.0, "later": 60.0, "lost": 5.0}
    for outcome, number in counts.items():
        assert metrics.registry.get_sample_value("knative_lambda_audit_records_total", {"outcome": outcome}) == number


def test_records_go_in_batches_in_their_order() -> None:
    sink = FakeSink()
    trail = Trail(sink)
    filled(trail, 2 * AT_ONCE + 1)
    assert [trail.deliver() for _ in range(3)] == [True] * 3
    assert (sink.writes, len(sink.lines)) == (3, 2 * AT_ONCE + 1)


def test_a_bug_in_a_sink_is_an_outage_of_it(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def write(self, lines: bytes) -> None:
            raise KeyError("hush")

    trail = Trail(Broken())
    filled(trail, 1)
    assert not trail.deliver()
    assert "KeyError" in caplog.text
    assert "hush" not in caplog.text


def test_what_waits_goes_out_when_the_process_ends() -> None:
    sink = FakeSink()
    trail = Trail(sink)
    trail.start()
    filled(trail, 3)
    trail.stop(timeout=60)
    assert len(sink.lines) == 3


def test_an_end_waits_for_no_sink_that_is_away(caplog: pytest.LogCaptureFixture) -> None:
    lost: list[tuple[str, int]] = []
    trail = Trail(FakeSink(away="gone"), [lambda outcome, number: lost.append((outcome, number))])
    trail.start()
    filled(trail, 3)
    trail.stop(timeout=60)
    assert lost[-1] == ("lost", 3)
    assert "3 records of the audit trail are on standard output alone" in caplog.text


def test_nobody_waits_for_a_sink_that_hangs() -> None:
    """The record is taken while the thread is in the middle of a write that does not end."""
    writing, release = threading.Event(), threading.Event()

    class Hanging:
        def write(self, lines: bytes) -> None:
            writing.set()
            release.wait(60)

    trail = Trail(Hanging())
    trail.start()
    filled(trail, AT_ONCE)
    assert writing.wait(60)
    filled(trail, 100)
    release.set()
    trail.stop(timeout=60)


# the sinks


@dataclass
class Request:
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Server:
    """An HTTP server that keeps what it is sent."""

    url: str = ""
    answer: int = 200
    more: dict[str, str] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)


@pytest.fixture
def server() -> Iterator[Server]:
    kept = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {name.lower(): value for name, value in self.headers.items()}
            kept.requests.append(Request(self.path, headers, body))
            self.send_response(kept.answer)
            for name, value in {"Content-Length": "0", **kept.more}.items():
                self.send_header(name, value)
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
            pass

    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    kept.url = f"http://127.0.0.1:{running.server_port}"
    yield kept
    running.shutdown()
    running.server_close()


def opened(url: str, credentials: Path | str = "") -> Sink:
    sink = sink_of(url, str(credentials))
    assert sink is not None
    return sink


def credentials(folder: Path, **files: str) -> Path:
    for name, value in files.items():
        (folder / name).write_text(f"{value}\n")
    return folder


LINES = b'{"a": 1}\n{"a": 2}\n'


def test_a_file_gets_the_lines_and_may_be_moved_away(tmp_path: Path) -> None:
    sink, file = opened((tmp_path / "audit.jsonl").as_uri()), tmp_path / "audit.jsonl"
    sink.write(LINES)
    sink.write(LINES)
    assert file.read_bytes() == LINES * 2
    assert file.stat().st_mode & 0o077 == 0
    file.rename(tmp_path / "older")
    sink.write(LINES)
    assert file.read_bytes() == LINES


def test_a_file_that_cannot_be_written_is_away(tmp_path: Path) -> None:
    with pytest.raises(Temporary, match="No such file"):
        opened((tmp_path / "none" / "audit.jsonl").as_uri()).write(LINES)


def test_lines_are_posted(server: Server, tmp_path: Path) -> None:
    opened(f"{server.url}/audit?x=1", credentials(tmp_path, token="hush-token")).write(LINES)
    [request] = server.requests
    assert (request.path, request.body) == ("/audit?x=1", LINES)
    assert request.headers["content-type"] == "application/x-ndjson"
    assert request.headers["authorization"] == "Bearer hush-token"


def test_credentials_are_read_anew_and_may_be_none(server: Server, tmp_path: Path) -> None:
    sink = opened(server.url + "/audit", tmp_path)
    sink.write(LINES)
    credentials(tmp_path, username="me", password="hush-one")
    sink.write(LINES)
    first, second = (request.headers.get("authorization") for request in server.requests)
    assert (first, second) == (None, "Basic bWU6aHVzaC1vbmU=")


def test_clickhouse_gets_rows(server: Server, tmp_path: Path) -> None:
    url = server.url.replace("http", "clickhouse+http")
    opened(f"{url}/audit.records", credentials(tmp_path, username="me", password="hush-hush")).write(LINES)
    [request] = server.requests
    query = parse_qs(urlsplit(request.path).query)
    assert query["query"] == ["INSERT INTO audit.records FORMAT JSONEachRow"]
    assert (request.headers["x-clickhouse-user"], request.headers["x-clickhouse-key"]) == ("me", "hush-hush")
    assert "hush" not in request.path
    assert request.body == LINES


@pytest.mark.parametrize(
    ("answer", "more"),
    [
        (500, {}),
        (401, {}),
        (302, {"Location": "http://127.0.0.1:1/elsewhere"}),
        (200, {"X-ClickHouse-Exception-Code": "60"}),
    ],
)
def test_any_other_answer_than_a_success_is_an_outage(server: Server, answer: int, more: dict[str, str]) -> None:
    server.answer, server.more = answer, more
    with pytest.raises(Temporary, match=f"answered {answer}"):
        opened(server.url + "/audit").write(LINES)
    server.answer, server.more = 204, {}
    opened(server.url + "/audit").write(LINES)


def test_nobody_there_is_an_outage() -> None:
    with pytest.raises(Temporary, match="did not answer"):
        opened("http://127.0.0.1:1/audit").write(LINES)


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hush-hush@host/audit",  # pragma: allowlist secret
        "ftp://host/audit",
        "file://host/audit",
        "file:///",
        "http:///audit",
        "http://host:port/audit",
        "clickhouse+http://host/",
        "clickhouse+http://host/table;drop",
        "clickhouse+http://host/a.b.c",
        "clickhouse+http://host/audit?query=x",
    ],
)
def test_what_is_no_sink_stops_the_start_and_is_not_quoted(url: str) -> None:
    with pytest.raises(ValueError, match="the audit sink's URL") as wrong:
        sink_of(url)
    assert "hush" not in str(wrong.value)
