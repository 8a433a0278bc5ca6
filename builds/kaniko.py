"""The Kaniko builder: a Job per attempt, in the tenant's builds namespace.

Called by `settle.py` through the `Builder` port. What a Dockerfile runs is a stranger's code, in the Pod that holds the
push credential: so the Pod has no API token and no storage credential (an init container reads this one context by a
presigned URL), and neither its termination message nor its log is believed.
"""

import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.deploy.cluster import EVENT, JOB, POD, Cluster, Object
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Refused, Unavailable
from knative_lambda.storage.store import Store

EXECUTOR = "kaniko"
FETCHER = "fetch"
POD_GRACE = timedelta(seconds=30)
"""No Pod this long after its Job: the Job's events say why."""
LOG_TAIL = 16 * 1024
PLATFORM_FAULT = re.compile(
    r"(error pushing image|failed to push|error checking push permissions|retrieving image|GET http|HEAD http)"
    r".*?(\b50[0-9]\b|connection re(fused|set)|i/o timeout|TLS handshake timeout|unexpected EOF)",
    re.IGNORECASE | re.DOTALL,
)


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
    """A kubernetes.io/dockerconfigjson Secret in the builds namespace; "" pushes without credentials."""
    deadline: int = 1800
    """Seconds that an attempt may take."""
    ttl: int = 86400
    """Seconds that a finished Job is kept."""
    resources: Mapping[str, Any] = field(default_factory=dict)
    """Requests and limits of the executor's container."""


@dataclass(frozen=True)
class Kaniko:
    """Runs attempts as Kaniko Jobs on a cluster."""

    cluster: Cluster
    store: Store
    settings: KanikoSettings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def start(self, attempt: Attempt) -> None:
        """Create the attempt's Job; already there is success, since its name is derived from the Build's UID."""
        url = self.store.presign(attempt.context, seconds=self.settings.deadline)
        try:
            self.cluster.create(JOB, job(attempt, url, self.settings))
        except AlreadyExists:
            return

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Read the Pod first: its container's state tells an end seconds before the Job's condition does."""
        namespace = names.builds_namespace(attempt.tenant)
        found = self.cluster.get(JOB, namespace, attempt.name)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return Lost()
        for pod in self._pods(attempt):
            ended = _ended(pod)
            if ended is not None and ended.exit_code != 0 and not ended.reason:
                return self._classified(ended, attempt)
            return ended or _job_ended(found) or Running()
        return _job_ended(found) or self._refused(found) or Running()

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        """Return the executor's output; the init container's where the executor never ran.

        A log that cannot be read (its node is gone, say) is an empty one: the build's outcome does not hang on it.
        """
        namespace = names.builds_namespace(attempt.tenant)
        for pod in self._pods(attempt):
            for container in (EXECUTOR, FETCHER):
                with suppress(Unavailable, Refused):
                    log = self.cluster.pod_log(namespace, pod["metadata"]["name"], container, limit=limit)
                    if log:
                        return log
        return b""

    def stop(self, attempt: Attempt) -> None:
        """Delete the Job, and its Pod with it."""
        self.cluster.delete(JOB, names.builds_namespace(attempt.tenant), attempt.name)

    def _pods(self, attempt: Attempt) -> list[Object]:
        labels = {"batch.kubernetes.io/job-name": attempt.name}
        return self.cluster.list(POD, names.builds_namespace(attempt.tenant), labels)

    def _classified(self, ended: Ended, attempt: Attempt) -> Ended:
        tail = self.log(attempt, limit=LOG_TAIL).decode(errors="replace")
        if PLATFORM_FAULT.search(tail[-2000:]):
            return Ended(ended.exit_code, "platform", "RegistryUnavailable", "the registry did not answer as it should")
        return Ended(ended.exit_code, "user", "BuildFailed", f"the build ended with exit code {ended.exit_code}")

    def _refused(self, found: Object) -> Ended | None:
        """Return why a Job has no Pod, once it should have one: Pod Security, a quota, a missing ServiceAccount."""
        created = datetime.fromisoformat(found["metadata"]["creationTimestamp"])
        if self.now() - created < POD_GRACE:
            return None
        meta = found["metadata"]
        for event in reversed(self.cluster.list(EVENT, meta["namespace"])):
            about = event.get("involvedObject", {})
            if about.get("uid") == meta["uid"] and event.get("reason") == "FailedCreate":
                return Ended(1, "ours", "PodRefused", event.get("message", ""))
        return None


def job(attempt: Attempt, context_url: str, settings: KanikoSettings) -> Object:
    """Return the Job of an attempt."""
    labels = {
        names.BUILD_LABEL: attempt.build,
        names.BUILD_UID_LABEL: attempt.build_uid,
        names.FUNCTION_LABEL: attempt.function,
        names.TENANT_LABEL: attempt.tenant,
        "app.kubernetes.io/managed-by": names.MANAGER,
    }
    return {
        "apiVersion": JOB.api_version,
        "kind": JOB.kind,
        "metadata": {"name": attempt.name, "namespace": names.builds_namespace(attempt.tenant), "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": settings.deadline,
            "ttlSecondsAfterFinished": settings.ttl,
            "template": {
                "metadata": {"labels": labels},
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": "builder",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
                    "initContainers": [_fetcher(attempt, context_url, settings)],
                    "containers": [_executor(attempt, settings)],
                    "volumes": [{"name": "context", "emptyDir": {}}, *_secret_volume(settings)],
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
        "env": [{"name": "CONTEXT_URL", "value": context_url}],
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
        "volumeMounts": [{"name": "context", "mountPath": "/context"}],
    }


def _executor(attempt: Attempt, settings: KanikoSettings) -> Object:
    args = [
        "--context=tar:///context/context.tar.gz",
        "--dockerfile=Dockerfile",
        f"--destination={attempt.destination}",
        "--digest-file=/dev/termination-log",
        "--push-retry=2",
        "--log-format=text",
        *(f"--build-arg={name}={value}" for name, value in sorted(attempt.build_args.items())),
        *(["--insecure", "--insecure-pull"] if settings.insecure else []),
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
                [{"name": "registry", "mountPath": "/kaniko/.docker", "readOnly": True}]
                if settings.registry_secret
                else []
            ),
        ],
    }


def _secret_volume(settings: KanikoSettings) -> list[Object]:
    if not settings.registry_secret:
        return []
    items = [{"key": ".dockerconfigjson", "path": "config.json"}]
    return [{"name": "registry", "secret": {"secretName": settings.registry_secret, "items": items}}]


def _ended(pod: Object) -> Ended | None:
    """Return how a Pod's build ended, from its containers' states; `reason` is "" where only the log can tell."""
    status = pod.get("status", {})
    fetched = _terminated(status, "initContainerStatuses")
    if fetched is not None and fetched.get("exitCode") != 0:
        return Ended(1, "platform", "ContextNotFetched", "the build context could not be read")
    end = _terminated(status, "containerStatuses")
    if end is not None and end.get("exitCode") == 0:
        return Ended(0)
    if _disrupted(status) or (end is None and status.get("phase") == "Failed"):
        return Ended(1, "platform", status.get("reason") or "Disrupted", status.get("message", ""))
    if end is None:
        return None
    if end.get("reason") == "OOMKilled":
        return Ended(1, "user", "OOMKilled", "the build needs more memory than it may have")
    return Ended(end.get("exitCode", 1))


def _terminated(status: Mapping[str, Any], containers: str) -> Mapping[str, Any] | None:
    for found in status.get(containers, []):
        if end := found.get("state", {}).get("terminated"):
            return dict(end)
    return None


def _disrupted(status: Mapping[str, Any]) -> bool:
    """Say whether the cluster ended the Pod: evicted, preempted, its node gone."""
    if status.get("reason") in ("Evicted", "NodeLost", "Shutdown", "NodeShutdown", "Preempting"):
        return True
    return any(c["type"] == "DisruptionTarget" and c["status"] == "True" for c in status.get("conditions", []))


def _job_ended(found: Object) -> Ended | None:
    for told in found.get("status", {}).get("conditions", []):
        if told["type"] == "Failed" and told["status"] == "True":
            whose: Literal["user", "platform"] = "user" if told.get("reason") == "DeadlineExceeded" else "platform"
            return Ended(1, whose, told.get("reason") or "JobFailed", told.get("message", ""))
        if told["type"] == "Complete" and told["status"] == "True":
            return Ended(0)
    return None
