"""The port: what the client asks of wherever the functions are. `service.py` and `cluster.py` are its adapters.

Called by `client.py`. Everything that a method raises is a `ClientError`: `NotThere`, `Unreachable`, or what the words
of whoever was asked say.
"""

import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from knative_lambda.client.http import Answer
from knative_lambda.client.models import Build, Event, Function, Object

Note = Callable[[str], None]
Kind = Literal["functions", "builds", "deadletters"]
SOURCE = "/knative-lambda/client"
PRODUCT = "knative-lambda"
"""The product's own namespace."""


@dataclass(frozen=True)
class Sent:
    """What was wanted of a function, by which its record tells whether it has come there."""

    event: str = ""
    """The id of the event that said it; "" where the record itself was written."""
    generation: int = 0
    """The generation that was written."""
    is_receipt: bool = False
    """Whether the event was handled before this was returned: whatever the record shows then is of it, or newer."""

    def is_in(self, function: Function) -> bool:
        """Say whether a function's record is of this."""
        return function.event == self.event if self.event else function.generation >= self.generation


class Door(Protocol):
    """Functions, wherever they are."""

    @property
    def namespace(self) -> str:
        """Return the tenant that is meant where none is named."""

    def find_all(self, kind: Kind, tenant: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return all of a kind that bear the labels, by pages."""

    def find(self, kind: Kind, tenant: str, name: str) -> Object:
        """Return one; raise `NotThere`."""

    def start(self, tenant: str, name: str, wanted: Mapping[str, Any]) -> Sent:
        """Have this run; `wanted` is the data of a ``build.start`` without tenant and name."""

    def cancel(self, tenant: str, name: str, build: str) -> None:
        """Have a Build stopped."""

    def retry(self, tenant: str, name: str) -> Sent:
        """Have the wanted source built once more."""

    def rollback(self, tenant: str, name: str, build: Build) -> Sent:
        """Have what an earlier Build made run again."""

    def pause(self, tenant: str, name: str, *, paused: bool) -> Sent:
        """Have nothing new of a function built or deployed, or have it go on."""

    def delete(self, tenant: str, name: str) -> None:
        """Have a function removed; raise `NotThere` where that is known at once."""

    def resend(self, tenant: str, name: str) -> None:
        """Have a dead letter's event sent again."""

    def log(self, tenant: str, build: Build, *, follow: bool, note: Note) -> Iterator[str]:
        """Yield the lines of a Build's log: those there are, and with `follow` those that come until it ends.

        `note` is told what a person should know of them. Raises `NotThere` where there are none (yet).
        """

    def output(self, tenant: str, name: str, *, follow: bool) -> Iterator[str]:
        """Yield the lines that a function prints where it runs."""

    def printed(self, tenant: str, name: str) -> str:
        """Return where a person finds what a function printed."""

    def call(self, tenant: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return what a function answers."""


def event(kind: str, data: Any, attributes: Mapping[str, str] | None = None) -> Event:
    """Return an event of now, with an id that no other has; `attributes` are taken as they are given."""
    own = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": SOURCE,
        "type": kind,
        "time": datetime.now(UTC).isoformat(),
        "datacontenttype": "application/json",
    }
    return Event({**own, **(attributes or {})}, data)


def selector(labels: Mapping[str, str] | None) -> str:
    """Return the labels as both doors are asked for them."""
    return ",".join(f"{name}={value}" for name, value in (labels or {}).items())
