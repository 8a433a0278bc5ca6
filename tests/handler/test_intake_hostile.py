"""Whatever comes, the gate answers with checked events or with one of its declared refusals."""

import json
import tracemalloc
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import intake
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.types import TYPES

TIGHT = Limits(body=2000, depth=8, values=50, batch=3)
COMPLETE = {
    "specversion": "1.0",
    "id": "1",
    "source": "/shop",
    "type": "dev.knative-lambda.build.start",
    "time": "2026-11-21T10:00:00Z",
    "subject": "x",
    "dataschema": "https://knative-lambda.dev/schemas/events/v1/build.start.json",
    "datacontenttype": "application/json",
    "data": {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": {"main.py": "x"}}},
}
NASTY = st.sampled_from(
    [
        "",
        "\x00",
        "%",
        "%zz",
        "%ff",
        '"',
        '"\\"',
        "é",
        "ÿ",
        "NaN",
        "1" * 5000,
        "[" * 500,
        "\\ud800",
        "2026-99-99T99:99:99Z",
    ]
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | NASTY,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=10,
)
NAMES = st.sampled_from([*COMPLETE, "data_base64", "extension", "Not-A-Name", "data"]) | st.text(max_size=25)
TYPE_NAMES = st.sampled_from([*TYPES, "", "other"])
HEADER_TEXT = NASTY | st.text(st.characters(max_codepoint=255), max_size=40) | TYPE_NAMES
CONTENT_TYPES = st.sampled_from(
    [
        intake.STRUCTURED,
        intake.BATCHED,
        "application/json",
        "text/plain",
        "junk",
        "application/cloudevents",
        "application/json; charset=utf-7",
        ";=;",
    ]
)
BODIES = st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode()) | NASTY.map(str.encode)


def events_or_refusal(headers: Mapping[str, str], body: bytes) -> list[Event]:
    """Return the events; a refusal must say where, and with words, and anything else fails the test."""
    try:
        events = intake.read(headers, body, TIGHT)
    except Refused as error:
        told = [fault.message for fault in error.faults]
        events = []
    else:
        told = ["let in"]
    assert told
    assert all(told)
    json.dumps(told, ensure_ascii=False).encode()
    for event in events:
        assert event.id
        assert event.source
        assert TYPES[event.type].received
        assert all(isinstance(value, str | int) for value in event.extensions.values())
        json.dumps(event.data, ensure_ascii=False, allow_nan=False).encode()
    return events


many = settings(max_examples=150, deadline=None, database=None)


@many
@given(
    content_type=CONTENT_TYPES,
    body=BODIES,
    headers=st.dictionaries(
        st.sampled_from(["ce-id", "ce-source", "ce-type", "ce-specversion", "ce-time", "ce-x", "ce-", "CE-X_Y", "x"]),
        HEADER_TEXT,
        max_size=8,
    ),
)
def test_any_request_is_read_or_refused(content_type: str, body: bytes, headers: dict[str, str]) -> None:
    events_or_refusal({**headers, "Content-Type": content_type}, body)


@many
@given(
    changes=st.dictionaries(NAMES, VALUES, max_size=3),
    gone=st.sets(st.sampled_from(sorted(COMPLETE)), max_size=2),
    kind=TYPE_NAMES,
)
def test_any_change_of_a_good_event_is_read_or_refused(changes: dict[str, Any], gone: set[str], kind: str) -> None:
    event = {name: value for name, value in {**COMPLETE, "type": kind, **changes}.items() if name not in gone}
    text = json.dumps(event).encode()
    events_or_refusal({"Content-Type": intake.STRUCTURED}, text)
    events_or_refusal({"Content-Type": intake.BATCHED}, b"[" + text + b"]")


@many
@given(place=st.integers(0, 400), piece=st.binary(min_size=1, max_size=4))
def test_any_bytes_written_over_a_good_event_are_read_or_refused(place: int, piece: bytes) -> None:
    text = json.dumps(COMPLETE).encode()
    events_or_refusal({"Content-Type": intake.STRUCTURED}, text[:place] + piece + text[place + len(piece) :])


@many
@given(data=VALUES)
def test_what_is_let_in_is_what_was_sent(data: object) -> None:
    """The clock's data may be anything, so that anything can be compared."""
    try:
        sent = json.dumps(
            {**COMPLETE, "type": "dev.knative.sources.ping", "dataschema": None, "data": data}, allow_nan=False
        )
    except ValueError:
        return
    for event in events_or_refusal({"Content-Type": intake.STRUCTURED}, sent.encode()):
        assert event.data == ({} if data is None else data)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 10_485_760,
        b'"' * 10_485_760,
        b'["' + b"\\" * 10_000_000 + b'"]',
        b"[" + b"[]," * 3_000_000 + b"[]]",
        b"{" + b",".join(b'"a%d":1' % number for number in range(90_000)) + b"}",
        b'{"id":' + b"1" * 10_000_000 + b"}",
        b'{"a":"' + b"\\ud800" * 1_000_000 + b'"}',
        b"[" + b",".join([b"[" * 63 + b"]" * 63] * 1500) + b"]",
    ],
    ids=["open", "quotes", "escapes", "lists", "names", "digits", "surrogates", "combs"],
)
def test_ten_megabytes_of_malice_are_refused_in_little_memory(body: bytes) -> None:
    tracemalloc.start()
    with pytest.raises(Refused):
        intake.read({"Content-Type": intake.STRUCTURED}, body, Limits())
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * Limits.body
