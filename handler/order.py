"""Which of a function's events is the newest: the order key, and the mark of a deletion.

Called by the use cases of events that change a Function. The rule is the design's: `sequence` orders where it is given,
the event's `time` where it is not; equal keys only converge.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from knative_lambda.deploy.cluster import Object
from knative_lambda.handler.events import Event
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Refused
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

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
    return Key(sequence, moment, event.id, event.source, event.type)


def loads(text: str | bytes | None) -> Key | None:
    """Return a key that was kept, or None where there is none to be read."""
    try:
        raw = json.loads(text or "")
        key = Key(raw["sequence"], raw["time"], raw["id"], raw["source"], raw["type"])
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    words = (key.time, key.id, key.source, key.type)
    readable = isinstance(key.sequence, int | None) and all(isinstance(word, str) for word in words)
    return key if readable else None


def seen_by(function: Object | None) -> Key | None:
    """Return the key of the newest event that a Function has seen."""
    annotations: Mapping[str, str] = function["metadata"].get("annotations", {}) if function else {}
    return loads(annotations.get(names.EVENT_ANNOTATION))


def standing(new: Key, seen: Key | None) -> Standing:
    """Say how a new event stands to the newest that was seen; raise `Refused` where they cannot be compared."""
    if seen is None:
        return "newer"
    if seen.sequence is not None:
        if new.sequence is None:
            raise Refused.because("/data/sequence", "this function's events have a sequence: one without has no place")
        return _compare((new.sequence,), (seen.sequence,))
    if new.sequence is not None:
        return "newer"
    return _compare((new.time,), (seen.time,))


def against(new: Key, *seen: Key | None) -> Standing:
    """Return the lowest standing of a new event against several marks."""
    found = {standing(new, key) for key in seen}
    return "older" if "older" in found else "equal" if "equal" in found else "newer"


def bury(store: Store, tenant: str, name: str, key: Key) -> None:
    """Leave the mark of a deletion, so that a late older start does not bring the function back."""
    store.put(keys.tombstone(tenant, name), key.dumps().encode())


def buried(store: Store, tenant: str, name: str) -> Key | None:
    """Return the key of the deletion that removed a function last."""
    return loads(store.get(keys.tombstone(tenant, name), limit=MARK_LIMIT))


def _compare(new: tuple[int] | tuple[str], seen: tuple[int] | tuple[str]) -> Standing:
    if new == seen:
        return "equal"
    return "newer" if new > seen else "older"  # type: ignore[operator]  # both are of the same kind
