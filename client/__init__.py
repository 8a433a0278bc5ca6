"""The typed SDK and the command: `Client` is where to begin."""

from knative_lambda.client.client import Client
from knative_lambda.client.door import event
from knative_lambda.client.errors import ClientError, NotThere, TimedOut, Unreachable
from knative_lambda.client.models import Build, Condition, DeadLetter, Event, Function, Reply

__all__ = [
    "Build",
    "Client",
    "ClientError",
    "Condition",
    "DeadLetter",
    "Event",
    "Function",
    "NotThere",
    "Reply",
    "TimedOut",
    "Unreachable",
    "event",
]
