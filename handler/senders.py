"""What sends to Brokers once the answer is out: the outbox and the postman, a thread each.

Joined by `wire.py` and `dev.py`; no request waits for either, and neither sends for a request that is being served.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from knative_lambda.deploy.cluster import Cluster
from knative_lambda.handler.outbox import Notified, Outbox, Post
from knative_lambda.handler.postman import Postman
from knative_lambda.handler.settings import Settings
from knative_lambda.storage.store import Store


@dataclass(frozen=True)
class Senders:
    """The threads that send to Brokers what is owed once the answer is out."""

    outbox: Outbox
    postman: Postman
    _request: threading.local = field(default_factory=threading.local)

    @classmethod
    def over(
        cls, cluster: Cluster, store: Store, settings: Settings, send: Post, listeners: Sequence[Notified] = ()
    ) -> "Senders":
        """Return them, not started yet."""
        outbox = Outbox(cluster, store, settings.broker_url, send, listeners)
        return cls(outbox, Postman(cluster, settings.namespace, settings.broker_url, send))

    def start(self) -> None:
        """Start sending."""
        for sender in (self.outbox, self.postman):
            sender.start()

    def owes(self, tenant: str, name: str) -> None:
        """Have a Function's notifications sent: now, or when the request that this thread serves has its answer."""
        self.soon(partial(self.outbox.owes, tenant, name))

    def look_at(self, namespace: str, name: str) -> None:
        """Have the postman look at a letter, as soon as `owes` would."""
        self.soon(partial(self.postman.look_at, namespace, name))

    def hold(self) -> None:
        """Keep back what this thread will ask for until `release`: it serves a request that has no answer yet."""
        if not hasattr(self._request, "held"):
            self._request.held = []

    def release(self) -> None:
        """Let go what was held: the answer is out."""
        for ask in self._request.__dict__.pop("held", ()):
            ask()

    def stop(self, timeout: float) -> None:
        """End, both within `timeout` seconds; what is left is found by the sweep."""
        end = time.monotonic() + timeout
        for sender in (self.outbox, self.postman):
            sender.stop(max(0.0, end - time.monotonic()))

    def soon(self, ask: Callable[[], None]) -> None:
        """Ask now, or when the request that this thread serves has its answer; asking must not block."""
        held: list[Callable[[], None]] | None = getattr(self._request, "held", None)
        ask() if held is None else held.append(ask)
