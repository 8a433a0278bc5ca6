"""What the process counts, as Prometheus reads it, on a port of its own.

Called by `__main__.py`. The rest of the product knows nothing of it: these are listeners, which could be taken away
without touching anything else. One process, one registry, no globals.
"""

import logging
from collections.abc import Sequence
from threading import Thread
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from knative_lambda.schemas.guard import DEPENDENCIES, STATES
from knative_lambda.schemas.types import TYPES

OURS = "knative_lambda_"
OTHER = "other"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""Upper bounds of the histogram's buckets: a Trigger waits 30 s."""
log = logging.getLogger(__name__)


class Metrics:
    """The product's metrics in a registry of their own; `dependencies` are those that the process has guards for."""

    def __init__(self, dependencies: Sequence[str] = DEPENDENCIES) -> None:
        self.registry = it = CollectorRegistry()
        ProcessCollector(registry=it)
        PlatformCollector(registry=it)
        self._state = Gauge(f"{OURS}breaker_state", "1: in this state", ("dependency", "state"), registry=it)
        self._transitions = Counter(
            f"{OURS}breaker_transitions", "Changes of a breaker", ("dependency", "state"), registry=it
        )
        self._retries = Counter(f"{OURS}dependency_retries", "Calls tried again", ("dependency",), registry=it)
        self._events = Counter(f"{OURS}events", "Events, by their answer", ("type", "status"), registry=it)
        self._seconds = Histogram(f"{OURS}event_seconds", "From body to end", ("type",), buckets=SECONDS, registry=it)
        self._notes = Counter(f"{OURS}notifications", "Notifications offered", ("type", "outcome"), registry=it)
        self._audit = Counter(f"{OURS}audit_records", "Audit records, for the sink", ("outcome",), registry=it)
        self._server: tuple[WSGIServer, Thread] | None = None
        for dependency in dependencies:
            self._show(dependency, STATES[0])
            self._retries.labels(dependency)

    def breaker(self, dependency: str, state: str) -> None:
        """Count the change of a breaker to a state."""
        self._show(dependency, state)
        self._transitions.labels(dependency, state).inc()

    def retried(self, dependency: str) -> None:
        """Count a call that is tried again."""
        self._retries.labels(dependency).inc()

    def handled(self, kind: str, status: int, seconds: float) -> None:
        """Count an event by its type and the status that it is answered with; what is no known type is ``other``."""
        known = kind if kind in TYPES else OTHER
        self._events.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def notified(self, kind: str, outcome: str) -> None:
        """Count what became of a notification: ``sent``, ``later`` or ``refused``."""
        self._notes.labels(kind if kind in TYPES else OTHER, outcome).inc()

    def audited(self, outcome: str, number: int) -> None:
        """Count audit records that the sink took (``sent``), did not take yet (``later``), or never got (``lost``)."""
        self._audit.labels(outcome).inc(number)

    def serve(self, port: int) -> None:
        """Let the metrics be read on this port, 0 for none; one that is taken is told, and nothing else suffers."""
        if port:
            try:
                self._server = start_http_server(port, registry=self.registry)
            except OSError as error:
                log.warning("nobody can read the metrics: port %s: %s", port, error)

    def close(self) -> None:
        """Stop being read."""
        if self._server is not None:
            server, thread = self._server
            self._server = None
            server.shutdown()
            server.server_close()
            thread.join()

    def _show(self, dependency: str, state: str) -> None:
        for each in STATES:
            self._state.labels(dependency, each).set(each == state)
