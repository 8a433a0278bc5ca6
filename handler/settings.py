"""What an installation decides, read from the environment once, in one place.

Called by `wire.py` at the start. All faults are reported together and stop the start; no secret is ever in the
environment: credentials are files.
"""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative_lambda.builds import tenants as registries
from knative_lambda.builds.images.layers import BOUNDS, Bounds
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.deploy.manifests import DEFAULT_RESOURCES
from knative_lambda.handler.receive import rates
from knative_lambda.handler.tell import targets
from knative_lambda.schemas.names import PLATFORM
from knative_lambda.schemas.redaction import learn
from knative_lambda.storage import tenants

PREFIX = "KNATIVE_LAMBDA_"
NEEDED = ("tenants", "store_url", "registry", "python_base", "node_base", "kaniko_image", "fetch_image")
"""What the receiver cannot do without on a cluster."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "builds_reuse": ("none", "tenant", "all"),
    "supply_verify": ("none", "own", "all"),
    "access_events": ("none", "oidc", "token", "hmac"),
    "access_api": ("none", "token"),
    "metrics_access": ("none", "token"),
}
"""What a setting may be that is one of a few words, or a list of some."""
FAULTS: Mapping[str, Callable[[Any], list[str]]] = {
    "rates": rates.faults,
    "tenant_stores": tenants.faults,
    "tenant_registries": registries.faults,
}
"""What says of a setting's value what is wrong with it."""
BUILD_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "200m", "memory": "256Mi"},
    "limits": {"cpu": "2", "memory": "2Gi"},
}


class BadSettings(ValueError):
    """The environment cannot be read as settings; the message has a line for each fault."""


@dataclass(frozen=True)
class Settings:
    """The whole of it; each field is ``KNATIVE_LAMBDA_<FIELD IN CAPITALS>``."""

    namespace: str = "knative-lambda"
    """The product's own namespace, where its Brokers are."""
    tenants: tuple[str, ...] = ()
    """The tenants that the sweep visits, separated by commas."""
    threads: int = 10
    """Requests handled at once."""
    drain_seconds: int = 25
    """Seconds that requests in flight have when the process is told to stop; all of it ends 4 seconds later."""
    rates: Mapping[str, Any] = field(default_factory=lambda: dict(rates.DEFAULT))
    """How much one process lets in: ``all``, each ``tenant``, and ``operations`` of a tenant by name, JSON.

    Each has ``perSecond`` and ``burst``; what is left out is not bounded. More is answered 429.
    """
    receiver_tls: str = ""
    """A folder with ``tls.crt`` and ``tls.key`` to serve with; "": plain HTTP, which Knative's proxy needs."""
    receiver_tls_clients: bool = False
    """Serve only those who show a certificate of an authority in ``ca.crt``."""
    audit_sink: str = ""
    """Where the audit trail goes beside standard output: ``file:///…``, ``https://…``, ``clickhouse+https://host/table``."""
    audit_credentials: str = ""
    """A folder with the files ``username`` and ``password``, or ``token``, for the sink; "" for none."""
    audit_tls: str = ""
    """A folder with ``ca.crt``, ``tls.crt``, ``tls.key`` for the sink, each where needed; "" is none of them."""
    metrics_port: int = 9464
    """The port that Prometheus reads; 0 for none. Not 9090 or 9091: Knative's proxy has them, in the same pod."""
    metrics_access: str = "none"
    """Who may read them: ``none``, whoever reaches the port; ``token``, who may ``get`` the cluster's ``/metrics``."""
    traces_url: str = ""
    """Where spans go by OTLP over HTTP, ``http://collector:4318/v1/traces``; "" makes none."""
    traces_percent: int = 100
    """Of a hundred traces that nobody has decided to keep before us, how many are."""
    store_url: str = ""
    """``s3://bucket/prefix``, ``minio://host/bucket/prefix``, ``file:///folder`` or ``memory://name``."""
    store_endpoint: str = ""
    """The address of an S3-compatible server; "" is Amazon's."""
    store_region: str = "us-east-1"
    """The bucket's region."""
    store_credentials: str = ""
    """A folder with the files ``access-key`` and ``secret-key``; "" asks the platform's own chain."""
    store_tls: str = ""
    """A folder with ``ca.crt``, ``tls.crt``, ``tls.key`` for the store, each where needed; "" is none of them."""
    store_ca_secret: str = ""
    """A Secret in each builds namespace with the store's ``ca.crt``, for build Pods."""
    tenant_stores: Mapping[str, Any] = field(default_factory=dict)
    """Stores of tenants' own, JSON, by tenant: ``url`` and ``endpoint``, ``region``, ``credentials``, ``tls`` as above.

    ``caSecret`` is as `store_ca_secret`. What is of such a tenant lies there and nowhere else.
    """
    registry: str = ""
    """Host, and a prefix if need be, below which images are pushed: ``<this>/<tenant>/<function>``."""
    tenant_registries: Mapping[str, Any] = field(default_factory=dict)
    """Registries of tenants' own, JSON, by tenant: ``prefix`` as `registry`, ``config`` as `registry_config`.

    ``secret`` is as `registry_secret`. They are spoken to as the other one is.
    """
    registry_insecure: bool = False
    """Speak plain HTTP to the registry."""
    registry_secret: str = ""
    """A kubernetes.io/dockerconfigjson Secret in each builds namespace, for build Pods to push with.

    Not used where `registry_tokens` has each get a token of its own. Where all tenants' builds hold the same, each of
    them can push to the others' repositories.
    """
    registry_tokens: str = ""
    """A folder with ``tls.crt`` and ``tls.key``: tokens signed with it are what the registry believes; "" for none."""
    registry_tokens_issuer: str = "knative-lambda"
    """What the registry's configuration calls ``auth.token.issuer``."""
    registry_tokens_service: str = ""
    """What it calls ``auth.token.service``; "" is the registry's host."""
    registry_reads: tuple[str, ...] = ()
    """Repositories, ``host/repository``, that every build may pull by its token and every function be, beside bases."""
    registry_pull_secret: str = ""
    """A kubernetes.io/dockerconfigjson Secret in each tenant's namespace, for functions to be pulled with."""
    reserved_secrets: tuple[str, ...] = ()
    """Secrets in tenants' namespaces that no function may name, separated by commas, beside the one to pull with."""
    image_hosts: tuple[str, ...] = ()
    """Hosts that ready images may come from, beside the registry's, ``*.example.com`` for all below one; none: any."""
    reach_allowed: tuple[str, ...] = ()
    """Hosts and networks that are no public ones and yet may be reached where a registry, or an image, names them."""
    reach_blocked: tuple[str, ...] = ()
    """Networks that are never reached so: a cluster's own, where its addresses are public ones."""
    registry_config: str = ""
    """The receiver's own docker config.json, to ask the registry with, and to push layers."""
    registry_tls: str = ""
    """A folder with ``ca.crt``, ``tls.crt``, ``tls.key`` for the registry, each where needed; "" is none of them."""
    registry_ca_secret: str = ""
    """A Secret in each builds namespace with these certificates as ``ca.crt``, for build Pods."""
    registry_client_secret: str = ""
    """A Secret in each builds namespace with ``tls.crt`` and ``tls.key``, which build Pods show the registry."""
    python_base: str = ""
    """The runtime base image of Python functions."""
    node_base: str = ""
    """The runtime base image of Node functions."""
    go_base: str = ""
    """The runtime base image of Go functions; "" where there is none: they are refused then."""
    kaniko_image: str = ""
    """The Kaniko executor."""
    build_user_namespaces: bool = False
    """Give each build's Pod a user namespace, where root is nobody on the node; the node's runtime must know how."""
    build_secrets: bool = False
    """Give builds those Secrets of their tenant that are labelled for it; the receiver needs the right to read them."""
    build_indexes: Mapping[str, Any] = field(default_factory=dict)
    """Where the packages of functions come from that name no index, JSON by runtime: ``url``, ``extra``, ``secret``."""
    build_tenant_indexes: Mapping[str, Any] = field(default_factory=dict)
    """The same by tenant, and then by runtime: in the place of that."""
    build_proxies: Mapping[str, Any] = field(default_factory=dict)
    """Proxies of builds, JSON: ``http`` and ``https``, their addresses, and ``no``, hosts that are reached without.

    The registry and the store are reached without in any case.
    """
    build_ca: str = ""
    """A ConfigMap in each builds namespace whose ``ca.crt`` is what builds trust; "" for what their images do."""
    git_image: str = ""
    """The image with git and the product, which repositories are cloned with; "" where none are: they are refused."""
    git_hosts: tuple[str, ...] = ()
    """Hosts that repositories may be of, ``*.example.com`` for all below one; none: any that may be reached."""
    git_insecure: bool = False
    """Take repositories by plain http too: for a server inside the cluster, in tests."""
    build_mirrors: Mapping[str, Any] = field(default_factory=dict)
    """Where Kaniko pulls the images of a registry from instead, JSON: the registry's host to the other's."""
    fetch_image: str = ""
    """The product's own image, for the init container that reads the build context."""
    layers: bool = True
    """Lay code upon its base, or its dependencies, in the receiver itself; false makes a Job of every build."""
    layer_limit: int = BOUNDS.unpacked >> 20
    """MiB of a build context, unpacked, that is laid so; packed it may have a quarter of them. Larger: a Job.

    Two at once are held in memory packed, each with its layer: this default takes 50 MiB of it at most.
    """
    platform: str = PLATFORM
    """Which image of a runtime base that has several is laid upon: ``os/architecture``."""
    builds_reuse: str = "tenant"
    """Whose images of the same input serve a Build: ``none``, those of its ``tenant``, or of ``all``.

    With ``all`` a tenant gets what another has built, private dependencies with it, and sees that it has.
    """
    supply_documents: bool = True
    """Attach a bill of materials and the provenance to each image that is built."""
    supply_keys: str = ""
    """A folder: ``cosign.key`` and ``cosign.password`` to sign with, and ``*.pub`` to verify with; "" for none."""
    supply_sign: bool = False
    """Sign each image that is built, and its provenance; what cannot be signed is not deployed."""
    supply_verify: str = "none"
    """Whose images run only with a signature of one of the keys: ``none``, those built here (``own``), or ``all``.

    With ``all`` a function's ready image must be named by digest.
    """
    builds_per_tenant: int = 5
    """Builds of one tenant that run at once."""
    builds_at_once: int = 10
    """Builds of all tenants together that run at once."""
    build_deadline: int = 1800
    """Seconds that a build may take in all its attempts, from its first start on."""
    build_outside: int = 86400
    """Seconds that a Build which somebody else builds is waited for."""
    build_attempts: int = 3
    """Attempts of a build that the platform fails: evicted, its node gone, the registry away."""
    build_pause: int = 10
    """Seconds before the second attempt, more or less by half; doubled before each further one."""
    build_pending: int = 300
    """Seconds after which a build's Pod that has not begun is given up; the platform's failure."""
    build_silence: int = 600
    """Seconds without any output after which a build is ended; 0 never does that."""
    build_ttl: int = 86400
    """Seconds that a finished build Job is kept."""
    build_cache: int = 336
    """Hours that a layer which Kaniko has made serves later builds of its tenant; 0 keeps none."""
    builds_kept: int = 10
    """Ended Builds of a function that are kept, the newest; what is still used stays beside them."""
    builds_max_age: int = 30
    """Days after its end that a Build is kept which nothing uses; its image, context and log follow."""
    build_resources: Mapping[str, Any] = field(default_factory=lambda: dict(BUILD_RESOURCES))
    """Requests and limits of the executor, JSON."""
    function_resources: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    """Requests and limits of a function that gives none, JSON."""
    function_tmp: str = "1Gi"
    """What a function's ``/tmp`` may hold."""
    function_empty_dir: str = "1Gi"
    """What each emptyDir that a function mounts may hold at most, and does where it says nothing."""
    function_node_labels: tuple[str, ...] = ()
    """Labels by which functions may select their nodes, separated by commas, beside the architecture."""
    function_label_prefixes: tuple[str, ...] = ("app.kubernetes.io",)
    """Prefixes of labels and annotations that functions may carry, beside names without one, separated by commas."""
    function_read_only_root: bool = True
    """Run images that the runtimes did not make, too, on a root file system that cannot be written; ``/tmp`` can."""
    broker_url: str = "http://broker-ingress.knative-eventing.svc.cluster.local"
    """Where Brokers take events."""
    broker_tls: str = ""
    """A folder with ``ca.crt``, ``tls.crt``, ``tls.key`` for Brokers that take events by https, each where needed."""
    cdevents: bool = False
    """Tell each tenant's Broker of builds and functions in CDEvents, too."""
    webhooks: Mapping[str, Any] = field(default_factory=dict)
    """Who is told of builds and functions by signed requests. JSON, by name: ``{"url", "tenants", "events"}``.

    Without ``tenants`` it is told of all; ``events`` are ``cloudevents``, the product's own, or ``cdevents``.
    """
    webhook_keys: str = ""
    """A folder with a file for each webhook by its name: the secrets to sign with, ``whsec_…``, one a line."""
    webhook_tls: str = ""
    """A folder with ``ca.crt``, ``tls.crt``, ``tls.key`` for webhooks at https addresses, each where needed."""
    webhook_age: int = 86400
    """Seconds after which an event is given up that a webhook has not taken."""
    broker_tokens: str = ""
    """A folder with a token for each Broker, ``<namespace>.<broker>``; "" where they don't ask who sends."""
    dead_letter_url: str = ""
    """The dead-letter service; exhausted events of functions go to ``<this>/<tenant>``."""
    dead_letter_ttl: int = 604800
    """Seconds that a dead letter is kept after its event came last."""
    dead_letters_kept: int = 1000
    """Dead letters kept in each namespace; the oldest go."""
    delivery_retry: int = 5
    """How often a function's event is delivered again."""
    delivery_backoff_policy: str = "exponential"
    """``linear`` or ``exponential``."""
    delivery_backoff_delay: str = "PT1S"
    """ISO 8601."""
    legacy_tenant: str = ""
    """The tenant of functions that senders of the older families name by two ids; "" refuses them."""
    api: bool = False
    """Serve the read model under ``/v1``."""
    page: bool = False
    """Serve a page of it under ``/ui``, to browsers; see `docs/page.md`."""
    access_events: tuple[str, ...] = ("none",)
    """How senders of events may say who they are; what a request says something in counts.

    ``none``: whoever reaches the receiver is trusted; it stands alone. ``oidc``: as one of the product's own Brokers,
    which are trusted. ``token``: by a token of the cluster's. ``hmac``: by a signature. Both do what they may.
    """
    access_api: tuple[str, ...] = ("token",)
    """The same of those who ask under ``/v1``: ``none`` or ``token``."""
    access_audience: str = "knative-lambda"
    """Whom tokens must be made for."""
    access_keys: str = ""
    """A folder with a file for each sender who may sign; see `access/keys.py`. ``hmac`` needs it."""
    context_limit: int = Limits.total
    """Bytes of a source once unpacked."""
    log_effects: bool = False
    """Log a line for each change that is made to cluster, store, registry and Brokers: to trace a fault."""

    @property
    def laid(self) -> Bounds:
        """Return how large a context may be whose code is laid as a layer."""
        return Bounds(self.layer_limit << 20)

    def registry_of(self, tenant: str) -> str:
        """Return below what a tenant's images are pushed: ``<this>/<tenant>/<function>``."""
        return str(self.tenant_registries.get(tenant, {}).get("prefix", self.registry))

    @property
    def registries(self) -> list[str]:
        """Return all of them, the shared one first."""
        return [self.registry, *(str(fields["prefix"]) for fields in self.tenant_registries.values())]

    def store_of(self, tenant: str) -> str:
        """Return the URL of the store that a tenant's objects lie in."""
        return str(self.tenant_stores.get(tenant, {}).get("url", self.store_url))

    @property
    def reach(self) -> Reach:
        """Return where connections may go to that somebody else names; raise `ValueError` for what is no network."""
        return Reach.of(self.reach_allowed, self.reach_blocked, (*self.registries, *self.bases.values()))

    @property
    def hooks_reach(self) -> Reach:
        """Return where webhooks may be; raise `ValueError` for what is no network."""
        return Reach.of(self.reach_allowed, self.reach_blocked)

    @property
    def bases(self) -> dict[str, str]:
        """Return the base image of each runtime that has one."""
        return {"python": self.python_base, "node": self.node_base, "go": self.go_base}


def read(environment: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of an environment (by default this process'); raise `BadSettings` with every fault."""
    environment = os.environ if environment is None else environment
    faults: list[str] = []
    values: dict[str, Any] = {}
    for name, known in Settings.__dataclass_fields__.items():
        raw = environment.get(PREFIX + name.upper())
        if raw is not None:
            try:
                values[name] = _parse(getattr(known.type, "__name__", ""), raw)
                _check(name, values[name])
                if name in FAULTS and (wrong := FAULTS[name](values[name])):
                    raise ValueError("; ".join(wrong))  # noqa: TRY301 - told with the others
                if name == "webhooks" and (wrong := targets.faults(values[name])):
                    raise ValueError("; ".join(wrong))  # noqa: TRY301 - the same
            except ValueError as error:
                faults.append(f"{PREFIX}{name.upper()}: {error}")
    if values.get("webhooks") and not values.get("webhook_keys"):
        faults.append(f"{PREFIX}WEBHOOK_KEYS: is not set, and webhooks need it")
    if "hmac" in values.get("access_events", ()) and not values.get("access_keys"):
        faults.append(f"{PREFIX}ACCESS_KEYS: is not set, and hmac needs it")
    if values.get("page") and not values.get("api"):
        faults.append(f"{PREFIX}API: is not true, and the page shows what that serves")
    if faults:
        raise BadSettings("\n".join(faults))
    return Settings(**values)


def require(settings: Settings, *fields: str) -> None:
    """Raise `BadSettings` naming each of these fields that is empty."""
    missing = [f"{PREFIX}{name.upper()}: is not set" for name in fields if not getattr(settings, name)]
    if missing:
        raise BadSettings("\n".join(missing))


def credentials(folder: str) -> tuple[str, str]:
    """Return the access key and the secret key that lie in a folder, or two empty strings where there is no folder.

    Raises `OSError` where one of them is not there, or is empty.
    """
    if not folder:
        return "", ""
    access, secret = (Path(folder, name).read_text().strip() for name in ("access-key", "secret-key"))
    if not (access and secret):
        raise OSError(f"a key in {folder} is empty")
    return access, learn(secret)


def _check(name: str, value: Any) -> None:
    """Raise `ValueError` where a value is none of its choices."""
    choices = CHOICES.get(name, ())
    said = value if isinstance(value, tuple) else (value,)
    if choices and not (said and set(said) <= {*choices}):
        raise ValueError(f"one of {', '.join(choices)}, not {','.join(said)!r}")
    if choices and "none" in said and len(said) > 1:
        raise ValueError("none stands alone: who is not asked needs no other way")


def _parse(kind: str, raw: str) -> Any:
    if kind == "int":
        return int(raw)
    if kind == "bool":
        if raw.lower() not in ("true", "false"):
            raise ValueError(f"true or false, not {raw!r}")
        return raw.lower() == "true"
    if kind == "tuple":
        return tuple(part.strip() for part in raw.split(",") if part.strip())
    if kind == "Mapping":
        value = json.loads(raw)
        if not isinstance(value, dict):
            raise ValueError("a JSON object is needed")
        return value
    return raw
