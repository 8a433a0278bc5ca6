"""What sends to Brokers and webhooks once the answer is out: the outbox, the postman and the couriers, a thread each.

Joined by `wire.py` and `dev.py`; no request waits for any, and none sends for a request that is being served.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from knative_lambda.deploy.cluster import Cluster
from knative_lambda.handler.settings import Settings
from knative_lambda.handler.tell import courier, notices
from knative_lambda.handler.tell.courier import Courier
from knative_lambda.handler.tell.hooks import Hook
from knative_lambda.handler.tell.notices import Fated, Notices
from knative_lambda.handler.tell.outbox import Notified, Outbox, Post
from knative_lambda.handler.tell.postman import Postman
from knative_lambda.storage.store import Store


@dataclass(frozen=True)
class Senders:
    """The threads that send what is owed once the answer is out."""

    outbox: Outbox
    postman: Postman
    couriers: Sequence[Courier] = ()
    _request: threading.local = field(default_factory=threading.local)

    @classmethod
    def over(  # noqa: PLR0913 - the ports, those who are told, and the switch for tests
        cls,
        cluster: Cluster,
        store: Store,
        settings: Settings,
        send: Post,
        listeners: Sequence[Notified] = (),
        *,
        hook: Hook | None = None,
        fated: Sequence[Fated] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> "Senders":
        """Return them, not started yet; without `hook` no webhook is told."""
        targets = [target for target in notices.targets(settings) if hook or not target.url]
        owed = Notices(store, targets, now, settings.webhook_age * 1000, fated)
        folder, by_broker = Path(settings.webhook_keys), courier.by_broker(send, settings.broker_url)
        couriers = [
            Courier(target, owed, courier.by_hook(hook, target, folder, now) if hook and target.url else by_broker)
            for target in targets
        ]
        outbox = Outbox(
            cluster,
            store,
            settings.broker_url,
            send,
            listeners,
            notices=owed if targets else None,
            wakes=[each.owes for each in couriers],
        )
        return cls(outbox, Postman(cluster, settings.namespace, settings.broker_url, send), couriers)

    def start(self) -> None:
        """Start sending."""
        self.outbox.start()
        self.postman.start()
        for each in self.couriers:
            each.start()

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
        """End, all within `timeout` seconds; what is left is found by the sweep."""
        end = time.monotonic() + timeout
        for sender in (self.outbox, self.postman):  # the couriers bring what the outbox hands over even now
            sender.stop(max(0.0, end - time.monotonic()))
        for each in self.couriers:
            each.close()
        for each in self.couriers:
            each.join(max(0.0, end - time.monotonic()))

    def soon(self, ask: Callable[[], None]) -> None:
        """Ask now, or when the request that this thread serves has its answer; asking must not block."""
        held: list[Callable[[], None]] | None = getattr(self._request, "held", None)
        ask() if held is None else held.append(ask)
