"""The effects that the receivers of a real cluster log, gathered while they live: a Pod takes its log with it."""

import json
import threading
from contextlib import suppress
from dataclasses import dataclass, field

from knative_lambda.deploy.cluster import POD, Cluster
from knative_lambda.schemas.errors import ProductError

EVERY = 3.0
"""Seconds between two readings; a receiver stays up for longer after its last event."""
LOG = 4_000_000
SERVICES = {"receiver": "receiver", "deadletters": "deadletters"}
"""The product's services, and the container of each that logs."""


@dataclass
class Recorded:
    """Every effect that was logged since the start."""

    cluster: Cluster
    namespace: str
    effects: set[str] = field(default_factory=set)
    _stopped: threading.Event = field(default_factory=threading.Event)

    def start(self) -> None:
        """Gather until told to stop."""
        threading.Thread(target=self._run, name="recorded", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def gather(self) -> None:
        """Read the logs of all that live now."""
        for service, container in SERVICES.items():
            for pod in self.cluster.list(POD, self.namespace, {"serving.knative.dev/service": service}):
                log = self.cluster.pod_log(self.namespace, pod["metadata"]["name"], container, limit=LOG) or b""
                for line in log.splitlines():
                    if b'"effect"' in line:
                        with suppress(ValueError):
                            self.effects.add(json.loads(line)["effect"])

    def _run(self) -> None:
        while not self._stopped.wait(EVERY):
            with suppress(ProductError):
                self.gather()
