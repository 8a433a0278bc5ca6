"""What a thing is now, in one word, and what may be done to it: pure, from the object alone.

Called by `read.py` for all that is shown, and by `actions.py`, which refuses the rest. Nothing of it changes by itself,
so that an object's version stands for it too.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from knative_lambda.builds import record
from knative_lambda.builds.inputs import prepare
from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import letters, status

READY = {"True": "Ready", "False": "NotReady", "Unknown": "Deploying"}


@dataclass(frozen=True)
class Known:
    """What is known of a kind: its states, and who reads them from an object."""

    states: tuple[str, ...]
    state: Callable[[Object], str]
    allowed: Callable[[Object, str], list[str]]


def _function_state(function: Object) -> str:
    state, built = function.get("status", {}), condition(function, "Built")["status"]
    if function["metadata"].get("deletionTimestamp"):
        return "Deleting"
    if function["metadata"].get("generation", 1) != state.get("observedGeneration"):
        return "Building" if state.get("latestBuild") and built == "Unknown" else "Pending"
    deployed = condition(function, "Deployed")
    if (deployed["status"], deployed.get("reason")) == status.WAITS[:2]:
        return "Paused"
    return {"Unknown": "Building", "False": "Failed"}.get(built) or READY[condition(function, "Ready")["status"]]


def _function_allowed(function: Object, state: str) -> list[str]:
    if state == "Deleting":
        return []
    may = {
        "start": True,
        "cancel": state in ("Pending", "Building"),
        "retry": state == "Failed" and _is_prepared(function),
        "rollback": bool(previous(function)),
        "pause": not function["spec"].get("paused"),
        "resume": bool(function["spec"].get("paused")),
        "delete": True,
    }
    return [action for action, is_allowed in may.items() if is_allowed]


def _is_prepared(function: Object) -> bool:
    """Say whether what has failed is a build, and not that its source could not be taken."""
    recorded = prepare.recorded(function["metadata"].get("annotations", {}), function["spec"])
    return recorded is not None and condition(function, "Built").get("reason") != status.SOURCE_REFUSED


def previous(function: Object) -> str:
    """Return the Build that a Function would go back to, the last that was ready but for the wanted one, or ""."""
    state = function.get("status", {})
    ready, wanted = state.get("latestReadyBuild", ""), state.get("latestBuild", "")
    return str(ready if ready != wanted else state.get("previousReadyBuild", ""))


def _build_allowed(_build: Object, state: str) -> list[str]:
    return [] if state in record.TERMINAL else ["cancel"]


def _letter_state(letter: Object) -> str:
    if letters.is_resent(letter):
        return "Resending"
    return "Incomplete" if letters.obstacle(letter) else "Kept"


def _letter_allowed(_letter: Object, state: str) -> list[str]:
    return [] if state == "Incomplete" else ["resend"]


KNOWN: Mapping[Kind, Known] = {
    FUNCTION: Known(
        ("Pending", "Building", "Deploying", "Ready", "NotReady", "Failed", "Paused", "Deleting"),
        _function_state,
        _function_allowed,
    ),
    BUILD: Known(("Queued", "Running", *record.TERMINAL), record.phase, _build_allowed),
    DEAD_LETTER: Known(("Kept", "Resending", "Incomplete"), _letter_state, _letter_allowed),
}


def allowed(kind: Kind, body: Object) -> list[str]:
    """Return what may be done to an object as it is."""
    return KNOWN[kind].allowed(body, KNOWN[kind].state(body))


def shown(kind: Kind, body: Object) -> Object:
    """Return an object with its state, and with what may be done to it."""
    return {**body, "state": KNOWN[kind].state(body), "allowed_actions": allowed(kind, body)}
