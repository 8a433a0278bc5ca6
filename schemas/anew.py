"""A start anew of what has its image and did not come up: asked for by whoever wants the same once more.

Called by the handler of an event and by the client, which write a Function's `spec.restart` alike.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

APART = timedelta(minutes=1)
"""How soon after a start anew there is no other: who sends without end makes no versions without end."""
MOMENT = "%Y-%m-%dT%H:%M:%SZ"
GIVEN_UP = {"Built": "True", "Deployed": "True", "Ready": "False"}


def restart(function: Mapping[str, Any], now: datetime) -> dict[str, str]:
    """Return the `restart` that a Function's next spec has: a new one where its version was given up, else the last.

    What it lacked may be there by now, and Knative, once it has given a version up, does not look again.
    """
    last = {field: value for field, value in function.get("spec", {}).items() if field == "restart"}
    told = {each["type"]: each["status"] for each in function.get("status", {}).get("conditions", [])}
    if {kind: told.get(kind) for kind in GIVEN_UP} != GIVEN_UP or _is_fresh(last.get("restart", ""), now):
        return last
    return {"restart": now.strftime(MOMENT)}


def _is_fresh(restart: str, now: datetime) -> bool:
    try:
        return abs(now - datetime.strptime(restart, MOMENT).replace(tzinfo=UTC)) < APART
    except ValueError:  # a person's own words
        return False
