"""How an attempt ended, read from what the cluster keeps of it: its Job, its Pod, their Events, and the log.

Called by `kaniko.py`, and by whoever is told of a build's Pod. Pure functions, objects in. Whose failure it was decides
what follows: the platform's are tried again, so nothing that a user's own commands print may look like one.
"""

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from knative_lambda.builds.builder import Ended
from knative_lambda.builds.inputs import repository
from knative_lambda.deploy.cluster import Object

EXECUTOR = "kaniko"
FETCHER = "fetch"
KANIKO_ERROR = re.compile(r"^error (?:building image|pushing image|checking push permissions)\b.*$", re.MULTILINE)
"""How Kaniko's last words begin: before them stands what the user's commands print, after them a registry's answer."""
NO_ANSWER = re.compile(
    r'status code (?:408|429|5\d\d)\b|\b(?:TOOMANYREQUESTS|UNAVAILABLE): |: connection re(?:fused|set)|": EOF$'
    r"|unexpected EOF|i/o timeout|connection timed out|TLS handshake timeout|Client\.Timeout exceeded"
    r"|context deadline exceeded|net/http: request canceled|no route to host|network is unreachable|server misbehaving"
)
NOT_TAKEN = re.compile(r"\b(?:UNAUTHORIZED|DENIED)\b|status code 40[13]\b")
NO_HOST = re.compile(r"\blookup (\S+)(?: on \S+)?: no such host")
OWN_COMMAND = "failed to execute command"
"""A line of the Dockerfile failed; what follows is its own words."""
QUOTA = "exceeded quota"
PASSING = (QUOTA, "Internal error occurred")
"""Refusals of a Pod that may be over a moment later; the Job goes on trying."""
LATE = "DeadlineExceeded"
NODE_SILENT = timedelta(seconds=60)
"""How long after its time a Pod may still be there before its node counts as lost."""


def pod_ended(pod: Object) -> Ended | None:  # noqa: PLR0911 - each state has its meaning
    """Return how a Pod's build ended, from its containers' states; `reason` is "" where only the log can tell.

    A Pod that somebody deletes has not failed by itself: None, its Job says why.
    """
    status = pod.get("status", {})
    end = _terminated(status, "containerStatuses")
    if end is not None and end.get("exitCode") == 0:
        return Ended(0)
    disrupted = _disrupted(status)
    if pod["metadata"].get("deletionTimestamp") and not disrupted:
        return None
    fetched = _terminated(status, "initContainerStatuses")
    if fetched is not None and fetched.get("exitCode") != 0:
        told = repository.said(fetched.get("message", ""))
        if reason := told.get("reason"):
            return Ended(1, "user" if reason in repository.USERS else "platform", reason, told.get("message", ""))
        return Ended(1, "platform", "ContextNotFetched", "the build context could not be read")
    if disrupted or (end is None and status.get("phase") == "Failed"):
        return Ended(1, "platform", status.get("reason") or "Disrupted", status.get("message", ""))
    if end is not None and end.get("reason") == "OOMKilled":
        return Ended(1, "user", "OOMKilled", "the build needs more memory than it may have")
    return Ended(end.get("exitCode", 1)) if end else None


def commit(pod: Object | None) -> str:
    """Return the commit that was cloned in a Pod, as its init container says, which is ours; "" where none was."""
    end = _terminated(pod.get("status", {}), "initContainerStatuses") if pod else None
    return repository.said(end.get("message", "")).get("commit", "") if end else ""


def goes_on(pod: Object) -> bool:
    """Say whether a Pod is on its way, or runs: it has not ended, and nobody ends it."""
    return not pod["metadata"].get("deletionTimestamp") and pod_ended(pod) is None


def exited(exit_code: int, log: str, hosts: Collection[str]) -> Ended:
    """Return whose failure a build is that ended by itself, by Kaniko's own last words.

    `hosts` are the registries that the platform chose; another one that does not exist was named by the Dockerfile.
    """
    said = KANIKO_ERROR.findall(log)
    if said and _is_unanswered(said[-1], hosts):
        return Ended(exit_code, "platform", "RegistryUnavailable", "the registry did not answer as it should")
    if said and not said[-1].startswith("error building image") and NOT_TAKEN.search(said[-1]):
        return Ended(exit_code, "platform", "RegistryRefused", "the registry did not let the build push")
    return Ended(exit_code, "user", "BuildFailed", f"the build ended with exit code {exit_code}")


def job_ended(job: Object) -> Ended | None:
    """Return how a Job ended whose Pod tells nothing, or None where it has not."""
    for told in _conditions(job):
        if told["type"] == "Failed":
            return Ended(1, "platform", told.get("reason") or "JobFailed", told.get("message", ""))
        if told["type"] == "Complete":
            return Ended(0)
    return None


def is_late(job: Object) -> bool:
    """Say whether the Job's deadline has passed: first told as `FailureTarget`, as `Failed` once its Pod is gone."""
    return any(told["type"] in ("FailureTarget", "Failed") and told.get("reason") == LATE for told in _conditions(job))


def late(job: Object, pod: Object | None, events: Iterable[Object]) -> Ended:
    """Return whose failure a passed deadline is: the user's, unless the build never began.

    A Pod that only waited is gone a second after the deadline; its Events stay.
    """
    if pod is None or not _began(pod):
        why = (_waiting(pod) if pod else None) or _never_began(job, list(events))
        if why is not None:
            return Ended(1, "platform", *why)
    [message, *_] = [told.get("message", "") for told in _conditions(job) if told.get("reason") == LATE]
    return Ended(1, "user", LATE, message)


def is_over(pod: Object, now: datetime) -> bool:
    """Say whether nothing of a Pod runs any more, or ever will: of one whose node does not say so, after a while."""
    status, going = pod.get("status", {}), pod["metadata"].get("deletionTimestamp")
    if going and now > datetime.fromisoformat(going) + NODE_SILENT:  # it names the end of the grace period
        return True
    containers = status.get("containerStatuses", [])
    ended = bool(containers) and all(found.get("state", {}).get("terminated") for found in containers)
    return status.get("phase") in ("Succeeded", "Failed") or ended


def began(pod: Object) -> datetime | None:
    """Return when the executor began to run, or None while it does not."""
    for found in pod.get("status", {}).get("containerStatuses", []):
        if found.get("name") == EXECUTOR and (running := found.get("state", {}).get("running")):
            return datetime.fromisoformat(running["startedAt"])
    return None


def pending(pod: Object, seconds: int) -> Ended:
    """Return why a Pod is given up that has not begun: its node's, the scheduler's or the registry's words."""
    reason, message = _waiting(pod) or ("Pending", "")
    return Ended(1, "platform", reason, f"the build has not begun after {seconds} seconds: {message or reason}")


def refused(job: Object, events: Iterable[Object]) -> Ended | None:
    """Return why a Job gets no Pod, ever: Pod Security, a limit, a missing ServiceAccount."""
    message = _refusal(job, events)
    if not message or any(words in message for words in PASSING):
        return None
    return Ended(1, "ours", "PodRefused", message)


def had_pod(job: Object) -> bool:
    """Say whether a Job has made its Pod at some time, as far as it has counted."""
    status = job.get("status", {})
    uncounted = status.get("uncountedTerminatedPods") or {}
    return any(status.get(count) for count in ("active", "succeeded", "failed")) or any(uncounted.values())


def missing(job: Object, events: Iterable[Object], seconds: int) -> Ended:
    """Return why a Job is given up that has made no Pod, in the words of its newest refusal."""
    message = _refusal(job, events)
    reason = "QuotaExceeded" if QUOTA in message else "PodNotMade"
    return Ended(1, "platform", reason, f"the build has no Pod after {seconds} seconds: {message or reason}")


def _is_unanswered(words: str, hosts: Collection[str]) -> bool:
    if OWN_COMMAND in words:
        return False
    unknown = NO_HOST.search(words)
    if unknown is not None and (unknown[1] in hosts or not words.startswith("error building image")):
        return True
    return NO_ANSWER.search(words) is not None


def _refusal(job: Object, events: Iterable[Object]) -> str:
    """Return the newest of the cluster's words why a Job gets no Pod, or ""."""
    told = [event for event in events if _is_about(event, job) and event.get("reason") == "FailedCreate"]
    return str(max(told, key=_when).get("message", "")) if told else ""


def _conditions(job: Object) -> list[Mapping[str, Any]]:
    return [told for told in job.get("status", {}).get("conditions", []) if told["status"] == "True"]


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


def _began(pod: Object) -> bool:
    """Say whether the executor ran: one that was never started may be told as terminated too, without its start."""
    states = [found.get("state", {}) for found in pod.get("status", {}).get("containerStatuses", [])]
    return any(state.get("running") or state.get("terminated", {}).get("startedAt") for state in states)


def _waiting(pod: Object) -> tuple[str, str] | None:
    """Return what a Pod waits for, as reason and message."""
    status = pod.get("status", {})
    unscheduled = [
        told for told in status.get("conditions", []) if (told["type"], told["status"]) == ("PodScheduled", "False")
    ]
    containers = [*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])]
    waits = [wait for found in containers if (wait := found.get("state", {}).get("waiting"))]
    for told in (*unscheduled, *waits):
        return told.get("reason") or "Pending", told.get("message", "")
    return None


def _never_began(job: Object, events: list[Object]) -> tuple[str, str] | None:
    """Return what the cluster said of a build that it never began; None where it began, or nothing is known of it."""
    told = [event for event in events if _is_about(event, job) and event.get("reason") != LATE]
    pods = {event["message"].rpartition(" ")[2] for event in told if event.get("reason") == "SuccessfulCreate"}
    told += [event for event in events if _about(event).get("kind") == "Pod" and _about(event).get("name") in pods]
    executor = f"spec.containers{{{EXECUTOR}}}"
    if not told or any(
        event.get("reason") == "Started" and _about(event).get("fieldPath") == executor for event in told
    ):
        return None
    warnings = [event.get("message", "") for event in sorted(told, key=_when) if event.get("type") == "Warning"]
    return "PodNotStarted", "\n".join(dict.fromkeys(warnings))


def _about(event: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = event.get("involvedObject", {})
    return found


def _is_about(event: Object, thing: Object) -> bool:
    return bool(_about(event).get("uid") == thing["metadata"]["uid"])


def _when(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])
