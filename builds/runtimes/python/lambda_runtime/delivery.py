"""One delivery: a request's headers and body in, the reply out.

Called by `server.py`, from as many threads as there are requests. Whatever the function does, there is a
reply: a broker takes 4xx as final, and delivers again after a 500.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

from .binding import Malformed, Unsupported, read
from .context import Context, trace_id
from .event import Event
from .function import Function
from .log import handling, traceback_of
from .reply import NoReply, Reply, problem, reply_to
from .request import Request
from .settings import Settings


class Delivery:
    """Hands events to a function, at most `settings.concurrency` at once."""

    everything = False

    def __init__(self, function: Function, settings: Settings) -> None:
        self._function = function
        self._settings = settings
        self._log = logging.getLogger(settings.name)
        self._slot = (
            threading.BoundedSemaphore(settings.concurrency) if settings.concurrency else contextlib.nullcontext()
        )

    def __call__(self, request: Request) -> Reply:
        """Return the reply to a request."""
        try:
            event = read(request.headers, request.body)
        except Malformed as error:
            return problem(400, "the request is no well-formed CloudEvent", error.faults)
        except Unsupported as error:
            return problem(415, str(error))
        with self.delivered(event, request) as context:
            return self._handled(event, context)

    @contextlib.contextmanager
    def delivered(self, event: Event, request: Request) -> Iterator[Context]:
        """Yield the context of the event that a request bears; what is logged meanwhile bears its ids."""
        headers = {name.lower(): value for name, value in request.headers}
        context = self._context(event, headers.get("traceparent", ""))
        told = {"event_id": event.id, "event_type": event.type, "trace_id": trace_id(context.traceparent)}
        token = handling.set({name: value for name, value in told.items() if value is not None})
        try:
            yield context
        finally:
            handling.reset(token)

    def raised(self, error: BaseException) -> Reply:
        """Return the answer to what the function raised; log it."""
        kind = type(error).__name__
        fields = {"exception": kind, "traceback": traceback_of(error)}
        self._log.error("the function raised %s: %s", kind, error, extra={"fields": fields})
        return problem(500, kind)

    def _handled(self, event: Event, context: Context) -> Reply:
        try:
            with self._slot:
                value = self._function(event, context)
            return reply_to(value, context)
        except NoReply as error:
            self._log.error("the function returned a %s, which cannot be sent: %s", type(value).__name__, error)
            return problem(500, "the function's return value is neither a CloudEvent nor JSON")
        except BaseException as error:  # noqa: BLE001 - a function's sys.exit() must not end the process for the others
            return self.raised(error)

    def _context(self, event: Event, traceparent: str) -> Context:
        settings = self._settings
        return Context(
            name=settings.name,
            tenant=settings.tenant,
            revision=settings.revision,
            deadline=datetime.now(timezone.utc) + timedelta(seconds=settings.timeout),
            traceparent=traceparent or str(event.get("traceparent", "")),
            log=self._log,
            cause=event,
        )
