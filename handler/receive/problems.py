"""Errors as answers: the status that says what to do next, and problem JSON (RFC 9457) that says what is wrong.

Called by `app.py` alone. Nothing of an unexpected exception leaves the process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knative_lambda.schemas.errors import (
    Denied,
    Fault,
    Malformed,
    NotNow,
    Refused,
    Temporary,
    TooLarge,
    TooMany,
    Unauthenticated,
)

ROOT = "https://knative-lambda.dev/problems/"
CONTENT_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """What is answered instead of a success."""

    status: int
    slug: str
    """The end of the problem's type, an URL."""
    title: str
    detail: str
    faults: tuple[Fault, ...] = ()
    headers: Mapping[str, str] = field(default_factory=dict)
    more: Mapping[str, Any] = field(default_factory=dict)
    """Members of the body that this problem alone has."""

    def body(self, correlation_id: str) -> dict[str, Any]:
        """Return the problem as JSON, with the id under which the log has more."""
        return {
            "type": ROOT + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
            "faults": [{"where": fault.where, "message": fault.message} for fault in self.faults],
            "correlation_id": correlation_id,
            **self.more,
        }


def of(error: Exception) -> Problem:
    """Return the problem that an error is to the sender: 400, 401, 403, 409, 413, 422, 429, 503 or 500."""
    if isinstance(error, Temporary):
        return _delay(error)
    if isinstance(error, Denied):
        return _denial(error)
    if isinstance(error, NotNow):
        more = {"allowed_actions": list(error.allowed)}
        return Problem(409, "not-now", "This cannot be done to it as it is", str(error), more=more)
    if isinstance(error, Refused):
        return _refused(error)
    detail = "An error of this service; its log has more under the correlation id."
    return Problem(500, "internal", "An error of this service", detail)


def _refused(error: Refused) -> Problem:
    if isinstance(error, Malformed):
        return _refusal(400, "malformed", "This is no CloudEvent", error)
    if isinstance(error, TooLarge):
        return _refusal(413, "too-large", "This is over a limit", error)
    return _refusal(422, "refused", "This is never accepted as it is", error)


def _delay(error: Temporary) -> Problem:
    headers = {"Retry-After": str(error.retry_after)}
    if isinstance(error, TooMany):
        return Problem(429, "too-many", "Too much at once: send it again later", str(error), headers=headers)
    return Problem(503, "unavailable", "Not now: send it again later", str(error), headers=headers)


def _denial(error: Denied) -> Problem:
    """Return the same for all who may not: neither why, nor whether what they asked for is there."""
    if isinstance(error, Unauthenticated):
        headers = {"WWW-Authenticate": error.challenge}
        return Problem(401, "unauthenticated", "Say who you are", "It is not known here who asks.", headers=headers)
    return Problem(403, "forbidden", "This is not allowed", "Whoever asks has no right to this.")


def _refusal(status: int, slug: str, title: str, error: Refused) -> Problem:
    more = len(error.faults) - 1
    first = next((f"{fault.where}: {fault.message}" for fault in error.faults), title)
    return Problem(status, slug, title, first + (f" (and {more} more)" if more > 0 else ""), error.faults)
