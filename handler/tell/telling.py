"""A notification that is owed, as the event that tells it.

Called by `outbox.py` for tenants' Brokers and by `targets.py` for whoever else is told. Pure, but for the moment.
"""

from datetime import UTC, datetime
from typing import Any

from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent

from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas import trace
from knative_lambda.schemas.catalogue import dataschema
from knative_lambda.schemas.redaction import redacted
from knative_lambda.schemas.types import TYPES

STRUCTURED = "application/cloudevents+json"
"""The media type of an event in structured mode."""


def told(note: Object, tenant: str, name: str) -> CloudEvent:
    """Return the event of a notification, of this thread's trace; raise `LookupError` and the like where it is none."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": note["id"],
        "source": source(tenant, name),
        "type": note["type"],
        "subject": note["data"].get("build") or name,
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "dataschema": dataschema(TYPES[note["type"]].schema),
        **traced(),
    }
    return CloudEvent(attributes, redacted(note["data"]))


def message(note: Object, tenant: str, name: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and body of a notification, a CloudEvent in binary mode; raise as `told` does."""
    made = to_binary_event(told(note, tenant, name))
    return made.headers, made.body


def source(tenant: str, name: str) -> str:
    """Return the `source` of all that is told of a Function."""
    return f"/knative-lambda/functions/{tenant}/{name}"


def traced() -> dict[str, str]:
    """Return the attribute that says this thread's trace, if there is one."""
    return {trace.HEADER: now} if (now := trace.current()) else {}
