"""The Kaniko builder: a Job per attempt, in the tenant's builds namespace.

Called by `settle.py` through the `Builder` port. What a Dockerfile runs is a stranger's code, in the Pod that holds the
push credential: so the Pod has no API token and no storage credential (an init container reads this one context by a
presigned URL), what it may push is a token for this attempt's own repositories where there is an `Issuer`, and neither
its termination message nor its log is believed.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from knative_lambda.builds import diagnosis, push_token
from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.diagnosis import EXECUTOR, FETCHER
from knative_lambda.builds.issuer import Issuer
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import EVENT, JOB, POD, SECRET, Cluster, Object
from knative_lambda.schemas import names, trace
from knative_lambda.schemas.errors import AlreadyExists, ProductError, Temporary
from knative_lambda.storage.store import Store

POD_GRACE = timedelta(seconds=30)
"""No Pod this long after its Job: the Job's events say why."""
POD_AGAIN = 5
"""Seconds after which to look again at a Job without its Pod."""
LOG_TAIL = 16 * 1024
CA = "/kaniko/registry-ca"
STORE_CA = "/context-ca"


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
    registry: str = ""
    """Below which every tenant has its repositories: nothing outside of ``<this>/<tenant>/`` is ever granted."""
    reads: tuple[str, ...] = ()
    """What every build may pull, ``host/repository``: the bases, and what else Dockerfiles may name of it."""
    registry_ca: str = ""
    """A Secret in the builds namespace whose ``ca.crt`` is trusted when the registry is spoken to; "" for none."""
    store_ca: str = ""
    """The same for the store, for the init container."""
    pending: int = 300
    """Seconds after which a Pod that has not begun, or was not even made, is given up."""
    silence: int = 600
    """Seconds without any output after which a build is ended; 0 never does that."""
    ttl: int = 86400
    """Seconds that a finished Job is kept."""
    user_namespaces: bool = False
    """Root in a build's Pod is nobody on its node; the node's runtime must know how."""
    mirrors: Mapping[str, str] = field(default_factory=dict)
    """Where the images of a registry are pulled from instead: its host to another's."""
    cache: int = 336
    """Hours that a layer of one build serves others; 0 keeps none."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Requests and limits of the executor's container."""


@dataclass(frozen=True)
class Kaniko:
    """Runs attempts as Kaniko Jobs on a cluster."""

    cluster: Cluster
    store: Store
    settings: KanikoSettings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    issuer: Issuer | None = None
    """Who mints what an attempt pushes with; None leaves it with `KanikoSettings.registry_secret`."""

    def start(self, attempt: Attempt) -> None:
        """Create the attempt's Job; already there is success where it is this Build's, and stays.

        What it pushes with comes after it, so that it belongs to it, and goes with it: the Pod waits for that.
        """
        url, settings = self.store.presign(attempt.context, seconds=attempt.seconds), self.settings
        token = ""
        if self.issuer is not None:
            token = self.issuer.token(
                push_token.grants(attempt, self.issuer.host, settings.registry, settings.reads), seconds=attempt.seconds
            )
            settings = replace(settings, registry_secret=attempt.name)
        try:
            made = self.cluster.create(JOB, job(attempt, url, settings))
        except AlreadyExists as taken:
            found = self._job(attempt)
            if found is None or not _stays(found):
                raise Temporary(f"the Job {attempt.name} is being deleted, or another Build's") from taken
            made = found
        if self.issuer is not None:
            self._hand_over(push_token.secret(made, self.issuer.host, token))

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Read the Pod first: its container's state tells an end seconds before the Job's condition does."""
        found = self._job(attempt)
        if found is None or not _stays(found):
            return Lost()
        pod = self._pod(found)
        end = diagnosis.pod_ended(pod) if pod else None
        if end == Ended(0):
            return end
        if diagnosis.is_late(found):
            return diagnosis.late(found, pod, self._events(found))
        if end is not None and not end.reason:
            log = self.log(attempt, limit=LOG_TAIL).decode(errors="replace")
            return diagnosis.exited(end.exit_code, log, _hosts(attempt))
        return end or diagnosis.job_ended(found) or self._refused(found, pod) or self._stuck(pod) or _running(pod)

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        """Return the executor's output; the init container's where the executor never ran.

        A log that cannot be read (its node is gone, say) is an empty one: the build's outcome does not hang on it. As
        trying may take a whole timeout, the other container is asked only where this one has nothing to read.
        """
        found = self._job(attempt)
        pod = self._pod(found) if found else None
        if pod is None:
            return b""
        meta = pod["metadata"]
        with suppress(ProductError):
            for container in (EXECUTOR, FETCHER):
                if log := self.cluster.pod_log(meta["namespace"], meta["name"], container, limit=limit):
                    return log
        return b""

    def stop(self, attempt: Attempt) -> None:
        """Delete the Job, and its Pod with it."""
        self.cluster.delete(JOB, names.builds_namespace(attempt.tenant), attempt.name)
        self.revoke(attempt)

    def revoke(self, attempt: Attempt) -> None:
        """Delete what the attempt was to push with; who has read it keeps it until the Build's time is over."""
        if self.issuer is not None:
            self.cluster.delete(SECRET, names.builds_namespace(attempt.tenant), attempt.name)

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        """Ask for the Pods themselves: one whose Job is deleted runs on for as long as its grace period."""
        namespace, labels = names.builds_namespace(tenant), {names.BUILD_UID_LABEL: build_uid}
        pods = self.cluster.list(POD, namespace, labels)
        if not all(diagnosis.is_over(pod, self.now()) for pod in pods):
            return False
        ended = {owner["uid"] for pod in pods for owner in pod["metadata"].get("ownerReferences", [])}
        jobs = self.cluster.list(JOB, namespace, labels)
        return all(one["metadata"]["uid"] in ended or diagnosis.job_ended(one) or not _stays(one) for one in jobs)

    def _hand_over(self, secret: Object) -> None:
        """Create an attempt's Secret; one that is there may be of a Job that is gone, and nobody may read it."""
        try:
            self.cluster.create(SECRET, secret)
        except AlreadyExists:
            meta = secret["metadata"]
            self.cluster.delete(SECRET, meta["namespace"], meta["name"])
            self.cluster.create(SECRET, secret)

    def _job(self, attempt: Attempt) -> Object | None:
        """Return the attempt's Job; one of that name that another Build has made is none."""
        found = self.cluster.get(JOB, names.builds_namespace(attempt.tenant), attempt.name)
        labels = found["metadata"].get("labels", {}) if found else {}
        return found if labels.get(names.BUILD_UID_LABEL) == attempt.build_uid else None

    def _pod(self, found: Object) -> Object | None:
        """Return the Pod that a Job controls; it makes one at most."""
        meta = found["metadata"]
        for pod in self.cluster.list(POD, meta["namespace"], {"batch.kubernetes.io/job-name": meta["name"]}):
            if conditions.owned_by(pod, meta["uid"]):
                return pod
        return None

    def _events(self, found: Object) -> list[Object]:
        return self.cluster.list(EVENT, found["metadata"]["namespace"])

    def _stuck(self, pod: Object | None) -> Ended | None:
        """Return why a Pod is given up that does not begin, or that does nothing to be seen."""
        if pod is None:
            return None
        began = diagnosis.began(pod)
        if began is None:
            made = datetime.fromisoformat(pod["metadata"]["creationTimestamp"])
            late = self.now() - made >= timedelta(seconds=self.settings.pending)
            return diagnosis.pending(pod, self.settings.pending) if late else None
        silence = self.settings.silence
        if not silence or self.now() - began < timedelta(seconds=silence):
            return None
        meta = pod["metadata"]
        try:
            said = self.cluster.pod_log(meta["namespace"], meta["name"], EXECUTOR, limit=1, seconds=silence)
        except ProductError:  # what cannot be heard has not been silent; the build's deadline still comes
            return None
        return None if said else Ended(1, "user", "NoOutput", f"the build said nothing for {silence} seconds")

    def _refused(self, found: Object, pod: Object | None) -> Ended | None:
        """Return why a Job is given up that has no Pod: it will never get one, or has waited long enough for it."""
        age = self.now() - datetime.fromisoformat(found["metadata"]["creationTimestamp"])
        if pod is not None or age < POD_GRACE:
            return None
        events, pending = self._events(found), self.settings.pending
        refused = diagnosis.refused(found, events)
        if refused or age < timedelta(seconds=pending) or diagnosis.had_pod(found):
            return refused
        return diagnosis.missing(found, events, pending)


def _running(pod: Object | None) -> Running:
    """Say when to look again: a Pod that somebody deletes is reported gone before its Job knows that it has failed."""
    return Running() if _stays(pod) else Running(again=POD_AGAIN)


def _hosts(attempt: Attempt) -> set[str]:
    """Return the hosts, without their ports, of the images that the platform names for an attempt."""
    return {image.partition("/")[0].partition(":")[0] for image in (attempt.destination, *attempt.build_args.values())}


def _stays(found: Object | None) -> bool:
    return found is not None and not found["metadata"].get("deletionTimestamp")


def job(attempt: Attempt, context_url: str, settings: KanikoSettings) -> Object:
    """Return the Job of an attempt."""
    labels = {
        names.BUILD_LABEL: attempt.build,
        names.BUILD_UID_LABEL: attempt.build_uid,
        names.FUNCTION_LABEL: attempt.function,
        names.TENANT_LABEL: attempt.tenant,
        "app.kubernetes.io/managed-by": names.MANAGER,
    }
    traced = trace.annotated(attempt.trace)
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": attempt.name, "namespace": names.builds_namespace(attempt.tenant), "labels": labels}
        | traced,
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": attempt.seconds,
            "ttlSecondsAfterFinished": settings.ttl,
            "template": {
                "metadata": {"labels": labels, **traced},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "builder",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    **({"hostUsers": False} if settings.user_namespaces else {}),
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "initContainers": [_fetcher(attempt, context_url, settings)],
                    "containers": [_executor(attempt, settings)],
                    "volumes": [{"name": "context", "emptyDir": {}}, *_secret_volumes(settings)],
                },
            },
        },
    }


def _fetcher(attempt: Attempt, context_url: str, settings: KanikoSettings) -> Object:
    return {
        "name": FETCHER,
        "image": settings.fetch_image,
        "command": ["python3", "-m", "knative_lambda.builds.fetch"],
        "args": [attempt.context.rpartition("/")[2].removesuffix(".tar.gz"), "/context/context.tar.gz"],
        "env": [
            {"name": "CONTEXT_URL", "value": context_url},
            *([{"name": "CONTEXT_CA", "value": f"{STORE_CA}/ca.crt"}] if settings.store_ca else []),
        ],
        "resources": {
            "requests": {"cpu": "50m", "memory": "32Mi"},
            "limits": {"cpu": "1", "memory": "128Mi"},
        },
        "securityContext": {
            "runAsNonRoot": True,
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "volumeMounts": [
            {"name": "context", "mountPath": "/context"},
            *([{"name": "store-ca", "mountPath": STORE_CA, "readOnly": True}] if settings.store_ca else []),
        ],
    }


def _executor(attempt: Attempt, settings: KanikoSettings) -> Object:
    args = [
        "--context=tar:///context/context.tar.gz",
        f"--dockerfile={attempt.recipe}",
        f"--destination={attempt.destination}",
        "--digest-file=/dev/termination-log",
        "--push-retry=2",
        "--log-format=text",
        "--snapshot-mode=redo",
        *_cache(attempt, settings),
        *(f"--build-arg={name}={value}" for name, value in sorted(attempt.build_args.items())),
        *(f"--registry-map={host}={mirror}" for host, mirror in sorted(settings.mirrors.items())),
        *(["--insecure", "--insecure-pull"] if settings.insecure else []),
        *(
            [f"--registry-certificate={attempt.destination.partition('/')[0]}={CA}/ca.crt"]
            if settings.registry_ca
            else []
        ),
    ]
    return {
        "name": EXECUTOR,
        "image": settings.image,
        "args": args,
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
                )
                if secret
            ),
        ],
    }


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
    if settings.store_ca:
        found.append({"name": "store-ca", "secret": {"secretName": settings.store_ca}})
    return found
