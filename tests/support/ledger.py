"""A sender that loses nothing: it notes what it sends, sends until it is taken, and again until there is a receipt.

A Broker's 202 is none. The receipt is the order key on the Function, which names the newest event that it has seen.
"""

import json
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import urllib3

from knative_lambda.deploy.cluster import FUNCTION, Cluster, Object
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import ProductError

PATIENCE = 45.0
"""Seconds without a receipt after which an event is sent again."""


@dataclass
class Sent:
    """An event of the ledger."""

    tenant: str
    function: str
    version: str
    data: dict[str, Any]
    type: str = types.BUILD_START
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    time: str = field(default_factory=lambda: datetime.now(UTC).isoformat())
    posts: int = 0
    """How often it was posted."""
    taken: int = 0
    """How often the Broker took it."""
    last: float = 0.0
    """When it was taken last, by the monotonic clock; 0 where never."""


class Ledger:
    """What was sent to one Broker; any thread may send."""

    def __init__(self, url: str, patience: float = PATIENCE) -> None:
        self.url, self.patience = url, patience
        self.sent: list[Sent] = []
        self.http = urllib3.PoolManager(retries=False, timeout=30, maxsize=16)
        self._lock = threading.Lock()

    def note(self, tenant: str, function: str, version: str, data: dict[str, Any]) -> Sent:
        """Note a build.start that is about to be sent."""
        event = Sent(tenant, function, version, {"tenant": tenant, "name": function, **data})
        with self._lock:
            self.sent.append(event)
        return event

    def start(self, tenant: str, function: str, version: str, data: dict[str, Any]) -> Sent:
        """Note a build.start and send it."""
        event = self.note(tenant, function, version, data)
        self.post(event)
        return event

    def post(self, event: Sent, until: Callable[[], bool] = lambda: False) -> None:
        """Send an event, with its own id and time, until the Broker takes it."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": event.id,
            "ce-source": "/ledger",
            "ce-type": event.type,
            "ce-time": event.time,
            "content-type": "application/json",
        }
        while not until():
            event.posts += 1
            try:
                answer = self.http.request("POST", self.url, body=json.dumps(event.data), headers=headers)
                if answer.status == 202:
                    event.last = time.monotonic()
                    event.taken += 1
                    return
            except urllib3.exceptions.HTTPError:
                pass
            time.sleep(0.5)

    def newest(self) -> dict[tuple[str, str], Sent]:
        """Return the newest event of each function, by tenant and name."""
        return {(event.tenant, event.function): event for event in sorted(self.sent, key=lambda event: event.time)}

    def send_again(self, functions: dict[tuple[str, str], Object], since: float) -> int:
        """Send again what has no receipt `patience` after it was taken, and after that moment; return how many."""
        due = time.monotonic() - self.patience
        missing = [
            event
            for place, event in self.newest().items()
            if 0 < event.last < due and since < due and receipt(functions.get(place)) != event.id
        ]
        for event in missing:
            self.post(event)
        return len(missing)


def receipt(function: Object | None) -> str:
    """Return the id of the newest event that a Function has seen."""
    key = function["metadata"].get("annotations", {}).get(names.EVENT_ANNOTATION) if function else None
    return str(json.loads(key)["id"]) if key else ""


def functions(cluster: Cluster, *tenants: str) -> dict[tuple[str, str], Object]:
    """Return the Functions of these tenants; none where the cluster does not answer now."""
    try:
        return {(t, found["metadata"]["name"]): found for t in tenants for found in cluster.list(FUNCTION, t)}
    except ProductError:
        return {}
