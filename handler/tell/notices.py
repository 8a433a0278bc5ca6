"""What each target is owed: its events, in the store, from when the Function's status owed them until it took them.

`outbox.py` hands over, `courier.py` delivers. A target that is away so costs the status nothing, and nobody waits for
it: the Broker, builds, other targets. Each has an entry of its own for each event,

    notices/<tenant>/<target>/<function>/<moment>-<hash of the event's id>.json

whose moment is later than that of the one before, so that a function's events keep their order, and says by itself when
it has had its time.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from cloudevents.core.bindings.http import to_structured_event
from cloudevents.core.v1.event import CloudEvent

from knative_lambda.deploy.cluster import Object
from knative_lambda.handler.settings import Settings
from knative_lambda.handler.tell import cdevents, telling
from knative_lambda.handler.tell.targets import BROKER, Target
from knative_lambda.schemas import names
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

log = logging.getLogger(__name__)
Fate = Literal["sent", "later", "refused", "lost"]
"""Of an event for a target: ``refused`` by it for ever, or given up since it had its time (``lost``)."""
Fated = Callable[[str, Fate], None]
"""Told a target's name and what became of an event for it; must be quick and must not raise."""
LIMIT = 1 << 20
"""Bytes of an event at most."""
KEPT = 256
"""Events of one function that wait for a target at most; the oldest are given up."""


@dataclass(frozen=True)
class Owed:
    """An entry."""

    key: str

    @property
    def moment(self) -> int:
        """Return when it was handed over, in milliseconds."""
        return int(_name(self.key).partition("-")[0])

    @property
    def digest(self) -> str:
        """Return the hash of the event's id."""
        return _name(self.key).partition("-")[2]


@dataclass(frozen=True)
class Notices:
    """What is owed to `targets`; `age` is in milliseconds, `listeners` hear of what is given up."""

    store: Store
    targets: Sequence[Target]
    now: Callable[[], datetime]
    age: int = 86_400_000
    listeners: Sequence[Fated] = ()

    def hand_over(self, notes: Sequence[Object], tenant: str, name: str) -> set[str]:
        """Write down what these notifications of a Function owe, and return the ids of those that owe anything.

        Raises `Unavailable` where the store does not take it. What waits already is not written twice.
        """
        handed = set()
        for target in self.targets if notes else ():
            if target.hears_of(tenant):
                handed |= self._hand_over(target, notes, tenant, name)
        return handed

    def owed(self, target: Target, tenant: str, name: str) -> list[Owed]:
        """Return what a target is owed of a Function, in its order, but for what it has had its time to take."""
        found = sorted(stored.key for stored in self.store.list(keys.notices(tenant, target.name, name)))
        entries = [Owed(key) for key in found if _is_entry(key)]
        oldest = self._moment() - self.age
        for number, entry in enumerate(entries):
            if entry.moment < oldest or number < len(entries) - KEPT:
                self._give_up(entry, target)
        return [entry for entry in entries[-KEPT:] if entry.moment >= oldest]

    def tell(self, target: Target, fate: Fate) -> None:
        """Tell the listeners what became of an event."""
        for listener in self.listeners:
            listener(target.name, fate)

    def _hand_over(self, target: Target, notes: Sequence[Object], tenant: str, name: str) -> set[str]:
        waiting = self.owed(target, tenant, name)
        known, last = {entry.digest for entry in waiting}, max([entry.moment for entry in waiting], default=0)
        handed = set()
        for note in notes:
            for event in _events(target, note, tenant, name):
                handed.add(note["id"])
                digest = digest_of(event)
                if digest not in known:
                    last = max(last + 1, self._moment())
                    body = to_structured_event(event).body
                    self.store.put(keys.notice(tenant, target.name, name, f"{last:015d}-{digest}"), body)
        return handed

    def _give_up(self, entry: Owed, target: Target) -> None:
        log.error("%s is not told of %s any more: it had its time", target.name, entry.key)
        self.store.delete(entry.key)
        self.tell(target, "lost")

    def _moment(self) -> int:
        return int(self.now().timestamp() * 1000)


def targets(settings: Settings) -> tuple[Target, ...]:
    """Return whom the settings name: each webhook, and tenants' Brokers where they are told in CDEvents."""
    hooks = [Target.of(name, given) for name, given in settings.webhooks.items()]
    return (*([Target(BROKER, events="cdevents")] if settings.cdevents else []), *hooks)


def digest_of(event: CloudEvent) -> str:
    """Return what tells an event from others in a key and in ``webhook-id``, where not all letters may be."""
    return names.sha256(f"{event.get_source()} {event.get_id()}")[7:39]


def _events(target: Target, note: Object, tenant: str, name: str) -> list[CloudEvent]:
    """Return the events of a notification for a target, in their order."""
    try:
        return cdevents.told(note, tenant, name) if target.events == "cdevents" else [telling.told(note, tenant, name)]
    except (
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
    ):  # somebody else wrote the status; the outbox tells of it
        return []


def _name(key: str) -> str:
    return key.rpartition("/")[2].removesuffix(".json")


def _is_entry(key: str) -> bool:
    moment, _, digest = _name(key).partition("-")
    return moment.isdecimal() and bool(digest)
