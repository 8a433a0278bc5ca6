"""Dead letters: sent again by a label, told of once, gone with age; and never lost in between."""

import base64
import itertools
import json
import random
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from support.world import World

from knative_lambda.deploy.cluster import DEAD_LETTER, NAMESPACE, Kind, Object
from knative_lambda.handler import deadletters, letters
from knative_lambda.handler.api.pages import Wanted
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.tell.postman import Postman
from knative_lambda.schemas import names, types
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.errors import Conflict, Refused, Unavailable

PRODUCT = "knative-lambda"
EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "order-1",
    "ce-source": "/shop",
    "ce-type": "demo.hello",
    "ce-subject": "a%20b%C3%BC",
    "ce-tenantext": "kept",
    "ce-knativebrokerttl": "250",
    "ce-knativeerrorcode": "500",
    "ce-knativeerrordest": "http://hello.acme.svc.cluster.local/",
    "ce-knativeerrordata": base64.b64encode(b"out of order").decode(),
    "content-type": "application/json",
}


class Desk:
    """A product with the dead-letter service beside it."""

    def __init__(self, **settings: Any) -> None:
        self.world = World(**settings)
        self.cluster = self.world.cluster
        if self.cluster.get(NAMESPACE, "", PRODUCT) is None:
            self.world.namespace(PRODUCT, {})
        service = deadletters.create_app(self.cluster, PRODUCT, ["acme", "other"], lambda: self.world.time)
        self.http = service.test_client()

    def die(self, namespace: str = "acme", body: bytes = b'{"n": 1}', **attributes: str) -> Object:
        """Have an event end as a dead letter; return the letter."""
        headers = {**EVENT, **{f"ce-{name}": value for name, value in attributes.items()}}
        before = {letter["metadata"]["name"] for letter in self.letters(namespace)}
        assert self.http.post(f"/{namespace}", data=body, headers=headers).status_code == 202
        new = [letter for letter in self.letters(namespace) if letter["metadata"]["name"] not in before]
        return new[0] if new else self.letters(namespace)[0]

    def letters(self, namespace: str = "acme") -> list[Object]:
        return self.cluster.list(DEAD_LETTER, namespace)

    def label(self, letter: Object, **labels: str) -> None:
        """Do what `kubectl label` does."""
        meta = letter["metadata"]
        found = self.cluster.get(DEAD_LETTER, meta["namespace"], meta["name"])
        assert found is not None
        more = {names.PREFIX + name: value for name, value in labels.items()}
        whole = {**found["metadata"], "labels": {**found["metadata"]["labels"], **more}}
        self.cluster.replace(DEAD_LETTER, {**found, "metadata": whole})

    def report(self, letter: Object) -> None:
        self.world.report("DeadLetter", letter["metadata"]["namespace"], letter["metadata"]["name"])

    def resend(self, letter: Object) -> None:
        self.label(letter, resend="true")
        self.report(letter)

    def sent(self) -> list[tuple[str, str, Any]]:
        """Return what was posted to Brokers: where to, the event's id and its data; what tells of letters left out."""
        return [
            (sent["url"].removeprefix("http://broker/"), sent["headers"]["ce-id"], sent["data"])
            for sent in self.world.told
            if sent["headers"]["ce-type"] != types.FUNCTION_ERROR
        ]

    def words(self) -> list[dict[str, Any]]:
        return [sent for sent in self.world.told if sent["headers"]["ce-type"] == types.FUNCTION_ERROR]


@pytest.fixture
def desk() -> Desk:
    return Desk()


# --- sent again


def test_a_labelled_letter_is_sent_again_as_it_was_to_its_namespaces_broker_and_goes(desk: Desk) -> None:
    desk.resend(desk.die())
    [sent] = [sent for sent in desk.world.told if sent["headers"]["ce-type"] == "demo.hello"]
    assert sent["url"] == "http://broker/acme/default", "not the address that stands in the event"
    assert sent["data"] == {"n": 1}
    assert sent["headers"] == {
        "ce-specversion": "1.0",
        "ce-id": "order-1",
        "ce-source": "/shop",
        "ce-type": "demo.hello",
        "ce-subject": "a bü",
        "ce-tenantext": "kept",
        "ce-datacontenttype": "application/json",
    }
    assert desk.letters() == []


@pytest.mark.parametrize(
    ("media", "body", "kept"),
    [
        ("application/json", b'{"n": 1.5, "m": [null, true]}', {"data": {"n": 1.5, "m": [None, True]}}),
        ("application/json", b"9007199254740993", {"data": 9007199254740993}),
        ("application/json", b"12345678901234567890", {"data_base64": "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA="}),
        ("application/vnd.me+json; charset=utf-8", b"[1]", {"data": [1]}),
        ("text/plain", b'"quoted"', {"data": '"quoted"'}),
        ("text/plain", b"\xff", {"data_base64": "/w=="}),
        ("application/octet-stream", b"123", {"data_base64": "MTIz"}),
    ],
)
def test_what_is_kept_means_the_same_bytes_to_who_gets_it_again(
    desk: Desk, media: str, body: bytes, kept: Object
) -> None:
    """In the JSON format a string is a text, unless the content type says that the data are JSON."""
    desk.http.post("/acme", data=body, headers={**EVENT, "content-type": media})
    [letter] = desk.letters()
    event = letter["spec"]["event"]
    assert {name: event[name] for name in ("data", "data_base64") if name in event} == kept
    assert event["datacontenttype"] == media


def test_all_letters_of_a_namespace_are_sent_again_by_labelling_them_all(desk: Desk) -> None:
    for n in range(5):
        desk.die(id=f"order-{n}")
    for letter in desk.letters():
        desk.resend(letter)
    assert sorted(sent[1] for sent in desk.sent()) == [f"order-{n}" for n in range(5)]
    assert desk.letters() == []


def test_a_letter_without_the_label_stays_whatever_is_reported(desk: Desk) -> None:
    letter = desk.die()
    desk.label(letter, resend="false")
    desk.report(letter)
    desk.world.report("DeadLetter", "acme", "dl-never-there")
    desk.world.report("DeadLetter", "kube-system", letter["metadata"]["name"])
    assert desk.sent() == []
    assert len(desk.letters()) == 1


def test_a_label_whose_report_was_lost_is_found_by_the_sweep(desk: Desk) -> None:
    for namespace in ("acme", PRODUCT):
        desk.label(desk.die(namespace), resend="true")
    desk.world.tick()
    assert sorted(sent[0] for sent in desk.sent()) == ["acme/default", f"{PRODUCT}/default"]
    assert desk.letters() == desk.letters(PRODUCT) == []


@pytest.mark.parametrize("answer", [0, 404, 429, 503])
def test_while_the_broker_does_not_take_it_the_letter_stays_and_the_wish_with_it(desk: Desk, answer: int) -> None:
    desk.world.broker = answer
    desk.resend(desk.die())
    assert len(desk.letters()) == 1
    desk.world.broker = 202
    desk.world.tick()
    assert desk.letters() == []
    assert {sent[1] for sent in desk.sent()} == {"order-1"}


def test_what_the_broker_refuses_stays_with_a_note_and_is_not_tried_for_ever(desk: Desk) -> None:
    desk.world.broker = 400
    desk.resend(desk.die())
    [letter] = desk.letters()
    assert names.RESEND_LABEL not in letter["metadata"]["labels"]
    assert letter["metadata"]["annotations"][names.NOTE_ANNOTATION] == "not sent again: the Broker refuses it"
    desk.world.tick()
    assert len(desk.sent()) == 1


@pytest.mark.parametrize(
    ("body", "headers", "why"),
    [
        (json.dumps("x" * deadletters.DATA_KEPT).encode(), EVENT, "too large to be kept whole"),
        (b"1", {**EVENT, **{f"ce-x{n}": "x" * 8000 for n in range(60)}}, "too large to be kept whole"),
        (b"no event", {"content-type": "application/cloudevents+json"}, "it is no CloudEvent"),
    ],
)
def test_a_letter_that_does_not_hold_the_whole_event_says_so_and_is_not_sent(
    desk: Desk, body: bytes, headers: dict[str, str], why: str
) -> None:
    desk.http.post(f"/{PRODUCT}", data=body, headers=headers)
    desk.resend(desk.letters(PRODUCT)[0])
    [letter] = desk.letters(PRODUCT)
    assert why in letter["metadata"]["annotations"][names.NOTE_ANNOTATION]
    assert names.RESEND_LABEL not in letter["metadata"]["labels"]
    assert desk.sent() == []


def test_a_report_that_ended_as_a_letter_goes_back_to_the_broker_of_the_reports(desk: Desk) -> None:
    letter = desk.die(PRODUCT, type=types.REFERENCE_UPDATED)
    desk.resend(letter)
    assert desk.sent()[0][0] == f"{PRODUCT}/cluster"


def test_an_event_that_fails_again_is_a_letter_again(desk: Desk) -> None:
    desk.resend(desk.die())
    assert desk.letters() == []
    letter = desk.die()
    assert names.RESEND_LABEL not in letter["metadata"]["labels"], "it is not sent again by itself"
    desk.world.tick()
    assert len(desk.sent()) == 1


def test_an_event_that_fails_again_before_its_letter_is_deleted_is_not_lost(desk: Desk) -> None:
    """The dead-letter service finds the name taken, by the very letter that is about to be deleted."""
    letter = desk.die()
    desk.label(letter, resend="true")

    def broker(_url: str, _headers: dict[str, str], body: bytes) -> int:
        if json.loads(body)["type"] == "demo.hello":
            desk.die(knativeerrordata=base64.b64encode(b"still out of order").decode())
        return 202

    with pytest.raises(Conflict, match="changed"):
        Postman(desk.cluster, PRODUCT, "http://broker", broker).deliver("acme", letter["metadata"]["name"])
    [left] = desk.letters()
    assert left["metadata"]["uid"] == letter["metadata"]["uid"]
    assert names.RESEND_LABEL not in left["metadata"]["labels"]
    assert (left["spec"]["count"], left["spec"]["message"]) == (2, "still out of order")


def test_a_process_that_dies_between_the_post_and_the_delete_sends_twice_with_the_same_id(desk: Desk) -> None:
    letter = desk.die()
    desk.label(letter, resend="true")
    posted = []

    class Killed(BaseException):
        pass

    def broker(_url: str, _headers: dict[str, str], body: bytes) -> int:
        posted.append(json.loads(body))
        if posted[-1]["type"] == "demo.hello":
            raise Killed
        return 202

    with pytest.raises(Killed):
        Postman(desk.cluster, PRODUCT, "http://broker", broker).deliver("acme", letter["metadata"]["name"])
    desk.world.tick()
    assert [posted[-1]["id"], *(sent[1] for sent in desk.sent())] == ["order-1", "order-1"]
    assert desk.letters() == []


def test_two_that_send_the_same_letter_lose_nothing(desk: Desk) -> None:
    """Its twin has sent and deleted it, and the event has failed again, while the first one was posting."""
    letter = desk.die()
    desk.label(letter, resend="true")
    name = letter["metadata"]["name"]
    rounds = []

    def slow(_url: str, _headers: dict[str, str], body: bytes) -> int:
        if json.loads(body)["type"] == "demo.hello" and not rounds:
            rounds.append(1)
            Postman(desk.cluster, PRODUCT, "http://broker", lambda *_: 202).deliver("acme", name)
            desk.die()
        return 202

    with pytest.raises(Conflict, match="not the object"):
        Postman(desk.cluster, PRODUCT, "http://broker", slow).deliver("acme", name)
    assert [left["metadata"]["name"] for left in desk.letters()] == [name]


class Races:
    """A Broker whose subscriber fails half of the time, at once or later; it knows what came last of each event."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk, self.chance = desk, random.Random(seed)  # noqa: S311 (a test's dice)
        self.steps, self.lock = itertools.count(), threading.Lock()
        self.sent: dict[str, int] = {}
        self.failed: dict[str, int] = {}
        self.dying: list[threading.Thread] = []

    def post(self, _url: str, _headers: dict[str, str], body: bytes) -> int:
        event = json.loads(body)
        if event["type"] == "demo.hello":
            with self.lock:
                self.sent[event["id"]] = next(self.steps)
                dies, later = self.chance.random() < 0.5, self.chance.random() < 0.5
                death = threading.Thread(target=self.die, args=(event["id"], next(self.steps)))
                self.dying += [death] if dies else []
            if dies:
                death.start()
            if dies and not later:
                death.join()
        return 202

    def die(self, name: str, step: int) -> None:
        service = self.desk.http.application.test_client()
        assert service.post("/acme", data=b"1", headers={**EVENT, "ce-id": name}).status_code == 202
        with self.lock:
            self.failed[name] = max(step, self.failed.get(name, 0))

    def work(self) -> None:
        """Be a person who labels everything, and a postman."""
        postman = Postman(self.desk.cluster, PRODUCT, "http://broker", self.post)
        for _ in range(6):
            for letter in self.desk.letters():
                with suppress(Conflict):
                    self.desk.cluster.replace(DEAD_LETTER, letters.wanted_again(letter))
                with suppress(Conflict):
                    postman.deliver("acme", letter["metadata"]["name"])


@pytest.mark.parametrize("seed", range(5))
def test_whatever_races_an_event_that_failed_last_is_in_a_letter(desk: Desk, seed: int) -> None:
    """Four postmen at once, with twins of theirs, deaths before and after the delete."""
    races = Races(desk, seed)
    for n in range(5):
        desk.die(id=f"{n}")
    workers = [threading.Thread(target=races.work) for _ in range(4)]
    for thread in workers:
        thread.start()
    for thread in workers:
        thread.join()
    for thread in races.dying:
        thread.join()
    left = {letter["spec"]["event"]["id"] for letter in desk.letters()}
    assert left >= {name for name, step in races.failed.items() if step > races.sent[name]}
    assert left | races.sent.keys() == {f"{n}" for n in range(5)}


# --- the tenant is told


def test_a_tenant_is_told_once_of_an_event_for_a_function_that_nobody_could_handle(desk: Desk) -> None:
    letter = desk.die()
    desk.report(letter)
    desk.report(letter)
    desk.world.tick()
    [word] = desk.words()
    assert word["url"] == "http://broker/acme/default"
    assert event_faults("function.error", word["data"]) == []
    assert (word["data"]["name"], word["data"]["reason"], word["data"]["message"]) == (
        "hello",
        "Failed",
        "out of order",
    )
    assert word["data"]["deadletter"] == letter["metadata"]["name"]
    assert (word["data"]["event"]["id"], word["data"]["event"]["type"]) == ("order-1", "demo.hello")
    assert "data" not in word["data"]["event"]
    assert word["headers"]["ce-id"] == f"{letter['metadata']['uid']}.{types.FUNCTION_ERROR}"
    assert word["headers"]["ce-subject"] == "hello"
    assert len(desk.letters()) == 1, "the letter stays"


def test_a_word_that_the_broker_did_not_take_comes_again_with_the_same_id(desk: Desk) -> None:
    desk.world.broker = 0
    desk.report(desk.die())
    desk.world.broker = 202
    desk.world.tick()
    desk.world.tick()
    down, up = desk.words()
    assert down["headers"]["ce-id"] == up["headers"]["ce-id"]


def test_each_time_that_an_event_was_sent_again_and_failed_again_is_told(desk: Desk) -> None:
    letter = desk.die()
    desk.report(letter)
    desk.label(letter, resend="true")
    desk.die()
    desk.world.tick()
    ids = [word["headers"]["ce-id"] for word in desk.words()]
    assert len(ids) == len(set(ids)) == 2


def test_an_event_that_its_sender_sends_again_and_again_is_one_letter_and_one_word(desk: Desk) -> None:
    for _ in range(3):
        desk.report(desk.die())
    [letter] = desk.letters()
    assert letter["spec"]["count"] == 3
    assert len(desk.words()) == 1


@pytest.mark.parametrize("kind", sorted(types.NOTIFICATIONS))
def test_nobody_is_told_that_a_notification_was_not_taken(desk: Desk, kind: str) -> None:
    """Least of all that a function.error was not: that would never end."""
    desk.report(desk.die(type=kind))
    desk.world.tick()
    assert desk.words() == []


def test_an_event_for_the_product_is_told_to_no_tenant(desk: Desk) -> None:
    desk.report(desk.die(PRODUCT, type=types.BUILD_START))
    desk.world.tick()
    assert desk.words() == []


@pytest.mark.parametrize(
    ("address", "function"),
    [
        ("http://hello.acme.svc.cluster.local", "hello"),
        ("http://hello.acme.svc.cluster.local/path", "hello"),
        ("http://127.0.0.1:8480/functions/acme/hello", "hello"),
        ("http://hello.other.svc.cluster.local", ""),
        ("http://127.0.0.1:8480/functions/other/hello", ""),
        ("http://example.com/hello.acme.svc", ""),
        ("http://hello.acme.svcx/", ""),
        ("", ""),
    ],
)
def test_the_function_is_the_one_whose_address_refused_the_event(desk: Desk, address: str, function: str) -> None:
    letter = desk.die(knativeerrordest=address)
    desk.report(letter)
    [word] = desk.words()
    assert word["data"].get("name", "") == function
    assert word["headers"]["ce-subject"] == (function or letter["metadata"]["name"])


# --- gone with age


def test_letters_go_a_week_after_they_came_last(desk: Desk) -> None:
    old, again = desk.die(id="old"), desk.die(id="again")
    desk.die("knative-lambda", id="old")
    desk.world.time += timedelta(days=6)
    desk.die(id="again")
    desk.world.time += timedelta(days=1, hours=1)
    young = desk.die(id="young")
    desk.world.tick()
    left = {letter["metadata"]["name"] for letter in desk.letters()}
    assert left == {again["metadata"]["name"], young["metadata"]["name"]}
    assert old["metadata"]["name"] not in left
    assert desk.letters(PRODUCT) == []


def test_beyond_so_many_the_oldest_go_and_only_in_that_namespace() -> None:
    desk = Desk(dead_letters_kept=3)
    for n in range(5):
        desk.world.time += timedelta(seconds=1)
        desk.die(id=f"{n}")
    desk.die("other")
    desk.world.tick()
    assert sorted(letter["spec"]["event"]["id"] for letter in desk.letters()) == ["2", "3", "4"]
    assert len(desk.letters("other")) == 1


def test_what_somebody_wants_sent_again_does_not_go(desk: Desk) -> None:
    desk.world.broker = 503
    desk.label(desk.die(), resend="true")
    desk.world.time += timedelta(days=8)
    desk.world.tick()
    desk.world.broker = 202
    desk.world.tick()
    assert [sent[1] for sent in desk.sent()] == ["order-1"]
    assert desk.letters() == []


# --- the thread


def test_a_tenant_with_thousands_of_letters_keeps_nobody_waiting(desk: Desk) -> None:
    """Namespaces take turns; where a Broker does not answer, the rest of its letters wait for the sweep."""
    mine = desk.die("other", id="mine")
    for n in range(50):
        desk.die(id=f"{n}")
    posted: list[str] = []
    done = threading.Event()

    def broker(url: str, _headers: dict[str, str], _body: bytes) -> int:
        posted.append(url.split("/")[-2])
        if posted[-1] == "other":
            done.set()
        return 202

    postman = Postman(desk.cluster, PRODUCT, "http://broker", broker)
    for letter in desk.letters():
        postman.look_at("acme", letter["metadata"]["name"])
    postman.look_at("other", mine["metadata"]["name"])
    postman.start()
    assert done.wait(60)
    postman.stop(timeout=60)
    assert posted[:2] == ["acme", "other"]


def test_a_broker_that_is_down_keeps_nobody_waiting_and_neither_does_a_bug(desk: Desk) -> None:
    mine = desk.die("other", id="mine")
    for n in range(50):
        desk.die(id=f"{n}")
    posted: list[str] = []
    done = threading.Event()

    def broker(url: str, _headers: dict[str, str], _body: bytes) -> int:
        posted.append(url.split("/")[-2])
        if posted[-1] == "other":
            done.set()
            return 202
        if len(posted) == 1:
            raise ZeroDivisionError
        raise Unavailable("broker", "no answer", retry_after=600)

    postman = Postman(desk.cluster, PRODUCT, "http://broker", broker)
    for letter in desk.letters():
        postman.look_at("acme", letter["metadata"]["name"])
    postman.look_at("other", mine["metadata"]["name"])
    postman.start()
    assert done.wait(60)
    postman.stop(timeout=60)
    assert posted.count("acme") <= 2


def test_a_letter_that_was_changed_under_the_thread_is_read_again(desk: Desk) -> None:
    """Here a person's label comes while its tenant is being told."""
    letter = desk.die()
    posted: list[str] = []

    def broker(_url: str, _headers: dict[str, str], body: bytes) -> int:
        posted.append(json.loads(body)["type"])
        if len(posted) == 1:
            desk.label(letter, resend="true")
        return 202

    postman = Postman(desk.cluster, PRODUCT, "http://broker", broker)
    postman.look_at("acme", letter["metadata"]["name"])
    postman.start()
    postman.stop(timeout=20)
    assert posted == [types.FUNCTION_ERROR, types.FUNCTION_ERROR, "demo.hello"]
    assert desk.letters() == []


# --- the service


class Down:
    """A cluster that does not answer."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_args: Any, **_named: Any) -> Any:
            raise Unavailable("cluster", "no answer")

        return fail


def test_while_the_api_server_is_down_the_broker_is_told_to_come_again(desk: Desk) -> None:
    """Knative comes again with the retries that the delivery itself had."""
    down: Any = Down()
    answer = (
        deadletters.create_app(down, PRODUCT, ["acme"], lambda: desk.world.time)
        .test_client()
        .post("/acme", data=b"{}", headers=EVENT)
    )
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0


def test_a_letter_that_goes_while_it_is_written_into_is_written_anew(desk: Desk) -> None:
    """Between the service's look and its write somebody has sent it again, and deleted it."""
    letter = desk.die()
    meta = letter["metadata"]
    wrapped: Any = desk.cluster
    read = wrapped.get
    gone = []

    def get(kind: Kind, namespace: str, name: str) -> Object | None:
        found: Object | None = read(kind, namespace, name)
        if kind == DEAD_LETTER and not gone:
            gone.append(name)
            desk.cluster.delete(DEAD_LETTER, "acme", meta["name"])
        return found

    wrapped.get = get
    again = desk.die()
    assert again["metadata"]["name"] == meta["name"]
    assert again["metadata"]["uid"] != meta["uid"]


# --- listed and shown


def test_letters_are_listed_the_newest_first_without_their_data_and_shown_whole(desk: Desk) -> None:
    records = Records(desk.world.product)
    for n in range(3):
        desk.world.time += timedelta(seconds=1)
        desk.die(id=f"{n}")
    page = records.page(DEAD_LETTER, "acme", Wanted(sort="-created"))
    assert page is not None
    listed = page.items
    assert [letter["spec"]["event"]["id"] for letter in listed] == ["2", "1", "0"]
    assert all("data" not in letter["spec"]["event"] for letter in listed)
    shown = records.get(DEAD_LETTER, "acme", listed[0]["metadata"]["name"])
    assert shown is not None
    assert shown["spec"]["event"]["data"] == {"n": 1}


def test_the_products_own_letters_are_read_too_and_nobody_elses(desk: Desk) -> None:
    records = Records(desk.world.product)
    desk.die(PRODUCT)
    page = records.page(DEAD_LETTER, PRODUCT, Wanted())
    assert page is not None
    assert len(page.items) == 1
    for namespace in ("kube-system", "acme-builds"):
        assert records.page(DEAD_LETTER, namespace, Wanted()) is records.resend_all(namespace) is None
        assert records.get(DEAD_LETTER, namespace, "dl-1") is records.resend(namespace, "dl-1") is None


def test_to_send_again_by_the_api_is_to_label(desk: Desk) -> None:
    records = Records(desk.world.product)
    whole, truncated = desk.die(id="whole"), desk.die(id="large", body=json.dumps("x" * deadletters.DATA_KEPT).encode())
    assert records.resend("acme", "dl-never-there") is None
    with pytest.raises(Refused, match="too large to be kept whole"):
        records.resend("acme", truncated["metadata"]["name"])
    assert records.resend_all("acme") == 1
    desk.report(whole)
    assert [sent[1] for sent in desk.sent()] == ["whole"]


def test_how_many_came_within_the_hour_is_counted_also_where_they_push_out_older_ones() -> None:
    desk = Desk(dead_letters_kept=2)
    for number in range(2):
        desk.die(id=f"order-{number}")
    desk.world.time += timedelta(hours=2)
    desk.world.tick()
    assert desk.world.product.census.dead_letters_lately(PRODUCT) == {"product": 0, "functions": 0}
    desk.die(id="another")
    desk.world.tick()
    assert desk.world.product.census.dead_letters_lately(PRODUCT) == {"product": 0, "functions": 1}
    assert len(desk.letters()) == 2
