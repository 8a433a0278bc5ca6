"""A CloudEvent as a Broker handles it: attributes as text, and bytes that are never looked into.

Used by `eventing.py`. Events come in binary or structured mode and leave in binary mode, as Knative's Broker sends
them. The CloudEvents HTTP binding says how headers are encoded.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote

from knative_lambda.schemas.errors import Fault, Malformed

REQUIRED = ("specversion", "id", "source", "type")
PREFIX = "ce-"
STRUCTURED = "application/cloudevents+json"
PASSED_ON = ("traceparent", "tracestate")
UNENCODED = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')


@dataclass(frozen=True)
class Message:
    """One CloudEvent 1.0, its content type among the attributes as `datacontenttype`."""

    attributes: Mapping[str, str]
    body: bytes = b""
    passed_on: Mapping[str, str] = field(default_factory=dict)
    """Headers that travel with the event and are no part of it."""

    def headers(self) -> dict[str, str]:
        """Return the headers of the event in binary mode."""
        encoded = {
            PREFIX + name: quote(value, safe=UNENCODED)
            for name, value in self.attributes.items()
            if name != "datacontenttype"
        }
        content_type = self.attributes.get("datacontenttype")
        return {**self.passed_on, **encoded, **({"content-type": content_type} if content_type else {})}

    def extended(self, extensions: Mapping[str, str]) -> "Message":
        """Return the event with more attributes."""
        return Message({**self.attributes, **extensions}, self.body, self.passed_on)


def is_event(headers: Mapping[str, str]) -> bool:
    """Say whether an answer with these headers means to be a CloudEvent."""
    return PREFIX + "specversion" in headers or headers.get("content-type", "").startswith(STRUCTURED)


def parse(headers: Mapping[str, str], body: bytes) -> Message:
    """Return the event in a request or an answer; raise `Malformed` with everything that is wrong with it."""
    lower = {name.lower(): value for name, value in headers.items()}
    content_type = lower.get("content-type", "")
    if content_type.startswith(STRUCTURED):
        attributes, body = _structured(body)
    else:
        attributes = {name.removeprefix(PREFIX): _decoded(lower[name]) for name in lower if name.startswith(PREFIX)}
        if content_type:
            attributes["datacontenttype"] = content_type
    faults = [Fault(name, "is missing") for name in REQUIRED if not attributes.get(name)]
    if not faults and attributes["specversion"] != "1.0":
        faults = [Fault("specversion", f"{attributes['specversion']} is not 1.0")]
    faults += [Fault(name, "is no name of an attribute") for name in attributes if not _is_name(name)]
    if faults:
        raise Malformed(faults)
    return Message(attributes, body, {name: lower[name] for name in PASSED_ON if name in lower})


def _structured(body: bytes) -> tuple[dict[str, str], bytes]:
    try:
        event = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed.because("/", f"not JSON: {error}") from error
    if not isinstance(event, dict):
        raise Malformed.because("/", "not a JSON object")
    attributes = {
        name: _text(name, value)
        for name, value in event.items()
        if name not in ("data", "data_base64") and value is not None
    }
    if "data_base64" in event:
        try:
            return attributes, base64.b64decode(event["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError) as error:
            raise Malformed.because("/data_base64", str(error)) from error
    if "data" not in event:
        return attributes, b""
    content_type = attributes.setdefault("datacontenttype", "application/json")
    data = event["data"]
    is_json = content_type.partition(";")[0].endswith(("/json", "+json"))
    return attributes, data.encode() if isinstance(data, str) and not is_json else json.dumps(data).encode()


def _text(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    raise Malformed.because(name, "is neither text, number nor truth value")


def _decoded(value: str) -> str:
    try:
        return unquote(value, errors="strict")
    except UnicodeDecodeError as error:
        raise Malformed.because("/", f"a header is not percent-encoded UTF-8: {error}") from error


def _is_name(name: str) -> bool:
    return name.isascii() and name.isalnum() and name == name.lower()
