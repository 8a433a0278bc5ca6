"""A Build brought from wherever it stands to wherever it can be now: begun, watched, decided, told.

Called by `converge` at every hint and sweep. Level-based: it reads what is there, and is right when it runs twice,
late, at the same time as its twin, or after the process that ran the last step was killed.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from knative_lambda.builds.builder import Attempt, Builder, Ended, Lost, Running
from knative_lambda.builds.registry import Registry
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import BUILD, Cluster, Object
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.names import FUNCTION_LABEL
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

ATTEMPTS = 3
LOG_KEPT = 1024 * 1024
LINES_SHOWN = 20
MESSAGE_SHOWN = 4000
PROGRESS = re.compile(r"level=info|^INFO\[")
"""What Kaniko says of its own steps: in the log, but not among the lines that a condition has room for."""
TERMINAL = ("Succeeded", "Failed", "Cancelled")


@dataclass(frozen=True)
class Workshop:
    """What settling a build touches."""

    cluster: Cluster
    builder: Builder
    registry: Registry
    store: Store


def phase(build: Object) -> str:
    """Return a Build's phase, ``Queued`` where nothing has happened yet."""
    found: str = build.get("status", {}).get("phase", "Queued")
    return found


def image_of(build: Object) -> str:
    """Return the image of a Build that succeeded, by digest, or ""."""
    found: str = build.get("status", {}).get("image", "")
    return found if phase(build) == "Succeeded" else ""


def attempt_of(build: Object, number: int) -> Attempt:
    """Return an attempt of a Build: everything about it follows from the object."""
    spec, meta = build["spec"], build["metadata"]
    return Attempt(
        tenant=meta["namespace"],
        function=spec["function"],
        build=meta["name"],
        build_uid=meta["uid"],
        number=number,
        runtime=spec["runtime"],
        context=keys.context(meta["namespace"], spec["function"], spec["context"].removeprefix("sha256:")),
        destination=f"{spec['destination']}:{meta['name']}-{number}",
        build_args={"BASE": spec["base"]} if spec.get("base") else {},
    )


def manifest(name: str, function: Object, spec: Mapping[str, Any]) -> Object:
    """Return a new Build of a Function, owned by it."""
    meta = function["metadata"]
    return {
        "apiVersion": BUILD.api_version,
        "kind": BUILD.kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {FUNCTION_LABEL: meta["name"]},
            "ownerReferences": [conditions.owner(function)],
        },
        "spec": dict(spec),
    }


def settle(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Bring a Build forward by what can be seen now, and return it as it is then.

    Raises `Conflict` where its twin was faster: read again. Never waits for anything to happen.
    """
    if phase(build) in TERMINAL or build["spec"]["builder"] == "external":
        return build
    number = build.get("status", {}).get("attempt", 0)
    if number == 0:
        return _begin(build, 1, workshop, now)
    try:
        return _judge(build, attempt_of(build, number), workshop, now)
    except Refused as refused:  # the cluster does not take its Job
        return finish(build, Outcome("Failed", "Refused", str(refused)), workshop, now)


def _judge(build: Object, attempt: Attempt, workshop: Workshop, now: datetime) -> Object:
    """Decide by what the builder sees and what the registry knows; a builder's word alone is not believed."""
    seen = workshop.builder.look(attempt)
    if isinstance(seen, Running):
        return build
    if isinstance(seen, Ended) and seen.exit_code != 0:
        return _failed(build, attempt, seen, workshop, now)
    digest = workshop.registry.digest(attempt.destination)
    if digest is not None:
        return _succeeded(build, attempt, digest, workshop, now)
    if isinstance(seen, Lost):  # killed between the record and the start, or deleted by hand
        workshop.builder.start(attempt)
        return build
    missing = Ended(1, "ours", "ImageMissing", f"the registry does not know {attempt.destination}")
    return _failed(build, attempt, missing, workshop, now)


@dataclass(frozen=True)
class Outcome:
    """How a Build ended."""

    phase: Literal["Succeeded", "Failed", "Cancelled"]
    reason: str
    message: str
    image: str = ""
    log: str = ""


def finish(build: Object, outcome: Outcome, workshop: Workshop, now: datetime) -> Object:
    """Write a Build's end; one that has ended stays as it is."""
    if phase(build) in TERMINAL:
        return build
    succeeded = "True" if outcome.phase == "Succeeded" else "False"
    told = conditions.told(build, "Succeeded", (succeeded, outcome.reason, outcome.message), now)
    extra = {name: value for name, value in (("image", outcome.image), ("log", outcome.log)) if value}
    return _write(build, {"phase": outcome.phase, "conditions": told, **extra}, workshop.cluster)


def cancel(build: Object, reason: str, message: str, workshop: Workshop, now: datetime) -> Object:
    """End a Build that is not wanted any more: the record first, so that nothing starts it again, then its attempt."""
    build = finish(build, Outcome("Cancelled", reason, message), workshop, now)
    sweep_up(build, workshop)
    return build


def sweep_up(build: Object, workshop: Workshop) -> None:
    """Remove what still runs for a Build that was cancelled."""
    number = build.get("status", {}).get("attempt", 0)
    if phase(build) == "Cancelled" and number:
        workshop.builder.stop(attempt_of(build, number))


def _begin(build: Object, number: int, workshop: Workshop, now: datetime) -> Object:
    """Record the attempt, then start it: whoever wins the record starts, and a twin that lost reads again."""
    told = conditions.told(build, "Succeeded", ("Unknown", "Running", f"attempt {number}"), now)
    build = _write(build, {"phase": "Running", "attempt": number, "conditions": told}, workshop.cluster)
    try:
        workshop.builder.start(attempt_of(build, number))
    except Refused as refused:  # the cluster does not take its Job
        return finish(build, Outcome("Failed", "Refused", str(refused)), workshop, now)
    return build


def _succeeded(build: Object, attempt: Attempt, digest: str, workshop: Workshop, now: datetime) -> Object:
    image = f"{build['spec']['destination']}@{digest}"
    log, _ = _keep_log(attempt, workshop)
    return finish(build, Outcome("Succeeded", "Built", f"attempt {attempt.number}", image, log), workshop, now)


def _failed(build: Object, attempt: Attempt, end: Ended, workshop: Workshop, now: datetime) -> Object:
    key, lines = _keep_log(attempt, workshop)
    said = "" if end.message in lines else end.message
    message = "\n".join(part for part in (said, lines) if part)[-MESSAGE_SHOWN:]
    reason = end.reason or "BuildFailed"
    if end.reason == "PodRefused":  # stopped first and recorded then: its Job would go on trying to make its Pod
        workshop.builder.stop(attempt)
    if end.whose == "platform" and attempt.number < ATTEMPTS:
        past = [*build["status"].get("attempts", []), {"number": attempt.number, "reason": reason, "message": message}]
        build = {**build, "status": {**build["status"], "attempts": past}}
        return _begin(build, attempt.number + 1, workshop, now)
    return finish(build, Outcome("Failed", reason, message, log=key), workshop, now)


def _keep_log(attempt: Attempt, workshop: Workshop) -> tuple[str, str]:
    """Put the attempt's log into the store; return its key and its last lines."""
    log = workshop.builder.log(attempt, limit=LOG_KEPT)
    key = keys.log(attempt.tenant, attempt.function, attempt.name)
    if log:
        workshop.store.put(key, log)
    lines = log.decode(errors="replace").strip().splitlines()
    telling = [line for line in lines if not PROGRESS.search(line)] or lines
    return key if log else "", "\n".join(telling[-LINES_SHOWN:])


def _write(build: Object, change: Mapping[str, Any], cluster: Cluster) -> Object:
    return cluster.replace_status(BUILD, {**build, "status": {**build.get("status", {}), **change}})
