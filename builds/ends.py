"""How a Build ends: its outcome on the record first, then what still runs of it removed, then its slots given back.

Called by `settle.py`, and by the use cases that end a Build. Every step may run again: whoever finds a Build that has
ended finishes what is left.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from knative_lambda.builds import record, sharing
from knative_lambda.builds.builder import Builder
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.papers.attest import Attestor
from knative_lambda.builds.record import Patience
from knative_lambda.builds.reuse import Reuse
from knative_lambda.builds.slots import Slots
from knative_lambda.deploy.cluster import BUILD, Cluster, Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.storage.store import Store


@dataclass(frozen=True)
class Workshop:
    """What settling a build touches."""

    cluster: Cluster
    builder: Builder
    registry: Registry
    store: Store
    slots: Slots
    patience: Patience = field(default_factory=Patience)
    reuse: Reuse | None = None
    """Who finds what was made before of the same input; None where each Build has its own."""
    attestor: Attestor | None = None
    """Who gives images their papers; None where they have none."""
    later: Callable[[str, str, datetime], None] = lambda _tenant, _function, _moment: None
    """Told of a Function to look at again at a moment; must not block, and may forget: the sweep comes all the same."""


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
    if record.phase(build) in record.TERMINAL:
        return build
    succeeded = "True" if outcome.phase == "Succeeded" else "False"
    steps = {"Succeeded": (succeeded, outcome.reason, outcome.message)}
    if condition(build, "Retrying")["status"] == "True":
        steps["Retrying"] = ("False", "Over", "")
    if outcome.image:
        steps[record.PUSHED] = ("True", "Pushed", outcome.image)
    change = {"phase": outcome.phase} | {key: value for key in ("image", "log") if (value := getattr(outcome, key))}
    if outcome.phase == "Cancelled" or not record.takes_slot(build) or not is_idle(build, workshop):
        return clear(write(build, change, steps, workshop, now), workshop, now)
    build = write(build, change, steps | {"Admitted": record.RELEASED}, workshop, now)
    give_back(build["metadata"]["namespace"], build["metadata"]["uid"], workshop, now)
    return build


def cancel(build: Object, reason: str, message: str, workshop: Workshop, now: datetime) -> Object:
    """End a Build that is not wanted any more, or what still runs of one that has ended; `message` says who asked."""
    if record.phase(build) in record.TERMINAL:
        return clear(build, workshop, now)
    return finish(build, Outcome("Cancelled", reason, message), workshop, now)


def clear(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Remove what still runs for a Build that has ended, and give back its slots once that is gone.

    Return it as it is then. Raises `Conflict` like `settle`.
    """
    if record.phase(build) not in record.TERMINAL or not record.takes_slot(build):
        return build
    number = build.get("status", {}).get("attempt", 0)
    if number and not is_idle(build, workshop):
        workshop.builder.stop(record.attempt_of(build, number))
        if not is_idle(build, workshop):
            return build
    if record.is_over(build):
        return build
    give_back(build["metadata"]["namespace"], build["metadata"]["uid"], workshop, now)
    steps = {"Admitted": record.RELEASED}
    if condition(build, "Started")["status"] != "Unknown" and record.phase(build) == "Cancelled":
        steps["Started"] = ("False", "Stopped", f"attempt {number} was ended")
    return write(build, {}, steps, workshop, now)


def give_back(tenant: str, uid: str, workshop: Workshop, now: datetime) -> None:
    """Give back what a Build holds of which nothing runs, and have those looked at that waited for what it made."""
    for key in workshop.slots.free(tenant, uid):
        for build in sharing.waiting(tenant, key, workshop.cluster):
            workshop.later(tenant, build["spec"]["function"], now)


def is_idle(build: Object, workshop: Workshop) -> bool:
    """Say whether nothing of a Build runs any more."""
    return not record.takes_slot(build) or workshop.builder.is_idle(
        build["metadata"]["namespace"], build["metadata"]["uid"]
    )


def write(
    build: Object, change: Mapping[str, Any], steps: Mapping[str, Saying], workshop: Workshop, now: datetime
) -> Object:
    """Write a change of a Build's status, and what is to be said of these steps; raise `Conflict` like the cluster."""
    return workshop.cluster.replace_status(BUILD, record.told(build, change, steps, now))
