"""What the process counts, as Prometheus reads it, on a port of its own.

Called by `__main__.py`. The rest of the product knows nothing of it: these are listeners, which could be taken away
without touching anything else. One process, one registry, no globals.
"""

import logging
import socket
import time
from collections.abc import Callable, Sequence
from io import BufferedReader, RawIOBase
from threading import BoundedSemaphore, Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)
from prometheus_client.exposition import ThreadingWSGIServer

from knative_lambda.handler.effects import READS, Call
from knative_lambda.handler.observe.census import Census
from knative_lambda.handler.observe.metrics_census import CensusMetrics
from knative_lambda.handler.receive import asked
from knative_lambda.schemas.errors import ProductError
from knative_lambda.schemas.guard import DEPENDENCIES, STATES
from knative_lambda.schemas.types import TYPES

OURS = "knative_lambda_"
OTHER = "other"
SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30)
"""Upper bounds of the histogram's buckets: a Trigger waits 30 s."""
PORTS = frozenset({*READS, "broker"})
"""Whose calls are counted."""
OPERATIONS = asked.API | asked.EVENTS
AT_ONCE = 8
"""Who reads the metrics at once: a few scrapers, each of whom is done in a moment."""
App = Callable[..., Any]
"""A WSGI application."""
log = logging.getLogger(__name__)


class _Until(RawIOBase):
    """What a caller says until a moment; raises `TimeoutError` from then on, however often something came before."""

    def __init__(self, caller: socket.socket, seconds: float) -> None:
        self._caller, self._seconds = caller, seconds
        self._end = time.monotonic() + seconds

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        self._caller.settimeout(max(self._end - time.monotonic(), 0.001))
        try:
            return self._caller.recv_into(into)
        finally:
            self._caller.settimeout(self._seconds)  # to answer there is as long again


class _Silent(WSGIRequestHandler):
    timeout = 5
    """Seconds until who has not said what they want is let go of."""

    def setup(self) -> None:
        """Listen for so long in all: each byte gains nobody more time."""
        super().setup()
        self.rfile = BufferedReader(_Until(self.connection, self.timeout))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as the standard library has it
        """Say nothing: it would be a line for each scrape."""


class _Few(ThreadingWSGIServer):
    """Answers as many at once as there is `room` for, each in a thread; who comes then is let go of."""

    room: BoundedSemaphore

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread where there is room for one."""
        if not self.room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:  # there is no thread to do so
            self.room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Answer, and make room."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self.room.release()


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
        self._hooks = Counter(f"{OURS}webhook_events", "Events for webhooks", ("webhook", "outcome"), registry=it)
        self._audit = Counter(f"{OURS}audit_records", "Audit records, for the sink", ("outcome",), registry=it)
        self._turned_away = Counter(
            f"{OURS}turned_away", "Denied, or over a rate", ("operation", "status"), registry=it
        )
        self._calls = Counter(f"{OURS}calls", "Calls of ports", ("port", "operation", "result"), registry=it)
        self._call_seconds = Histogram(
            f"{OURS}call_seconds", "With retries", ("port", "operation"), buckets=SECONDS, registry=it
        )
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

    def hooked(self, webhook: str, outcome: str) -> None:
        """Count what became of an event for a webhook: ``sent``, ``later``, ``refused``, or given up: ``lost``."""
        self._hooks.labels(webhook, outcome).inc()

    def audited(self, outcome: str, number: int) -> None:
        """Count audit records that the sink took (``sent``), did not take yet (``later``), or never got (``lost``)."""
        self._audit.labels(outcome).inc(number)

    def turned_away(self, operation: str, status: int) -> None:
        """Count who was denied something, or was over a rate."""
        self._turned_away.labels(operation if operation in OPERATIONS else OTHER, str(status)).inc()

    def call(self, call: Call, do: Callable[[], Any]) -> Any:
        """Make a call of a port and count it (an `Around`): ``ok``, the error that it was answered, or ``error``."""
        if call.port not in PORTS:
            return do()
        result, began = "error", time.perf_counter()
        try:
            done = do()
            result = "ok"
        except ProductError as error:
            result = type(error).__name__
            raise
        else:
            return done
        finally:
            self._calls.labels(call.port, call.method, result).inc()
            self._call_seconds.labels(call.port, call.method).observe(time.perf_counter() - began)

    def show(self, census: Census, product: str) -> None:
        """Show what a census has counted, too; `product` is the product's namespace."""
        self.registry.register(CensusMetrics(census, product, OURS))

    def serve(self, port: int, behind: Callable[[App], App] = lambda app: app, most: int = AT_ONCE) -> None:
        """Let the metrics be read on this port, 0 for none, `behind` whatever else is to see a request first.

        So many are answered at once, at `most`: each takes a thread of this process.
        A port that is taken is told, and nothing else suffers.
        """
        if not port:
            return
        try:
            app = behind(make_wsgi_app(self.registry))
            server = make_server("", port, app, _Few, handler_class=_Silent)
        except OSError as error:
            log.warning("nobody can read the metrics: port %s: %s", port, error)
            return
        server.room = BoundedSemaphore(most)
        thread = Thread(target=server.serve_forever, name="metrics", daemon=True)
        thread.start()
        self._server = server, thread

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
