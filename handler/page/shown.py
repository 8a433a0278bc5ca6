"""What the page shows of an object, as a value: pure, from what ``/v1`` would answer of it.

Called by `paths.py`; the templates know these words, and nothing of Kubernetes.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import came, condition
from knative_lambda.handler import letters
from knative_lambda.schemas.steps import turn

MARKS = {
    "Ready": "good",
    "Succeeded": "good",
    "Failed": "bad",
    "NotReady": "bad",
    "Incomplete": "bad",
    "Pending": "busy",
    "Building": "busy",
    "Deploying": "busy",
    "Deleting": "busy",
    "Queued": "busy",
    "Running": "busy",
    "Resending": "busy",
}
"""How a state is drawn, beside its word; any other is neither good nor bad."""
NEEDED = ("Built", "Deployed", "Ready", "Succeeded")
"""Those that should be."""
COMMAND = "knative-lambda"
DATA = 16 * 1024
"""Characters of an event's data that are shown."""


@dataclass(frozen=True)
class Step:
    """A condition."""

    name: str
    status: str
    reason: str
    message: str
    since: str

    @property
    def mark(self) -> str:
        """Return how it is drawn; most steps may well not be."""
        if self.status == "False":
            return "bad" if self.name in NEEDED else ""
        return "good" if self.status == "True" else "busy"


@dataclass(frozen=True)
class Thing:
    """What all of them have; times are RFC 3339's."""

    tenant: str
    name: str
    state: str
    since: str
    why: str
    """What there is to say of its state, in a line; "" where that is nothing."""
    steps: Sequence[Step]
    commands: Mapping[str, str]
    """What may be done to it now, and how."""
    facts: Mapping[str, str]
    """The rest, by its heading."""

    @property
    def mark(self) -> str:
        """Return how its state is drawn."""
        return MARKS.get(self.state, "")


@dataclass(frozen=True)
class Function(Thing):
    """A function."""

    runtime: str
    url: str
    build: str
    """The build of the wanted source, or ""."""


@dataclass(frozen=True)
class Build(Thing):
    """A build."""

    function: str
    builder: str

    @property
    def stem(self) -> str:
        """Return the beginning of its name, that of its function as a rule."""
        return "".join(self.name.rpartition("-")[:2])

    @property
    def rest(self) -> str:
        """Return the end of its name."""
        return self.name.removeprefix(self.stem)


@dataclass(frozen=True)
class Letter(Thing):
    """An event that nobody could handle."""

    type: str
    function: str
    count: int
    event: Mapping[str, str]
    data: str


def function(body: Object) -> Function:
    """Return what is shown of a function."""
    tenant, name, spec, state = _place(body), body["metadata"]["name"], body["spec"], body.get("status", {})
    url = str(state.get("url", ""))
    facts = {
        "Runtime": spec.get("runtime", ""),
        "Entrypoint": spec.get("entrypoint", ""),
        "Image": state.get("image", ""),
        "Secrets": ", ".join(spec.get("secrets", [])),
        "Triggers": ", ".join(" ".join(f"{k}={v}" for k, v in each.items()) for each in spec.get("triggers", [])),
        "Timeout": spec.get("timeout", ""),
    }
    return Function(
        **_thing(body, _function_why(body), facts),
        commands={
            action: f"{COMMAND} {'deploy ./' + name if action == 'start' else f'{action} {name}'} -n {tenant}"
            for action in body["allowed_actions"]
        },
        runtime=spec.get("runtime", ""),
        url=url if url.startswith(("http://", "https://")) else "",
        build=state.get("latestBuild", ""),
    )


def build(body: Object) -> Build:
    """Return what is shown of a build."""
    tenant, name, spec, state = _place(body), body["metadata"]["name"], body["spec"], body.get("status", {})
    end = condition(body, "Succeeded")
    facts = {
        "Runtime": spec.get("runtime", ""),
        "Builder": " · ".join(filter(None, (spec.get("builder", ""), spec.get("choice", "")))),
        "Attempt": str(state.get("attempt", 0) or ""),
        "Asked for by": spec.get("cause", ""),
        "Image": record.image_of(body),
        "Upon": spec.get("base", ""),
    }
    commands = {"cancel": f"{COMMAND} cancel {spec['function']} --build {name} -n {tenant}"}
    why = _said(condition(body, "Admitted")) if record.phase(body) == "Queued" else ""
    return Build(
        **_thing(body, (why or _said(end)) if body["state"] != "Succeeded" else "", facts),
        commands={action: commands[action] for action in body["allowed_actions"]},
        function=spec["function"],
        builder=spec.get("builder", ""),
    )


def letter(body: Object) -> Letter:
    """Return what is shown of a dead letter; its `since` is when its event came last."""
    tenant, name, spec, event = _place(body), body["metadata"]["name"], body["spec"], letters.kept_event(body)
    facts = {
        "Refused by": spec.get("trigger", ""),
        "Reason": f"{spec.get('reason', '')}{' (' + str(spec['code']) + ')' if spec.get('code') else ''}",
        "Came": f"{spec.get('count', 1)} times",
    }
    attributes = {key: str(value) for key, value in event.items() if key not in ("data", "data_base64")}
    return Letter(
        **_thing(body, _message(spec.get("message", "")) or spec.get("reason", ""), facts) | {"since": came(body)},
        commands={"resend": f"{COMMAND} deadletters -n {tenant} resend {name}"} if body["allowed_actions"] else {},
        type=str(event.get("type", "")) or "no type",
        function=letters.function_of(body),
        count=int(spec.get("count", 1)),
        event=attributes,
        data=_data(event),
    )


def age(since: str, now: datetime) -> str:
    """Return how long ago something was, in one unit, as kubectl has it; "" for what is no time."""
    try:
        seconds = max(0, int((now - datetime.fromisoformat(since)).total_seconds()))
    except (ValueError, TypeError):
        return ""
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * length:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _place(body: Object) -> str:
    return str(body["metadata"]["namespace"])


def _thing(body: Object, why: str, facts: Mapping[str, str]) -> dict[str, Any]:
    meta = body["metadata"]
    return {
        "tenant": meta["namespace"],
        "name": meta["name"],
        "state": body["state"],
        "since": meta["creationTimestamp"],
        "why": why,
        "steps": sorted(map(_step, body.get("status", {}).get("conditions", [])), key=lambda step: turn(step.name)),
        "facts": {heading: value for heading, value in facts.items() if value},
    }


def _step(said: Mapping[str, Any]) -> Step:
    since = said.get("lastTransitionTime", "")
    return Step(said["type"], said["status"], said.get("reason", ""), said.get("message", ""), since)


def _function_why(body: Object) -> str:
    """Return why a function is not what is wanted, by the first of its conditions that is not so."""
    if body["state"] == "Ready":
        return ""
    for kind in ("Built", "Deployed", "Ready"):
        found = condition(body, kind)
        if found["status"] != "True":
            return _said(found)
    return ""


def _said(found: Mapping[str, Any]) -> str:
    """Return what a condition says beside its status; nothing of what just goes on."""
    if found.get("reason") == "Running":
        return ""
    return ": ".join(filter(None, (found.get("reason", ""), found.get("message", ""))))


def _message(text: str) -> str:
    """Return what a subscriber has answered: of a problem, its detail."""
    try:
        return str(json.loads(text)["detail"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return text


def _data(event: Object) -> str:
    if "data" not in event:
        return str(event.get("data_base64", ""))[:DATA]
    data = event["data"]
    return (data if isinstance(data, str) else json.dumps(data, indent=2, ensure_ascii=False))[:DATA]
