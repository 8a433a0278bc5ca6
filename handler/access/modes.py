"""The entrances of an installation, joined from its settings. Called by `wire.py`."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from knative_lambda.deploy.cluster import Cluster
from knative_lambda.deploy.reviews import Reviews
from knative_lambda.handler.access import operations, replays
from knative_lambda.handler.access.caller import Authenticator
from knative_lambda.handler.access.entrance import OPEN, Entrance
from knative_lambda.handler.access.guesses import Guesses
from knative_lambda.handler.access.open import Open
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.access.recent import Recent
from knative_lambda.handler.access.signatures import Signatures
from knative_lambda.handler.access.tokens import Deliveries, Tokens
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.settings import Settings


@dataclass(frozen=True)
class Entrances:
    """Where requests come in, and what an event is asked before it is let in."""

    operation: Callable[[Event], Operation | None]
    """Returns what an event asks for; see `operations.of`."""
    events: Entrance = OPEN
    api: Entrance = OPEN
    reviews: Reviews | None = None
    """Who says who somebody is, and what they may; None where anybody may come in."""


def opened(product: Product) -> Entrances:
    """Return entrances that anybody may come in by."""
    return Entrances(_operation(product))


def entrances(product: Product, reviews: Reviews) -> Entrances:
    """Return the entrances as the settings have them; `reviews` are asked once in a few seconds at most."""
    recent, settings = Recent(Guesses(reviews)), product.settings

    def entrance(names: tuple[str, ...]) -> Entrance:
        return Entrance([_mode(name, settings, recent, product.cluster, product.now) for name in names], recent)

    return Entrances(_operation(product), entrance(settings.access_events), entrance(settings.access_api), recent)


def _operation(product: Product) -> Callable[[Event], Operation | None]:
    return partial(operations.of, is_tenant=product.is_tenant, legacy_tenant=product.settings.legacy_tenant)


def _mode(
    name: str, settings: Settings, reviews: Reviews, cluster: Cluster, now: Callable[[], datetime]
) -> Authenticator:
    if name == "oidc":
        return Deliveries(reviews, settings.access_audience, settings.namespace)
    if name == "token":
        return Tokens(reviews, settings.access_audience)
    if name == "hmac":
        return Signatures(settings.access_keys, partial(replays.is_first, cluster, settings.namespace), now)
    return Open()
