"""A Build brought from wherever it stands to wherever it can be now: begun, watched, decided, told.

Called by `converge` at every hint and sweep. Level-based: it reads what is there, and is right when it runs twice,
late, at the same time as its twin, or after the process that ran the last step was killed.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal

from knative_lambda.builds.builder import Attempt, Builder, Ended, Lost, Running
from knative_lambda.builds.registry import Registry
from knative_lambda.builds.slots import Slots
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import BUILD, Cluster, Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Conflict, Refused
from knative_lambda.schemas.names import FUNCTION_LABEL
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

LOG_KEPT = 1024 * 1024
LINES_SHOWN = 20
MESSAGE_SHOWN = 4000
PROGRESS = re.compile(r"level=info|^INFO\[")
"""What Kaniko says of its own steps: in the log, but not among the lines that a condition has room for."""
TERMINAL = ("Succeeded", "Failed", "Cancelled")
RELEASED: Saying = ("False", "Released", "")
"""Of the step `Admitted`, once nothing of an ended Build runs: its slots are free again."""
LATE = "DeadlineExceeded"
AGAIN = timedelta(seconds=5)
"""When to look again at what was stopped and still goes on."""
MOMENT = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Patience:
    """How long a build may take, and how often the platform may fail it."""

    deadline: int = 1800
    """Seconds from a build's first start to its end, over all its attempts; not what it waits for its slot."""
    outside: int = 86400
    """Seconds that an external Build is waited for, from its creation on."""
    attempts: int = 3
    """Attempts in all; only what the platform failed is tried again."""
    pause: int = 10
    """Seconds before the second attempt, more or less by half; doubled before each further one."""
    overtime: int = 60
    """Seconds after the deadline in which the builder may end an attempt by itself."""


@dataclass(frozen=True)
class Workshop:
    """What settling a build touches."""

    cluster: Cluster
    builder: Builder
    registry: Registry
    store: Store
    slots: Slots
    patience: Patience = field(default_factory=Patience)
    later: Callable[[str, str, datetime], None] = lambda _tenant, _function, _moment: None
    """Told of a Function to look at again at a moment; must not block, and may forget: the sweep comes all the same."""


def phase(build: Object) -> str:
    """Return a Build's phase, ``Queued`` where nothing has happened yet."""
    found: str = build.get("status", {}).get("phase", "Queued")
    return found


def waits(build: Object) -> bool:
    """Say whether a Build waits for a slot."""
    return phase(build) == "Queued" and condition(build, "Admitted").get("reason") == "Waiting"


def is_over(build: Object) -> bool:
    """Say whether a Build has ended, and nothing of it is left to be stopped or given back."""
    if phase(build) not in TERMINAL:
        return False
    return build["spec"]["builder"] == "external" or condition(build, "Admitted").get("reason") == RELEASED[1]


def image_of(build: Object) -> str:
    """Return the image of a Build that succeeded, by digest, or ""."""
    found: str = build.get("status", {}).get("image", "")
    return found if phase(build) == "Succeeded" else ""


def lineage(build: Object) -> str:
    """Return the UID that the next Build of the same input is named after: this one's, or its last heir's.

    Heirs are the Builds that replaced this one and were removed since; their names are not used again.
    """
    found: str = build.get("status", {}).get("heir") or build["metadata"]["uid"]
    return found


def due(build: Object, patience: Patience) -> datetime | None:
    """Return when a Build that the platform has failed may be tried again; None where it does not wait for that.

    The pause is drawn by the Build's own UID: whoever asks gets the same answer, and Builds that failed together do
    not come back together.
    """
    failed = condition(build, "Retrying")
    if phase(build) != "Queued" or failed["status"] != "True":
        return None
    number = build["status"]["attempt"]
    drawn = int(names.sha256([build["metadata"]["uid"], number])[7:15], 16) / 0xFFFFFFFF
    pause = patience.pause * 2 ** (number - 1) * (0.5 + drawn)
    return datetime.fromisoformat(failed["lastTransitionTime"]) + timedelta(seconds=pause)


def attempt_of(build: Object, number: int, seconds: int = 1) -> Attempt:
    """Return an attempt of a Build: everything about it follows from the object; `seconds` are what it may take."""
    spec, meta = build["spec"], build["metadata"]
    return Attempt(
        tenant=meta["namespace"],
        function=spec["function"],
        build=meta["name"],
        build_uid=meta["uid"],
        number=number,
        runtime=spec["runtime"],
        context=_context(build),
        destination=f"{spec['destination']}:{meta['name']}-{number}",
        build_args={"BASE": spec["base"]} if spec.get("base") else {},
        seconds=seconds,
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
    if phase(build) in TERMINAL:
        return build
    if build["spec"]["builder"] == "external":
        return _awaits(build, workshop, now)
    try:
        return _admit(build, workshop, now) if phase(build) == "Queued" else _judge(build, workshop, now)
    except Refused as refused:  # the cluster does not take its Job
        return finish(build, Outcome("Failed", "Refused", str(refused)), workshop, now)


def _awaits(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Say of an external Build what it waits for; it is not waited for without end."""
    made = datetime.fromisoformat(build["metadata"]["creationTimestamp"])
    if now >= made + timedelta(seconds=workshop.patience.outside):
        return finish(build, Outcome("Failed", LATE, "nobody outside has told its outcome"), workshop, now)
    if "phase" in build.get("status", {}):
        return build
    why = "waits for an event build.complete, or build.failed, from outside"
    steps = {"ContextStored": ("True", "Stored", _context(build)), "Succeeded": ("Unknown", "Queued", why)}
    return _write(build, {"phase": "Queued"}, steps, workshop, now)


def _admit(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Begin the next attempt where it is time and there is a slot; else say what it waits for."""
    number, moment = build.get("status", {}).get("attempt", 0), due(build, workshop.patience)
    if number and now >= _ends(build, workshop, now):
        why = condition(build, "Retrying").get("message", "")
        return finish(build, Outcome("Failed", LATE, f"no time is left for another attempt: {why}"), workshop, now)
    if number and not _is_idle(build, workshop):  # two attempts of one build never run at once
        workshop.builder.stop(attempt_of(build, number))
        workshop.later(build["metadata"]["namespace"], build["spec"]["function"], now + AGAIN)
        return build
    if moment is not None and now < moment:
        workshop.later(build["metadata"]["namespace"], build["spec"]["function"], moment)
        return build
    held = workshop.slots.take(build, now)
    if held:
        return _begin(build, number + 1, held, workshop, now)
    workshop.slots.wait(build, now)
    if waits(build):
        return build
    limits = workshop.slots.limits
    why = f"{limits.tenant} builds of a tenant and {limits.everywhere} of all may run at once"
    steps = {"Admitted": ("False", "Waiting", why), "Succeeded": ("Unknown", "Queued", "waits for a slot")}
    return _write(build, {"phase": "Queued"}, steps, workshop, now)


def _judge(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Decide by what the builder sees and what the registry knows; a builder's word alone is not believed."""
    over = now - _ends(build, workshop, now)
    attempt = attempt_of(build, build["status"]["attempt"], _left(build, workshop, now))
    seen = workshop.builder.look(attempt)
    if not isinstance(seen, Lost) and condition(build, "Started")["status"] == "Unknown":  # started, and killed then
        build = _write(build, {}, {"Started": ("True", "Running", attempt.name)}, workshop, now)
    if isinstance(seen, Running):
        if over < timedelta(seconds=workshop.patience.overtime):
            if seen.again:
                workshop.later(attempt.tenant, attempt.function, now + timedelta(seconds=seen.again))
            return build
        seen = Ended(1, "user", LATE, "its time is over")
    if isinstance(seen, Ended) and seen.exit_code != 0:
        return _failed(build, attempt, seen, workshop, now)
    digest = workshop.registry.digest(attempt.destination)
    if digest is not None:
        return _succeeded(build, attempt, digest, workshop, now)
    if isinstance(seen, Lost) and over < timedelta():  # killed between the record and the start, or deleted by hand
        if _is_idle(build, workshop):
            return _start(build, attempt, workshop, now)
        workshop.later(attempt.tenant, attempt.function, now + AGAIN)  # its Pod outlives the Job that was deleted
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
    """Write a Build's end, then remove what still runs of it; one that has ended stays as it is.

    The record comes first, so that nothing starts it again, and so that whoever was late gives back no slots: they are
    this Build's, and another attempt may have begun with them. What a process that died has not given back the sweep
    finds by the slots themselves.
    """
    if phase(build) in TERMINAL:
        return build
    succeeded = "True" if outcome.phase == "Succeeded" else "False"
    steps = {"Succeeded": (succeeded, outcome.reason, outcome.message)}
    if condition(build, "Retrying")["status"] == "True":
        steps["Retrying"] = ("False", "Over", "")
    if outcome.image:
        steps["Pushed"] = ("True", "Pushed", outcome.image)
    change = {"phase": outcome.phase} | {key: value for key in ("image", "log") if (value := getattr(outcome, key))}
    if outcome.phase == "Cancelled" or build["spec"]["builder"] == "external" or not _is_idle(build, workshop):
        return clear(_write(build, change, steps, workshop, now), workshop, now)
    build = _write(build, change, steps | {"Admitted": RELEASED}, workshop, now)
    workshop.slots.free(build["metadata"]["namespace"], build["metadata"]["uid"])
    return build


def cancel(build: Object, reason: str, message: str, workshop: Workshop, now: datetime) -> Object:
    """End a Build that is not wanted any more, or what still runs of one that has ended; `message` says who asked."""
    if phase(build) in TERMINAL:
        return clear(build, workshop, now)
    return finish(build, Outcome("Cancelled", reason, message), workshop, now)


def clear(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Remove what still runs for a Build that has ended, and give back its slots once that is gone.

    Return it as it is then. Raises `Conflict` like `settle`.
    """
    if phase(build) not in TERMINAL or build["spec"]["builder"] == "external":
        return build
    number = build.get("status", {}).get("attempt", 0)
    if number and not _is_idle(build, workshop):
        workshop.builder.stop(attempt_of(build, number))
        if not _is_idle(build, workshop):
            return build
    if is_over(build):
        return build
    workshop.slots.free(build["metadata"]["namespace"], build["metadata"]["uid"])
    steps = {"Admitted": RELEASED}
    if condition(build, "Started")["status"] != "Unknown" and phase(build) == "Cancelled":
        steps["Started"] = ("False", "Stopped", f"attempt {number} was ended")
    return _write(build, {}, steps, workshop, now)


def _begin(build: Object, number: int, held: str, workshop: Workshop, now: datetime) -> Object:
    """Record the attempt, then start it: whoever wins the record starts, and a twin that lost reads again."""
    steps = {
        "ContextStored": ("True", "Stored", _context(build)),
        "Admitted": ("True", "SlotTaken", held),
        "Started": ("Unknown", "Starting", f"attempt {number}"),
        "Succeeded": ("Unknown", "Running", f"attempt {number}"),
    }
    if number > 1:
        steps["Retrying"] = ("False", "Begun", f"attempt {number}")
    began = build.get("status", {}).get("startTime") or now.strftime(MOMENT)
    waited, change = waits(build), {"phase": "Running", "attempt": number, "startTime": began}
    try:
        build = _write(build, change, steps, workshop, now)
    except Conflict:
        if _has_ended(build, workshop):  # after its slots were given back: these were taken for nobody
            workshop.slots.free(build["metadata"]["namespace"], build["metadata"]["uid"])
        raise
    if waited:
        workshop.slots.leave(build["metadata"]["uid"])
    return _start(build, attempt_of(build, number, _left(build, workshop, now)), workshop, now)


def _start(build: Object, attempt: Attempt, workshop: Workshop, now: datetime) -> Object:
    """Start an attempt that is recorded, and say so: where that cannot be said, somebody may have ended the Build."""
    try:
        workshop.builder.start(attempt)
    except Refused as refused:  # the cluster does not take its Job
        return finish(build, Outcome("Failed", "Refused", str(refused)), workshop, now)
    try:
        return _write(build, {}, {"Started": ("True", "Running", attempt.name)}, workshop, now)
    except Conflict:
        if _has_ended(build, workshop, attempt.number):
            workshop.builder.stop(attempt)
        raise


def _has_ended(build: Object, workshop: Workshop, number: int = 0) -> bool:
    """Say whether a Build that was written by somebody else is over, or has gone beyond an attempt."""
    meta = build["metadata"]
    found = workshop.cluster.get(BUILD, meta["namespace"], meta["name"])
    if found is None or found["metadata"]["uid"] != meta["uid"] or phase(found) in TERMINAL:
        return True
    return bool(number) and (found["status"].get("attempt"), phase(found)) != (number, "Running")


def _succeeded(build: Object, attempt: Attempt, digest: str, workshop: Workshop, now: datetime) -> Object:
    image = f"{build['spec']['destination']}@{digest}"
    log, _ = _keep_log(attempt, workshop)
    return finish(build, Outcome("Succeeded", "Built", f"attempt {attempt.number}", image, log), workshop, now)


def _failed(build: Object, attempt: Attempt, end: Ended, workshop: Workshop, now: datetime) -> Object:
    """Record a failure: the end, or that there will be another attempt."""
    key, lines = _keep_log(attempt, workshop)
    said = "" if end.message in lines else end.message
    message = "\n".join(part for part in (said, lines) if part)[-MESSAGE_SHOWN:]
    reason = end.reason or "BuildFailed"
    left = _ends(build, workshop, now) > now
    if end.whose == "platform" and attempt.number < workshop.patience.attempts and left:
        return _try_again(build, attempt, (reason, message), workshop, now)
    return finish(build, Outcome("Failed", reason, message, log=key), workshop, now)


def _try_again(build: Object, attempt: Attempt, why: tuple[str, str], workshop: Workshop, now: datetime) -> Object:
    """Record what the platform has failed, and wait a while: any later look, or the sweep, begins the next attempt.

    It keeps its slots: the pause is short, and its deadline goes on.
    """
    reason, message = why
    past = [*build["status"].get("attempts", []), {"number": attempt.number, "reason": reason, "message": message}]
    steps = {
        "Retrying": ("True", reason, f"attempt {attempt.number} of {workshop.patience.attempts}: {message}"),
        "Started": ("False", reason, attempt.name),
        "Succeeded": ("Unknown", "Retrying", reason),
    }
    build = _write(build, {"phase": "Queued", "attempts": past}, steps, workshop, now)
    if not _is_idle(build, workshop):
        workshop.builder.stop(attempt)
    workshop.later(attempt.tenant, attempt.function, due(build, workshop.patience) or now)
    return build


def _keep_log(attempt: Attempt, workshop: Workshop) -> tuple[str, str]:
    """Put the attempt's log into the store; return its key and its last lines."""
    log = workshop.builder.log(attempt, limit=LOG_KEPT)
    key = keys.log(attempt.tenant, attempt.function, attempt.name)
    if log:
        workshop.store.put(key, log)
    lines = log.decode(errors="replace").strip().splitlines()
    telling = [line for line in lines if not PROGRESS.search(line)] or lines
    return key if log else "", "\n".join(telling[-LINES_SHOWN:])


def _is_idle(build: Object, workshop: Workshop) -> bool:
    return workshop.builder.is_idle(build["metadata"]["namespace"], build["metadata"]["uid"])


def _ends(build: Object, workshop: Workshop, now: datetime) -> datetime:
    """Return when a Build's time is over: one that has not begun has all of it."""
    began = build.get("status", {}).get("startTime")
    return (datetime.fromisoformat(began) if began else now) + timedelta(seconds=workshop.patience.deadline)


def _left(build: Object, workshop: Workshop, now: datetime) -> int:
    """Return the seconds that a Build has left, 1 at least."""
    return max(1, int((_ends(build, workshop, now) - now).total_seconds()))


def _context(build: Object) -> str:
    spec = build["spec"]
    return keys.context(build["metadata"]["namespace"], spec["function"], spec["context"].removeprefix("sha256:"))


def _write(
    build: Object, change: Mapping[str, Any], steps: Mapping[str, Saying], workshop: Workshop, now: datetime
) -> Object:
    """Write a Build's status in one: what changes of it, and what is to be said of these steps."""
    after = {**build.get("status", {}), **change}
    for step, saying in steps.items():
        after["conditions"] = conditions.told({"status": after}, step, saying, now)
    return workshop.cluster.replace_status(BUILD, {**build, "status": after})
