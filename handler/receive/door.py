"""What lies behind the HTTP door, as a port, and what the door decides.

Implemented by `wire.py`, and over fakes in the tests; asked by `app.py`, `arrivals.py` and `api/entry.py`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.api.deprecations import DEPRECATED, Deprecated
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive.intake import Limits

Listener = Callable[[str, int, float], None]
"""Told of each event its type ("" of what is none), the status of its answer, and its seconds; must not raise."""


class Door(Protocol):
    """What lies behind the HTTP door."""

    @property
    def read(self) -> ReadModel | None:
        """Return what ``/v1`` reads, or None where it is not served."""

    @property
    def access(self) -> Entrances:
        """Return who is let in, by each of the entrances."""

    def receive(self, event: Event) -> None:
        """Do what an event asks for; raise the errors of `schemas/errors.py` where that cannot be done."""

    def answered(self) -> None:
        """Do what was to wait until the request has been answered; called once for each, in the thread that served."""

    def dependencies(self) -> Mapping[str, str]:
        """Return the state of the breaker of each dependency: ``closed``, ``open`` or ``half-open``."""


@dataclass(frozen=True)
class HttpSettings:
    """What the door decides."""

    limits: Limits = field(default_factory=Limits)
    """What a request may hold."""
    deprecated: Mapping[str, Deprecated] = field(default_factory=lambda: DEPRECATED)
    """What of ``/v1`` is about to go, by `operationId`."""
    page: bool = False
    """Whether there is a page under ``/ui``."""
