"""What became of a build, or a function, since somebody looked last: as Server-Sent Events that are told exactly once.

Called by `watching.py`. An event's id is the place after it: the version of the object that was told, and how much of
which attempt's log. So whoever is asked, in whichever process, goes on from there, while the build runs and afterwards,
when its log lies in the store. Pure but for `look`.
"""

import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

from knative_lambda.builds import record
from knative_lambda.builds.settle import LOG_KEPT
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.handler.api import states
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Refused
from knative_lambda.storage import keys

TELLING = 1024
"""Bytes before a place by which it is found again in a log of which only the end is left."""
CANDIDATES = 10_000
"""Lines that are looked at for a place: a log of short ones, and a place of somebody's own making, cost no more."""
_PLACE = re.compile(r"([A-Za-z0-9]{0,64})\.([0-9]{1,3})\.([0-9]{1,9})\.([0-9a-f]{8})\.(end|gap)?", re.ASCII)


@dataclass(frozen=True)
class Look:
    """A Build as it was seen, and what its attempts have said."""

    build: Object
    logs: Mapping[int, bytes]

    @property
    def attempt(self) -> int:
        """Return the number of the newest attempt, 0 before the first."""
        return int(self.build.get("status", {}).get("attempt", 0))

    @property
    def is_over(self) -> bool:
        """Say whether the Build has ended."""
        return record.phase(self.build) in record.TERMINAL

    def has_ended(self, number: int) -> bool:
        """Say whether an attempt will say no more."""
        return number < self.attempt or record.phase(self.build) != "Running"


def look(tenant: str, name: str, before: Look | None, product: Product) -> Look | None:
    """Return a Build with its logs, None where there is none; `before` has what need not be read again."""
    build = product.cluster.get(BUILD, tenant, name)
    if build is None:
        return None
    seen = Look(build, {})
    logs = {number: _log(seen, number, before, product) for number in range(1, seen.attempt + 1)}
    return Look(build, logs)


def _log(seen: Look, number: int, before: Look | None, product: Product) -> bytes:
    if before is not None and before.has_ended(number) and before.logs.get(number):
        return before.logs[number]
    attempt = record.attempt_of(seen.build, number)
    if not seen.has_ended(number):
        return product.workshop.builder.log(attempt, limit=LOG_KEPT)
    kept = product.workshop.store.get(keys.log(attempt.tenant, attempt.function, attempt.name), limit=2 * LOG_KEPT)
    return kept or b""


@dataclass(frozen=True)
class Place:
    """How far somebody has been told of a Build."""

    version: str = ""
    """The `resourceVersion` that was told."""
    attempt: int = 0
    offset: int = 0
    """Bytes of the attempt's log."""
    mark: int = 0
    """The checksum of the last of these."""
    is_over: bool = False
    is_unsure: bool = False
    """Whether it has been told that lines like the last of these come again in the log."""

    def __str__(self) -> str:
        """Return the id of the event that this is the place after."""
        return f"{self.version}.{self.attempt}.{self.offset}.{self.mark:08x}.{self._word}"

    @property
    def _word(self) -> str:
        return "end" if self.is_over else "gap" if self.is_unsure else ""

    @classmethod
    def of(cls, text: str) -> "Place":
        """Return the place that an id tells, the beginning for ""; raise `Refused` for what is none."""
        if not text:
            return cls()
        found = _PLACE.fullmatch(text)
        if found is None:
            raise Refused.because("Last-Event-ID", "no event here has this id")
        return cls(found[1], int(found[2]), int(found[3]), int(found[4], 16), found[5] == "end", found[5] == "gap")


@dataclass(frozen=True)
class Told:
    """One event."""

    kind: str
    data: Mapping[str, Any]
    place: Place


def told(seen: Look, at: Place) -> Iterator[Told]:
    """Yield what has come since a place: the Build where it is another now, lines of its log, its end."""
    version = seen.build["metadata"]["resourceVersion"]
    if not at.version:
        at = replace(at, version=version)
        yield Told("build", _build(seen.build), at)
    for event in _lines(seen, at):
        at = event.place
        yield event
    if at.version != version and not at.is_over:
        at = replace(at, version=version)
        yield Told("build", _build(seen.build), at)
    if seen.is_over and not at.is_over:
        data = {"build": seen.build["metadata"]["name"], "state": record.phase(seen.build)}
        yield Told("end", data, replace(at, is_over=True))


def _lines(seen: Look, at: Place) -> Iterator[Told]:
    for number in range(max(1, at.attempt), seen.attempt + 1) if not at.is_over else ():
        if number != at.attempt:
            at = replace(at, attempt=number, offset=0, mark=0, is_unsure=False)
        text, has_ended = seen.logs.get(number, b""), seen.has_ended(number)
        matches = [*islice(_matches(text, at), 2)]
        begin = matches[0] if matches else None
        if len(matches) > 1 and len(text) >= LOG_KEPT and not at.is_unsure:
            at = replace(at, is_unsure=True)
            yield Told("gap", {"attempt": number, "message": "lines repeat here: some may not be shown"}, at)
        if begin is None:
            if len(text) < at.offset and not has_ended:  # less than there was: it could not be read whole
                return
            begin = 0
            if len(text) >= LOG_KEPT:
                yield Told("gap", {"attempt": number, "message": "lines before this were dropped"}, at)
        for end in _ends(text, begin, is_whole=has_ended):
            line = text[begin:end].decode(errors="replace").rstrip("\r\n")
            begin, at = end, replace(at, offset=end, mark=_mark(text, end), is_unsure=False)
            yield Told("log", {"attempt": number, "line": line}, at)
        if not has_ended:
            return


def _ends(text: bytes, begin: int, *, is_whole: bool) -> Iterator[int]:
    """Yield where each line ends; what has no end yet is one only where nothing follows."""
    while end := text.find(b"\n", begin) + 1:
        yield end
        begin = end
    if is_whole and begin < len(text):
        yield len(text)


def _matches(text: bytes, at: Place) -> Iterator[int]:
    """Yield where a place may be in a log: where it was, or further to the front where its beginning was dropped.

    Several are as likely where lines repeat, and something was dropped.
    """
    if _mark(text, at.offset) == at.mark and at.offset <= len(text):
        yield at.offset
    end = min(at.offset, len(text))
    for _ in range(CANDIDATES):
        end = text.rfind(b"\n", 0, end) + 1
        if not end or end < min(at.offset, TELLING):
            return
        if end != at.offset and _mark(text, end) == at.mark:
            yield end
        end -= 1


def _mark(text: bytes, end: int) -> int:
    return zlib.crc32(text[max(0, end - TELLING) : end])


def _build(build: Object) -> Mapping[str, Any]:
    state = build.get("status", {})
    return {
        "build": build["metadata"]["name"],
        "function": build["spec"]["function"],
        "state": record.phase(build),
        "attempt": state.get("attempt", 0),
        "steps": state.get("conditions", []),
        "image": record.image_of(build),
        "allowed_actions": states.allowed(BUILD, build),
    }


def function(body: Object) -> Mapping[str, Any]:
    """Return what is told of a Function."""
    state = body.get("status", {})
    return {
        "function": body["metadata"]["name"],
        "state": states.KNOWN[FUNCTION].state(body),
        "build": state.get("latestBuild", ""),
        "url": state.get("url", ""),
        "steps": state.get("conditions", []),
        "allowed_actions": states.allowed(FUNCTION, body),
    }
