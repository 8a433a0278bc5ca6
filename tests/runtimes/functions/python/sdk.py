"""Functions as people write them for functions-framework and for the `cloudevents` package."""

import json
import logging
import sys
import threading
from datetime import UTC, datetime
from typing import Any

import functions_framework
from cloudevents.core.v1.event import CloudEvent as CloudEventV2
from cloudevents.v1.http import CloudEvent as CloudEventV1
from cloudevents.v1.http import to_structured


@functions_framework.cloud_event
def framework(cloud_event: Any) -> Any:
    seen = {
        "item": cloud_event["type"],
        "get": [cloud_event.get("subject"), cloud_event.get("nothing"), cloud_event.get("nothing", 5)],
        "in": ["type" in cloud_event, "nothing" in cloud_event],
        "names": sorted(cloud_event),
        "attributes": dict(cloud_event.get_attributes()),
        "data": cloud_event.data,
        "structured": json.loads(to_structured(cloud_event)[1]),
        "shim": functions_framework.__file__,
    }
    logging.getLogger("framework").info(json.dumps(seen))
    return cloud_event["type"] if cloud_event["type"] == "json" else {"no", "JSON"}


@functions_framework.cloud_event
async def framework_coroutine(cloud_event: Any) -> Any:
    logging.getLogger("framework").info("awaited")
    return {"a": 1}


@functions_framework.cloud_event
def framework_fails(cloud_event: Any) -> Any:
    raise LookupError


def second_generation(event: Any) -> Any:
    return {
        "required": [event.get_specversion(), event.get_id(), event.get_source(), event.get_type()],
        "optional": [event.get_datacontenttype(), event.get_dataschema(), event.get_subject()],
        "time": event.get_time().astimezone(UTC).isoformat(),
        "extension": [event.get_extension("tier"), event.get_extension("type")],
        "data": event.get_data(),
        "properties": [event.id, event.source, event.type, event.subject, event.time, event.dataschema],
        "extensions": event.extensions,
        "missing": hasattr(event, "tier"),
    }


def change(event: Any) -> Any:
    event.data = "changed"


REPLIES = {
    "v1": lambda: CloudEventV1({"type": "t", "source": "/s", "id": "1", "tier": "gold"}, {"a": 1}),
    "v1-json-text": lambda: CloudEventV1(
        {"type": "t", "source": "/s", "datacontenttype": "application/json"}, '{"a":1}'
    ),
    "v1-text": lambda: CloudEventV1({"type": "t", "source": "/s"}, "grüß"),
    "v2": lambda: CloudEventV2({"type": "t", "source": "/s", "id": "1", "tier": "gold"}, {"a": 1}),
    "v2-time": lambda: CloudEventV2({"type": "t", "source": "/s", "time": datetime(2026, 1, 2, tzinfo=UTC)}, b"raw"),
    "v2-null": lambda: CloudEventV2({"type": "t", "source": "/s", "id": "1"}),
}


def reply(event: Any) -> Any:
    return REPLIES[event.type]()


def leave(_event: Any) -> None:
    sys.exit(3)


async def coroutine(_event: Any) -> str:
    return threading.current_thread().name


async def leaving_coroutine(event: Any) -> str:
    if event.type == "leave":
        sys.exit(3)
    return "still here"


def log(_event: Any) -> None:
    logging.getLogger("a.library").warning("from %s", "elsewhere")
