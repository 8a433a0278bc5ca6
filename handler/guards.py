"""The dependencies, each behind a guard of its own, and how patient each guard is.

Called by `wire.py`, and by the tests, which walk over whatever is listed here.

A dependency that hangs costs a whole attempt with each call until its breaker opens. A tick makes many calls, one after
the other, so `failures` times `attempt_timeout` stays below the 45 s that a request may take.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from knative_lambda.builds import guard as builds
from knative_lambda.builds.guard import GuardedPusher, GuardedRegistry
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.registry import Registry
from knative_lambda.deploy import guard as deploy
from knative_lambda.deploy.cluster import Cluster
from knative_lambda.deploy.guard import GuardedCluster, GuardedReviews
from knative_lambda.deploy.reviews import Reviews
from knative_lambda.handler.tell import broker
from knative_lambda.handler.tell.broker import Broker, GuardedBroker
from knative_lambda.handler.tell.hooks import Hook
from knative_lambda.schemas.guard import REAL, Guard, GuardSettings, Listener, Retried, Switches
from knative_lambda.storage import guard as storage
from knative_lambda.storage.guard import GuardedStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store


@dataclass(frozen=True)
class Ports:
    """A port for each of `guard.DEPENDENCIES`, by its name, and second ones of two.

    Of the registry, for those who may write, and of the cluster, for what it says of others. And webhooks, on
    which nothing depends: each is left alone by its own courier.
    """

    cluster: Cluster
    store: Store
    registry: Registry
    broker: Broker
    pusher: Pusher
    reviews: Reviews
    hook: Hook


@dataclass(frozen=True)
class Hooks:
    """Who is told what the guards do."""

    changed: Sequence[Listener] = ()
    retried: Sequence[Retried] = ()


def named(name: str, listeners: Sequence[Listener]) -> list[Listener]:
    """Return listeners that are told this name, and not that of the dependency: there are several of its sort."""
    return [lambda _, state, listener=listener: listener(name, state) for listener in listeners]  # type: ignore[misc]


def patience(store: StoreSettings) -> dict[str, GuardSettings]:
    """Return how patient the guard of each dependency is."""
    return {
        "cluster": deploy.PATIENCE,
        "store": storage.patience(store),
        "registry": builds.PATIENCE,
        "broker": broker.PATIENCE,
    }


def guarded(
    bare: Ports, patient: Mapping[str, GuardSettings], hooks: Hooks, switches: Switches = REAL
) -> tuple[Ports, Callable[[], dict[str, str]]]:
    """Return the ports behind guards, and what tells each breaker's state: ``closed``, ``open`` or ``half-open``."""
    guards = {
        name: Guard(name, settings, listeners=hooks.changed, retried=hooks.retried, switches=switches)
        for name, settings in patient.items()
    }
    ports = Ports(
        cluster=GuardedCluster(bare.cluster, guards["cluster"]),
        store=GuardedStore(bare.store, guards["store"]),
        registry=GuardedRegistry(bare.registry, guards["registry"]),
        broker=GuardedBroker(bare.broker, guards["broker"]),
        pusher=GuardedPusher(bare.pusher, guards["registry"]),
        reviews=GuardedReviews(bare.reviews, guards["cluster"]),
        hook=bare.hook,
    )
    return ports, lambda: {name: guard.state for name, guard in guards.items()}
