"""What is answered: a function's return value, or a problem, as status, headers and body.

Called by `delivery.py` and `server.py`. A body that is no CloudEvent would make a broker deliver the event
again, so a 2xx is either empty or one event in binary mode.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from .binding import is_json, write
from .context import RESULT, Context
from .event import REQUIRED, Event, Fault, faults_of


class NoReply(ValueError):
    """The function's return value is neither None, nor a CloudEvent, nor JSON."""


class Reply(NamedTuple):
    """An answer, before it is sent."""

    status: int
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""


def problem(status: int, detail: str, faults: Iterable[Fault] = ()) -> Reply:
    """Return an answer that says what went wrong (RFC 9457)."""
    told = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "faults": [fault._asdict() for fault in faults],
    }
    return Reply(status, [("content-type", "application/problem+json")], json.dumps(told).encode())


def reply_to(value: Any, context: Context) -> Reply:
    """Return the answer for what the function returned; raise `NoReply`."""
    if value is None:
        return Reply(HTTPStatus.ACCEPTED)
    try:
        headers, body = write(_well_formed(_event_of(value, context)))
    except (TypeError, ValueError, RecursionError) as error:
        raise NoReply(str(error)) from None
    return Reply(HTTPStatus.OK, list(headers.items()), body)


def _event_of(value: Any, context: Context) -> Event:
    """Return the event that `value` is (ours, a dict with what is required, an SDK's), or the one it is wrapped in."""
    if isinstance(value, Event):
        return value
    if isinstance(value, Mapping) and all(name in value for name in REQUIRED):
        attributes = dict(value)
        data, encoded = attributes.pop("data", None), attributes.pop("data_base64", None)
        return Event(attributes, data if encoded is None else base64.b64decode(encoded, validate=True))
    if callable(getattr(value, "get_attributes", None)) and callable(getattr(value, "get_data", None)):
        return _event_of_sdk(dict(value.get_attributes()), value.get_data())
    if isinstance(value, (bytes, bytearray, memoryview)):
        raise TypeError("bytes are no JSON; context.event(type=…, data=…) sends them")
    return context.event(type=RESULT, data=value)


def _event_of_sdk(attributes: dict[str, Any], data: Any) -> Event:
    """Return an event of the `cloudevents` package; both of its generations send text as it is, JSON or not."""
    if isinstance(data, str):
        if attributes.get("datacontenttype") is None:
            attributes["datacontenttype"] = "text/plain; charset=utf-8"
        elif is_json(attributes["datacontenttype"]):
            data = data.encode()
    return Event(attributes, data)


def _well_formed(event: Event) -> Event:
    attributes = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in event.get_attributes().items()
        if value is not None
    }
    faults = faults_of(attributes)
    if faults:
        raise ValueError("; ".join(f"{fault.where} {fault.message}" for fault in faults))
    return Event(attributes, event.data)
