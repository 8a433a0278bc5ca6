"""A CloudEvent as a function sees it, and the rules that the attributes of one obey.

Made by `binding.py` from a request, by `context.py` for a function, and by `reply.py` from what a function
returned. Nothing here knows HTTP. The rules are those of CloudEvents 1.0, "Context Attributes".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, NamedTuple

REQUIRED = ("specversion", "id", "source", "type")
OPTIONAL = ("datacontenttype", "dataschema", "subject", "time")
SPECIFIED = REQUIRED + OPTIONAL

_NAME = re.compile(r"[a-z0-9]+")
_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
_MEDIA_TYPE = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+ *(;[ -~]*)?", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII | re.IGNORECASE)


class Fault(NamedTuple):
    """One thing that is wrong with an event: the attribute (or `data`), and what about it."""

    where: str
    message: str


class Event:
    """A CloudEvent; it cannot be changed.

    Its attributes are read as `event.type`, `event["type"]`, `event.get("type")` or `event.get_type()`, so that
    functions written for either generation of the Python SDK find what they know. All values are as they came,
    text for the most part; only `get_time()` returns a `datetime`.
    """

    __slots__ = ("_attributes", "_data")

    def __init__(self, attributes: Mapping[str, Any], data: Any = None) -> None:
        self._attributes = dict(attributes)
        self._data = data

    @property
    def data(self) -> Any:
        """The payload: a JSON value, `str` for text, `bytes` for the rest, or None."""
        return self._data

    @property
    def extensions(self) -> dict[str, Any]:
        """The attributes that the specification doesn't name."""
        return {name: value for name, value in self._attributes.items() if name not in SPECIFIED}

    def get(self, name: str, default: Any = None) -> Any:
        """Return the attribute `name`, or `default`."""
        return self._attributes.get(name, default)

    def get_attributes(self) -> dict[str, Any]:
        """Return all attributes, in a dict of the caller's own."""
        return dict(self._attributes)

    def get_data(self) -> Any:
        """Return `data`."""
        return self._data

    def get_extension(self, name: str) -> Any:
        """Return the extension attribute `name`, or None."""
        return self.extensions.get(name)

    def get_time(self) -> datetime | None:
        """Return the attribute `time` as a `datetime` with its zone, or None."""
        text = self._attributes.get("time")
        return None if text is None else parse_time(text)

    def __getattr__(self, name: str) -> Any:
        if name in SPECIFIED:
            return self._attributes.get(name)
        if name.startswith("get_") and name[4:] in SPECIFIED:
            return _constant(self._attributes.get(name[4:]))
        raise AttributeError(f"an event has no {name!r}; extension attributes are read as event.get({name!r})")

    def __getitem__(self, name: str) -> Any:
        return self._attributes[name]

    def __contains__(self, name: object) -> bool:
        return name in self._attributes

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __repr__(self) -> str:
        return f"Event({self._attributes!r}, {self._data!r})"


def _constant(value: Any) -> Callable[[], Any]:
    return lambda: value


def parse_time(text: str) -> datetime:
    """Return the moment that an RFC 3339 `text` names; raise ValueError where it names none."""
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f"{text!r} is no RFC 3339 time")
    day, clock, fraction, zone = match.groups()
    microseconds = ((fraction or "") + "000000")[:6]
    return datetime.fromisoformat(f"{day}T{clock}.{microseconds}{'+00:00' if zone in 'Zz' else zone}")


def faults_of(attributes: Mapping[str, Any]) -> list[Fault]:
    """Return everything that is wrong with an event's attributes; an attribute that is None counts as absent."""
    faults = [Fault(name, "is missing") for name in REQUIRED if attributes.get(name) is None]
    for name, value in attributes.items():
        if value is not None:
            faults += [Fault(name, message) for message in _faults(name, value)]
    return faults


def _faults(name: str, value: Any) -> Iterator[str]:
    if name == "data" or not isinstance(name, str) or not _NAME.fullmatch(name):
        yield "is no name for an attribute: they are made of lower-case letters and digits, and `data` is taken"
    if not isinstance(value, str):
        if name in SPECIFIED or not isinstance(value, int):
            yield f"must be a text, not {value!r}" if name in SPECIFIED else "must be a text, an integer or a boolean"
    elif not value and name in SPECIFIED:
        yield "is empty"
    elif _FORBIDDEN.search(value):
        yield "holds a character that no attribute may have"
    elif name == "specversion" and value != "1.0":
        yield f"is {value!r}; only '1.0' is understood"
    elif name == "datacontenttype" and not _MEDIA_TYPE.fullmatch(value):
        yield f"{value!r} is no media type"
    elif name == "time":
        try:
            parse_time(value)
        except ValueError:
            yield f"{value!r} is no RFC 3339 time"
