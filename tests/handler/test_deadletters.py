"""The dead-letter service: whatever a Broker gives up is kept, once, with the reason."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.reviews import FakeReviews, account

from knative_lambda.deploy.cluster import DEAD_LETTER
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler.deadletters import BODY_LIMIT, DATA_KEPT, LetIn, anybody, brokers_alone, create_app
from knative_lambda.schemas.catalogue import resource_faults

EVENT = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/shop",
    "ce-type": "demo.hello",
    "content-type": "application/json",
    "ce-knativeerrorcode": "422",
    "ce-knativeerrordest": "http://receiver/events",
    "ce-knativeerrordata": base64.b64encode(b'{"title": "refused"}').decode(),
}
STRUCTURED = {"content-type": "application/cloudevents+json"}
ETCD_LIMIT = 1_500_000
POISON = {
    "NaN": b'{"a": NaN}',
    "infinite": b'{"a": 1e999}',
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "twice": b'{"a": 1, "a": 2}',
    "digits": b"9" * 5000,
    "half a pair": b'{"a": "\\ud800"}',
    "NUL": b'{"a": "\\u0000"}',
    "NUL in a key": b'{"\\u0000": 1}',
    "markup": json.dumps("<" * 250_000).encode(),
    "many": b"[" + b"1," * 120_000 + b"1]",
    "no UTF-8": b'"\xff"',
}


class Kept:
    def __init__(self, let_in: LetIn = anybody) -> None:
        self.cluster = MemoryCluster("knative-lambda", "acme")
        app = create_app(self.cluster, "knative-lambda", ["acme"], lambda: datetime(2026, 1, 1, tzinfo=UTC), let_in)
        self.http: FlaskClient = app.test_client()

    def post(self, path: str, body: bytes = b'{"n": 1}', **headers: str) -> int:
        return self.http.post(path, data=body, headers={**EVENT, **headers}).status_code

    def letters(self, namespace: str = "acme") -> list[dict[str, Any]]:
        found = self.cluster.list(DEAD_LETTER, namespace)
        for body in found:
            assert resource_faults("DeadLetter", body) == []
            assert len(json.dumps(body, allow_nan=False)) < ETCD_LIMIT
            assert "\\u0000" not in json.dumps(body)
        return found


@pytest.fixture
def kept() -> Kept:
    return Kept()


def test_an_event_is_kept_with_the_reason_that_knative_gives(kept: Kept) -> None:
    assert kept.post("/acme") == 202
    [letter] = kept.letters()
    spec = letter["spec"]
    assert (spec["reason"], spec["code"], spec["trigger"]) == ("Refused", 422, "http://receiver/events")
    assert spec["message"] == '{"title": "refused"}'
    assert spec["event"]["type"] == "demo.hello"
    assert spec["event"]["data"] == {"n": 1}
    assert not any(name.startswith("knativeerror") for name in spec["event"])


def test_the_same_event_twice_is_kept_once(kept: Kept) -> None:
    assert [kept.post("/acme"), kept.post("/acme")] == [202, 202]
    assert len(kept.letters()) == 1


def test_an_event_with_the_same_id_from_another_source_is_another_one(kept: Kept) -> None:
    kept.post("/acme")
    kept.post("/acme", **{"ce-source": "/other"})
    assert len(kept.letters()) == 2


def test_another_event_under_the_same_id_does_not_take_a_letters_place(kept: Kept) -> None:
    """Who is not asked who they are can bring any; what is sent again must be what had failed."""
    kept.post("/acme", b'{"pay": 10}')
    kept.post("/acme", b'{"pay": 99999}')
    kept.post("/acme", b'{"pay": 10}', **{"ce-type": "demo.other"})
    kept.post("/acme", b'{"pay": 10}', **{"ce-subject": "another"})
    kept.post("/acme", json.dumps({"pay": "x" * DATA_KEPT}).encode())
    kept.post("/acme", json.dumps({"pay": "y" * DATA_KEPT}).encode())
    said = [(letter["spec"]["event"].get("data"), letter["spec"]["count"]) for letter in kept.letters()]
    assert sorted(map(str, said)) == ["(None, 1)"] * 2 + ["({'pay': 10}, 1)"] * 3 + ["({'pay': 99999}, 1)"]


@pytest.mark.parametrize(
    "again",
    [
        (b'{"b":[1],"a":2.0}', {}),
        (b' {"a": 2, "b": [1.0]}\n', {"ce-traceparent": "00-1", "ce-knativeerrordata": "x"}),
        (
            b'{"specversion": "1.0", "id": "1", "source": "/shop", "type": "demo.hello", "data": {"a": 2, "b": [1]}}',
            None,
        ),
        (b'{"data_base64": "' + base64.b64encode(b'{"a": 2, "b": [1]}') + b'"}', None),
    ],
)
def test_the_same_event_comes_to_its_letter_however_it_is_written(
    kept: Kept, again: tuple[bytes, dict[str, str] | None]
) -> None:
    """The API server writes numbers anew, and a Broker the whole event."""
    kept.post("/acme", b'{"a": 2, "b": [1]}')
    body, headers = again
    assert kept.post("/acme", body, **(STRUCTURED if headers is None else headers)) == 202
    [letter] = kept.letters()
    assert letter["spec"]["count"] == 2


def test_large_data_is_left_out_and_said_so(kept: Kept) -> None:
    assert kept.post("/acme", json.dumps("x" * DATA_KEPT).encode()) == 202
    [letter] = kept.letters()
    assert letter["spec"]["truncated"] is True
    assert "data" not in letter["spec"]["event"]


def test_data_that_is_no_json_is_kept_as_bytes(kept: Kept) -> None:
    kept.post("/acme", b"\xff\xfe", **{"content-type": "application/octet-stream"})
    assert base64.b64decode(kept.letters()[0]["spec"]["event"]["data_base64"]) == b"\xff\xfe"


def test_a_structured_event_is_kept_too(kept: Kept) -> None:
    body = {"specversion": "1.0", "id": "9", "source": "/s", "type": "t", "data": [1]}
    answer = kept.http.post("/acme", data=json.dumps(body), headers={"content-type": "application/cloudevents+json"})
    assert answer.status_code == 202
    assert kept.letters()[0]["spec"]["event"] == body


@pytest.mark.parametrize("body", POISON.values(), ids=POISON)
def test_data_that_cannot_be_kept_as_json_is_kept_as_bytes(kept: Kept, body: bytes) -> None:
    """The events that nobody could read are the ones that come here."""
    assert kept.post("/acme", body) == 202
    [letter] = kept.letters()
    event = letter["spec"]["event"]
    assert event["type"] == "demo.hello"
    data = base64.b64decode(event["data_base64"])
    assert data == body or json.loads(data) == json.loads(body)


@pytest.mark.parametrize("body", POISON.values(), ids=POISON)
def test_poison_in_a_structured_event_is_kept_too(kept: Kept, body: bytes) -> None:
    whole = b'{"specversion": "1.0", "id": "9", "source": "/s", "type": "t", "data": ' + body + b"}"
    assert kept.http.post("/acme", data=whole, headers=STRUCTURED).status_code == 202
    [letter] = kept.letters()
    data = base64.b64decode(letter["spec"]["event"]["data_base64"])
    assert data == whole or json.loads(data) == json.loads(body)


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": {"a": 1}},
        {"id": ["1"]},
        {"n": 1.5},
        {"a b": "x"},
        {"": "x"},
        {"x" * 1000: "x"},
        {"data_base64": 5},
        {"data_base64": "<" * 1000},
    ],
)
def test_a_structured_event_whose_attributes_are_none_is_kept_whole_as_bytes(kept: Kept, wrong: dict[str, Any]) -> None:
    body = json.dumps({"specversion": "1.0", "id": "9", "source": "/s", "type": "t", **wrong}).encode()
    headers = {**STRUCTURED, "ce-knativeerrorcode": "422"}
    assert kept.http.post("/acme", data=body, headers=headers).status_code == 202
    [letter] = kept.letters()
    assert letter["spec"]["event"] == {"data_base64": base64.b64encode(body).decode()}
    assert letter["spec"]["reason"] == "Refused"


def test_events_that_say_no_id_are_told_apart_by_what_they_hold(kept: Kept) -> None:
    for body in (b"{", b"[", b"{"):
        assert kept.http.post("/acme", data=body, headers=STRUCTURED).status_code == 202
    assert len(kept.letters()) == 2


def test_attributes_of_any_size_leave_a_letter_that_an_api_server_takes(kept: Kept) -> None:
    """What names the event is small, and stays."""
    large = {f"x{n}": "<" * 8000 for n in range(80)}
    assert kept.post("/acme", b"[1]", **{f"ce-{name}": value for name, value in large.items()}) == 202
    structured = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "a": "\U0001f600" * 300_000, "b": "\0"}
    kept.http.post("/acme", data=json.dumps(structured), headers=STRUCTURED)
    letters = {letter["spec"]["event"]["type"]: letter["spec"]["event"] for letter in kept.letters()}
    assert letters["demo.hello"]["source"] == "/shop"
    assert letters["demo.hello"]["data"] == [1]
    assert letters["t"]["id"] == "1"
    assert "a" not in letters["t"]


@pytest.mark.parametrize(
    "why",
    [
        {"knativeerrorcode": "\xb2"},
        {"knativeerrorcode": "9" * 5000},
        {"knativeerrorcode": "-1"},
        {"knativeerrordest": "x" * 8000},
        {"knativeerrordata": "x" * 8000},
        {"knativeerrordata": base64.b64encode(b"\0" * 5000).decode()},
        {"data": "x"},
        {"x_y": "x"},
    ],
)
def test_a_reason_that_is_none_loses_no_event(kept: Kept, why: dict[str, str]) -> None:
    assert kept.post("/acme", **{f"ce-{name}": value for name, value in why.items()}) == 202
    assert kept.letters()[0]["spec"]["event"]["data"] == {"n": 1}


def test_a_namespace_that_is_nobodys_is_refused(kept: Kept) -> None:
    assert kept.post("/kube-system") == 422


def test_an_event_over_every_limit_is_kept_without_its_data_and_an_empty_one_as_it_is(kept: Kept) -> None:
    """What is refused here is lost; and the receiver has refused just this one, for its size."""
    assert kept.post("/acme", b"x" * (BODY_LIMIT + 1)) == 202
    assert kept.letters()[0]["spec"]["truncated"] is True
    assert "data" not in kept.letters()[0]["spec"]["event"]
    assert kept.post("/acme", b"") == 202


def test_it_says_that_it_lives(kept: Kept) -> None:
    assert kept.http.get("/health/ready").status_code == kept.http.get("/health/live").status_code == 200


def test_where_brokers_say_who_they_are_letters_are_taken_from_those_of_the_namespace_alone() -> None:
    """A stranger learns nothing of which namespaces there are; one who is not asked brings the same letter."""
    reviews = FakeReviews()
    asked = Kept(brokers_alone(reviews, "knative-lambda"))
    ours, theirs = (reviews.give(account(place, "trigger-oidc"), "knative-lambda") for place in ("acme", "other"))
    another = reviews.give(account("acme", "trigger-oidc"), "another")
    assert asked.post("/acme") == asked.post("/no-such") == 401
    for wrong in (theirs, another, "wrong"):
        assert asked.post("/acme", authorization=f"Bearer {wrong}") == 401
    assert asked.letters() == []
    assert asked.post("/acme", authorization=f"Bearer {ours}") == 202
    assert asked.post("/knative-lambda", authorization=f"Bearer {ours}") == 401
    assert len(asked.letters()) == 1
    reviews.is_away = True
    assert asked.post("/acme", authorization=f"Bearer {ours}") == 503
    assert Kept().post("/acme") == 202
