"""What a function is told beside the event: who it is, how long it has, where to log.

Made by `delivery.py`, once for each event.
"""

from __future__ import annotations

import hashlib
import logging
import re
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from .event import Event

RESULT = "dev.knative-lambda.function.result"
_TRACE = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}.*")


@dataclass(frozen=True)
class Context:
    """The second argument of `handle(event, context)`."""

    name: str
    """The function's name."""
    tenant: str
    """The namespace it belongs to."""
    revision: str
    """The Knative revision that runs, or nothing."""
    deadline: datetime
    """When the sender gives up on the answer (UTC)."""
    traceparent: str
    """The W3C trace context of this delivery, to be sent along with requests to others; or nothing."""
    log: logging.Logger
    """A logger whose lines bear the event's id and the trace id."""
    cause: Event
    """The event that is being handled."""

    def event(self, *, type: str, data: Any = None, **attributes: Any) -> Event:  # noqa: A002 - the attribute's name
        """Return an event for the function to return.

        Its id follows from the event that is handled and from `type`, so that an event that is delivered twice is
        answered with the same id twice. `source`, `subject`, `time` and the rest can be given, or are filled in.
        """
        incoming = self.cause
        made: dict[str, Any] = {
            "specversion": "1.0",
            "id": derived_id(incoming, type),
            "source": f"/knative-lambda/functions/{self.tenant}/{self.name}",
            "type": type,
            "subject": incoming.subject,
            "time": datetime.now(timezone.utc).isoformat().replace("+00:00", "Z"),
            "causationid": incoming.id,
            "traceparent": incoming.get("traceparent") or self.traceparent or None,
            **attributes,
        }
        return Event({name: value for name, value in made.items() if value is not None}, data)


def derived_id(incoming: Event, kind: str) -> str:
    """Return the id of the event of type `kind` that `incoming` causes (no attribute can hold the separator)."""
    return hashlib.sha256(f"{incoming.source}\0{incoming.id}\0{kind}".encode()).hexdigest()


def trace_id(traceparent: str) -> str:
    """Return the trace id in a W3C `traceparent`, or nothing."""
    match = _TRACE.fullmatch(traceparent)
    return match[1] if match else ""
