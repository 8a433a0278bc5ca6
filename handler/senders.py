"""What sends to Brokers once the answer is out: the outbox and the postman, a thread each.

Joined by `wire.py` and `dev.py`; no request ever waits for either.
"""

from dataclasses import dataclass

from knative_lambda.deploy.cluster import Cluster
from knative_lambda.handler.outbox import Outbox, Post
from knative_lambda.handler.postman import Postman
from knative_lambda.handler.settings import Settings
from knative_lambda.storage.store import Store


@dataclass(frozen=True)
class Senders:
    """The threads that send to Brokers what is owed once the answer is out."""

    outbox: Outbox
    postman: Postman

    @classmethod
    def over(cls, cluster: Cluster, store: Store, settings: Settings, send: Post) -> "Senders":
        """Return them, not started yet."""
        outbox = Outbox(cluster, store, settings.broker_url, send)
        return cls(outbox, Postman(cluster, settings.namespace, settings.broker_url, send))

    def start(self) -> None:
        """Start sending."""
        for sender in (self.outbox, self.postman):
            sender.start()

    def stop(self, timeout: float) -> None:
        """End, each within `timeout` seconds; what is left is found by the sweep."""
        for sender in (self.postman, self.outbox):
            sender.stop(timeout)
