"""The Kaniko builder: a Job per attempt, in the tenant's builds namespace.

Called by `settle.py` through the `Builder` port; `kaniko_job.py` says what the Job is. What a Dockerfile runs is a
stranger's code: what it may push is a token for this attempt's own repositories where there is an `Issuer`, and neither
its Pod's termination message nor its log is believed.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.images.registry_client import Place
from knative_lambda.builds.jobs import diagnosis, handed, push_token
from knative_lambda.builds.jobs.diagnosis import EXECUTOR, FETCHER
from knative_lambda.builds.jobs.issuer import Issuer
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings, job
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import EVENT, JOB, POD, SECRET, Cluster, Object
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, ProductError, Refused, Temporary
from knative_lambda.schemas.redaction import Hiding, learn, redact
from knative_lambda.storage.store import Store

POD_GRACE = timedelta(seconds=30)
"""No Pod this long after its Job: the Job's events say why."""
POD_AGAIN = 5
"""Seconds after which to look again at a Job without its Pod."""
LOG_TAIL = 16 * 1024
REMEMBERED = 64
"""Attempts, the latest, of which a process knows what they were given: that may be exchanged while they run."""


@dataclass(frozen=True)
class Kaniko:
    """Runs attempts as Kaniko Jobs on a cluster."""

    cluster: Cluster
    store: Store
    settings: KanikoSettings
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    issuer: Issuer | None = None
    """Who mints what an attempt pushes with; None leaves it with `KanikoSettings.registry_secret`."""
    _given: dict[tuple[str, str], set[str]] = field(default_factory=dict, init=False, repr=False, compare=False)
    """What is to be hidden in what is told of an attempt, by its Build's UID and its name."""

    def start(self, attempt: Attempt) -> Ended | None:
        """Create the attempt's Job; already there is success where it is this Build's, and stays.

        What it pushes with, and what its tenant gives it, come after it, so that they belong to it, and go with it: the
        Pod waits for them.
        """
        try:
            given = [(one, handed.read(one.secret, attempt.tenant, self.cluster)) for one in attempt.handed]
        except Refused as refused:
            return Ended(1, "user", "SecretMissing", refused.faults[0].message)
        self._remember(attempt, [found for _, found in given])
        url = "" if attempt.git else self.store.presign(attempt.context, seconds=attempt.seconds)
        settings = self.settings.of(attempt.tenant)
        issuer, token = self._issuer(attempt), ""
        if issuer is not None:
            granted = push_token.grants(attempt, issuer.host, settings.registry, settings.reads)
            token = learn(issuer.token(granted, seconds=attempt.seconds), passing=True)
            settings = replace(settings, registry_secret=attempt.name)
        try:
            made = self.cluster.create(JOB, job(attempt, url, settings))
        except AlreadyExists as taken:
            found = self._job(attempt)
            if found is None or not _stays(found):
                raise Temporary(f"the Job {attempt.name} is being deleted, or another Build's") from taken
            made = found
        if issuer is not None:
            self._hand_over(push_token.secret(made, issuer.host, token))
        for one, found in given:
            self._hand_over(handed.copied(made, one, found))
        return None

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Read the Pod first: its container's state tells an end seconds before the Job's condition does."""
        seen = self._look(attempt)
        if isinstance(seen, Ended) and seen.message and attempt.handed:
            return replace(seen, message=self._without_secrets(seen.message, attempt))
        return seen

    def _look(self, attempt: Attempt) -> Running | Ended | Lost:
        found = self._job(attempt)
        if found is None or not _stays(found):
            return Lost()
        pod = self._pod(found)
        commit = diagnosis.commit(pod) if attempt.git else ""
        return replace(self._seen(attempt, found, pod), commit=commit)

    def _seen(self, attempt: Attempt, found: Object, pod: Object | None) -> Running | Ended:
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

        What it was given as files is not in it, as far as this process began it, or its tenant gives that today.

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
                    text = log.decode(errors="replace") if attempt.handed else ""
                    return self._without_secrets(text, attempt).encode() if text else log
        return b""

    def stop(self, attempt: Attempt) -> None:
        """Delete the Job, and its Pod with it."""
        self.cluster.delete(JOB, names.builds_namespace(attempt.tenant), attempt.name)
        self.revoke(attempt)

    def revoke(self, attempt: Attempt) -> None:
        """Delete what the attempt was given; who has read what it pushes with keeps that for the Build's time."""
        own = [attempt.name] if self._issuer(attempt) is not None else []
        for name in (*own, *(handed.copy_name(attempt.name, one) for one in attempt.handed)):
            self.cluster.delete(SECRET, names.builds_namespace(attempt.tenant), name)

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        """Ask for the Pods themselves: one whose Job is deleted runs on for as long as its grace period."""
        namespace, labels = names.builds_namespace(tenant), {names.BUILD_UID_LABEL: build_uid}
        pods = self.cluster.list(POD, namespace, labels)
        if not all(diagnosis.is_over(pod, self.now()) for pod in pods):
            return False
        ended = {owner["uid"] for pod in pods for owner in pod["metadata"].get("ownerReferences", [])}
        jobs = self.cluster.list(JOB, namespace, labels)
        return all(one["metadata"]["uid"] in ended or diagnosis.job_ended(one) or not _stays(one) for one in jobs)

    def _issuer(self, attempt: Attempt) -> Issuer | None:
        """Return who mints what an attempt pushes with: nobody, where its tenant has a registry elsewhere."""
        registry = self.settings.registries.get(attempt.tenant)
        elsewhere = self.issuer is not None and registry and Place.of(registry).host != self.issuer.host
        return None if elsewhere else self.issuer

    def _without_secrets(self, text: str, attempt: Attempt) -> str:
        """Return a text without what the attempt was given: it may be another process that read that before."""
        found = []
        for one in attempt.handed:
            with suppress(ProductError):
                found.append(handed.read(one.secret, attempt.tenant, self.cluster))
        return redact(Hiding(self._remember(attempt, found)).hide(text))

    def _remember(self, attempt: Attempt, secrets: list[Object]) -> set[str]:
        """Keep what these Secrets hold, and return all that is known of what the attempt was given."""
        key = (attempt.build_uid, attempt.name)
        known = self._given.pop(key, set()).union(*map(handed.parts, secrets))
        if known:
            self._given[key] = known
            for old in list(self._given)[: max(0, len(self._given) - REMEMBERED)]:
                self._given.pop(old, None)
        return known

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
