"""The HTTP binding of CloudEvents 1.0: a request into an event, an event into a reply.

`delivery.py` reads with it, `reply.py` writes with it. Both are pure: headers and bytes in, values out.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn
from urllib.parse import quote, unquote_to_bytes

from .event import Event, Fault, faults_of

STRUCTURED = "application/cloudevents+json"
_PREFIX = "ce-"
_KEPT_IN_HEADERS = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
_CHARSET = re.compile(r';\s*charset="?([^\s";]+)', re.IGNORECASE)


class Malformed(ValueError):
    """The request bears no CloudEvent; `faults` is everything that is wrong with it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.where} {fault.message}" for fault in self.faults))


class Unsupported(ValueError):
    """The request bears events in a way that is not understood here."""


def read(headers: Iterable[tuple[str, str]], body: bytes) -> Event:
    """Return the event of a request in binary or structured mode; raise `Malformed` or `Unsupported`."""
    pairs = [(name.lower(), value) for name, value in headers]
    content_type = next((value for name, value in pairs if name == "content-type"), None)
    media = _media(content_type)
    if media == STRUCTURED:
        return _read_structured(body)
    if media.startswith("application/cloudevents-batch"):
        raise Unsupported("a batch is not accepted: send its events one by one")
    if media.startswith("application/cloudevents"):
        raise Unsupported(f"the only format of structured events that is understood is {STRUCTURED}")
    return _read_binary(pairs, content_type, body)


def write(event: Event) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of a well-formed event in binary mode."""
    attributes = event.get_attributes()
    body, inferred = _encode(event.data, attributes.pop("datacontenttype", None))
    headers = {f"{_PREFIX}{name}": _to_header(value) for name, value in attributes.items()}
    if inferred is not None:
        headers["content-type"] = inferred
    return headers, body


def parse_json(text: bytes | str) -> Any:
    """Return the value of a JSON text (UTF-8); raise ValueError for whatever is not one."""
    try:
        return json.loads(text if isinstance(text, str) else text.decode(), parse_constant=_no_constant)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_json(media_type: str | None) -> bool:
    """Tell whether data of that type is JSON, as it also is where nothing is said."""
    media = _media(media_type)
    return not media or media.endswith(("/json", "+json"))


def _read_binary(pairs: list[tuple[str, str]], content_type: str | None, body: bytes) -> Event:
    attributes: dict[str, Any] = {}
    faults = []
    for header, value in pairs:
        name = header[len(_PREFIX) :]
        if not header.startswith(_PREFIX) or name == "datacontenttype":
            continue
        if name in attributes:
            faults.append(Fault(name, "is given more than once"))
        try:
            attributes[name] = _from_header(value)
        except ValueError:
            attributes[name] = value
            faults.append(Fault(name, "is not UTF-8 where its percent signs are resolved"))
    if content_type:
        attributes["datacontenttype"] = content_type
    return _event(attributes, faults, body or None, content_type)


def _read_structured(body: bytes) -> Event:
    try:
        attributes = parse_json(body)
    except ValueError as error:
        raise Malformed([Fault("body", f"is no JSON: {error}")]) from None
    if not isinstance(attributes, dict):
        raise Malformed([Fault("body", "is no JSON object")])
    data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
    attributes = {name: value for name, value in attributes.items() if value is not None}
    content_type = attributes.get("datacontenttype")
    if encoded is None:
        return _event(attributes, [], data, content_type)
    faults = [Fault("data_base64", "stands beside `data`: one of them is enough")] if data is not None else []
    try:
        data = base64.b64decode(encoded, validate=True)
    except (TypeError, ValueError):
        faults.append(Fault("data_base64", "is no base64"))
    return _event(attributes, faults, data, content_type or "application/octet-stream")


def _event(attributes: Mapping[str, Any], faults: list[Fault], data: Any, content_type: str | None) -> Event:
    faults = faults + faults_of(attributes)
    if not any(fault.where == "datacontenttype" for fault in faults):
        try:
            data = _decode(data, content_type)
        except ValueError as error:
            faults.append(Fault("data", f"is no {content_type or 'JSON, as which it counts without a type'}: {error}"))
    if faults:
        raise Malformed(faults)
    return Event(attributes, data)


def _decode(data: Any, content_type: str | None) -> Any:
    """Return bytes, or a structured event's text, as what the content type makes of them."""
    if is_json(content_type):
        return parse_json(data) if isinstance(data, bytes) else data
    if _media(content_type).startswith("text/"):
        return data.decode(_charset(content_type)) if isinstance(data, bytes) else data
    return data.encode() if isinstance(data, str) else data


def _encode(data: Any, content_type: str | None) -> tuple[bytes, str | None]:
    """Return the body that `data` makes, and the content type to say of it."""
    if data is None:
        return b"", content_type
    if isinstance(data, (bytes, bytearray, memoryview)):
        return bytes(data), content_type or "application/octet-stream"
    if isinstance(data, str) and not is_json(content_type):
        return data.encode(_charset(content_type)), content_type
    return json.dumps(data, allow_nan=False, separators=(",", ":")).encode(), content_type or "application/json"


def _from_header(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] == '"':
        value = re.sub(r"\\(.)", r"\1", value[1:-1])
    return unquote_to_bytes(value.encode("latin-1")).decode()


def _to_header(value: str | int) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return quote(str(value), safe=_KEPT_IN_HEADERS)


def _media(content_type: str | None) -> str:
    return (content_type or "").partition(";")[0].strip().lower()


def _charset(content_type: str | None) -> str:
    named = _CHARSET.search(content_type or "")
    try:
        "".encode(named[1] if named else "utf-8")
    except LookupError:
        raise ValueError("its charset is unknown") from None
    return named[1] if named else "utf-8"


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
