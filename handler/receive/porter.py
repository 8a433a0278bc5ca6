"""The porter: counts who comes in, and writes into the audit trail what they asked for and were answered.

Called by `app.py` alone, for each event and each request under ``/v1``. Nothing of what was sent stands in a record but
the names and ids that say which it was.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from knative_lambda.handler.access.caller import Caller
from knative_lambda.handler.audit.trail import Trail
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import asked
from knative_lambda.handler.receive.asked import Asked
from knative_lambda.handler.receive.rates import Rates

DENIED = (401, 403)
TURNED_AWAY = (*DENIED, 429)
TurnedAway = Callable[[str, int], None]
"""Told of each who was turned away what they asked for, and the status; must be quick and must not raise."""


@dataclass(frozen=True)
class Answered:
    """How a request ended."""

    status: int
    reason: str = ""
    """The end of the problem's type (`problems.py`); "" where it was done."""
    caller: str = ""
    correlation_id: str = ""


@dataclass(frozen=True)
class Porter:
    """Knows the tenants by name; without rates and a trail it lets everything in and notes nothing."""

    rates: Rates = field(default_factory=Rates)
    trail: Trail | None = None
    tenants: Collection[str] = ()
    legacy_tenant: str = ""
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    listeners: Sequence[TurnedAway] = ()

    def asked(self, event: Event) -> Asked:
        """Return what an event asks for."""
        return asked.of(event, self.tenants, self.legacy_tenant)

    def meet(self, caller: Caller, events: int = 1) -> None:
        """Raise `TooMany` where somebody sends more than one may, of whatever kind and whether or not they may.

        Before a cluster is asked anything about them. Who is trusted brings what others have sent.
        """
        if not caller.trusted:
            self.rates.meet(f"{caller.mode} {caller.name}", max(events, 1))

    def admit(self, wanted: Asked) -> None:
        """Raise `TooMany` where it is over a rate.

        Hints always come in. Their sources send them once, and the product would be blind without them; no tenant makes
        many: a source sends one after the other, and what is hinted at twice is looked at once (`once.py`).
        """
        if not wanted.is_hint:
            self.rates.take(wanted.tenant, wanted.operation)

    def note(
        self, wanted: Asked, end: Answered, event_id: str = "", event_source: str = "", event_type: str = ""
    ) -> None:
        """Write a record; a hint has one only where it was denied, since by itself it changes nothing."""
        for listener in self.listeners if end.status in TURNED_AWAY else ():
            listener(wanted.operation, end.status)
        if self.trail is None or (wanted.is_hint and end.status not in DENIED):
            return
        self.trail.add(
            {
                "time": self.now().isoformat(timespec="milliseconds"),
                "caller": end.caller,
                "operation": wanted.operation,
                "tenant": wanted.tenant,
                "name": wanted.name,
                "status": end.status,
                "reason": end.reason,
                "correlation_id": end.correlation_id,
                "event_id": event_id,
                "event_source": event_source,
                "event_type": event_type,
            }
        )
