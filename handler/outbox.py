"""Notifications, sent after the answer: from a Function's status to its tenant's Broker, then crossed out.

`converge` says which Function owes something; one thread sends, so that no request ever waits for a Broker, and no
handler posts to one while it serves. Each is sent at least once with the same id: it is crossed out only once the
Broker took it, and the sweep finds what is left.
"""

import json
import logging
import queue
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import urllib3
from cloudevents.core.bindings.http import to_binary_event
from cloudevents.core.v1.event import CloudEvent

from knative_lambda.deploy.cluster import FUNCTION, Cluster, Object
from knative_lambda.schemas.catalogue import dataschema
from knative_lambda.schemas.errors import Conflict, ProductError
from knative_lambda.schemas.types import TYPES
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

log = logging.getLogger(__name__)
Post = Callable[[str, dict[str, str], bytes], int]
TIMEOUT = 3.0
FAREWELL_LIMIT = 64 * 1024
PASSING = (404, 408, 409, 429)
"""What Knative's Brokers answer for a while: not there yet, too busy."""


def message(note: Object, tenant: str, name: str) -> tuple[dict[str, str], bytes]:
    """Return the headers and body of a notification, a CloudEvent in binary mode."""
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": note["id"],
        "source": f"/knative-lambda/functions/{tenant}/{name}",
        "type": note["type"],
        "subject": note["data"].get("build") or name,
        "time": datetime.now(UTC),
        "datacontenttype": "application/json",
        "dataschema": dataschema(TYPES[note["type"]].schema),
    }
    made = to_binary_event(CloudEvent(attributes, note["data"]))
    return made.headers, made.body


def post() -> Post:
    """Return what posts to a Broker, with a short timeout; 0 stands for no answer."""
    http = urllib3.PoolManager(timeout=TIMEOUT, retries=False)

    def send(url: str, headers: dict[str, str], body: bytes) -> int:
        try:
            return http.request("POST", url, headers=headers, body=body).status
        except urllib3.exceptions.HTTPError:
            return 0

    return send


class Outbox:
    """Sends what Functions owe, in a thread of its own."""

    def __init__(self, cluster: Cluster, store: Store, broker_url: str, send: Post) -> None:
        self._cluster, self._store, self._broker_url, self._send = cluster, store, broker_url, send
        self._due: queue.Queue[tuple[str, str] | None] = queue.Queue(maxsize=10_000)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def owes(self, tenant: str, name: str) -> None:
        """Note that a Function owes something; never blocks, since the sweep finds what does not fit."""
        try:
            self._due.put_nowait((tenant, name))
        except queue.Full:
            log.warning("the outbox is full: %s/%s waits for the sweep", tenant, name)

    def stop(self, timeout: float) -> None:
        """Send what is due, for `timeout` seconds at most."""
        self._due.put(None)
        self._thread.join(timeout)

    def deliver(self, tenant: str, name: str) -> None:
        """Send what a Function owes now and cross out what the Broker took."""
        function = self._cluster.get(FUNCTION, tenant, name)
        owed = function.get("status", {}).get("outbox", []) if function else []
        taken = []
        for note in owed:
            if not self._is_told(note, tenant, name):
                break
            taken.append(note["id"])
        if function is not None and taken:
            left = [note for note in owed if note["id"] not in taken]
            status = {key: value for key, value in function["status"].items() if key != "outbox"}
            if left:
                status["outbox"] = left
            self._cluster.replace_status(FUNCTION, {**function, "status": status})
        self._bid_farewell(tenant, name, function["metadata"]["uid"] if function else "")

    def _bid_farewell(self, tenant: str, name: str, living: str) -> None:
        """Tell of functions of this name that are no more, then forget that it is owed."""
        for stored in list(self._store.list(f"{keys.farewells(tenant)}{name}/")):
            body = self._store.get(stored.key, limit=FAREWELL_LIMIT)
            note = json.loads(body) if body else None
            if note is None or note["data"]["uid"] == living:  # somebody else told, or it has not been deleted yet
                continue
            if self._is_told(note, tenant, name):
                self._store.delete(stored.key)

    def _is_told(self, note: Object, tenant: str, name: str) -> bool:
        """Send a notification; one that the Broker will never take is as good as told."""
        headers, body = message(note, tenant, name)
        code = self._send(f"{self._broker_url}/{tenant}/default", headers, body)
        if 200 <= code < 300:  # noqa: PLR2004 (success, as HTTP has it)
            return True
        log.warning("the Broker of %s answered %s to %s", tenant, code or "nothing", note["type"])
        return 400 <= code < 500 and code not in PASSING  # noqa: PLR2004 (the sender's fault, as HTTP has it)

    def _run(self) -> None:
        while (due := self._due.get()) is not None:
            try:
                self.deliver(*due)
            except Conflict:  # somebody wrote meanwhile: what was sent is sent again, with the same id
                self.owes(*due)
            except ProductError as error:
                log.warning("notifications of %s/%s wait for the sweep: %s", *due, error)
