"""Which of a function's events is the newest: the order key, and the marks that events leave where no Function is.

Called by the use cases of events that change a Function. The rule is the design's: `sequence` orders where it is given,
the event's `time` where it is not; equal keys only converge. The newest event that was seen is always on record: on the
Function, or, where there is none, as a mark in the store.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from knative_lambda.deploy.cluster import Object
from knative_lambda.handler.events import Event
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

FOLLOWS = "follows"
"""In an event's data: it comes right after its `sequence`, which another had. The gate lets no such event in."""
AHEAD = timedelta(minutes=5)
CAUSE_SHOWN = 200
MARK_LIMIT = 64 * 1024
Standing = Literal["newer", "equal", "older"]


@dataclass(frozen=True)
class Key:
    """Where an event stands among the events of its function, and which it was."""

    sequence: int | None
    time: str
    """RFC 3339, in UTC with microseconds, so that text order is time order; "" where the event had none."""
    id: str
    source: str
    type: str
    follows: bool = False
    """Whether the sequence is that of the event before it: among those that follow the same one the time orders."""

    @property
    def rank(self) -> tuple[bool, int, str]:
        """Return what orders the keys that were seen: one with a sequence comes after all that have but a time."""
        by_time = self.sequence is None or self.follows
        return (self.sequence is not None, self.sequence or 0, self.time if by_time else "")

    @property
    def cause(self) -> str:
        """Return what a Build says of the event that asked for it; a hash where that would be too long to read."""
        said = f"{self.source} {self.id}"
        return said if len(said) <= CAUSE_SHOWN else names.sha256(said)

    def dumps(self) -> str:
        """Return the key as it is kept: JSON."""
        return json.dumps(asdict(self), sort_keys=True)


def key_of(event: Event, now: datetime) -> Key:
    """Return an event's key; raise `Refused` where it has none, or a time more than five minutes ahead."""
    sequence: int | None = event.data.get("sequence")
    if sequence is None and event.time is None:
        raise Refused.because(
            "time", "an event of a function is ordered by data.sequence or by its time: it has neither"
        )
    if event.time is not None and event.time > now + AHEAD:
        raise Refused.because("time", "more than five minutes ahead of the clock here")
    moment = "" if event.time is None else event.time.astimezone(UTC).isoformat(timespec="microseconds")
    return Key(sequence, moment, event.id, event.source, event.type, event.data.get(FOLLOWS, False))


def loads(text: str | bytes | None) -> Key | None:
    """Return a key that was kept, or None where there is none to be read."""
    return _key(_json(text))


def seen_by(function: Object | None) -> Key | None:
    """Return the key of the newest event that a Function has seen."""
    annotations: Mapping[str, str] = function["metadata"].get("annotations", {}) if function else {}
    return loads(annotations.get(names.EVENT_ANNOTATION))


def standing(new: Key, seen: Key | None) -> Standing:
    """Say how a new event stands to the newest that was seen; raise `Refused` where it cannot be compared."""
    if seen is None:
        return "newer"
    if seen.sequence is not None and new.sequence is None:
        raise Refused.because("/data/sequence", "this function's events have a sequence: one without has no place")
    if new.rank == seen.rank:
        return "equal"
    return "newer" if new.rank > seen.rank else "older"


def against(new: Key, *seen: Key | None) -> Standing:
    """Return the lowest standing of a new event against several keys."""
    found = {standing(new, key) for key in seen}
    return "older" if "older" in found else "equal" if "equal" in found else "newer"


@dataclass(frozen=True)
class Mark:
    """What an event leaves in the store where no Function bears its key: a deletion, or a cancel before its start."""

    key: Key
    uid: str = ""
    """The Function that a deletion met, where that had seen no event."""

    @property
    def deletes(self) -> bool:
        """Say whether a deletion has left it."""
        return self.key.type == types.FUNCTION_DELETE

    def is_over(self, function: Object) -> bool:
        """Say whether this is newer than all that a Function has seen; one that has seen nothing is told by its UID."""
        seen = seen_by(function)
        if seen is None:
            return self.uid != "" and self.uid == function["metadata"]["uid"]
        return seen.rank < self.key.rank

    def ends(self, function: Object) -> bool:
        """Say whether this is the deletion of a Function that is still there."""
        return self.deletes and self.is_over(function)


def mark(store: Store, tenant: str, name: str) -> Mark | None:
    """Return the newest mark of a function."""
    return max((found for _, found in _marks(store, tenant, name)), key=lambda found: found.key.rank, default=None)


def key_in(marked: Mark | None) -> Key | None:
    """Return a mark's key, or None where there is no mark."""
    return marked.key if marked else None


def leave(store: Store, tenant: str, name: str, new: Mark) -> None:
    """Leave a mark, then remove those that are older.

    Each event has a mark of its own: of two that come at once, none writes over the other's.
    """
    text = json.dumps({**asdict(new.key), "uid": new.uid}, sort_keys=True)
    event = names.sha256(asdict(new.key)).removeprefix("sha256:")[:32]
    store.put(keys.tombstone(tenant, name, event, deletes=new.deletes), text.encode())
    for key, found in _marks(store, tenant, name):
        if found.key.rank < new.key.rank:
            store.delete(key)


def _marks(store: Store, tenant: str, name: str) -> Iterator[tuple[str, Mark]]:
    for stored in list(store.list(f"{keys.tombstones(tenant)}{name}/")):
        raw = _json(store.get(stored.key, limit=MARK_LIMIT))
        key = _key(raw)
        if key is not None:
            yield stored.key, Mark(key, str(raw.get("uid", "")))


def _json(text: str | bytes | None) -> Object:
    try:
        raw = json.loads(text or "{}")
    except (ValueError, RecursionError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _key(raw: Object) -> Key | None:
    try:
        key = Key(raw["sequence"], raw["time"], raw["id"], raw["source"], raw["type"], raw.get("follows") is True)
    except KeyError:
        return None
    words = (key.time, key.id, key.source, key.type)
    readable = isinstance(key.sequence, int | None) and all(isinstance(word, str) for word in words)
    return key if readable else None
