"""What there is, as values: functions, their builds, the events that nobody could handle, and what a function answers.

Each is made of the custom resource that it is a view of, which `body` holds whole.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knative_lambda.schemas.names import CAME_ANNOTATION, EVENT_ANNOTATION, function_at

Object = dict[str, Any]
"""A custom resource as JSON."""
STEPS = ("Built", "Deployed", "Ready")
"""A Function's conditions, in the order in which they become true."""
PAUSED = ("Unknown", "Paused")
"""Status and reason of a condition that waits for a paused function to go on."""
FINAL = ("Succeeded", "Failed", "Cancelled")
"""The phases of a Build that has ended."""


@dataclass(frozen=True)
class Condition:
    """One thing that is so ("True"), is not ("False"), or is under way ("Unknown")."""

    type: str
    status: str = "Unknown"
    reason: str = ""
    message: str = ""
    since: str = ""
    """RFC 3339; "" where it is not known."""


@dataclass(frozen=True)
class Resource:
    """What all of them have."""

    body: Object

    @property
    def name(self) -> str:
        """Return its name."""
        return str(self.body["metadata"]["name"])

    @property
    def namespace(self) -> str:
        """Return its tenant's name."""
        return str(self.body["metadata"].get("namespace", ""))

    @property
    def created(self) -> str:
        """Return when it was made, RFC 3339; of a dead letter, when its event came last."""
        return str(self.body["metadata"].get("creationTimestamp") or "")

    @property
    def spec(self) -> Object:
        """Return what was wanted."""
        return dict(self.body.get("spec") or {})

    @property
    def status(self) -> Object:
        """Return what became of it."""
        return dict(self.body.get("status") or {})

    @property
    def conditions(self) -> dict[str, Condition]:
        """Return its conditions by type, in the order in which they are written."""
        found = (
            Condition(
                each["type"],
                each["status"],
                each.get("reason", ""),
                each.get("message", ""),
                each.get("lastTransitionTime", ""),
            )
            for each in self.status.get("conditions") or ()
        )
        return {each.type: each for each in found}


@dataclass(frozen=True)
class Function(Resource):
    """A function: what should run, and what does."""

    @property
    def runtime(self) -> str:
        """Return its runtime."""
        return str(self.spec.get("runtime", ""))

    @property
    def url(self) -> str:
        """Return where it answers; "" before it does."""
        return str(self.status.get("url", ""))

    @property
    def build(self) -> str:
        """Return the name of the Build of the wanted source; "" for none."""
        return str(self.status.get("latestBuild", ""))

    @property
    def ready_build(self) -> str:
        """Return the name of the Build whose image answers; "" for none."""
        return str(self.status.get("latestReadyBuild", ""))

    @property
    def previous_build(self) -> str:
        """Return the name of the Build whose image answered before; "" for none."""
        return str(self.status.get("previousReadyBuild", ""))

    @property
    def event(self) -> str:
        """Return the id of the newest event that it has seen; "" for none."""
        try:
            return str(json.loads(self.body["metadata"]["annotations"][EVENT_ANNOTATION])["id"])
        except (LookupError, ValueError, TypeError):
            return ""

    @property
    def generation(self) -> int:
        """Return the number of the wanted state; what `is_current` compares."""
        return int(self.body["metadata"].get("generation", 0))

    @property
    def is_paused(self) -> bool:
        """Say whether nothing new of it is to be built or deployed."""
        return bool(self.spec.get("paused"))

    @property
    def is_current(self) -> bool:
        """Say whether the conditions are about the newest wanted state."""
        return self.generation > 0 and self.status.get("observedGeneration") == self.generation

    def step(self, kind: str) -> Condition:
        """Return a condition; one that says nothing is under way."""
        return self.conditions.get(kind, Condition(kind))

    @property
    def failure(self) -> Condition | None:
        """Return the step that the newest wanted state ends at: it is False, or waits for a paused function to go on.

        None where it answers, or is on its way: what a step before has not come to yet, a later one says of the version
        that runs meanwhile.
        """
        at = next((each for each in map(self.step, STEPS) if each.status != "True"), None)
        ends = at is not None and (at.status == "False" or (at.status, at.reason) == PAUSED)
        return at if ends and self.is_current else None

    @property
    def answers(self) -> bool:
        """Say whether the newest version answers."""
        return self.is_current and all(self.step(kind).status == "True" for kind in STEPS)


@dataclass(frozen=True)
class Build(Resource):
    """One input made into one image."""

    @property
    def function(self) -> str:
        """Return the function that it is for."""
        return str(self.spec.get("function", ""))

    @property
    def builder(self) -> str:
        """Return who builds."""
        return str(self.spec.get("builder", ""))

    @property
    def source(self) -> Object:
        """Return what it was built of, by reference: of a repository the very commit."""
        git = self.spec.get("git")
        if not git:
            return {"context": {"hash": self.spec["context"]}}
        commit = self.status.get("commit") or git.get("commit")
        named = {field: value for field, value in git.items() if field != "commit"}
        return {"git": {**named, **({"revision": commit} if commit else {})}}

    @property
    def order(self) -> tuple[str, str]:
        """Return what Builds are ordered by: the API server's second, and within it the finer time of who made them."""
        return self.created, _came(self.body)

    @property
    def phase(self) -> str:
        """Return where it stands: Queued, Running, Succeeded, Failed or Cancelled."""
        return str(self.status.get("phase") or "Queued")

    @property
    def is_over(self) -> bool:
        """Say whether it has ended."""
        return self.phase in FINAL

    @property
    def outcome(self) -> Condition:
        """Return how it ended."""
        return self.conditions.get("Succeeded", Condition("Succeeded"))

    @property
    def image(self) -> str:
        """Return its image by digest; "" before there is one."""
        return str(self.status.get("image", ""))


@dataclass(frozen=True)
class DeadLetter(Resource):
    """An event that nobody could handle."""

    @property
    def created(self) -> str:
        """Return when its event came last, RFC 3339."""
        return _came(self.body) or super().created

    @property
    def event(self) -> Object:
        """Return the event's attributes, and in a letter that was asked for alone its data."""
        return dict(self.spec.get("event") or {})

    @property
    def function(self) -> str:
        """Return the function that refused it; "" where it was none."""
        return function_at(str(self.spec.get("trigger", "")), self.namespace)

    @property
    def message(self) -> str:
        """Return what was answered: of a problem (RFC 9457), its detail and its faults."""
        said = str(self.spec.get("message", ""))
        try:
            problem = json.loads(said)
            faults = "; ".join(f"{fault['where']}: {fault['message']}" for fault in problem.get("faults") or ())
            return faults or str(problem["detail"])
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return said


def _came(body: Object) -> str:
    return str((body["metadata"].get("annotations") or {}).get(CAME_ANNOTATION) or "")


@dataclass(frozen=True)
class Event:
    """A CloudEvent: its attributes by name, and its data, which are JSON."""

    attributes: Mapping[str, str]
    data: Any = None

    def structured(self) -> Object:
        """Return it as one JSON object."""
        return {**self.attributes, **({} if self.data is None else {"data": self.data})}


@dataclass(frozen=True)
class Reply:
    """What a function answered."""

    status: int
    """The HTTP status: from 400 on it has failed."""
    event: Event | None
    """The event that it answered with; None for none."""
    text: str
    """The answer's body as it came."""
