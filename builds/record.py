"""What a Build's record says: pure functions, the object in.

Called by `settle.py`, which writes it, and by whoever reads a Build. Nothing here touches the cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from knative_lambda.builds.builder import Attempt, Handed
from knative_lambda.builds.dependencies import RECIPE
from knative_lambda.builds.inputs import repository
from knative_lambda.builds.jobs import given, handed
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import BUILD, Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.schemas import names, trace
from knative_lambda.schemas.names import CAME_ANNOTATION, FUNCTION_LABEL
from knative_lambda.storage import keys

MOMENT = "%Y-%m-%dT%H:%M:%SZ"
PRECISE = "%Y-%m-%dT%H:%M:%S.%fZ"
TERMINAL = ("Succeeded", "Failed", "Cancelled")
SHARED = "Shared"
"""Of the step `Admitted`, while another Build makes the same."""
RELEASED: Saying = ("False", "Released", "")
"""Of the step `Admitted`, once nothing of an ended Build runs: its slots are free again."""
UNLIMITED: Saying = ("True", "NoSlotNeeded", "")
"""Of the same step, where nothing runs by itself."""
PUSHED = "Pushed"
"""The step at which a Build's image is known by digest; where it needs papers, it has not ended by that."""
ARRIVES = 60
"""Seconds within which exchanged credentials have arrived, here and in the next Pod."""
CREDENTIALS = ("ContextNotFetched", "RegistryRefused")
"""Ends of attempts that these may mend: an URL signed with the older key, a password that holds no more."""
CLONED = "SourceCloned"
"""The step of Builds whose source is a git repository: its message is the commit."""
INSTALLED = "DependenciesInstalled"
"""The step of Builds whose code is laid upon installed dependencies."""


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


def phase(build: Object) -> str:
    """Return a Build's phase, ``Queued`` where nothing has happened yet."""
    found: str = build.get("status", {}).get("phase", "Queued")
    return found


def takes_slot(build: Object) -> bool:
    """Say whether a Build is made by something that runs by itself: it needs a slot, and can be stopped.

    One whose code is laid upon dependencies does, until it is known that these are there.
    """
    if "dependencies" in build["spec"]:
        return phase(build) == "Queued" or condition(build, "Admitted").get("reason") != UNLIMITED[1]
    return build["spec"]["builder"] not in ("external", "layer")


def prepared(build: Object) -> dict[str, Saying]:
    """Return the steps of a Build that are done before it begins."""
    steps: dict[str, Saying] = {} if "git" in build["spec"] else {"ContextStored": ("True", "Stored", context(build))}
    if why := build["spec"].get("choice"):
        steps["BuilderChosen"] = ("True", build["spec"]["builder"].capitalize(), why)
    if moved := build["spec"].get("moved"):
        steps["BaseMoved"] = ("True", "BaseMoved", moved)
    if gone := build["spec"].get("because"):
        steps["Replaces"] = ("True", "ImageVanished", gone)
    return steps


def begins(build: Object, number: int, admitted: Saying) -> dict[str, Saying]:
    """Return the steps of a Build whose attempt of this number begins."""
    steps = prepared(build) | {
        "Admitted": admitted,
        "Started": ("Unknown", "Starting", f"attempt {number}"),
        "Succeeded": ("Unknown", "Running", f"attempt {number}"),
    }
    return steps | ({"Retrying": ("False", "Begun", f"attempt {number}")} if number > 1 else {})


def running(build: Object, number: int, now: datetime) -> dict[str, Any]:
    """Return how the status of a Build changes whose attempt of this number begins."""
    began = build.get("status", {}).get("startTime") or now.strftime(MOMENT)
    return {"phase": "Running", "attempt": number, "startTime": began}


def waits(build: Object) -> bool:
    """Say whether a Build waits for a slot."""
    return phase(build) == "Queued" and condition(build, "Admitted").get("reason") == "Waiting"


def shares(build: Object) -> bool:
    """Say whether a Build waits for another one that makes the same."""
    return phase(build) == "Queued" and condition(build, "Admitted").get("reason") == SHARED


def is_over(build: Object) -> bool:
    """Say whether a Build has ended, and nothing of it is left to be stopped or given back."""
    if phase(build) not in TERMINAL:
        return False
    return not takes_slot(build) or condition(build, "Admitted").get("reason") == RELEASED[1]


def image_of(build: Object) -> str:
    """Return the image of a Build that succeeded, by digest, or ""."""
    found: str = build.get("status", {}).get("image", "")
    return found if phase(build) == "Succeeded" else ""


def pushed(build: Object) -> str:
    """Return the image, by digest, of a Build that has pushed it, or ""."""
    step = condition(build, PUSHED)
    return str(step["message"]) if step["status"] == "True" else ""


def commit(build: Object) -> str:
    """Return the commit that a Build's source is, or "" where it is none, or nobody knows yet."""
    found: str = build.get("status", {}).get("commit") or build["spec"].get("git", {}).get("commit", "")
    return found


def lineage(build: Object) -> str:
    """Return the UID that the next Build of the same input is named after: this one's, or its last heir's.

    Heirs are the Builds that replaced this one and were removed since; their names are not used again.
    """
    found: str = build.get("status", {}).get("heir") or build["metadata"]["uid"]
    return found


def told(build: Object, change: Mapping[str, Any], steps: Mapping[str, Saying], now: datetime) -> Object:
    """Return a Build with a change of its status, and with what is to be said of these steps."""
    after = {**build.get("status", {}), **change}
    for step, saying in steps.items():
        after["conditions"] = conditions.told({"status": after}, step, saying, now)
    return {**build, "status": after}


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
    if failed["reason"] in CREDENTIALS:
        pause = max(pause, ARRIVES)
    return datetime.fromisoformat(failed["lastTransitionTime"]) + timedelta(seconds=pause)


def attempt_of(build: Object, number: int, seconds: int = 1) -> Attempt:
    """Return an attempt of a Build: everything about it follows from the object; `seconds` are what it may take.

    Of a Build with dependencies it is the Job that installs them: see `upon`.
    """
    spec, meta = build["spec"], build["metadata"]
    attempt = Attempt(
        tenant=meta["namespace"],
        function=spec["function"],
        build=meta["name"],
        build_uid=meta["uid"],
        number=number,
        runtime=spec["runtime"],
        context=context(build),
        destination=f"{spec['destination']}:{meta['name']}-{number}",
        build_args=_arguments(spec),
        seconds=seconds,
        builder=spec["builder"],
        cache=_cache(spec),
        inputs=spec["inputHash"],
        trace=trace.of(build),
        handed=_handed(spec),
        git=_git(build),
        entrypoint=spec.get("entrypoint", ""),
    )
    if "dependencies" not in spec:
        return attempt
    place = f"{_repository(spec['dependencies'])}:{attempt.name}"
    return replace(attempt, builder="kaniko", recipe=RECIPE, destination=place, cache="")


def upon(build: Object, number: int, digest: str, *, keep: bool) -> Attempt:
    """Return the rest of an attempt whose dependencies are installed, in the image of this digest: their code's layer.

    `keep` asks to name that image by what is inside, so that others find it.
    """
    spec, attempt = build["spec"], attempt_of(build, number)
    return replace(
        attempt,
        builder=spec["builder"],
        recipe="Dockerfile",
        destination=f"{spec['destination']}:{attempt.name}",
        build_args={"BASE": f"{_repository(spec['dependencies'])}@{digest}"},
        keep=spec["dependencies"] if keep else "",
        handed=(),
    )


def manifest(name: str, function: Object, spec: Mapping[str, Any], labels: Mapping[str, str], now: datetime) -> Object:
    """Return a new Build of a Function, owned by it, and of its trace."""
    meta = function["metadata"]
    return {
        "apiVersion": BUILD.api_version,
        "kind": BUILD.kind,
        "metadata": {
            "name": name,
            "namespace": meta["namespace"],
            "labels": {FUNCTION_LABEL: meta["name"], **labels},
            "annotations": {CAME_ANNOTATION: now.strftime(PRECISE), **trace.annotations(trace.of(function))},
            "ownerReferences": [conditions.owner(function)],
        },
        "spec": dict(spec),
    }


def ends(build: Object, patience: Patience, now: datetime) -> datetime:
    """Return when a Build's time is over: one that has not begun has all of it."""
    began = build.get("status", {}).get("startTime")
    return (datetime.fromisoformat(began) if began else now) + timedelta(seconds=patience.deadline)


def left(build: Object, patience: Patience, now: datetime) -> int:
    """Return the seconds that a Build has left, 1 at least."""
    return max(1, int((ends(build, patience, now) - now).total_seconds()))


def context(build: Object) -> str:
    """Return the store's key of a Build's context."""
    spec = build["spec"]
    return keys.context(build["metadata"]["namespace"], spec["function"], spec["context"].removeprefix("sha256:"))


def _arguments(spec: Mapping[str, Any]) -> dict[str, str]:
    base = {"BASE": spec["base"]} if spec.get("base") else {}
    return given.variables(spec["runtime"], spec.get("build", {})) | base


def _cache(spec: Mapping[str, Any]) -> str:
    """Return where layers are kept for a Build's tenant; nowhere for what a RUN has read a Secret for."""
    if spec.get("fresh") or handed.asked(spec):
        return ""
    return names.kept_layers(*spec["destination"].rsplit("/", 2)[:2])


def _handed(spec: Mapping[str, Any]) -> tuple[Handed, ...]:
    """Return the Secrets that attempts of a Build are given: what opens a repository for who clones it alone."""
    opens = spec.get("git", {}).get("secret")
    return (*map(Handed, handed.asked(spec)), *([Handed(opens, "fetch")] if opens else []))


def _git(build: Object) -> dict[str, str]:
    """Return the repository of a Build, with the commit that an earlier attempt has found."""
    return repository.at(build["spec"].get("git", {}), commit(build))


def _repository(reference: str) -> str:
    return reference.rpartition(":")[0]
