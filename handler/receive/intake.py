"""The gate: HTTP in, checked events out. CloudEvents 1.0 over HTTP in binary, structured and batched mode.

Called by `app.py` with the headers and the body of a request; pure, and it never lets through what it has not checked.
The CloudEvents SDK ends here. Its own readers invent what is missing, stop at the first fault and parse before anything
is bounded, so the attributes and the data are read by us, and the SDK's event judges what was read.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import attributes as rules
from knative_lambda.handler.receive import strict_json
from knative_lambda.handler.receive.batches import together
from knative_lambda.handler.receive.header_text import decoded
from knative_lambda.handler.receive.strict_json import NotJson, TooManyValues
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Fault, Malformed, Refused, TooLarge
from knative_lambda.schemas.types import TYPES, EventType

STRUCTURED = "application/cloudevents+json"
BATCHED = "application/cloudevents-batch+json"
_JSON = re.compile(r"[^/]+/(?:[^/]+\+)?json")
_UTF8 = ("", "utf-8", "utf8", "us-ascii")
"""The charsets that JSON may say it has (RFC 8259, 8.1), none being UTF-8."""


@dataclass(frozen=True)
class Limits:
    """What a request may hold, checked before it is parsed."""

    body: int = 10 * 1024 * 1024
    """Bytes of a request's body."""
    depth: int = 64
    """Levels of nesting in JSON; no schema of ours needs ten."""
    values: int = 100_000
    """Values in a request's JSON: ten megabytes of empty lists would become two hundred in memory."""
    batch: int = 100
    """Events in a batch."""


@dataclass(frozen=True)
class _Message:
    """The parts of one event, before anything of it is believed."""

    attributes: Mapping[str, object]
    data: object = None
    payload: bytes = b""
    """Data that is still to be read as its content type says."""
    faults: tuple[Fault, ...] = field(default=())


def read(headers: Mapping[str, str], body: bytes, limits: Limits) -> list[Event]:
    """Return the events of a request: one, or those of a batch.

    Raises `TooLarge` over a limit, `Malformed` where it is no CloudEvent, `Refused` where its type or its data is not
    ours; every fault of every event is told. A batch passes whole, or not at all.
    """
    if len(body) > limits.body:
        raise TooLarge.because("body", f"is larger than {limits.body} bytes")
    named = {name.lower(): value for name, value in headers.items()}
    media, charset = _media_type(named.get("content-type", ""))
    if not media.startswith("application/cloudevents"):
        return [_event(_binary(named, body), limits)]
    if media not in (STRUCTURED, BATCHED):
        raise Malformed.because("content-type", f"{media[: rules.SHOWN]!r} is not read here: {STRUCTURED} is")
    document = _json(body, charset, limits, "body")
    if media == STRUCTURED:
        return [_event(_structured(document), limits)]
    return _batch(document, limits)


def is_structured(content_type: str) -> bool:
    """Say whether a request of this content type carries all of its events in its body."""
    return _media_type(content_type)[0] in (STRUCTURED, BATCHED)


def is_batch(content_type: str) -> bool:
    """Say whether a request of this content type carries a batch."""
    return _media_type(content_type)[0] == BATCHED


def _batch(document: object, limits: Limits) -> list[Event]:
    if not isinstance(document, list):
        raise Malformed.because("body", "a batch is a JSON array of events")
    if len(document) > limits.batch:
        raise TooLarge.because("body", f"a batch holds {limits.batch} events at most, not {len(document)}")
    events = []
    errors: list[tuple[int, Exception]] = []
    for index, item in enumerate(document):
        try:
            events.append(_event(_structured(item), limits))
        except Refused as error:
            errors.append((index, error))
    if errors:
        raise together(errors)
    return events


def _binary(headers: Mapping[str, str], body: bytes) -> _Message:
    found: dict[str, object] = {}
    faults = []
    for header, value in headers.items():
        name = header.removeprefix("ce-")
        if name != header:
            try:
                found[name] = decoded(name, value)
            except UnicodeError:
                found[name] = ""
                faults.append(Fault(name[: rules.SHOWN], "is not percent-encoded UTF-8"))
    if not found:
        raise Malformed.because("content-type", f"no CloudEvent: neither ce- headers nor {STRUCTURED}")
    if "content-type" in headers:
        found["datacontenttype"] = headers["content-type"]
    return _Message(found, payload=body, faults=tuple(faults))


def _structured(document: object) -> _Message:
    if not isinstance(document, dict):
        raise Malformed.because("body", "an event in structured mode is a JSON object")
    # JSON format 1.0.2, 2.2: an attribute that is null is one that is not there.
    found = {name: value for name, value in document.items() if value is not None}
    data, encoded = found.pop("data", None), found.pop("data_base64", None)
    if encoded is None:
        return _Message(found, data)
    if data is not None:
        return _Message(found, faults=(Fault("data_base64", "stands beside data: one of them is enough"),))
    try:
        return _Message(found, payload=base64.b64decode(encoded, validate=True))
    except (binascii.Error, TypeError, ValueError):
        return _Message(found, faults=(Fault("data_base64", "is not base64"),))


def _event(message: _Message, limits: Limits) -> Event:
    """Return the event that a message carries, or raise with everything that is wrong with it."""
    told = {fault.where for fault in message.faults}
    malformed = [*message.faults, *(fault for fault in rules.faults(message.attributes) if fault.where not in told)]
    known, refused = _known(message.attributes)
    data: object = None
    try:
        data = _data(message, limits)
        if known:
            refused += _data_faults(known, data, _declared(message)[0])
    except Malformed as error:
        malformed += error.faults
    if malformed:
        raise Malformed([*malformed, *refused][: catalogue.FAULTS_SHOWN])
    if refused:
        raise Refused(refused)
    return _made(message.attributes, data)


def _known(attributes: Mapping[str, object]) -> tuple[EventType | None, list[Fault]]:
    """Return what is known of an event's type, and why it is not taken."""
    name = attributes.get("type")
    if not isinstance(name, str) or not name:
        return None, []
    known = TYPES.get(name)
    if known is None:
        return None, [Fault("type", f"is not known here: {name[: rules.SHOWN]!r}")]
    if not known.received:
        return None, [Fault("type", "is sent by this service, and not received")]
    expected = catalogue.dataschema(known.schema)
    if attributes.get("dataschema", expected) != expected:
        return known, [Fault("dataschema", f"must be {expected}, or be left out")]
    return known, []


def _data(message: _Message, limits: Limits) -> object:
    """Return an event's data: JSON, or the text that its content type says it is; an empty object where it has none."""
    media, charset = _declared(message)
    if not _is_json(media):
        return message.payload.decode("utf-8", "replace") if message.payload else message.data
    if message.payload:
        return _json(message.payload, charset, limits, "/data")
    return {} if message.data is None else message.data


def _data_faults(known: EventType, data: object, media: str) -> list[Fault]:
    found = catalogue.event_faults(known.schema, data)
    if found and not _is_json(media):
        return [Fault("/data", f"must be JSON, and datacontenttype says {media[: rules.SHOWN]!r}")]
    return found


def _made(attributes: Mapping[str, Any], data: object) -> Event:
    return Event(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        data=data,
        time=rules.timestamp(attributes.get("time", "")),
        subject=attributes.get("subject", ""),
        received_type=attributes["type"],
        extensions={name: value for name, value in attributes.items() if name not in rules.CONTEXT},
    )


def _json(body: bytes, charset: str, limits: Limits, where: str) -> object:
    if charset not in _UTF8:
        raise Malformed.because(where, f"must be UTF-8, and its content type says {charset[: rules.SHOWN]!r}")
    try:
        return strict_json.parse(body, depth=limits.depth, values=limits.values)
    except NotJson as error:
        raise Malformed.because(where, str(error)) from error
    except TooManyValues as error:
        raise TooLarge.because(where, str(error)) from error


def _declared(message: _Message) -> tuple[str, str]:
    return _media_type(str(message.attributes.get("datacontenttype", "")))


def _is_json(media: str) -> bool:
    return not media or _JSON.fullmatch(media) is not None


def _media_type(value: str) -> tuple[str, str]:
    """Return the media type and the charset of a content type, in small letters, "" for what it does not say."""
    media, *parameters = value.split(";")
    for parameter in parameters:
        name, _, said = parameter.partition("=")
        if name.strip().lower() == "charset":
            return media.strip().lower(), said.strip().strip('"').lower()
    return media.strip().lower(), ""
