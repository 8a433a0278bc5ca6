"""Doing something under ``/v1``: each action is made into the product's own event, and goes the way of all of them.

Called by `records.py`. The table is the documentation: what is done, to what, by which event, and who may.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from werkzeug.exceptions import BadRequest

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Kind, Object
from knative_lambda.handler.acts import order
from knative_lambda.handler.acts.earlier import AGAIN
from knative_lambda.handler.acts.order import FOLLOWS
from knative_lambda.handler.acts.pause import PAUSE
from knative_lambda.handler.api import states
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import strict_json
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.strict_json import NotJson, TooManyValues
from knative_lambda.schemas import types
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.errors import Fault, NotNow, Refused

SOURCE = "/v1"
"""The `source` of events that are made here."""


@dataclass(frozen=True)
class Action:
    """What may be done to a thing of a kind."""

    kind: Kind
    name: str
    type: str
    """Of the event that it is made into."""
    verbs: tuple[str, ...] = ("update",)
    """What whoever asks must be allowed to do with Functions; both where a function may come into being by it."""

    @property
    def operation(self) -> str:
        """Return its `operationId`."""
        return f"{self.name}{self.kind.kind}"


ACTIONS = (
    Action(FUNCTION, "start", types.BUILD_START, ("create", "update")),
    Action(FUNCTION, "cancel", types.BUILD_CANCEL),
    Action(FUNCTION, "retry", types.BUILD_START),
    Action(FUNCTION, "rollback", types.BUILD_START),
    Action(FUNCTION, "pause", types.BUILD_START),
    Action(FUNCTION, "resume", types.BUILD_START),
    Action(FUNCTION, "delete", types.FUNCTION_DELETE, ("delete",)),
    Action(BUILD, "cancel", types.BUILD_CANCEL),
)


@dataclass(frozen=True)
class Made:
    """An event's id and time, as they are given to it here."""

    id: Callable[[], str]
    now: Callable[[], datetime]

    def after(self, found: Object | None) -> datetime:
        """Return the time of an event that comes after all that a Function has seen, whatever those clocks said."""
        seen = order.seen_by(found)
        if seen is None or not seen.time:
            return self.now()
        return max(self.now(), datetime.fromisoformat(seen.time) + timedelta(microseconds=1))


def said(body: bytes, limits: Limits) -> dict[str, Any]:
    """Return what the body of an action says, nothing where there is none; raise `BadRequest`, `Refused`."""
    if not body.strip():
        return {}
    try:
        found = strict_json.parse(body, depth=limits.depth, values=limits.values)
    except (NotJson, TooManyValues) as error:
        raise BadRequest(f"The body {error}.") from error
    if not isinstance(found, dict):
        raise Refused.because("/", "is no object")
    return found


def event(
    action: Action, place: tuple[str, str], asked: Mapping[str, Any], read: ReadModel, made: Made
) -> Event | None:
    """Return the event that an action is made into; None where there is nothing of that name.

    `place` is the tenant, and the name of the function, or of the build. Raises `Refused` for what no event of that
    type may say, `NotNow` where it cannot be done to what is there.
    """
    tenant, name = place
    found = read.get(action.kind, tenant, name)
    data: dict[str, Any] = {**asked, "tenant": tenant, "name": name}
    function = found
    if action.kind == BUILD:
        data |= {"name": found["spec"]["function"] if found else name, "build": name}
        function = read.get(FUNCTION, tenant, data["name"])
    _check(action, asked, data)
    if found is None and action.name != "start":
        return None
    if found is not None:
        _require(action, found, asked, read)
    if action.name in ("retry", "rollback"):
        data[AGAIN] = _again(action, found or {}, asked)
        data.pop("build", None)
    if action.name in ("pause", "resume"):
        data[PAUSE] = action.name == "pause"
    elif action.name != "start" and "sequence" not in asked and (seen := order.seen_by(function)):
        data |= {} if seen.sequence is None else {"sequence": seen.sequence, FOLLOWS: True}
    return Event(made.id(), SOURCE, action.type, data, made.after(function), received_type=action.type)


def _check(action: Action, asked: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raise `Refused` for what an action does not take; a start takes what its event does."""
    if action.name == "start":
        faults = [
            Fault(f"/{field}", "is said by the path, and here again otherwise")
            for field in ("tenant", "name")
            if asked.get(field, data[field]) != data[field]
        ]
        faults += event_faults("build.start", data, "")
    else:
        known = {"rollback": {"sequence", "build"}, "pause": set(), "resume": set()}.get(action.name, {"sequence"})
        faults = [Fault(f"/{field}", "is no field here") for field in sorted(asked.keys() - known)]
        said = {key: value for key, value in data.items() if key not in asked or key in known}
        faults += event_faults("build.cancel", said, "")
    if faults:
        raise Refused(faults)


def _require(action: Action, found: Object, asked: Mapping[str, Any], read: ReadModel) -> None:
    """Raise `NotNow` where an action cannot be done to what is there; any build that succeeded may come back."""
    if action.name == "rollback" and (name := asked.get("build")) and found["state"] != "Deleting":
        build = read.get(BUILD, found["metadata"]["namespace"], name)
        if build is None or build["spec"]["functionUID"] != found["metadata"]["uid"]:
            raise NotNow(f"{name} is no build of this function.", found["allowed_actions"])
        if record.phase(build) != "Succeeded":
            raise NotNow(f"{name} made no image: it is {build['state']}.", found["allowed_actions"])
    elif action.name not in found["allowed_actions"]:
        raise NotNow(f"There is no {action.name} of what is {found['state']}.", found["allowed_actions"])


def _again(action: Action, found: Object, asked: Mapping[str, Any]) -> str:
    return "" if action.name == "retry" else str(asked.get("build") or states.previous(found))
