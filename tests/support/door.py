"""The HTTP door of a whole product over fakes: requests in, and what came of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from flask.testing import FlaskClient
from support.reviews import FakeReviews
from support.world import World
from werkzeug.test import TestResponse

from knative_lambda.handler.access import modes
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.audit.trail import Trail
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.receive.porter import Porter
from knative_lambda.handler.receive.rates import Rates
from knative_lambda.handler.router import handle
from knative_lambda.schemas import types


@dataclass
class FrontDoor:
    """A `Door` behind which a world lies, that keeps what came in."""

    world: World
    received: list[Event] = field(default_factory=list)
    states: Mapping[str, str] = field(default_factory=dict)
    reviews: FakeReviews | None = None
    """Who says who somebody is and what they may; without, anybody may come in."""

    @property
    def read(self) -> Records:
        return Records(self.world.product)

    @property
    def access(self) -> Entrances:
        product = self.world.product
        return modes.opened(product) if self.reviews is None else modes.entrances(product, self.reviews)

    def receive(self, event: Event) -> None:
        self.received.append(event)
        handle(event, self.world.product)

    def answered(self) -> None:
        self.world.tell()

    def dependencies(self) -> Mapping[str, str]:
        return self.states


@dataclass
class Site:
    """A product that is spoken to over HTTP."""

    world: World = field(default_factory=World)
    rates: Rates = field(default_factory=Rates)
    trail: Trail | None = None
    listeners: Sequence[Callable[[str, int, float], None]] = ()
    door: FrontDoor = field(init=False)
    http: FlaskClient = field(init=False)

    def __post_init__(self) -> None:
        decided = self.world.settings
        porter = Porter(self.rates, self.trail, decided.tenants, decided.legacy_tenant, lambda: self.world.time)
        self.door = FrontDoor(self.world)
        self.http = create_app(self.door, HttpSettings(), listeners=self.listeners, porter=porter).test_client()

    def send(self, kind: str, data: Any, id: str = "1", **headers: str) -> TestResponse:  # noqa: A002 - as CloudEvents has it
        """Send an event in binary mode; a type without a dot before it is one of the product's own."""
        told = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.http.post("/", json=data, headers=envelope(kind, id, self.world.time.isoformat()) | told)


def envelope(kind: str, id: str = "1", time: str = "2026-01-01T00:00:00Z") -> dict[str, str]:  # noqa: A002 - the same
    """Return the headers of an event."""
    whole = kind if kind in types.TYPES else types.PREFIX + kind
    said = {"Specversion": "1.0", "Id": id, "Source": "/shop", "Type": whole, "Time": time}
    return {"Content-Type": "application/json"} | {f"Ce-{name}": value for name, value in said.items()}


def problem(answer: TestResponse, status: int, slug: str) -> dict[str, Any]:
    """Return the problem that an answer tells."""
    body: dict[str, Any] = answer.get_json(force=True)
    assert (answer.status_code, body["type"].rpartition("/")[2]) == (status, slug), body
    return body
