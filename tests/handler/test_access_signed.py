"""Events that outside senders sign: whose key it is, for whom it counts, when, how often, and for what of it."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.reviews import FakeReviews
from support.signing import signed, written
from support.site import Site
from werkzeug.test import TestResponse

from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler.access import keys, modes, signatures
from knative_lambda.schemas import types
from knative_lambda.schemas.redaction import redact

KEY, NEXT, OTHERS = b"k" * 32, b"n" * 32, b"o" * 24
STRUCTURED = "application/cloudevents+json"


class Outside:
    """A product that takes signed events, and senders who have keys."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.key("shop", ["acme"], KEY)
        self.key("elsewhere", ["other"], OTHERS)
        self.site = Site(access_events=("hmac",), access_keys=str(folder))

    def key(self, name: str, tenants: list[str], *secrets: bytes) -> None:
        said = {"tenants": tenants, "secrets": [written(secret) for secret in secrets]}
        (self.folder / name).write_text(json.dumps(said))

    def body(self, kind: str = types.BUILD_START, **data: Any) -> bytes:
        return json.dumps(self.site.event(kind, **data)).encode()

    def send(
        self, body: bytes, headers: dict[str, str], media: str = STRUCTURED, path: str = "/events"
    ) -> TestResponse:
        """Send to a process of its own: none of them remembers anything."""
        client = self.site.http(access=modes.entrances(self.site.product, FakeReviews()))
        return client.post(path, data=body, headers=headers, content_type=media)

    def sign(self, body: bytes, *secrets: bytes, late: float = 0, **more: str) -> dict[str, str]:
        return signed(body, self.site.time.timestamp() - late, *(secrets or (KEY,)), **more)


@pytest.fixture
def outside(tmp_path: Path) -> Outside:
    return Outside(tmp_path)


def test_what_was_signed_is_taken(outside: Outside) -> None:
    body = outside.body()
    assert outside.send(body, outside.sign(body)).status_code == 202
    assert outside.site.cluster.get(FUNCTION, "acme", "hello")


def test_the_signature_is_the_one_of_the_standard() -> None:
    """An example of the reference libraries."""
    secret = keys.secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    told = signed(b'{"test": 2432232314}', 1614265330, secret, identifier="msg_p5jXN8AQM9LWM0D4loKWxJek")
    assert told["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("missing", [*signatures.HEADERS, "all"])
def test_what_is_not_signed_whole_is_not_taken(outside: Outside, missing: str) -> None:
    body = outside.body()
    headers = {name: value for name, value in outside.sign(body).items() if missing not in (name, "all")}
    answer = outside.send(body, headers)
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, 'Webhook-Signature realm="knative-lambda"')
    assert outside.send(body, outside.sign(body)).status_code == 202


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("webhook-id", "msg_2"),
        ("webhook-id", "msg.1"),
        ("webhook-id", ""),
        ("webhook-timestamp", "1767225601"),
        ("webhook-timestamp", "-1"),
        ("webhook-timestamp", "\u0661\u0667"),
        ("webhook-timestamp", "1e9"),
        ("webhook-signature", "v1,"),
        ("webhook-signature", "v1,AAAA"),
        ("webhook-signature", "v2,{}"),
        ("webhook-signature", "{}"),
    ],
)
def test_a_signature_covers_its_id_its_time_and_its_scheme(outside: Outside, changed: str, value: str) -> None:
    body = outside.body()
    right = outside.sign(body)
    value = value.format(right["webhook-signature"].removeprefix("v1,"))
    assert outside.send(body, right | {changed: value}).status_code == 401
    assert outside.send(body, right).status_code == 202


def test_a_signature_covers_every_attribute_and_the_data(outside: Outside) -> None:
    event = outside.site.event()
    body = json.dumps(event).encode()
    right = outside.sign(body)
    for name, value in {
        "type": types.FUNCTION_DELETE,
        "source": "/else",
        "id": "2",
        "time": "2027-01-01T00:00:00Z",
    }.items():
        assert outside.send(json.dumps({**event, name: value}).encode(), right).status_code == 401
    other = json.dumps({**event, "data": {**event["data"], "name": "other"}}).encode()
    assert outside.send(other, right).status_code == 401
    assert outside.send(body + b" ", right).status_code == 401
    assert outside.send(body, right).status_code == 202


def test_a_signed_body_does_not_become_the_data_of_another_event(outside: Outside) -> None:
    """In binary mode the attributes are headers, which nobody signed."""
    data = json.dumps({"tenant": "acme", "name": "hello"}).encode()
    headers = {
        f"ce-{name}": value for name, value in outside.site.event(types.FUNCTION_DELETE).items() if name != "data"
    }
    assert outside.send(data, headers | outside.sign(data), "application/json").status_code == 401
    body = outside.body(types.FUNCTION_DELETE)
    assert outside.send(body, outside.sign(body)).status_code == 202


def test_a_batch_may_be_signed(outside: Outside) -> None:
    batch = json.dumps([outside.site.event(), outside.site.event(name="two")]).encode()
    assert outside.send(batch, outside.sign(batch), "application/cloudevents-batch+json").status_code == 202


@pytest.mark.parametrize("late", [0, signatures.WINDOW - 1, -signatures.WINDOW, 60])
def test_a_clock_may_be_a_little_wrong(outside: Outside, late: int) -> None:
    body = outside.body()
    assert outside.send(body, outside.sign(body, late=late)).status_code == 202


@pytest.mark.parametrize("late", [signatures.WINDOW + 2, -signatures.WINDOW - 2, 86400])
def test_a_signature_from_another_time_is_none(outside: Outside, late: int) -> None:
    body = outside.body()
    assert outside.send(body, outside.sign(body, late=late)).status_code == 401


@pytest.mark.parametrize("path", ["/events", "/"])
def test_a_request_that_comes_again_is_refused_by_every_process(outside: Outside, path: str) -> None:
    body = outside.body()
    once = outside.sign(body)
    assert outside.send(body, once).status_code == 202
    assert outside.send(body, once, path=path).status_code == 401
    outside.site.time += timedelta(seconds=10)
    assert outside.send(body, outside.sign(body)).status_code == 202, "the same event, sent anew"


def test_a_request_signed_with_two_keys_is_one(outside: Outside) -> None:
    """Leaving one of them out, or turning them round, makes no other."""
    outside.key("shop", ["acme"], KEY, NEXT)
    body = outside.body()
    both = outside.sign(body, KEY, NEXT)
    first, second = both["webhook-signature"].split()
    assert outside.send(body, both).status_code == 202
    for told in (first, second, f"{second} {first}"):
        assert outside.send(body, both | {"webhook-signature": told}).status_code == 401


def test_a_function_that_somebody_removed_is_not_brought_back_by_a_request_that_comes_again(outside: Outside) -> None:
    """What kubectl deletes leaves no mark that an order of events would tell by."""
    body = outside.body()
    once = outside.sign(body)
    assert outside.send(body, once).status_code == 202
    outside.site.cluster.delete(FUNCTION, "acme", "hello")
    assert outside.send(body, once).status_code == 401
    assert outside.site.cluster.get(FUNCTION, "acme", "hello") is None


def test_a_key_is_for_its_tenants(outside: Outside) -> None:
    for tenant, status in (("acme", 202), ("other", 403), ("no-such-tenant", 403)):
        body = outside.body(tenant=tenant)
        assert outside.send(body, outside.sign(body)).status_code == status
    body = outside.body(tenant="other")
    assert outside.send(body, outside.sign(body, OTHERS)).status_code == 202


def test_nobody_signs_a_hint(outside: Outside) -> None:
    body = json.dumps({**outside.site.event(types.PING), "data": {}}).encode()
    assert outside.send(body, outside.sign(body)).status_code == 403


def test_keys_are_changed_without_a_moment_in_which_none_counts(outside: Outside) -> None:
    def counts(*secrets: bytes) -> bool:
        outside.site.time += timedelta(seconds=1)
        body = outside.body()
        return outside.send(body, outside.sign(body, *secrets)).status_code == 202

    assert (counts(KEY), counts(NEXT)) == (True, False)
    outside.key("shop", ["acme"], NEXT, KEY)
    assert (counts(KEY), counts(NEXT), counts(KEY, NEXT)) == (True, True, True)
    outside.key("shop", ["acme"], NEXT)
    assert (counts(KEY), counts(NEXT)) == (False, True)
    (outside.folder / "shop").unlink()
    assert not counts(NEXT)


@pytest.mark.parametrize(
    "said",
    [
        "",
        "[]",
        "{}",
        '{"tenants": ["acme"]}',
        '{"tenants": "acme", "secrets": ["whsec_a2tra2tra2tra2tra2tra2tra2tra2tr"]}',
        '{"tenants": ["acme"], "secrets": []}',
        '{"tenants": ["acme"], "secrets": ["a2tra2tra2tra2tra2tra2tra2tra2tr"]}',
        '{"tenants": ["acme"], "secrets": ["whsec_c2hvcnQ="]}',
        '{"tenants": ["acme"], "secrets": ["whsec_no base64"]}',
        '{"tenants": ["acme"], "secrets": [1]}',
    ],
)
def test_a_key_that_is_none_is_told_and_stops_no_other(
    tmp_path: Path, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    Outside(tmp_path)
    (tmp_path / "broken").write_text(said)
    (tmp_path / "..data").mkdir()
    assert [sender.name for sender in keys.senders(str(tmp_path))] == ["elsewhere", "shop"]
    assert "broken" in caplog.text
    assert "whsec" not in caplog.text


def test_a_key_is_told_to_nobody_even_where_it_is_none(outside: Outside) -> None:
    """With its prefix and without, as libraries take both."""
    short = written(b"too short")
    (outside.folder / "broken").write_text(json.dumps({"tenants": ["acme"], "secrets": [short]}))
    keys.senders(str(outside.folder))
    for secret in (written(KEY), written(OTHERS), short):
        assert redact(f"with {secret.removeprefix('whsec_')}") == "with ***"
        assert secret.removeprefix("whsec_") not in redact(f"with {secret}")


def test_no_more_keys_are_tried_than_a_stranger_may_make_us_try(outside: Outside) -> None:
    outside.key("a", ["acme"], *(bytes([n]) * 32 for n in range(keys.MOST)))
    assert [sender.name for sender in keys.senders(str(outside.folder))] == ["a"]


@pytest.mark.parametrize(("before", "status"), [(signatures.SIGNATURES - 1, 202), (signatures.SIGNATURES, 401)])
def test_no_more_signatures_are_looked_at_than_a_sender_has_use_for(outside: Outside, before: int, status: int) -> None:
    body = outside.body()
    assert outside.send(body, outside.sign(body, *([NEXT] * before), KEY)).status_code == status


def test_without_a_folder_nobody_has_a_key(tmp_path: Path) -> None:
    assert keys.senders("") == keys.senders(str(tmp_path / "none")) == []
