"""What a Function's status says, as a value: what is true now, and the notifications that this truth owes.

Called by `converge`, and by `builds.py` and `delete.py` for what is owed.
Pure: the same world gives the same status, so that a no-op writes nothing. A notification
is owed exactly when a condition changes, in the same write that changes it; of a Build, all that came since it was told
of last.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from knative_lambda.builds import record
from knative_lambda.builds.inputs import prepare
from knative_lambda.builds.papers import trust
from knative_lambda.deploy import plain
from knative_lambda.deploy.children import NOTHING, Seen
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import Saying, condition, told
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Fault, Refused

PENDING, FOUND = "Pending", "Found"
"""Reasons of `Built` while the wanted Build is to be made, or has ended before: nothing, or its start, was told."""
SOURCE_REFUSED = "SourceRefused"
PAUSED = "Paused"
"""Reason of `Deployed` while a Function is paused, and of `Built` where something newer waits for it to go on."""
WAITS: Saying = ("Unknown", PAUSED, "the function is paused: what is newer is built and deployed when it goes on")
UNDEPLOYED = {
    "/metadata/name": "NameTaken",
    plain.FEATURE: "FeatureDisabled",
    trust.MISSING: "SignatureMissing",
    trust.WRONG: "SignatureWrong",
    trust.LOOSE: "DigestRequired",
    trust.KEYLESS: "KeyUnusable",
}
"""Why the wanted image is not applied, by where its fault is."""
OUTBOX_FULL = 64
"""Notifications that wait for a Broker before nothing new of the Function is begun: none is ever dropped."""


ENDS = {"Succeeded": types.BUILD_COMPLETE, "Failed": types.BUILD_FAILED, "Cancelled": types.BUILD_CANCELLED}
"""What is told of a Build that ended, by its phase."""


@dataclass(frozen=True)
class Told:
    """What a pass of `converge` found out."""

    built: Saying
    image: str = ""
    """The image of the wanted source, once there is one."""
    build: Object | None = None
    deploy_fault: Fault | None = None
    seen: Seen = field(default=NOTHING)
    paused: str = ""
    """Of a Function that is paused: ``newest`` where what is wanted is deployed, ``waits`` where it is not."""

    @classmethod
    def of(cls, function: Object, build: Object | None) -> "Told":
        """Return what is known of the image: the given one, or the Build's outcome."""
        if build is None:
            return cls(("True", "ImageGiven", ""), function["spec"]["source"]["image"])
        end = condition(build, "Succeeded")
        reason = end.get("reason") or record.phase(build)
        return cls((end["status"], reason, end.get("message", "")), record.image_of(build), build)

    @classmethod
    def refused(cls, why: Refused, build: Object | None) -> "Told":
        """Return what is known where the source cannot be taken; `build` is that of the source before, given up."""
        return cls(("False", SOURCE_REFUSED, str(why)), build=build)


def status(function: Object, found: Told, now: datetime) -> Object:
    """Return the whole status that a Function should have."""
    before = function.get("status", {})
    after: dict[str, Any] = {**before, "observedGeneration": function["metadata"].get("generation", 1)}
    seen = found.seen
    body = {**function, "status": after}
    for kind, saying in (
        ("Built", found.built),
        ("Deployed", _deployed(found, before)),
        ("Ready", _ready(found)),
    ):
        after["conditions"] = told(body, kind, saying, now)
    if found.built[0] == "True":
        after.pop("observedInputs", None)
    else:
        after["observedInputs"] = _inputs(function)
    if seen.url:
        after["url"] = seen.url
    if seen.ready == "True":
        after["image"] = seen.image
        if found.image == seen.image:
            ready, known = found.build["metadata"]["name"] if found.build else "", before.get("latestReadyBuild", "")
            if known not in ("", ready):
                after["previousReadyBuild"] = known
            after["latestReadyBuild"] = ready
    return owing(after, _notes(function, after, found))


def owing(state: Object, notes: list[Object]) -> Object:
    """Return a status that owes these notifications too, each of them once."""
    outbox = state.get("outbox", [])
    owed = {note["id"] for note in outbox}
    new = [note for note in notes if note["id"] not in owed]
    return {**state, "outbox": [*outbox, *new]} if new else state


def is_full(function: Object) -> bool:
    """Say whether so many notifications wait that nothing may begin which would owe more of them."""
    return len(function.get("status", {}).get("outbox", [])) >= OUTBOX_FULL


def is_new(function: Object) -> bool:
    """Say whether the Function was changed since its status was written: its spec, or what an event asks of it.

    A retry of what failed and a cancel of what is not built yet leave the spec and its generation as they are; of what
    is built, both ask nothing. So does the loss of an image, until another Build is wanted.
    """
    state = function.get("status", {})
    if state.get("latestBuild", "") == prepare.lost(function["metadata"].get("annotations", {})) != "":
        return True
    if function["metadata"].get("generation", 1) != state.get("observedGeneration"):
        return True
    is_built = condition(function, "Built")["status"] == "True"
    return not is_built and bool(state.get("observedInputs") != _inputs(function))


def _inputs(function: Object) -> str:
    return names.sha256(function["metadata"].get("annotations", {}).get(names.INPUT_ANNOTATION, ""))[7:23]


def _ready(found: Told) -> Saying:
    """Say how what runs is; where nothing runs and nothing will, that and why."""
    seen = found.seen
    if seen == NOTHING and found.built[0] == "False":
        return found.built
    return seen.ready, seen.reason or "Ready", seen.message


def _deployed(found: Told, before: Object) -> Saying:
    if found.paused:
        done: Saying = ("True", PAUSED, "the function is paused: nothing new is built or deployed")
        return done if found.paused == "newest" else WAITS
    if found.deploy_fault is not None:
        reason = UNDEPLOYED.get(found.deploy_fault.where, "Refused")
        return "False", reason, found.deploy_fault.message
    if found.image:
        return "True", "Applied", ""
    if before.get("image"):
        return "True", "OlderVersion", "the version before goes on running"
    return "Unknown", "NotBuilt", "there is no image yet"


def _notes(function: Object, after: Object, found: Told) -> list[Object]:
    """Return what subscribers are owed for the difference between the old conditions and the new."""
    notes = [] if found.build is None else build_notes(found.build, condition(function, "Built"))
    now = condition({"status": after}, "Ready")
    if now["status"] != condition(function, "Ready")["status"]:
        change = _change(function.get("status", {}), after)
        notes += _ready_notes(function["metadata"], after, (now["status"], now["reason"], now["message"]), change)
    return notes


def build_notes(build: Object, built: Mapping[str, Any]) -> list[Object]:
    """Return what is owed for a Build as it is now; `built` is what its Function said of it when it was told of last.

    That it began is owed before its end, and each of them once, however many steps were made in between.
    """
    end, state = condition(build, "Succeeded"), build.get("status", {})
    kinds, has_ended = [], record.phase(build) in record.TERMINAL
    before = built.get("reason", "")
    if before == PAUSED:  # all of it was told as it was paused
        return []
    if built["status"] != "Unknown":
        if has_ended and (before == SOURCE_REFUSED or (built["status"], before) == (end["status"], end.get("reason"))):
            return []
        before = ""  # that was said of another
    if state.get("startTime") and before in ("", PENDING, "Queued"):
        kinds.append(types.BUILD_STARTED)
    if has_ended:
        kinds.append(ENDS[record.phase(build)])
    elif (record.waits(build) or record.shares(build)) and not state.get("startTime") and before in ("", PENDING):
        kinds.append(types.BUILD_QUEUED)
    return [_build_note(kind, build) for kind in kinds]


def _build_note(kind: str, build: Object) -> Object:
    end, phase = condition(build, "Succeeded"), record.phase(build)
    meta, spec, state = build["metadata"], build["spec"], build.get("status", {})
    data = {
        "tenant": meta["namespace"],
        "name": spec["function"],
        "build": meta["name"],
        "uid": meta["uid"],
        "inputHash": spec["inputHash"],
        "builder": spec["builder"],
        "attempt": state.get("attempt", 0),
    }
    if kind == types.BUILD_STARTED:  # told once, of the first attempt, even where it has gone on since
        data |= {"attempt": 1, "reason": "Running", "message": "attempt 1"}
    elif phase == "Succeeded":
        data["image"] = state["image"]
    else:
        data |= {"reason": end.get("reason") or phase, "message": end.get("message", "")}
    if state.get("log") and kind != types.BUILD_STARTED:
        data["log"] = state["log"]
    return {"id": f"{meta['uid']}.{kind}", "type": kind, "data": data}


def _change(before: Object, after: Object) -> str:
    """Return what a function is that is ready now: new, another version, the version of before, or the same again."""
    if not before.get("image"):
        return "deployed"
    if before["image"] == after.get("image"):
        return "again"
    ready = after.get("latestReadyBuild", "")
    return "rolledback" if ready and ready == before.get("previousReadyBuild") else "upgraded"


def _ready_notes(meta: Object, after: Object, state: Saying, change: str) -> list[Object]:
    """Return what is owed for a turn between ready and not ready.

    It is written over one version of the Function, and over each version one turn at most: that tells them apart, also
    two within a second.
    """
    ready, reason, message = state
    version = after.get("latestBuild", "image")
    identity = f"{meta['uid']}.{version}.{meta.get('generation', 1)}.{meta['resourceVersion']}"
    data = {
        "tenant": meta["namespace"],
        "name": meta["name"],
        "uid": meta["uid"],
        "build": after.get("latestBuild", ""),
    }
    if ready == "True":
        data |= {"url": after.get("url", ""), "image": after.get("image", ""), "change": change}
        kind = types.FUNCTION_READY
    elif ready == "False":
        data |= {"reason": reason or "NotReady", "message": message}
        kind = types.FUNCTION_FAILED
    else:
        return []
    return [{"id": f"{identity}.{kind}", "type": kind, "data": {key: value for key, value in data.items() if value}}]
