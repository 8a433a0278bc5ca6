import base64
import http.server
import json
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.deploy.cluster import BROKER, KNATIVE_SERVICE, NAMESPACE, TRIGGER, Object
from knative_lambda.deploy.embedded.deliveries import Deliveries
from knative_lambda.deploy.embedded.eventing import HOPS, Eventing
from knative_lambda.deploy.embedded.messages import Message
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.embedded.subscribers import Subscribers
from knative_lambda.deploy.embedded.transport import NoAnswer, Request, Response

EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/shop",
    "ce-type": "demo.hello",
    "content-type": "application/json",
}
BODY = b'{"a": 1}'
REPLY = {**EVENT, "ce-id": "2", "ce-type": "demo.reply"}
Answer = Callable[[Request], Response]


def service_ref(name: str) -> Object:
    return {"ref": {"apiVersion": KNATIVE_SERVICE.api_version, "kind": KNATIVE_SERVICE.kind, "name": name}}


class Bench:
    """Brokers whose subscribers are functions of the test, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "deliveries.sqlite"
        self.now = 1_000_000.0
        self.cluster = SQLiteCluster(":memory:")
        self.received: dict[str, list[Request]] = {}
        self.unwanted: list[tuple[str, str, str]] = []
        self.answers: dict[str, Answer] = {}
        self.eventing = self.restarted()
        self.create(NAMESPACE, "demo", {})
        self.create(BROKER, "default", {})

    def restarted(self) -> Eventing:
        subscribers = Subscribers(self.cluster, self.call)
        deliveries = Deliveries(self.path)
        return Eventing(self.cluster, deliveries, subscribers, clock=lambda: self.now, unwanted=self.note)

    def note(self, namespace: str, broker: str, message: Message) -> None:
        self.unwanted.append((namespace, broker, message.attributes["type"]))

    def call(self, _namespace: str, name: str, request: Request) -> Response:
        self.received.setdefault(name, []).append(request)
        return self.answers[name](request)

    def create(self, kind: Any, name: str, spec: Object) -> Object:
        place = {"namespace": "demo"} if kind.namespaced else {}
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **place}}
        return self.cluster.create(kind, {**head, "spec": spec})

    def subscriber(self, name: str, answer: Answer = lambda _: Response(202)) -> None:
        service = self.create(KNATIVE_SERVICE, name, {"template": {}})
        address = {"address": {"url": f"http://127.0.0.1:1/functions/demo/{name}"}}
        self.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": address})
        self.answers[name] = answer

    def trigger(self, name: str, answer: Answer = lambda _: Response(202), **spec: Any) -> None:
        self.subscriber(name, answer)
        self.create(TRIGGER, name, {"broker": "default", "subscriber": service_ref(name), **spec})

    def publish(self, headers: dict[str, str] | None = None, body: bytes = BODY, broker: str = "default") -> int:
        return self.eventing.publish("demo", broker, EVENT if headers is None else headers, body).status

    def refusal(self, headers: dict[str, str], broker: str = "default") -> str:
        return self.eventing.publish("demo", broker, headers, BODY).body.decode()

    def ids(self, name: str) -> list[str]:
        return [request.headers["ce-id"] for request in self.received.get(name, [])]

    def run(self, seconds: float = 0) -> None:
        self.now += seconds
        self.eventing.work()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.eventing.close()


def status(number: int, body: bytes = b"") -> Answer:
    return lambda _: Response(number, {}, body)


def test_an_event_reaches_every_trigger_that_takes_it_unchanged(bench: Bench) -> None:
    bench.trigger("all")
    bench.trigger("some", filter={"attributes": {"type": "demo.hello", "source": ""}})
    bench.trigger("none", filter={"attributes": {"type": "demo.other"}})
    bench.create(BROKER, "other", {})
    bench.subscriber("elsewhere")
    bench.create(TRIGGER, "elsewhere", {"broker": "other", "subscriber": service_ref("elsewhere")})

    assert bench.publish({**EVENT, "ce-Extra": "a%20b", "traceparent": "00-1-2-00"}) == 202
    bench.run()

    assert set(bench.received) == {"all", "some"}
    [request] = bench.received["all"]
    assert (request.method, request.path, request.body) == ("POST", "/", BODY)
    expected = {**EVENT, "ce-extra": "a%20b", "traceparent": "00-1-2-00", "prefer": "reply"}
    assert request.headers == expected


def test_an_event_that_no_trigger_takes_is_told_of(bench: Bench) -> None:
    bench.trigger("some", filter={"attributes": {"type": "demo.hello"}})

    assert [bench.publish(), bench.publish({**EVENT, "ce-type": "demo.helo"})] == [202, 202]

    assert bench.unwanted == [("demo", "default", "demo.helo")]


def test_what_a_broker_does_not_take_is_answered_with_the_reason_in_one_line(bench: Bench) -> None:
    assert bench.refusal({**EVENT, "ce-id": "", "ce-type": ""}) == (
        "this is no CloudEvent: id: is missing; type: is missing\n"
    )
    assert bench.refusal(EVENT, broker="defualt") == "there is no Broker demo/defualt\n"


def test_a_structured_event_arrives_in_binary_mode(bench: Bench) -> None:
    bench.trigger("all")
    event = {"specversion": "1.0", "id": "ü", "source": "/shop", "type": "t", "flag": True, "data": {"a": 1}}

    bench.publish({"Content-Type": "application/cloudevents+json"}, json.dumps(event).encode())
    bench.run()

    [request] = bench.received["all"]
    assert (request.headers["ce-id"], request.headers["ce-flag"]) == ("%C3%BC", "true")
    assert request.headers["content-type"] == "application/json"
    assert json.loads(request.body) == {"a": 1}


@pytest.mark.parametrize(
    ("data", "body"),
    [
        ({"data_base64": "AAE="}, b"\x00\x01"),
        ({"data": "text", "datacontenttype": "text/plain"}, b"text"),
        ({"data": "text", "datacontenttype": "application/json; charset=utf-8"}, b'"text"'),
        ({}, b""),
    ],
)
def test_the_data_of_a_structured_event_is_what_its_content_type_says(
    bench: Bench, data: dict[str, str], body: bytes
) -> None:
    bench.trigger("all")

    event = {"specversion": "1.0", "id": "1", "source": "/", "type": "t", **data}
    bench.publish({"content-type": "application/cloudevents+json"}, json.dumps(event).encode())
    bench.run()

    assert bench.received["all"][0].body == body


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({name: value for name, value in EVENT.items() if name != "ce-id"}, BODY),
        ({**EVENT, "ce-id": ""}, BODY),
        ({**EVENT, "ce-specversion": "0.3"}, BODY),
        ({**EVENT, "ce-id": "%FF"}, BODY),
        ({**EVENT, "ce-no_name": "1"}, BODY),
        ({"content-type": "application/cloudevents+json"}, b"["),
        ({"content-type": "application/cloudevents+json"}, b"[]"),
        ({"content-type": "application/cloudevents+json"}, b"[" * 200_000),
        ({"content-type": "application/cloudevents+json"}, b'{"specversion": "1.0", "id": {}}'),
        ({"content-type": "application/cloudevents-batch+json"}, b"[]"),
    ],
)
def test_what_is_no_event_is_refused_and_not_kept(bench: Bench, headers: dict[str, str], body: bytes) -> None:
    bench.trigger("all")

    assert bench.publish(headers, body) == 400
    bench.run()

    assert bench.received == {}


def test_a_broker_that_is_not_there_takes_no_events(bench: Bench) -> None:
    assert bench.publish(broker="other") == 404


@pytest.mark.parametrize("code", [500, 503, 404, 408, 409, 429])
def test_what_may_pass_is_tried_again_after_growing_pauses(bench: Bench, code: int) -> None:
    bench.trigger("all", status(code), delivery={"retry": 2, "backoffPolicy": "exponential", "backoffDelay": "PT2S"})

    bench.publish()
    bench.run()
    bench.run(1.9)
    assert len(bench.received["all"]) == 1
    bench.run(0.2)
    bench.run(3.9)
    assert len(bench.received["all"]) == 2
    bench.run(0.2)
    bench.run(1000)
    assert len(bench.received["all"]) == 3


def test_linear_pauses_grow_by_the_delay_from_none(bench: Bench) -> None:
    bench.trigger("all", status(500), delivery={"retry": 3, "backoffPolicy": "linear", "backoffDelay": "PT2S"})

    bench.publish()
    bench.run()
    assert len(bench.received["all"]) == 2
    bench.run(2)
    assert len(bench.received["all"]) == 3
    bench.run(2)
    assert len(bench.received["all"]) == 3
    bench.run(2)
    assert len(bench.received["all"]) == 4


@pytest.mark.parametrize("code", [400, 401, 403, 413, 422, 302])
def test_what_will_not_pass_is_tried_once_and_is_a_dead_letter_at_once(bench: Bench, code: int) -> None:
    bench.subscriber("letters")
    bench.trigger("all", status(code), delivery={"retry": 2, "deadLetterSink": service_ref("letters")})

    bench.publish()
    bench.run()

    assert len(bench.received["all"]) == 1
    assert [letter.headers["ce-knativeerrorcode"] for letter in bench.received["letters"]] == [str(code)]
    bench.run(1000)
    assert (len(bench.received["all"]), len(bench.received["letters"])) == (1, 1)


def test_no_answer_is_tried_again_with_the_same_event(bench: Bench) -> None:
    def cut(_request: Request) -> Response:
        raise NoAnswer("the connection was cut")

    bench.trigger("all", cut, delivery={"retry": 1, "timeout": "PT7S"})

    bench.publish()
    bench.run()

    assert bench.ids("all") == ["1", "1"]
    assert bench.received["all"][0].timeout == 7


def test_an_exhausted_event_ends_as_a_dead_letter_that_says_why(bench: Bench) -> None:
    bench.subscriber("letters")
    bench.trigger("all", status(503, b"out of order"), delivery={"retry": 1, "deadLetterSink": service_ref("letters")})

    bench.publish()
    bench.run()

    [letter] = bench.received["letters"]
    assert letter.body == BODY
    assert (letter.headers["ce-id"], letter.headers["ce-type"]) == ("1", "demo.hello")
    assert letter.headers["ce-knativeerrorcode"] == "503"
    assert letter.headers["ce-knativeerrordest"] == "http://127.0.0.1:1/functions/demo/all"
    assert base64.b64decode(letter.headers["ce-knativeerrordata"]) == b"out of order"


def test_a_dead_letter_is_tried_again_too_and_then_given_up(bench: Bench) -> None:
    bench.subscriber("letters", status(500))
    bench.trigger("all", status(422), delivery={"retry": 2, "deadLetterSink": service_ref("letters")})

    bench.publish()
    bench.run()

    assert (len(bench.received["all"]), len(bench.received["letters"])) == (1, 3)


def test_the_brokers_delivery_counts_where_the_trigger_has_none(bench: Bench) -> None:
    bench.subscriber("letters")
    broker = bench.cluster.get(BROKER, "demo", "default")
    assert broker is not None
    delivery = {"retry": 1, "deadLetterSink": service_ref("letters")}
    bench.cluster.replace(BROKER, {**broker, "spec": {"delivery": delivery}})
    bench.trigger("all", status(500))

    bench.publish()
    bench.run()

    assert (len(bench.received["all"]), len(bench.received["letters"])) == (2, 1)


def test_what_becomes_of_an_event_that_nobody_gets_is_said_with_whom_it_was_for(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    """One goes to an address of this machine where nobody listens, and one to a function that refuses it."""
    bench.create(TRIGGER, "sink", {"broker": "default", "subscriber": {"uri": "http://127.0.0.1:1/"}})
    bench.trigger("function", status(422, b"no such order"))

    bench.publish()
    bench.run()

    silent, refused = sorted(record.getMessage() for record in caplog.records)[::-1]
    assert silent.startswith("event 1 is given up: demo/sink at http://127.0.0.1:1/: 500 dispatch error: ")
    assert silent.endswith("Connection refused")
    assert refused.endswith("demo/function at http://127.0.0.1:1/functions/demo/function: 422 no such order")


def test_a_reply_goes_back_to_the_broker(bench: Bench) -> None:
    answer = Response(200, REPLY, b"{}")
    bench.trigger("all", lambda _: answer, filter={"attributes": {"type": "demo.hello"}})
    bench.trigger("replies", filter={"attributes": {"type": "demo.reply"}})

    bench.publish()
    bench.run()

    assert (bench.ids("all"), bench.ids("replies")) == (["1"], ["2"])


def test_a_function_that_answers_itself_does_not_do_so_for_ever(bench: Bench) -> None:
    bench.trigger("all", lambda _: Response(200, REPLY, b"{}"))

    bench.publish()
    bench.run()

    assert len(bench.received["all"]) == HOPS + 1


@pytest.mark.parametrize(
    "answer",
    [
        Response(200, {"content-type": "application/json"}, b"{}"),
        Response(200, {"ce-specversion": "1.0"}, b"{}"),
    ],
)
def test_a_success_whose_body_is_no_event_is_a_failure(bench: Bench, answer: Response) -> None:
    bench.subscriber("letters")
    bench.trigger("all", lambda _: answer, delivery={"retry": 1, "deadLetterSink": service_ref("letters")})

    bench.publish()
    bench.run()

    assert len(bench.received["all"]) == 2
    assert bench.received["letters"][0].headers["ce-knativeerrorcode"] == "502"


def test_a_subscriber_that_is_not_there_yet_gets_the_event_when_it_is(bench: Bench) -> None:
    delivery = {"retry": 3, "backoffDelay": "PT1S"}
    bench.create(TRIGGER, "late", {"broker": "default", "subscriber": service_ref("late"), "delivery": delivery})

    bench.publish()
    bench.run()
    bench.subscriber("late")
    bench.run(1)

    assert bench.ids("late") == ["1"]


def test_an_event_for_a_trigger_that_was_deleted_is_dropped(bench: Bench) -> None:
    """Also where another one of the same name has come: it takes only what comes after it."""
    bench.trigger("all", status(500), delivery={"retry": 9, "backoffDelay": "PT1S"})
    bench.publish()
    bench.run()
    bench.cluster.delete(TRIGGER, "demo", "all")
    bench.create(TRIGGER, "all", {"broker": "default", "subscriber": service_ref("all")})

    bench.run(1000)

    assert len(bench.received["all"]) == 1


def test_a_uri_below_a_service_is_the_requests_path(bench: Bench) -> None:
    bench.subscriber("all")
    subscriber = {**service_ref("all"), "uri": "/events?x=1"}
    bench.create(TRIGGER, "all", {"broker": "default", "subscriber": subscriber})

    bench.publish()
    bench.run()

    assert bench.received["all"][0].path == "/events?x=1"


@pytest.mark.parametrize(
    ("filters", "taken"),
    [
        ([{"exact": {"type": "demo.hello"}}], True),
        ([{"exact": {"type": "demo.hello", "subject": "x"}}], False),
        ([{"prefix": {"type": "demo."}}, {"suffix": {"source": "shop"}}], True),
        ([{"prefix": {"type": "other."}}], False),
        ([{"any": [{"exact": {"type": "no"}}, {"exact": {"source": "/shop"}}]}], True),
        ([{"all": [{"exact": {"type": "no"}}, {"exact": {"source": "/shop"}}]}], False),
        ([{"not": {"exact": {"type": "no"}}}], True),
        ([{"cesql": "type = 'demo.hello'"}], False),
    ],
)
def test_filters_decide_before_filter(bench: Bench, filters: list[Object], taken: bool) -> None:  # noqa: FBT001 - a table
    bench.trigger("all", filters=filters, filter={"attributes": {"type": "demo.hello" if not taken else "no"}})

    bench.publish()
    bench.run()

    assert bench.ids("all") == (["1"] if taken else [])


def test_what_was_not_delivered_is_delivered_after_a_restart_when_it_is_due(bench: Bench) -> None:
    bench.trigger("all", status(500), delivery={"retry": 5, "backoffDelay": "PT10S"})
    bench.publish()
    bench.run()
    bench.eventing.close()
    bench.answers["all"] = status(202)
    bench.eventing = bench.restarted()

    bench.run(5)
    assert len(bench.received["all"]) == 1
    bench.run(5)
    bench.run(1000)
    assert len(bench.received["all"]) == 2


def test_closing_does_not_wait_for_a_subscriber_that_takes_its_time(tmp_path: Path) -> None:
    """The event is kept, and delivered again by whoever comes next."""
    bench = Bench(tmp_path)
    asked, answer = threading.Event(), threading.Event()

    def slow(_request: Request) -> Response:
        asked.set()
        answer.wait(60)
        return Response(202)

    bench.trigger("all", slow)
    bench.eventing.start()
    bench.publish()
    assert asked.wait(60)

    bench.eventing.close(grace=0.01)

    assert not answer.is_set()
    deliveries = Deliveries(bench.path)
    assert deliveries.pending() == 1
    answer.set()
    deliveries.close()


def test_an_acknowledged_event_outlives_its_process(tmp_path: Path) -> None:
    """The program below takes an event and kills itself in the middle of delivering it."""
    program = textwrap.dedent(
        """
        import os, signal, sys, threading
        from pathlib import Path
        sys.path.insert(0, sys.argv[1])
        from test_embedded_eventing import Bench

        bench = Bench(Path(sys.argv[2]))
        bench.trigger("all", lambda _: os.kill(os.getpid(), signal.SIGKILL))
        assert bench.publish() == 202
        bench.eventing.work()
        """
    )
    killed = subprocess.run(
        [sys.executable, "-c", program, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr

    deliveries = Deliveries(tmp_path / "deliveries.sqlite")

    delivery = deliveries.claim(2_000_000)
    assert delivery is not None
    assert (delivery.trigger, delivery.message.body) == ("all", BODY)
    deliveries.close()


def test_threads_deliver_at_once_what_comes_and_what_becomes_due(tmp_path: Path) -> None:
    """With the real clock: the first answer makes the second try wait for a moment."""
    bench = Bench(tmp_path)
    answers = iter([Response(503), Response(202)])
    bench.trigger("all", lambda _: next(answers), delivery={"retry": 1, "backoffDelay": "PT0.05S"})
    eventing = Eventing(bench.cluster, bench.eventing._deliveries, Subscribers(bench.cluster, bench.call))
    eventing.start()

    eventing.publish("demo", "default", EVENT, BODY)

    deadline = time.monotonic() + 60
    while len(bench.ids("all")) < 2:
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)
    eventing.close()


def test_an_uri_is_spoken_to_over_http_with_its_path_and_query(bench: Bench) -> None:
    requests: list[tuple[str, str | None, bytes]] = []

    class Sink(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            requests.append((self.path, self.headers["ce-id"], body))
            self.send_response(202)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the overridden name
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Sink) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        uri = f"http://127.0.0.1:{server.server_port}/sink?x=1"
        bench.create(TRIGGER, "all", {"broker": "default", "subscriber": {"uri": uri}})

        bench.publish()
        bench.run()

        server.shutdown()
    assert requests == [("/sink?x=1", "1", BODY)]


def test_an_uri_where_nobody_listens_counts_as_no_answer(bench: Bench) -> None:
    bench.subscriber("letters")
    delivery = {"deadLetterSink": service_ref("letters")}
    bench.create(
        TRIGGER,
        "all",
        {"broker": "default", "subscriber": {"uri": "http://127.0.0.1:1/"}, "delivery": delivery},
    )

    bench.publish()
    bench.run()

    [letter] = bench.received["letters"]
    assert letter.headers["ce-knativeerrorcode"] == "500"
    assert b"dispatch error" in base64.b64decode(letter.headers["ce-knativeerrordata"])
