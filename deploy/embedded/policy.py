"""How often and how long a delivery is tried: a Trigger's `delivery`, as Knative understands it. Pure functions.

Used by `eventing.py`.
"""

import re
from dataclasses import dataclass
from http import HTTPStatus

from knative_lambda.deploy.cluster import Object

RETRIED = frozenset(
    {HTTPStatus.NOT_FOUND, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS}
)
"""Beside 5xx; everything else is final."""
DEFAULT_TIMEOUT = 60.0
_DURATION = re.compile(
    r"P(?!$)(?:(\d+(?:\.\d+)?)D)?(?:T(?!$)(?:(\d+(?:\.\d+)?)H)?(?:(\d+(?:\.\d+)?)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_SECONDS = (86400, 3600, 60, 1)


@dataclass(frozen=True)
class Policy:
    """How one Trigger's events are delivered."""

    retry: int = 0
    """Attempts after the first."""
    exponential: bool = True
    delay: float = 0.0
    """Seconds."""
    timeout: float = DEFAULT_TIMEOUT
    """Seconds that the subscriber has."""
    dead_letter_sink: Object | None = None
    """A Destination, as in the Trigger."""

    @classmethod
    def of(cls, trigger: Object, broker: Object | None) -> "Policy":
        """Return the Trigger's own policy, or else its Broker's; the dead-letter sink is looked for in both."""
        own = trigger["spec"].get("delivery") or {}
        common = (broker or {}).get("spec", {}).get("delivery") or {}
        given = own or common
        return cls(
            retry=given.get("retry", 0),
            exponential=given.get("backoffPolicy", "exponential") == "exponential",
            delay=seconds(given.get("backoffDelay", "PT0S")),
            timeout=seconds(given["timeout"]) if given.get("timeout") else DEFAULT_TIMEOUT,
            dead_letter_sink=own.get("deadLetterSink") or common.get("deadLetterSink"),
        )

    def pause(self, attempt: int) -> float:
        """Return the seconds to wait after the failed attempt of this number; Knative counts from 0."""
        return self.delay * (2**attempt if self.exponential else attempt)


def again(status: int) -> bool:
    """Say whether an answer is worth another try."""
    return status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in RETRIED


def seconds(duration: str) -> float:
    """Return the seconds of an ISO 8601 duration such as ``PT0.5S``; raise `ValueError` for months, years, nonsense."""
    found = _DURATION.fullmatch(duration)
    if found is None:
        raise ValueError(f"{duration!r} is no ISO 8601 duration of days, hours, minutes and seconds")
    return sum(float(value) * unit for value, unit in zip(found.groups(), _SECONDS, strict=True) if value)
