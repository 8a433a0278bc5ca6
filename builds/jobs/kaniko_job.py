"""The Job of an attempt, as a value: a Pod with an init container that reads the context, and Kaniko. Pure.

Called by `kaniko.py`. What a Dockerfile runs is a stranger's code, in the Pod that holds the push credential: so it
has no API token and no storage credential; the context comes by a presigned URL that only the init container sees.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.jobs import handed
from knative_lambda.builds.jobs.diagnosis import EXECUTOR, FETCHER
from knative_lambda.deploy.cluster import JOB, Object
from knative_lambda.schemas import names, trace

CA = "/kaniko/registry-ca"
CLIENT = "/kaniko/registry-client"
STORE_CA = "/context-ca"
AUTHORITIES = "/run/builds-ca"
TRUSTED = ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS")
"""By which variables programs are told whom to trust: go and most others, pip, node."""
CLONE = "/clone"
CLONE_SIZE = "2Gi"
"""What the volume may hold that a repository is cloned into: one commit, packed, and its files once more."""
UNPRIVILEGED = {
    "runAsNonRoot": True,
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
CONTEXT_SIZE = "1Gi"
"""What the volume for the context may hold: some more than the largest archive that is taken."""


@dataclass(frozen=True)
class KanikoSettings:
    """What an installation decides about build Jobs."""

    image: str
    """The executor's image; production asks for a digest."""
    fetch_image: str
    """The image with this product inside, for the init container that reads the context."""
    insecure: bool = False
    """Speak plain HTTP to the registry: for a registry inside the cluster, in tests."""
    registry_secret: str = ""
    """A kubernetes.io/dockerconfigjson Secret in the builds namespace; "" pushes without credentials, or by a token."""
    registry_secrets: Mapping[str, str] = field(default_factory=dict)
    """The same of tenants that have a registry of their own."""
    registry: str = ""
    """Below which every tenant has its repositories: nothing outside of ``<this>/<tenant>/`` is ever granted."""
    registries: Mapping[str, str] = field(default_factory=dict)
    """The same of tenants that have one of their own."""
    reads: tuple[str, ...] = ()
    """What every build may pull, ``host/repository``: the bases, and what else Dockerfiles may name of it."""
    registry_ca: str = ""
    """A Secret in the builds namespace whose ``ca.crt`` is trusted when the registry is spoken to; "" for none."""
    store_ca: str = ""
    """The same for the store, for the init container."""
    store_cas: Mapping[str, str] = field(default_factory=dict)
    """The same of tenants that have a store of their own; "" for none."""
    registry_client: str = ""
    """A Secret there with ``tls.crt`` and ``tls.key``, which the registry is shown; a RUN can read them."""
    pending: int = 300
    """Seconds after which a Pod that has not begun, or was not even made, is given up."""
    silence: int = 600
    """Seconds without any output after which a build is ended; 0 never does that."""
    ttl: int = 86400
    """Seconds that a finished Job is kept."""
    user_namespaces: bool = False
    """Root in a build's Pod is nobody on its node; the node's runtime must know how."""
    git_image: str = ""
    """The image with git and this product inside, for the init container that clones; "" clones nothing."""
    reach_allowed: tuple[str, ...] = ()
    """What the hosts of repositories may be although it is not public: hosts and networks."""
    reach_blocked: tuple[str, ...] = ()
    """Networks that none of them is reached in."""
    context_limit: int = Limits.total
    """Bytes of a cloned source, unpacked, at most."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Where the images of a registry are pulled from instead: its host to another's."""
    proxies: Mapping[str, str] = field(default_factory=dict)
    """By what the world outside is reached: ``http`` and ``https``, addresses, and ``no``, the hosts that are not."""
    ca: str = ""
    """A ConfigMap in the builds namespace whose ``ca.crt`` is what builds trust, and pull by; "" for the usual."""
    cache: int = 336
    """Hours that a layer of one build serves others; 0 keeps none."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Requests and limits of the executor's container."""

    def of(self, tenant: str) -> "KanikoSettings":
        """Return what is decided for a tenant."""
        return replace(
            self,
            store_ca=self.store_cas.get(tenant, self.store_ca),
            registry=self.registries.get(tenant, self.registry),
            registry_secret=self.registry_secrets.get(tenant, self.registry_secret),
        )


def job(attempt: Attempt, context_url: str, settings: KanikoSettings) -> Object:
    """Return the Job of an attempt."""
    labels = {
        names.BUILD_LABEL: attempt.build,
        names.BUILD_UID_LABEL: attempt.build_uid,
        names.FUNCTION_LABEL: attempt.function,
        names.TENANT_LABEL: attempt.tenant,
        "app.kubernetes.io/managed-by": names.MANAGER,
    }
    annotations = trace.annotations(attempt.trace)
    described = {"labels": labels, **({"annotations": annotations} if annotations else {})}
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": attempt.name, "namespace": names.builds_namespace(attempt.tenant), **described},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": attempt.seconds,
            "ttlSecondsAfterFinished": settings.ttl,
            "template": {
                "metadata": described,
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "builder",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    **({"hostUsers": False} if settings.user_namespaces else {}),
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "initContainers": [
                        _cloner(attempt, settings) if attempt.git else _fetcher(attempt, context_url, settings)
                    ],
                    "containers": [_executor(attempt, settings)],
                    "volumes": [
                        {"name": "context", "emptyDir": {"sizeLimit": CONTEXT_SIZE}},
                        *([{"name": "clone", "emptyDir": {"sizeLimit": CLONE_SIZE}}] if attempt.git else []),
                        *_secret_volumes(settings),
                        *handed.volumes(attempt.name, attempt.handed),
                    ],
                },
            },
        },
    }


def _fetcher(attempt: Attempt, context_url: str, settings: KanikoSettings) -> Object:
    return {
        "name": FETCHER,
        "image": settings.fetch_image,
        "command": ["python3", "-m", "knative_lambda.builds.jobs.fetch"],
        "args": [attempt.context.rpartition("/")[2].removesuffix(".tar.gz"), "/context/context.tar.gz"],
        "env": [
            {"name": "CONTEXT_URL", "value": context_url},
            *([{"name": "CONTEXT_CA", "value": f"{STORE_CA}/ca.crt"}] if settings.store_ca else []),
            *({"name": name, "value": value} for name, value in _proxies(settings).items()),
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [
            {"name": "context", "mountPath": "/context"},
            *([{"name": "store-ca", "mountPath": STORE_CA, "readOnly": True}] if settings.store_ca else []),
            *handed.mounts(attempt.handed, "fetch"),
        ],
    }


def _cloner(attempt: Attempt, settings: KanikoSettings) -> Object:
    """Return the init container that clones: what it works with, and the tenant's key, are its alone."""
    secret = attempt.git.get("secret", "")
    asked = {
        "git": {key: value for key, value in attempt.git.items() if key != "secret"},
        "runtime": attempt.runtime,
        "entrypoint": attempt.entrypoint,
        "allowed": list(settings.reach_allowed),
        "blocked": list(settings.reach_blocked),
        "limits": {"total": settings.context_limit},
        **({"secret": handed.folder(secret)} if secret else {}),
    }
    return {
        "name": FETCHER,
        "image": settings.git_image,
        "command": ["python3", "-m", "knative_lambda.builds.jobs.clone"],
        "args": ["/context/context.tar.gz", CLONE],
        "env": [
            {"name": "SOURCE", "value": json.dumps(asked, sort_keys=True)},
            *({"name": name, "value": value} for name, value in _proxies(settings).items()),
            *([{"name": "GIT_SSL_CAINFO", "value": f"{AUTHORITIES}/ca.crt"}] if settings.ca else []),
        ],
        "resources": {
            "requests": {"cpu": "100m", "memory": "64Mi"},
            "limits": {"cpu": "1", "memory": "768Mi"},
        },
        "securityContext": UNPRIVILEGED,
        "volumeMounts": [
            {"name": "context", "mountPath": "/context"},
            {"name": "clone", "mountPath": CLONE},
            *([{"name": "builds-ca", "mountPath": AUTHORITIES, "readOnly": True}] if settings.ca else []),
            *handed.mounts(attempt.handed, "fetch"),
        ],
    }


def _executor(attempt: Attempt, settings: KanikoSettings) -> Object:
    host = attempt.destination.partition("/")[0]
    hosts = sorted({host, attempt.build_args.get("BASE", host).partition("/")[0]})
    given = {**_surroundings(settings), **attempt.build_args}
    args = [
        "--context=tar:///context/context.tar.gz",
        f"--dockerfile={attempt.recipe}",
        f"--destination={attempt.destination}",
        "--digest-file=/dev/termination-log",
        "--push-retry=2",
        "--log-format=text",
        "--snapshot-mode=redo",
        *_cache(attempt, settings),
        # a kubelet puts variables of the container in the place of $(NAME), and a $ in that of $$
        *(f"--build-arg={name}={value}".replace("$", "$$") for name, value in sorted(given.items())),
        *(f"--registry-map={mirrored}={mirror}" for mirrored, mirror in sorted(settings.mirrors.items())),
        *(["--insecure", "--insecure-pull"] if settings.insecure else []),
        *(f"--registry-certificate={each}={CA}/ca.crt" for each in hosts if settings.registry_ca),
        *([f"--registry-client-cert={host}={CLIENT}/tls.crt,{CLIENT}/tls.key"] if settings.registry_client else []),
    ]
    return {
        "name": EXECUTOR,
        "image": settings.image,
        "args": args,
        **({"env": variables} if (variables := _variables(settings)) else {}),
        "resources": json.loads(json.dumps(dict(settings.resources))),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            # what unpacking a base image and a Dockerfile's RUN as another user take, and no more
            "capabilities": {
                "drop": ["ALL"],
                "add": ["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"],
            },
        },
        "volumeMounts": [
            {"name": "context", "mountPath": "/context", "readOnly": True},
            *(
                {"name": name, "mountPath": place, "readOnly": True}
                for name, place, secret in (
                    ("registry", "/kaniko/.docker", settings.registry_secret),
                    ("registry-ca", CA, settings.registry_ca),
                    ("registry-client", CLIENT, settings.registry_client),
                    ("builds-ca", AUTHORITIES, settings.ca),
                )
                if secret
            ),
            *handed.mounts(attempt.handed, "build"),
        ],
    }


def _proxies(settings: KanikoSettings) -> dict[str, str]:
    """Return what programs are told of proxies: some read the one writing, some the other."""
    told = {f"{name}_proxy": value for name, value in settings.proxies.items() if value}
    return told | {name.upper(): value for name, value in told.items()}


def _surroundings(settings: KanikoSettings) -> dict[str, str]:
    """Return the arguments of what is around a build, and no part of it: no Dockerfile has to ask for a proxy."""
    trusted = dict.fromkeys(TRUSTED, f"{AUTHORITIES}/ca.crt") if settings.ca else {}
    return _proxies(settings) | trusted


def _variables(settings: KanikoSettings) -> list[Object]:
    """Return the variables of the executor itself, which pulls and pushes; what it runs does not see them."""
    trusted = {"SSL_CERT_DIR": f"/kaniko/ssl/certs:{AUTHORITIES}"} if settings.ca else {}
    return [{"name": name, "value": value} for name, value in (_proxies(settings) | trusted).items()]


def _cache(attempt: Attempt, settings: KanikoSettings) -> list[str]:
    """Return the options for layers that are kept: of what a RUN makes, uncompressed while they are held in memory."""
    if not attempt.cache or not settings.cache:
        return ["--cache=false"]
    kept = [f"--cache-repo={attempt.cache}", f"--cache-ttl={settings.cache}h", "--compressed-caching=false"]
    return ["--cache=true", *kept]


def _secret_volumes(settings: KanikoSettings) -> list[Object]:
    found: list[Object] = []
    if settings.registry_secret:
        items = [{"key": ".dockerconfigjson", "path": "config.json"}]
        found.append({"name": "registry", "secret": {"secretName": settings.registry_secret, "items": items}})
    if settings.registry_ca:
        found.append({"name": "registry-ca", "secret": {"secretName": settings.registry_ca}})
    if settings.registry_client:
        found.append({"name": "registry-client", "secret": {"secretName": settings.registry_client}})
    if settings.ca:
        found.append({"name": "builds-ca", "configMap": {"name": settings.ca}})
    if settings.store_ca:
        found.append({"name": "store-ca", "secret": {"secretName": settings.store_ca}})
    return found
