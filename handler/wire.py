"""Everything joined: settings in, a service out. The one file that knows every adapter of the cluster mode.

Called by `__main__.py`. The embedded mode joins its own adapters the same way, in `dev.py`.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knative_lambda.builds.builder import Builder
from knative_lambda.builds.builders import Builders
from knative_lambda.builds.ends import Workshop
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.images.registry_client import Place, RegistrySettings
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.inputs.refs import Refs
from knative_lambda.builds.jobs.issuer import Issuer
from knative_lambda.builds.jobs.issuer_jwt import IssuerSettings, JwtIssuer
from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.builds.layered import Layered
from knative_lambda.builds.papers.attest import Attestor
from knative_lambda.builds.papers.signing import Keys
from knative_lambda.builds.papers.trust import Trust
from knative_lambda.builds.record import Patience
from knative_lambda.builds.reuse import Reuse
from knative_lambda.builds.slots import SlotLimits, Slots
from knative_lambda.deploy.cluster import Cluster
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.deploy.manifests import DeploySettings
from knative_lambda.deploy.reviews_kubernetes import KubernetesReviews
from knative_lambda.handler import effects, papers, registries, stores
from knative_lambda.handler.access import modes
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.audit.sink import sink_of
from knative_lambda.handler.audit.trail import Counted, Trail
from knative_lambda.handler.converge import converge
from knative_lambda.handler.effects import Around
from knative_lambda.handler.events import Event
from knative_lambda.handler.guards import Hooks, Ports, guarded, patience
from knative_lambda.handler.later import Later
from knative_lambda.handler.observe.spans import Spans
from knative_lambda.handler.product import Product
from knative_lambda.handler.receive.porter import Porter, TurnedAway
from knative_lambda.handler.receive.rates import Rates
from knative_lambda.handler.router import handle
from knative_lambda.handler.settings import NEEDED, PREFIX, BadSettings, Settings, credentials, require
from knative_lambda.handler.tell.broker import HttpBroker
from knative_lambda.handler.tell.hooks import HttpHook
from knative_lambda.handler.tell.notices import Fated
from knative_lambda.handler.tell.outbox import Notified
from knative_lambda.handler.tell.senders import Senders
from knative_lambda.schemas.errors import Fault
from knative_lambda.schemas.guard import Listener, Retried
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

BESIDE = 6
"""Threads that speak to the API server beside those of requests, at most: the server's spare ones and the senders."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Service:
    """The joined service, as the HTTP door sees it (its `Door`)."""

    product: Product
    senders: Senders
    breakers: Callable[[], dict[str, str]]
    read: ReadModel | None
    access: Entrances

    def receive(self, event: Event) -> None:
        """Handle one event; see `router.handle`. What is owed for it is kept back until `answered`."""
        self.senders.hold()
        handle(event, self.product)

    def answered(self) -> None:
        """Let the notifications go."""
        self.senders.release()

    def dependencies(self) -> dict[str, str]:
        """Return each dependency's breaker: ``closed``, ``open`` or ``half-open``."""
        return self.breakers()


@dataclass(frozen=True)
class Listeners:
    """Who is told what goes on behind the door."""

    changed: Sequence[Listener] = ()
    """Of every change of a breaker."""
    retried: Sequence[Retried] = ()
    """Of every call of a dependency that is tried again."""
    notified: Sequence[Notified] = ()
    """Of every notification that was offered."""
    fated: Sequence[Fated] = ()
    """Of what became of every event for a webhook."""
    called: Sequence[Around] = ()
    """Of every call of a port, which they make; the first is outermost."""
    spans: Spans = field(default_factory=Spans)
    """Of what is done, to make spans of it."""


def service(settings: Settings, listeners: Listeners) -> tuple[Service, Senders]:
    """Return the service on a real cluster, and what sends for it, which is not started yet.

    Every call of a port goes through whoever is told of calls, and is logged where `log_effects` asks for it.
    Raises `BadSettings` (or `ValueError`, for the store's URL) naming everything that is missing or wrong.
    """
    verifies = settings.supply_sign or settings.supply_verify != "none"
    require(settings, *NEEDED, *(["supply_keys"] if verifies else []))
    stored, reached = _store(settings), _registry(settings)
    cluster = KubernetesCluster(KubernetesSettings(connections=settings.threads + BESIDE))
    bare = Ports(
        cluster=cluster,
        store=open_store(settings.store_url, stored),
        registry=HttpRegistry(reached),
        broker=HttpBroker(trust=Path(settings.broker_tls), tokens=settings.broker_tokens),
        pusher=HttpPusher(reached),
        reviews=KubernetesReviews(cluster),
        hook=HttpHook(settings.hooks_reach, Path(settings.webhook_tls)),
    )
    hooks = Hooks([_tell, *listeners.changed], listeners.retried)
    ports, states = guarded(bare, patience(stored), hooks)
    ports = replace(ports, store=stores.beside(ports.store, _own(settings), hooks))
    ports = registries.beside(ports, bare, settings.tenant_registries, hooks)
    spans = [listeners.spans.call] if listeners.spans.is_on else []
    around = effects.together(*listeners.called, *spans, *([effects.tell] if settings.log_effects else []))
    ports = effects.watched(ports, around)
    senders = Senders.over(
        ports.cluster,
        ports.store,
        settings,
        ports.broker.post,
        listeners.notified,
        hook=ports.hook,
        fated=listeners.fated,
    )
    builder = builders(settings, ports)
    touched = workshop(settings, ports.cluster, builder, ports.registry, ports.store)
    touched = replace(
        touched,
        reuse=reuse(settings, ports.cluster, ports.pusher),
        attestor=attestor(settings, ports.store, ports.pusher),
    )
    joined = join(settings, touched, senders, trusts=trust(settings, ports.pusher), spans=listeners.spans)
    product = effects.watched(replace(joined, reach=settings.reach, refs=Refs(settings.reach).commit), around)
    read = Records(product) if settings.api else None
    return Service(product, senders, states, read, modes.entrances(product, ports.reviews)), senders


def porter(
    settings: Settings, listeners: Sequence[Counted], turned_away: Sequence[TurnedAway] = ()
) -> tuple[Porter, Trail]:
    """Return who counts and notes what comes in, and the audit trail, which is not started yet.

    Raises `BadSettings` for a sink that is none.
    """
    try:
        sink = sink_of(settings.audit_sink, settings.audit_credentials, settings.audit_tls)
    except ValueError as error:
        raise BadSettings(f"{PREFIX}AUDIT_SINK: {error}") from error
    trail = Trail(sink, listeners)
    counted = Rates(settings.rates, frozenset(settings.tenants))
    tenants = frozenset(settings.tenants)
    return Porter(counted, trail, tenants, settings.legacy_tenant, listeners=turned_away), trail


def join(  # noqa: PLR0913 - all of it, in one place
    settings: Settings,
    workshop: Workshop,
    senders: Senders,
    builder: str = "kaniko",
    *,
    trusts: Trust | None = None,
    spans: Spans | None = None,
    lacking: Callable[[Mapping[str, Any], str], list[Fault]] = lambda _spec, _where: [],
) -> Product:
    """Return the product over these ports."""

    def look(tenant: str, name: str) -> None:
        converge(tenant, name, product)

    def unsigned(tenant: str, build: str) -> None:
        senders.soon(partial(made.at, tenant, build, datetime.now(UTC)))

    made = Later(lambda tenant, build: papers.make(tenant, build, product))
    touched = replace(workshop, later=Later(look).at)
    owes, letters, decided = senders.owes, senders.look_at, deploying(settings)
    product = Product(
        settings,
        touched,
        decided,
        lambda: datetime.now(UTC),
        owes,
        builder,
        letters=letters,
        trust=trusts,
        spans=spans or Spans(),
        papers=unsigned,
        lacking=lacking,
    )
    return product


def workshop(settings: Settings, cluster: Cluster, builder: Builder, registry: Registry, store: Store) -> Workshop:
    """Return what settling a build touches, over these ports."""
    limits = SlotLimits(settings.builds_per_tenant, settings.builds_at_once)
    patience = Patience(settings.build_deadline, settings.build_outside, settings.build_attempts, settings.build_pause)
    return Workshop(cluster, builder, registry, store, Slots(cluster, settings.namespace, limits), patience)


def reuse(settings: Settings, cluster: Cluster, pusher: Pusher) -> Reuse | None:
    """Return who finds what was made before of the same input, None where every Build is to be made for itself."""
    if settings.builds_reuse == "none":
        return None
    return Reuse(cluster, pusher, settings.tenants if settings.builds_reuse == "all" else ())


def attestor(settings: Settings, store: Store, pusher: Pusher) -> Attestor | None:
    """Return who gives images their papers, None where they have none."""
    if not (settings.supply_documents or settings.supply_sign):
        return None
    keys = Keys(Path(settings.supply_keys)) if settings.supply_sign else None
    return Attestor(pusher, store, settings.kaniko_image, settings.supply_documents, keys)


def trust(settings: Settings, pusher: Pusher) -> Trust | None:
    """Return who says whether an image may run, None where any may."""
    if settings.supply_verify == "none":
        return None
    return Trust(pusher, Keys(Path(settings.supply_keys)), "all" if settings.supply_verify == "all" else "own")


def deploying(settings: Settings) -> DeploySettings:
    """Return what is decided about functions."""
    return DeploySettings(
        broker_url=settings.broker_url,
        dead_letter_url=settings.dead_letter_url,
        pull_secret=settings.registry_pull_secret,
        retry=settings.delivery_retry,
        backoff_policy=settings.delivery_backoff_policy,
        backoff_delay=settings.delivery_backoff_delay,
        read_only_root=settings.function_read_only_root,
        resources=settings.function_resources,
        tmp=settings.function_tmp,
        empty_dir=settings.function_empty_dir,
        node_labels=settings.function_node_labels,
        label_prefixes=settings.function_label_prefixes,
    )


def builders(settings: Settings, ports: Ports) -> Builder:
    """Return the builder of a cluster: layers where a Build says so, Kaniko's Jobs otherwise."""
    laid = Layered(ports.store, ports.registry, ports.pusher, settings.platform, settings.laid)
    return Builders(jobs=kaniko(settings, ports.cluster, ports.store), layers=laid)


def kaniko(settings: Settings, cluster: Cluster, store: Store) -> Builder:
    """Return the builder that runs Kaniko Jobs."""
    decided = KanikoSettings(
        image=settings.kaniko_image,
        fetch_image=settings.fetch_image,
        git_image=settings.git_image,
        reach_allowed=settings.reach_allowed,
        reach_blocked=settings.reach_blocked,
        context_limit=settings.context_limit,
        insecure=settings.registry_insecure,
        registry_secret=settings.registry_secret,
        registry_secrets={
            tenant: given["secret"] for tenant, given in settings.tenant_registries.items() if given.get("secret")
        },
        registry=settings.registry,
        registries={tenant: given["prefix"] for tenant, given in settings.tenant_registries.items()},
        reads=(*filter(None, settings.bases.values()), *settings.registry_reads),
        registry_ca=settings.registry_ca_secret,
        registry_client=settings.registry_client_secret,
        user_namespaces=settings.build_user_namespaces,
        store_ca=settings.store_ca_secret,
        store_cas={tenant: given.get("caSecret", "") for tenant, given in settings.tenant_stores.items()},
        mirrors=settings.build_mirrors,
        proxies=proxies(settings),
        ca=settings.build_ca,
        pending=settings.build_pending,
        silence=settings.build_silence,
        ttl=settings.build_ttl,
        cache=settings.build_cache,
        resources=settings.build_resources,
    )
    return Kaniko(cluster, store, decided, issuer=issuer(settings))


def proxies(settings: Settings) -> dict[str, str]:
    """Return the proxies of builds: not for the registry and the store, which are near."""
    if not settings.build_proxies:
        return {}
    near = [urlsplit(place).hostname for place in (f"//{settings.registry}", settings.store_endpoint)]
    return {**settings.build_proxies, "no": ",".join(filter(None, [settings.build_proxies.get("no"), *near]))}


def issuer(settings: Settings) -> Issuer | None:
    """Return who mints tokens for the registry that is pushed to; None where it has its credentials otherwise."""
    if not settings.registry_tokens:
        return None
    folder, host = Path(settings.registry_tokens), Place.of(settings.registry).host
    return JwtIssuer(IssuerSettings(host, folder, settings.registry_tokens_issuer, settings.registry_tokens_service))


def _registry(settings: Settings) -> RegistrySettings:
    return RegistrySettings(
        insecure=settings.registry_insecure,
        config=Path(settings.registry_config) if settings.registry_config else None,
        configs={
            registries.place(tenant, given["prefix"]): Path(given["config"])
            for tenant, given in settings.tenant_registries.items()
            if given.get("config")
        },
        trust=Path(settings.registry_tls),
        issuer=issuer(settings),
        reach=settings.reach,
    )


def _own(settings: Settings) -> dict[str, Store]:
    try:
        return stores.opened(settings.tenant_stores, credentials)
    except ValueError as error:
        raise BadSettings(f"{PREFIX}TENANT_STORES: {error}") from error


def _store(settings: Settings) -> StoreSettings:
    access_key, secret_key = credentials(settings.store_credentials)
    return StoreSettings(
        url=settings.store_url,
        endpoint=settings.store_endpoint,
        region=settings.store_region,
        access_key=access_key,
        secret_key=secret_key,
        trust=Path(settings.store_tls),
        keys=partial(credentials, settings.store_credentials) if settings.store_credentials else None,
    )


def _tell(dependency: str, state: str) -> None:
    log.warning("the breaker of %s is %s", dependency, state)
