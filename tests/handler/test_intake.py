"""The gate lets in CloudEvents 1.0 of the types it knows, and names everything that is wrong with any other."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import intake
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Malformed, Refused, TooLarge

START = "dev.knative-lambda.build.start"
DELETE = "dev.knative-lambda.function.delete"
PING = "dev.knative.sources.ping"
TARGET = {"tenant": "acme", "name": "hello"}
ATTRIBUTES = {"specversion": "1.0", "id": "1", "source": "/shop", "type": DELETE}
Sent = tuple[dict[str, str], bytes]


def binary(attributes: Mapping[str, Any], data: object) -> Sent:
    headers = {f"Ce-{name}": str(value) for name, value in attributes.items()}
    return {**headers, "Content-Type": "application/json", "Host": "receiver"}, json.dumps(data).encode()


def structured(attributes: Mapping[str, Any], data: object) -> Sent:
    return {"Content-Type": intake.STRUCTURED}, json.dumps({**attributes, "data": data}).encode()


def batched(attributes: Mapping[str, Any], data: object) -> Sent:
    return {"Content-Type": intake.BATCHED}, json.dumps([{**attributes, "data": data}]).encode()


def read(sent: Sent, **limits: int) -> list[Event]:
    return intake.read(*sent, Limits(**limits))


def refusal(sent: Sent, kind: type[Refused], **limits: int) -> list[str]:
    """Return where the faults of a refused request are, once it was refused for exactly this reason."""
    with pytest.raises(Refused) as raised:
        read(sent, **limits)
    assert type(raised.value) is kind
    return [fault.where for fault in raised.value.faults]


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in ATTRIBUTES.items() if key != name}


modes = pytest.mark.parametrize("mode", [binary, structured, batched])
Mode = Callable[[Mapping[str, Any], object], Sent]


@modes
def test_every_mode_gives_the_same_event(mode: Mode) -> None:
    attributes = {**ATTRIBUTES, "time": "2026-11-21T10:00:00+01:00", "subject": "hello", "tracestate": "a=b"}
    assert read(mode(attributes, TARGET)) == [
        Event(
            id="1",
            source="/shop",
            type=DELETE,
            data=TARGET,
            time=datetime(2026, 11, 21, 9, tzinfo=UTC),
            subject="hello",
            received_type=DELETE,
            extensions={"tracestate": "a=b"},
        )
    ]


def test_extensions_keep_their_types_in_structured_mode() -> None:
    (event,) = read(structured({**ATTRIBUTES, "count": 7, "fresh": True, "note": "x"}, TARGET))
    assert event.extensions == {"count": 7, "fresh": True, "note": "x"}


def test_an_empty_batch_has_no_events() -> None:
    assert read(({"Content-Type": intake.BATCHED}, b"[]")) == []


@modes
@pytest.mark.parametrize("name", ["id", "source", "type", "specversion"])
def test_a_required_attribute_that_is_missing_is_not_invented(mode: Mode, name: str) -> None:
    where = f"/0/{name}" if mode is batched else name
    assert refusal(mode(without(name), TARGET), Malformed) == [where]


@modes
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", ""),
        ("source", ""),
        ("source", "not a uri"),
        ("source", "1:2"),
        ("source", "/half%2"),
        ("type", ""),
        ("specversion", "0.3"),
        ("specversion", "1.0\u0085"),
        ("specversion", "1.1"),
        ("subject", ""),
        ("subject", "a\u0007b"),
        ("subject", "x" * 5000),
        ("time", "junk"),
        ("time", "2026-11-21"),
        ("time", "2026-11-21 10:00:00Z"),
        ("time", "2026-11-21T10:00:00"),
        ("time", "2026-13-21T10:00:00Z"),
        ("time", "2026-11-21T10:00:00+25:00"),
        ("time", "0001-01-01T00:00:00+10:00"),
        ("dataschema", "relative"),
        ("dataschema", ""),
        ("not-a-name", "x"),
        ("a" * 21, "x"),
    ],
)
def test_an_attribute_that_breaks_the_specification_makes_it_no_cloudevent(mode: Mode, name: str, value: str) -> None:
    where = f"/0/{name}" if mode is batched else name
    assert where in refusal(mode({**ATTRIBUTES, name: value}, TARGET), Malformed)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("id", 1),
        ("time", 5),
        ("subject", True),
        ("type", ["x"]),
        ("extension", 1.5),
        ("extension", {}),
        ("extension", []),
        ("extension", 2**31),
        ("UPPER", "x"),
        ("under_score", "x"),
        ("datacontenttype", "junk"),
    ],
)
def test_a_value_of_no_cloudevents_type_is_refused(name: str, value: object) -> None:
    assert refusal(structured({**ATTRIBUTES, name: value}, TARGET), Malformed) == [name]


def test_an_attribute_that_is_null_is_one_that_is_missing() -> None:
    (event,) = read(structured({**ATTRIBUTES, "subject": None, "extension": None}, TARGET))
    assert (event.subject, event.extensions) == ("", {})
    assert refusal(structured({**ATTRIBUTES, "id": None}, TARGET), Malformed) == ["id"]


@pytest.mark.parametrize(
    "source",
    [
        "/shop",
        "https://10.96.0.1:443",
        "urn:x:y",
        "network.notifi.acme",
        "//host/a?b#c",
        "http://[::1]/",
        "?q",
        "http:",
    ],
)
def test_every_uri_reference_is_a_source(source: str) -> None:
    assert read(structured({**ATTRIBUTES, "source": source}, TARGET))[0].source == source


@pytest.mark.parametrize(
    ("time", "moment"),
    [
        ("2026-11-21T10:00:00.123456789Z", datetime(2026, 11, 21, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-21t10:00:00z", datetime(2026, 11, 21, 10, tzinfo=UTC)),
        ("2016-12-31T23:59:60Z", datetime(2017, 1, 1, tzinfo=UTC)),
        ("2026-11-21T10:00:00.5-01:30", datetime(2026, 11, 21, 11, 30, 0, 500000, tzinfo=UTC)),
    ],
)
def test_every_time_of_rfc_3339_is_read(time: str, moment: datetime) -> None:
    assert read(structured({**ATTRIBUTES, "time": time}, TARGET))[0].time == moment


@pytest.mark.parametrize(
    ("header", "subject"),
    [
        ("a%20b", "a b"),
        ("100%25", "100%"),
        ("Euro%20%E2%82%AC", "Euro €"),
        ('"a \\"b\\" c"', 'a "b" c'),
        ("plain", "plain"),
        ("100%", "100%"),
        ("bare €".encode().decode("latin-1"), "bare €"),
    ],
)
def test_a_header_is_decoded_once(header: str, subject: str) -> None:
    """Percent-encoded as the binding says, quoted as its older versions did, or bare as Go's SDK sends it."""
    headers, body = binary(ATTRIBUTES, TARGET)
    assert read(({**headers, "Ce-Subject": header}, body))[0].subject == subject


@pytest.mark.parametrize("header", ["%ff", "\u00ff", "€", "%ED%A0%80"])
def test_a_header_that_is_no_utf_8_is_refused(header: str) -> None:
    headers, body = binary(ATTRIBUTES, TARGET)
    assert refusal(({**headers, "Ce-Subject": header}, body), Malformed) == ["subject"]


def test_the_escapes_of_a_source_survive_a_sender_that_does_not_encode() -> None:
    headers, body = binary(ATTRIBUTES, TARGET)
    assert read(({**headers, "Ce-Source": "/caf%C3%A9"}, body))[0].source == "/caf%C3%A9"
    assert read(({**headers, "Ce-Source": "/caf%25C3%25A9"}, body))[0].source == "/caf%C3%A9"


def test_headers_beside_a_structured_event_mean_nothing() -> None:
    headers, body = structured(ATTRIBUTES, TARGET)
    assert read(({**headers, "Ce-Id": "other", "Ce-Bad_Name": "x"}, body))[0].id == "1"


@pytest.mark.parametrize(
    "content_type", ["application/cloudevents+json; charset=UTF-8", 'Application/CloudEvents+JSON;charset="utf-8"']
)
def test_a_structured_event_may_say_that_it_is_utf_8(content_type: str) -> None:
    _, body = structured(ATTRIBUTES, TARGET)
    assert read(({"Content-Type": content_type}, body))[0].id == "1"


@pytest.mark.parametrize(
    "sent",
    [
        ({}, b""),
        ({"Content-Type": "application/json"}, json.dumps(TARGET).encode()),
        ({"Content-Type": "application/cloudevents+avro"}, b""),
        ({"Content-Type": "application/cloudevents"}, b"{}"),
    ],
    ids=["nothing", "plain json", "another format", "no format"],
)
def test_what_is_no_cloudevent_is_told_by_its_content_type(sent: Sent) -> None:
    assert refusal(sent, Malformed) == ["content-type"]


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        (intake.STRUCTURED, b"[]"),
        (intake.STRUCTURED, b'"text"'),
        (intake.STRUCTURED, b""),
        (intake.STRUCTURED, b"\xff"),
        (intake.STRUCTURED, b"\xef\xbb\xbf{}"),
        (intake.STRUCTURED, b"{}{}"),
        (intake.BATCHED, b"{}"),
        (intake.BATCHED, b"null"),
        (intake.STRUCTURED + "; charset=utf-16", "{}".encode("utf-16")),
    ],
)
def test_an_envelope_that_is_no_json_of_its_kind_is_refused(content_type: str, body: bytes) -> None:
    assert refusal(({"Content-Type": content_type}, body), Malformed) == ["body"]


def test_an_item_of_a_batch_that_is_no_object_is_refused() -> None:
    assert refusal(({"Content-Type": intake.BATCHED}, b"[1]"), Malformed) == ["/0/body"]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "NaN",
        "-Infinity",
        "1e999",
        "[" * 65 + "]" * 65,
        '{"a":' * 50_000,
        "1" * 65,
        "1" * 5000,
        '{"a": 1, "a": 2}',
        r'"\ud800"',
        r'{"\udfff": 1}',
        "]" * 100,
    ],
    ids=[
        "cut",
        "nan",
        "infinity",
        "a double's infinity",
        "deep",
        "deep and cut",
        "65 digits",
        "5000 digits",
        "twice",
        "surrogate",
        "surrogate key",
        "closed",
    ],
)
def test_json_that_is_doubtful_is_refused_wherever_it_stands(text: str) -> None:
    """In an envelope, in a batch, in a body, and within data_base64."""
    headers, _ = binary(ATTRIBUTES, TARGET)
    assert refusal((headers, text.encode()), Malformed) == ["/data"]
    envelope = json.dumps({**ATTRIBUTES, "data": "here"}).replace('"here"', text)
    assert refusal(({"Content-Type": intake.STRUCTURED}, envelope.encode()), Malformed) == ["body"]
    assert refusal(({"Content-Type": intake.BATCHED}, f"[{envelope}]".encode()), Malformed) == ["body"]
    encoded = {**ATTRIBUTES, "data_base64": base64.b64encode(text.encode()).decode()}
    assert refusal(({"Content-Type": intake.STRUCTURED}, json.dumps(encoded).encode()), Malformed) == ["/data"]


def test_brackets_within_strings_do_not_nest() -> None:
    source = {"inline": {"main.py": "[" * 500 + '\\"' + "{" * 500, "end.py": "\\", "more.py": "[" * 500}}
    data = {**TARGET, "runtime": "python", "source": source}
    assert read(structured({**ATTRIBUTES, "type": START}, data))[0].data == data


def test_what_is_over_a_limit_is_too_large() -> None:
    assert refusal(binary(ATTRIBUTES, TARGET), TooLarge, body=10) == ["body"]
    assert refusal(structured(ATTRIBUTES, {**TARGET, "more": [0] * 20}), TooLarge, values=20) == ["body"]
    assert refusal(structured(ATTRIBUTES, {**TARGET, "more": '"' * 20}), Refused, values=20) == ["/data"]
    assert refusal(binary(ATTRIBUTES, {**TARGET, "more": [[]] * 20}), TooLarge, values=20) == ["/data"]
    many = json.dumps([{**ATTRIBUTES, "data": TARGET}] * 3).encode()
    assert refusal(({"Content-Type": intake.BATCHED}, many), TooLarge, batch=2) == ["body"]
    assert len(read(({"Content-Type": intake.BATCHED}, many), batch=3)) == 3


def test_an_event_has_a_hundred_attributes_at_most() -> None:
    assert refusal(structured({**ATTRIBUTES, **{f"x{number}": "" for number in range(100)}}, TARGET), Malformed) == [
        "body"
    ]


def test_data_base64_is_read_as_its_content_type_says() -> None:
    encoded = base64.b64encode(json.dumps(TARGET).encode()).decode()
    body = {**ATTRIBUTES, "datacontenttype": "application/vnd.x+json; charset=utf-8", "data_base64": encoded}
    assert read(({"Content-Type": intake.STRUCTURED}, json.dumps(body).encode()))[0].data == TARGET


@pytest.mark.parametrize("extra", [{"data_base64": "!"}, {"data_base64": 5}, {"data_base64": "e30=", "data": TARGET}])
def test_data_base64_that_cannot_be_read_is_named(extra: dict[str, Any]) -> None:
    assert "data_base64" in refusal(
        ({"Content-Type": intake.STRUCTURED}, json.dumps({**ATTRIBUTES, **extra}).encode()), Malformed
    )


@pytest.mark.parametrize("charset", ["utf-16", "latin-1", "zlib"])
def test_json_data_in_another_charset_is_refused(charset: str) -> None:
    headers, body = binary(ATTRIBUTES, TARGET)
    assert refusal(({**headers, "Content-Type": f"application/json; charset={charset}"}, body), Malformed) == ["/data"]


def test_data_that_is_no_json_is_refused_where_a_schema_asks_for_some() -> None:
    headers, body = binary(ATTRIBUTES, TARGET)
    assert refusal(({**headers, "Content-Type": "text/plain"}, body), Refused) == ["/data"]
    assert refusal(({**headers, "Content-Type": "application/octet-stream"}, b"\xff"), Refused) == ["/data"]


def test_the_clock_may_tick_with_any_data_or_none() -> None:
    headers, _ = binary({**ATTRIBUTES, "type": PING}, {})
    assert read(({**headers, "Content-Type": "text/plain"}, b"tick"))[0].data == "tick"
    del headers["Content-Type"]
    assert read((headers, b""))[0].data == {}


def test_an_event_of_an_older_family_needs_no_data() -> None:
    headers, _ = binary({**ATTRIBUTES, "type": "network.notifi.lambda.service.delete"}, {})
    assert read((headers, b""))[0].type == "network.notifi.lambda.service.delete"


@modes
def test_a_type_that_is_unknown_or_only_sent_is_refused(mode: Mode) -> None:
    where = "/0/type" if mode is batched else "type"
    assert refusal(mode({**ATTRIBUTES, "type": "com.example.other"}, TARGET), Refused) == [where]
    assert refusal(mode({**ATTRIBUTES, "type": "dev.knative-lambda.function.ready"}, TARGET), Refused) == [where]


def test_a_dataschema_must_be_the_current_one() -> None:
    current = catalogue.dataschema("function.delete")
    assert read(structured({**ATTRIBUTES, "dataschema": current}, TARGET))[0].data == TARGET
    other = current.replace("v1", "v2")
    assert refusal(structured({**ATTRIBUTES, "dataschema": other}, TARGET), Refused) == ["dataschema"]


@modes
def test_all_faults_of_the_data_are_told(mode: Mode) -> None:
    data = {"tenant": "Acme", "name": "hello", "runtime": "cobol", "source": {}, "surplus": 1}
    prefix = "/0" if mode is batched else ""
    expected = {f"{prefix}/data{where}" for where in ("", "/tenant", "/runtime", "/source")}
    assert set(refusal(mode({**ATTRIBUTES, "type": START}, data), Refused)) == expected


@modes
def test_faults_of_attributes_and_of_data_are_told_together(mode: Mode) -> None:
    """It is no CloudEvent then, whatever its data is."""
    prefix = "/0/" if mode is batched else ""
    found = refusal(mode({**without("id"), "time": "junk"}, {"tenant": "acme"}), Malformed)
    assert found == [f"{prefix}id", f"{prefix}time", "/0/data" if prefix else "/data"]
    assert refusal(mode({**without("id"), "type": "other"}, {}), Malformed) == [f"{prefix}id", f"{prefix}type"]


def test_broken_data_does_not_hide_the_faults_of_attributes() -> None:
    headers, _ = binary({**without("id"), "type": "other"}, TARGET)
    assert refusal((headers, b"{"), Malformed) == ["id", "/data", "type"]


def test_every_event_of_a_batch_is_judged() -> None:
    """The worst of them gives the status; the good ones go down with it."""
    events = [{**ATTRIBUTES, "data": TARGET}, {**ATTRIBUTES, "data": {}}, {**without("id"), "data": TARGET}]
    sent = ({"Content-Type": intake.BATCHED}, json.dumps(events).encode())
    assert refusal(sent, Malformed) == ["/1/data", "/1/data", "/2/id"]
    assert refusal(({"Content-Type": intake.BATCHED}, json.dumps(events[:2]).encode()), Refused) == [
        "/1/data",
        "/1/data",
    ]
