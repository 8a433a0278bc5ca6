"""Every event type that the product knows: its schema, and which way it goes.

This table is the one list. The router, the chart's Triggers and the docs are held against it by a test.
"""

from dataclasses import dataclass
from typing import Literal

PREFIX = "dev.knative-lambda."
Direction = Literal["in", "out", "both"]


@dataclass(frozen=True)
class EventType:
    """A type as it stands in a CloudEvent, the schema of its data, and who sends it ("in": to us)."""

    type: str
    schema: str
    direction: Direction
    meaning: str
    alias_of: str = ""

    @property
    def received(self) -> bool:
        """Say whether the receiver takes events of this type."""
        return self.direction != "out"


BUILD_START = PREFIX + "build.start"
BUILD_CANCEL = PREFIX + "build.cancel"
BUILD_COMPLETE = PREFIX + "build.complete"
BUILD_FAILED = PREFIX + "build.failed"
FUNCTION_DELETE = PREFIX + "function.delete"
BUILD_QUEUED = PREFIX + "build.queued"
BUILD_STARTED = PREFIX + "build.started"
BUILD_CANCELLED = PREFIX + "build.cancelled"
FUNCTION_READY = PREFIX + "function.ready"
FUNCTION_FAILED = PREFIX + "function.failed"
FUNCTION_DELETED = PREFIX + "function.deleted"
FUNCTION_RESULT = PREFIX + "function.result"
FUNCTION_ERROR = PREFIX + "function.error"
PING = "dev.knative.sources.ping"
RESOURCE_ADDED = "dev.knative.apiserver.resource.add"
RESOURCE_UPDATED = "dev.knative.apiserver.resource.update"
RESOURCE_DELETED = "dev.knative.apiserver.resource.delete"
REFERENCE_ADDED = "dev.knative.apiserver.ref.add"
REFERENCE_UPDATED = "dev.knative.apiserver.ref.update"
REFERENCE_DELETED = "dev.knative.apiserver.ref.delete"
"""ApiServerSource's types when it sends references instead of whole objects, as the chart's sources do."""
NOTIFI = "network.notifi.lambda."
COMMAND = "io.knative.lambda.command."
PARSER_START = NOTIFI + "parser.start"
"""What the older family sends to its functions: each has a Trigger on it, and the receiver never takes it."""

OWN = (
    EventType(BUILD_START, "build.start", "in", "this is the function's source now: build it if need be, and run it"),
    EventType(BUILD_CANCEL, "build.cancel", "in", "stop what is being built"),
    EventType(BUILD_COMPLETE, "build.complete", "both", "a build ended with an image"),
    EventType(BUILD_FAILED, "build.failed", "both", "a build ended without an image"),
    EventType(FUNCTION_DELETE, "function.delete", "in", "remove the function and all that belongs to it"),
    EventType(BUILD_QUEUED, "build.queued", "out", "a build waits for a slot"),
    EventType(BUILD_STARTED, "build.started", "out", "a build's attempt was started"),
    EventType(BUILD_CANCELLED, "build.cancelled", "out", "a build was stopped"),
    EventType(FUNCTION_READY, "function.ready", "out", "a version of the function answers"),
    EventType(FUNCTION_FAILED, "function.failed", "out", "a version of the function did not become ready"),
    EventType(FUNCTION_DELETED, "function.deleted", "out", "the function was removed"),
    EventType(FUNCTION_RESULT, "function.result", "out", "a function's plain return value"),
    EventType(FUNCTION_ERROR, "function.error", "out", "an event for a function ended as a dead letter"),
)
SOURCES = (
    EventType(PING, "sources.ping", "in", "the clock's tick"),
    EventType(RESOURCE_ADDED, "apiserver.resource", "in", "an object was made: look there"),
    EventType(RESOURCE_UPDATED, "apiserver.resource", "in", "an object was changed: look there"),
    EventType(RESOURCE_DELETED, "apiserver.resource", "in", "an object was deleted: look there"),
    EventType(REFERENCE_ADDED, "apiserver.resource", "in", "an object was made: look there"),
    EventType(REFERENCE_UPDATED, "apiserver.resource", "in", "an object was changed: look there"),
    EventType(REFERENCE_DELETED, "apiserver.resource", "in", "an object was deleted: look there"),
)
ALIASES = (
    EventType(NOTIFI + "build.start", "legacy.build.start", "in", "as build.start", BUILD_START),
    EventType(NOTIFI + "build.complete", "legacy.build.complete", "in", "as build.complete", BUILD_COMPLETE),
    EventType(NOTIFI + "build.failed", "legacy.build.failed", "in", "as build.failed", BUILD_FAILED),
    EventType(NOTIFI + "build.timeout", "legacy.build.failed", "in", "as build.failed", BUILD_FAILED),
    EventType(NOTIFI + "build.cancel", "legacy.build.cancel", "in", "as build.cancel", BUILD_CANCEL),
    EventType(NOTIFI + "service.delete", "legacy.service.delete", "in", "as function.delete", FUNCTION_DELETE),
    EventType(COMMAND + "build.start", "legacy.build.start", "in", "as build.start", BUILD_START),
    EventType(COMMAND + "build.cancel", "legacy.build.cancel", "in", "as build.cancel", BUILD_CANCEL),
    EventType(COMMAND + "service.delete", "legacy.service.delete", "in", "as function.delete", FUNCTION_DELETE),
)
NOTIFICATIONS = frozenset(known.type for known in OWN if known.direction != "in") - {FUNCTION_RESULT}
"""What the product tells its tenants; nobody is told that one of these was not taken."""
TYPES = {known.type: known for known in (*OWN, *SOURCES, *ALIASES)}
