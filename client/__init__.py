"""The typed SDK and the command: `Client` is where to begin."""

from knative_lambda.client.client import Client
from knative_lambda.client.door import Door, Sent, event
from knative_lambda.client.errors import (
    Away,
    ClientError,
    Forbidden,
    NotServed,
    NotThere,
    Paused,
    TimedOut,
    Unreachable,
)
from knative_lambda.client.models import Build, Condition, DeadLetter, Event, Function, Reply

__all__ = [
    "Away",
    "Build",
    "Client",
    "ClientError",
    "Condition",
    "DeadLetter",
    "Door",
    "Event",
    "Forbidden",
    "Function",
    "NotServed",
    "NotThere",
    "Paused",
    "Reply",
    "Sent",
    "TimedOut",
    "Unreachable",
    "event",
]
