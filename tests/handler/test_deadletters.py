"""The dead-letter service: whatever a Broker gives up is kept, once, with the reason."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from flask.testing import FlaskClient

from knative_lambda.deploy.cluster import DEAD_LETTER
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler.deadletters import BODY_LIMIT, DATA_KEPT, create_app
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


class Kept:
    def __init__(self) -> None:
        self.cluster = MemoryCluster("knative-lambda", "acme")
        app = create_app(self.cluster, frozenset({"knative-lambda", "acme"}), lambda: datetime(2026, 1, 1, tzinfo=UTC))
        self.http: FlaskClient = app.test_client()

    def post(self, path: str, body: bytes = b'{"n": 1}', **headers: str) -> int:
        return self.http.post(path, data=body, headers={**EVENT, **headers}).status_code

    def letters(self, namespace: str = "acme") -> list[dict[str, Any]]:
        found = self.cluster.list(DEAD_LETTER, namespace)
        for body in found:
            assert resource_faults("DeadLetter", body) == []
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


def test_a_namespace_that_is_nobodys_is_refused(kept: Kept) -> None:
    assert kept.post("/kube-system") == 422


def test_a_body_over_the_limit_is_refused_and_an_empty_one_is_kept(kept: Kept) -> None:
    assert kept.post("/acme", b"x" * (BODY_LIMIT + 1)) == 413
    assert kept.post("/acme", b"") == 202


def test_it_says_that_it_lives(kept: Kept) -> None:
    assert kept.http.get("/health/ready").status_code == kept.http.get("/health/live").status_code == 200
