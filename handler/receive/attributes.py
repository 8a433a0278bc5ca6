"""What CloudEvents 1.0 and this receiver ask of an event's attributes.

Called by `intake.py` with attributes as they came, headers decoded. The SDK judges too, but it invents what is missing,
and takes values that are no CloudEvents types; what it finds beyond our own rules is added.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta

from cloudevents.core.exceptions import BaseCloudEventException, CloudEventValidationError
from cloudevents.core.v1.event import CloudEvent

from knative_lambda.handler.receive.header_text import URI_REFERENCE, is_uri_reference
from knative_lambda.schemas.errors import Fault

REQUIRED = ("id", "source", "specversion", "type")
CONTEXT = (*REQUIRED, "datacontenttype", "dataschema", "subject", "time")
MOST = 100
"""Attributes of an event at most."""
LONGEST = 4096
"""Characters of an attribute at most."""
SHOWN = 64
"""Characters of a stranger's text that a fault repeats."""
_NAME = re.compile(r"[a-z0-9]{1,20}")
_INTEGER_LIMIT = 2**31
_FORBIDDEN = re.compile("[\u0000-\u001f\u007f-\u009f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, surrogates and noncharacters, which the type String has not (CloudEvents 1.0.2, 3.1)."""
_MEDIA_TYPE = re.compile(r"[!#$&^_.+\w-]+/[!#$&^_.+\w-]+\s*(;.*)?", re.ASCII | re.DOTALL)
_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d):(\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def faults(attributes: Mapping[str, object]) -> list[Fault]:
    """Return what is wrong with the attributes, one fault for each, required ones first."""
    if len(attributes) > MOST:
        return [Fault("body", f"an event has {MOST} attributes at most, not {len(attributes)}")]
    missing = [Fault(name, "is required, and missing") for name in REQUIRED if name not in attributes]
    ours = [Fault(name[:SHOWN], wrong) for name, value in attributes.items() if (wrong := _wrong(name, value))]
    known = {fault.where for fault in (*missing, *ours)}
    return [*missing, *ours, *(fault for fault in _found_by_sdk(attributes) if fault.where not in known)]


def timestamp(text: str) -> datetime | None:
    """Return the moment that RFC 3339 text names, in UTC with microseconds, or None where it names none."""
    found = _TIMESTAMP.fullmatch(text)
    if not found:
        return None
    day, minute, second, fraction, zone = found.groups()
    leap = second == "60"
    micros = (fraction or "0")[:6].ljust(6, "0")
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{'59' if leap else second}.{micros}{zone.upper()}")
        return (moment + timedelta(seconds=leap)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _wrong(name: str, value: object) -> str:
    if not _NAME.fullmatch(name):
        return f"is no attribute name (a-z and 0-9, 20 at most): {name[:SHOWN]!r}"
    if not isinstance(value, str):
        return _wrong_type(name, value)
    if len(value) > LONGEST:
        return f"is longer than {LONGEST} characters"
    if _FORBIDDEN.search(value):
        return "holds a control character or another that no attribute may hold"
    return _RULES[name](value) if name in _RULES else ""


def _wrong_type(name: str, value: object) -> str:
    if name in CONTEXT:
        return "must be a string"
    if not isinstance(value, bool | int):
        return "must be a string, an integer or a boolean"
    return "" if -_INTEGER_LIMIT <= value < _INTEGER_LIMIT else "is an integer of more than 32 bits"


def _source(text: str) -> str:
    return "" if is_uri_reference(text) else f"is no URI-reference: {text[:SHOWN]!r}"


def _dataschema(text: str) -> str:
    found = URI_REFERENCE.fullmatch(text)
    return "" if found and found["scheme"] else f"is no absolute URI: {text[:SHOWN]!r}"


def _specversion(text: str) -> str:
    return "" if text == "1.0" else f"must be 1.0, not {text[:SHOWN]!r}"


def _time(text: str) -> str:
    return "" if timestamp(text) else f"is no time of RFC 3339: {text[:SHOWN]!r}"


def _datacontenttype(text: str) -> str:
    return "" if _MEDIA_TYPE.fullmatch(text) else f"is no media type: {text[:SHOWN]!r}"


_RULES: Mapping[str, Callable[[str], str]] = {
    "source": _source,
    "specversion": _specversion,
    "dataschema": _dataschema,
    "time": _time,
    "datacontenttype": _datacontenttype,
}


def _found_by_sdk(attributes: Mapping[str, object]) -> list[Fault]:
    judged = {**attributes, "time": timestamp(str(attributes.get("time", "")))} if "time" in attributes else attributes
    try:
        CloudEvent(dict(judged))
    except CloudEventValidationError as error:
        return [Fault(name[:SHOWN], str(reasons[0])) for name, reasons in error.errors.items()]
    except (BaseCloudEventException, ValueError, TypeError) as error:
        return [Fault("body", f"the CloudEvents SDK does not take it: {type(error).__name__}")]
    return []
