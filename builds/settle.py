"""A Build brought from wherever it stands to wherever it can be now: begun, watched, decided, told.

Called by `converge` at every hint and sweep. Level-based: it reads what is there, and is right when it runs twice,
late, at the same time as its twin, or after the process that ran the last step was killed.
"""

import re
from dataclasses import replace
from datetime import datetime, timedelta

from knative_lambda.builds import record, sharing
from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.dependencies import RECIPE
from knative_lambda.builds.ends import Outcome, Workshop, finish, give_back, is_idle, write
from knative_lambda.builds.images import pushed
from knative_lambda.builds.layered import REFUSALS
from knative_lambda.builds.record import INSTALLED
from knative_lambda.deploy.cluster import BUILD, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas.errors import Conflict, NotLetIn, Refused, Temporary, Untrusted
from knative_lambda.schemas.redaction import redact
from knative_lambda.storage import keys

LOG_KEPT = 1024 * 1024
LINES_SHOWN = 20
MESSAGE_SHOWN = 4000
PROGRESS = re.compile(r"level=info|^INFO\[")
"""What Kaniko says of its own steps: in the log, but not among the lines that a condition has room for."""
LATE = "DeadlineExceeded"
AGAIN = timedelta(seconds=5)
"""When to look again at what was stopped and still goes on."""
KNOWN = "RegistryAnswers"
"""The step that tells of a registry which does not take our credentials, or whose certificate is a stranger's."""
WAITS = timedelta(seconds=150)
"""How long such a registry is asked again: what replaces the credentials is mounted within a minute."""


def settle(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Bring a Build forward by what can be seen now, and return it as it is then.

    Raises `Conflict` where its twin was faster: read again. Never waits for anything to happen.
    """
    if record.phase(build) in record.TERMINAL:
        return build
    if build["spec"]["builder"] == "external":
        return _awaits(build, workshop, now)
    if image := record.pushed(build):
        return pushed.attest(build, image, workshop, now)
    try:
        after = _admit(build, workshop, now) if record.phase(build) == "Queued" else _judge(build, workshop, now)
    except (NotLetIn, Untrusted) as error:
        if error.dependency != "registry":
            raise
        return _denied(build, error, workshop, now)
    except Refused as refused:
        return finish(build, _refusal(refused), workshop, now)
    if condition(after, KNOWN)["status"] == "False" and record.phase(after) not in record.TERMINAL:
        after = write(after, {}, {KNOWN: ("True", "Answered", "")}, workshop, now)
    return after


def _denied(build: Object, error: NotLetIn | Untrusted, workshop: Workshop, now: datetime) -> Object:
    """Ask again for a while, whether new credentials have come; then that is the end, with the cause."""
    reason, told = "RegistryRefused" if isinstance(error, NotLetIn) else "RegistryUntrusted", condition(build, KNOWN)
    if told["status"] == "False" and now >= datetime.fromisoformat(told["lastTransitionTime"]) + WAITS:
        return finish(build, Outcome("Failed", reason, str(error)), workshop, now)
    workshop.later(build["metadata"]["namespace"], build["spec"]["function"], now + 2 * AGAIN)
    if told["status"] == "False" and told["message"] == str(error):
        return build
    return write(build, {}, {KNOWN: ("False", reason, str(error))}, workshop, now)


def _refusal(refused: Refused) -> Outcome:
    """Return the end of a Build that was refused: by the registry, or by the cluster, which does not take its Job."""
    fault = refused.faults[0]
    if fault.where in REFUSALS:
        return Outcome("Failed", REFUSALS[fault.where][1], fault.message)
    return Outcome("Failed", "Refused", str(refused))


def _awaits(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Say of an external Build what it waits for; it is not waited for without end."""
    made = datetime.fromisoformat(build["metadata"]["creationTimestamp"])
    if now >= made + timedelta(seconds=workshop.patience.outside):
        return finish(build, Outcome("Failed", LATE, "nobody outside has told its outcome"), workshop, now)
    if "phase" in build.get("status", {}):
        return build
    why = "waits for an event build.complete, or build.failed, from outside"
    steps = record.prepared(build) | {"Succeeded": ("Unknown", "Queued", why)}
    return write(build, {"phase": "Queued"}, steps, workshop, now)


def _admit(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Begin the next attempt where it is time, nobody makes the same, and there is a slot; else say what is waited for.

    What waits for its slot, or has begun, is what others of its sort wait for. What needs no Job, or no more, waits for
    nothing.
    """
    number = build.get("status", {}).get("attempt", 0)
    if number and (paused := _paused(build, number, workshop, now)) is not None:
        return paused
    installed = _installed(build, workshop)
    if installed or not record.takes_slot(build):
        return _lay(build, number + 1, installed, workshop, now)
    if not (number or record.waits(build)) and (shared := _shared(build, workshop, now)) is not None:
        return shared
    if held := workshop.slots.take(build, now):
        return _begin(build, number + 1, held, workshop, now)
    return _wait(build, workshop, now)


def _installed(build: Object, workshop: Workshop) -> str:
    """Return the digest of the image with a Build's dependencies, "" where there is none that it may take.

    Nor is there one of which parts were found missing: it is made once more, and pushed anew.
    """
    wanted = build["spec"].get("dependencies", "")
    if condition(build, "Retrying")["reason"] == "BaseRefused":
        return ""
    return (workshop.registry.digest(wanted) or "") if wanted and not build["spec"].get("fresh") else ""


def _wait(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Queue for a slot, and say so."""
    workshop.slots.wait(build, now)
    if record.waits(build):
        return build
    limits = workshop.slots.limits
    why = f"{limits.tenant} builds of a tenant and {limits.everywhere} of all may run at once"
    steps = {"Admitted": ("False", "Waiting", why), "Succeeded": ("Unknown", "Queued", "waits for a slot")}
    return write(build, {"phase": "Queued"}, steps, workshop, now)


def _paused(build: Object, number: int, workshop: Workshop, now: datetime) -> Object | None:
    """Return a Build that cannot go on after this attempt, or not yet; None where the next one may begin."""
    place, moment = (build["metadata"]["namespace"], build["spec"]["function"]), record.due(build, workshop.patience)
    if now >= record.ends(build, workshop.patience, now):
        why = condition(build, "Retrying").get("message", "")
        return finish(build, Outcome("Failed", LATE, f"no time is left for another attempt: {why}"), workshop, now)
    if not is_idle(build, workshop):  # two attempts of one build never run at once
        workshop.builder.stop(record.attempt_of(build, number))
        workshop.later(*place, now + AGAIN)
        return build
    if moment is not None and now < moment:
        workshop.later(*place, moment)
        return build
    return None


def _shared(build: Object, workshop: Workshop, now: datetime) -> Object | None:
    """Return a Build that waits for another to make the same, or is served by what one has made; None if it is to."""
    if not sharing.makes(build) or build["spec"].get("fresh"):
        return None
    if other := sharing.maker(build, workshop.cluster, now):
        return _wait_for(other, build, workshop, now)
    if workshop.reuse is None or "dependencies" in build["spec"]:  # the same dependencies, but other code
        return None
    served = workshop.reuse.serve(build, record.attempt_of(build, 1).destination)
    if not served:
        return None
    build = record.told(build, {}, record.prepared(build) | {"Reused": ("True", "Reused", served.by)}, now)
    return pushed.made(build, served.image, "", workshop, now)


def _wait_for(other: str, build: Object, workshop: Workshop, now: datetime) -> Object:
    """Say which Build a Build waits for; look once more a little later, because that one may just have ended."""
    why = f"{other} makes the same"
    if record.shares(build) and condition(build, "Admitted")["message"] == why:
        return build
    steps = {"Admitted": ("False", record.SHARED, why), "Succeeded": ("Unknown", "Queued", f"waits: {why}")}
    build = write(build, {"phase": "Queued"}, record.prepared(build) | steps, workshop, now)
    workshop.later(build["metadata"]["namespace"], build["spec"]["function"], now + AGAIN)
    return build


def _judge(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Decide by what the builder sees and what the registry knows; a builder's word alone is not believed."""
    over = now - record.ends(build, workshop.patience, now)
    attempt = record.attempt_of(build, build["status"]["attempt"], record.left(build, workshop.patience, now))
    seen = workshop.builder.look(attempt)
    build = _cloned(build, seen, workshop, now)
    if not isinstance(seen, Lost) and condition(build, "Started")["status"] == "Unknown":  # killed while it started
        if isinstance(seen, Running) and (end := workshop.builder.start(attempt)) is not None:
            return _decide(build, attempt, end, workshop, now)
        build = write(build, {}, {"Started": ("True", "Running", attempt.name)}, workshop, now)
    if isinstance(seen, Running):
        if over < timedelta(seconds=workshop.patience.overtime):
            if seen.again:
                workshop.later(attempt.tenant, attempt.function, now + timedelta(seconds=seen.again))
            return build
        seen = Ended(1, "user", LATE, "its time is over")
    if isinstance(seen, Ended):
        return _decide(build, attempt, seen, workshop, now)
    digest = workshop.registry.digest(attempt.destination)
    if digest is not None or over >= timedelta():
        return _pushed(build, attempt, digest, workshop, now)
    if is_idle(build, workshop):  # killed between the record and the start, or deleted by hand
        return _start(build, attempt, workshop, now)
    workshop.later(attempt.tenant, attempt.function, now + AGAIN)  # its Pod outlives the Job that was deleted
    return build


def _cloned(build: Object, seen: Running | Ended | Lost, workshop: Workshop, now: datetime) -> Object:
    """Return a Build that says which commit was cloned: at once while it runs, so that a retry takes the same."""
    commit = "" if isinstance(seen, Lost) else seen.commit
    if not commit or commit == build["status"].get("commit"):
        return build
    change, steps = {"commit": commit}, {record.CLONED: ("True", "Cloned", commit)}
    if isinstance(seen, Running):
        return write(build, change, steps, workshop, now)
    return record.told(build, change, steps, now)


def _lay(build: Object, number: int, installed: str, workshop: Workshop, now: datetime) -> Object:
    """Make an attempt that takes no slot: it has ended once it was started, and is recorded with its end, in one write.

    Twins do the same. What it held or waited for while there was something to install is given back after that.
    """
    steps, attempt = record.begins(build, number, record.UNLIMITED), record.attempt_of(build, number)
    if installed:
        attempt = record.upon(build, number, installed, keep=False)
        steps[INSTALLED] = ("True", "Cached", attempt.build_args["BASE"])
    had_place = condition(build, "Admitted")["reason"] not in ("", record.UNLIMITED[1])
    begun = record.told(build, record.running(build, number, now), steps, now)
    if now >= record.ends(build, workshop.patience, now):
        return finish(build, Outcome("Failed", LATE, condition(build, "Started")["message"]), workshop, now)
    try:
        build = _start(begun, attempt, workshop, now)
    except Temporary as error:
        if type(error) is Temporary and "startTime" not in build.get("status", {}):  # no outage: its time runs from now
            late = {"Started": ("Unknown", "Delayed", str(error))}
            write(build, {"startTime": now.strftime(record.MOMENT)}, late, workshop, now)
        raise
    if had_place:
        give_back(attempt.tenant, attempt.build_uid, workshop, now)
    return build


def _begin(build: Object, number: int, held: str, workshop: Workshop, now: datetime) -> Object:
    """Record the attempt, then start it: whoever wins the record starts, and a twin that lost reads again."""
    waited, steps = record.waits(build), record.begins(build, number, ("True", "SlotTaken", held))
    try:
        build = write(build, record.running(build, number, now), steps, workshop, now)
    except Conflict:
        if _has_ended(build, workshop):  # after its slots were given back: these were taken for nobody
            give_back(build["metadata"]["namespace"], build["metadata"]["uid"], workshop, now)
        raise
    if waited:
        workshop.slots.leave(build["metadata"]["uid"])
    return _start(build, record.attempt_of(build, number, record.left(build, workshop.patience, now)), workshop, now)


def _start(build: Object, attempt: Attempt, workshop: Workshop, now: datetime) -> Object:
    """Start an attempt that is recorded, and say so: where that cannot be said, somebody may have ended the Build."""
    steps = {"Started": ("True", "Running", attempt.name)}
    try:
        end = workshop.builder.start(attempt)
    except Refused as refused:  # the cluster does not take its Job
        return finish(build, Outcome("Failed", "Refused", str(refused)), workshop, now)
    if end is not None:
        return _decide(record.told(build, {}, steps, now), attempt, end, workshop, now)
    try:
        return write(build, {}, steps, workshop, now)
    except Conflict:
        if _has_ended(build, workshop, attempt.number):
            workshop.builder.stop(attempt)
        raise


def _has_ended(build: Object, workshop: Workshop, number: int = 0) -> bool:
    """Say whether a Build that was written by somebody else is over, or has gone beyond an attempt."""
    meta = build["metadata"]
    found = workshop.cluster.get(BUILD, meta["namespace"], meta["name"])
    if found is None or found["metadata"]["uid"] != meta["uid"] or record.phase(found) in record.TERMINAL:
        return True
    return bool(number) and (found["status"].get("attempt"), record.phase(found)) != (number, "Running")


def _decide(build: Object, attempt: Attempt, end: Ended, workshop: Workshop, now: datetime) -> Object:
    """Record how an attempt ended: where it ended well, the registry is asked."""
    workshop.builder.revoke(attempt)
    if end.exit_code != 0:
        if end.reason in ("BaseMissing", "BaseRefused") and "dependencies" in build["spec"]:  # gone: it is made again
            end = replace(end, whose="platform")
        return _failed(build, attempt, end, workshop, now)
    return _pushed(build, attempt, workshop.registry.digest(attempt.destination), workshop, now)


def _pushed(build: Object, attempt: Attempt, digest: str | None, workshop: Workshop, now: datetime) -> Object:
    """Record what the registry knows of an attempt that is over."""
    if digest is None:
        missing = Ended(1, "ours", "ImageMissing", f"the registry does not know {attempt.destination}")
        return _failed(build, attempt, missing, workshop, now)
    log, _ = _keep_log(attempt, workshop)
    image = f"{attempt.destination.rpartition(':')[0]}@{digest}"
    if attempt.recipe == RECIPE:
        build = record.told(build, {"log": log} if log else {}, {INSTALLED: ("True", "Built", image)}, now)
        return _start(build, record.upon(build, attempt.number, digest, keep=True), workshop, now)
    return pushed.made(build, image, log, workshop, now)


def _failed(build: Object, attempt: Attempt, end: Ended, workshop: Workshop, now: datetime) -> Object:
    """Record a failure: the end, or that there will be another attempt."""
    key, lines = _keep_log(attempt, workshop)
    said = "" if end.message in lines else end.message
    message = "\n".join(part for part in (said, lines) if part)[-MESSAGE_SHOWN:]
    reason = end.reason or "BuildFailed"
    if attempt.recipe == RECIPE:
        build = record.told(build, {}, {INSTALLED: ("False", reason, attempt.name)}, now)
    left = record.ends(build, workshop.patience, now) > now
    if end.whose == "platform" and attempt.number < workshop.patience.attempts and left:
        return _try_again(build, attempt, (reason, message), workshop, now)
    return finish(build, Outcome("Failed", reason, message, log=key), workshop, now)


def _try_again(build: Object, attempt: Attempt, why: tuple[str, str], workshop: Workshop, now: datetime) -> Object:
    """Record what the platform has failed, and wait a while: any later look, or the sweep, begins the next attempt.

    It keeps its slots: the pause is short, and its deadline goes on.
    """
    reason, message = why
    past = [
        *build["status"].get("attempts", []),
        {"number": attempt.number, "reason": reason, "message": redact(message)},
    ]
    steps = {
        "Retrying": ("True", reason, f"attempt {attempt.number} of {workshop.patience.attempts}: {message}"),
        "Started": ("False", reason, attempt.name),
        "Succeeded": ("Unknown", "Retrying", reason),
    }
    build = write(build, {"phase": "Queued", "attempts": past}, steps, workshop, now)
    if not is_idle(build, workshop):
        workshop.builder.stop(attempt)
    workshop.later(attempt.tenant, attempt.function, record.due(build, workshop.patience) or now)
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
