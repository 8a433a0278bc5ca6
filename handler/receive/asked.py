"""What a request asks for, in the fewest words: what rates are counted by, and what the audit trail tells.

Called by `porter.py`. Nothing is looked up: this is what the sender says, before anything is believed.
"""

from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from knative_lambda.handler.acts import aliases
from knative_lambda.handler.events import Event
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.types import PREFIX, SOURCES, TYPES

UNREADABLE = "event"
"""The operation of what is no event of ours."""
API = frozenset(method["operationId"] for path in catalogue.openapi()["paths"].values() for method in path.values())
"""What may be asked under ``/v1``, by `operationId`."""
EVENTS = frozenset(
    known.type.removeprefix(PREFIX)
    for known in TYPES.values()
    if known.received and not known.alias_of and known not in SOURCES
)
HINTS = frozenset(known.type for known in SOURCES)
"""Reports and ticks: they change nothing by themselves, and whoever sends them does not send them again."""


@dataclass(frozen=True)
class Asked:
    """An operation and what it is done to."""

    operation: str
    """An event's type without its prefix, that of an alias as what it means, or an `operationId` of `openapi.json`."""
    tenant: str = ""
    name: str = ""
    """Of the function, or of the dead letter; "" where all of the tenant are meant, or none is named."""

    @property
    def is_hint(self) -> bool:
        """Say whether it is a report or a tick."""
        return self.operation in HINTS


def of(event: Event, tenants: Collection[str], legacy_tenant: str) -> Asked:
    """Return what an event asks for; its place is "" where an older family's says none that is known here."""
    operation = operation_of(event.type)
    if operation in HINTS:
        return Asked(operation)
    if not TYPES[event.type].alias_of:
        return Asked(operation, event.data["tenant"], event.data["name"])
    with suppress(Refused):
        return Asked(operation, *aliases.place(aliases.ids_of(event), tenants.__contains__, legacy_tenant))
    return Asked(operation)


def operation_of(kind: str) -> str:
    """Return the operation of an event's type, whatever it is."""
    known = TYPES.get(kind)
    return (known.alias_of or known.type).removeprefix(PREFIX) if known and known.received else UNREADABLE
