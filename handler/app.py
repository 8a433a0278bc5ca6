"""The HTTP door: events in, problems out, and the read model under ``/v1``.

Called by `wire.py` (or a test) with what lies behind the door. Flask is imported here for the receiver; a broker takes
any body of a success for a broken event, so an accepted event is answered with none.
"""

import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from typing import IO, Any, Protocol

from flask import Flask, Response, g, request
from werkzeug.exceptions import Gone, HTTPException, MethodNotAllowed

from knative_lambda.handler import asked, bodies, intake, problems, records
from knative_lambda.handler.access.caller import Attempt, Caller
from knative_lambda.handler.access.entrance import Entrance
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.api.deprecations import DEPRECATED, Deprecated
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.asked import Asked
from knative_lambda.handler.batches import together
from knative_lambda.handler.events import Event
from knative_lambda.handler.intake import Limits
from knative_lambda.handler.porter import Answered, Porter
from knative_lambda.handler.problems import Problem
from knative_lambda.handler.records import Way
from knative_lambda.handler.spans import Attributes, Spans
from knative_lambda.schemas import catalogue, trace
from knative_lambda.schemas.errors import Forbidden, Malformed, ProductError, Temporary, TooLarge
from knative_lambda.schemas.redaction import redacted
from knative_lambda.schemas.types import SOURCES

INTERNAL = frozenset(known.type for known in SOURCES)
"""What nobody sends by hand: there are many of these, and one that was handled says nothing."""
CLOSED = "closed"
READS = ("GET", "HEAD")
REFUSED = (401, 403, 429)
"""What is noted of a request that would have changed nothing, too."""
log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


Listener = Callable[[str, int, float], None]
"""Told of each event its type ("" of what is none), the status of its answer, and its seconds; must not raise."""


class Door(Protocol):
    """What lies behind the HTTP door."""

    @property
    def read(self) -> ReadModel | None:
        """Return what ``/v1`` reads, or None where it is not served."""

    @property
    def access(self) -> Entrances:
        """Return who is let in, by each of the entrances."""

    def receive(self, event: Event) -> None:
        """Do what an event asks for; raise the errors of `schemas/errors.py` where that cannot be done."""

    def answered(self) -> None:
        """Do what was to wait until the request has been answered; called once for each, in the thread that served."""

    def dependencies(self) -> Mapping[str, str]:
        """Return the state of the breaker of each dependency: ``closed``, ``open`` or ``half-open``."""


@dataclass(frozen=True)
class HttpSettings:
    """What the door decides."""

    limits: Limits = field(default_factory=Limits)
    """What a request may hold."""
    deprecated: Mapping[str, Deprecated] = field(default_factory=lambda: DEPRECATED)
    """What of ``/v1`` is about to go, by `operationId`."""


def create_app(  # noqa: PLR0913 - the door, and who is told of what goes on there
    door: Door,
    settings: HttpSettings,
    *,
    draining: Callable[[], bool] = lambda: False,
    listeners: Sequence[Listener] = (),
    porter: Porter | None = None,
    spans: Spans | None = None,
) -> Flask:
    """Return the WSGI application; `draining` says whether the process has been told to stop.

    Without a `porter` nothing is counted and there is no audit trail; without `spans` there are none.
    """
    porter = porter or Porter()
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.before_request(_correlate)
    app.after_request(_name_correlation)
    app.after_request(partial(_note_api, porter))
    app.after_request(partial(_call_when_sent, door.answered))
    app.register_error_handler(Exception, _failed)
    events = _Events(door, settings.limits, draining, listeners=listeners, porter=porter, spans=spans or Spans())
    for path in ("/", "/events"):
        app.add_url_rule(path, f"receive {path}", events.receive, methods=["POST"])
    _add_health(app, door, draining)
    let_in = partial(_let_in_api, door, settings.limits, porter)
    way = Way(lambda: door.read, let_in, _asked_body, partial(_act, door, listeners, spans or Spans()), settings.limits)
    records.add(app, way)
    app.before_request(partial(_require_there, settings.deprecated))
    app.after_request(partial(_tell_deprecated, settings.deprecated))
    return app


def _attempt(limits: Limits) -> Attempt:
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Attempt(headers, cache(partial(_body, request.stream, limits.body)))


def _caller(entrance: Entrance, attempt: Attempt) -> Caller:
    caller: Caller = entrance.caller(attempt)
    g.caller, g.caller_by = caller.name, caller.mode
    return caller


def _decide(entrance: Entrance, caller: Caller, operation: Operation | None) -> None:
    """Let a caller do something, or raise `Forbidden`: the one place where all is known, for events and ``/v1``."""
    entrance.require(caller, operation)


class _Events:
    """The path that events come in by."""

    def __init__(  # noqa: PLR0913 - the same
        self,
        door: Door,
        limits: Limits,
        draining: Callable[[], bool],
        *,
        listeners: Sequence[Listener],
        porter: Porter,
        spans: Spans,
    ) -> None:
        self._spans = spans
        self._door = door
        self._limits = limits
        self._draining = draining
        self._listeners = listeners
        self._porter = porter

    def receive(self) -> Response:
        """Handle the events of a request, every one of them, and answer with nothing, or with what is wrong."""
        with trace.within(request.headers.get("Traceparent", "")), self._spans.span("receive", {}, serves=True):
            return self._receive()

    def _receive(self) -> Response:
        if self._draining():  # what comes on a connection that was open already: another process has the time for it
            problem = problems.of(Temporary("this process is about to end", retry_after=1))
            self._note_unread(problem)
            return _answer(problem)
        began = time.perf_counter()
        try:
            found = self._let_in()
        except ProductError as error:
            problem = problems.of(error)
            log.warning("not let in", extra={"fields": _fields() | _claimed(problem) | {"why": str(error)}})
            self._tell("", problem.status, began)
            if not isinstance(error, Forbidden):
                self._note_unread(problem)
            return _answer(problem)
        errors = [(index, met) for index, event in enumerate(found) if (met := self._handle(event))]
        if errors:
            batch = intake.is_batch(request.headers.get("Content-Type", ""))
            return _answer(problems.of(together(errors) if batch else errors[0][1]))
        accepted = Response(status=202)
        del accepted.headers["Content-Type"]
        return accepted

    def _let_in(self) -> list[Event]:
        """Return the events of a request, all of which its sender may send.

        Who it is comes first: a stranger's body is not read. Raises `Denied`, `Temporary`, the errors of `intake.read`.
        """
        access, attempt = self._door.access, _attempt(self._limits)
        caller = _caller(access.events, attempt)
        found = intake.read(attempt.headers, attempt.body(), self._limits)
        for event in found:
            try:
                _decide(access.events, caller, access.operation(event))
            except Forbidden as error:
                self._note(event, problems.of(error))
                raise
        return found

    def _handle(self, event: Event) -> Exception | None:
        """Let an event be handled, log its one line, and return the error that it met."""
        met: Exception | None = None
        status, reason, level = 202, "", logging.DEBUG if event.type in INTERNAL else logging.INFO
        began = time.perf_counter()
        wanted = self._porter.asked(event)
        try:
            self._porter.admit(wanted)
            with self._spans.span(event.type, _told(event), link=str(event.extensions.get(trace.HEADER, ""))):
                self._door.receive(event)
        except Exception as error:  # noqa: BLE001 - a bug in one event of a batch must not keep the others from being handled
            met = error
            problem = problems.of(error)
            status, reason = problem.status, problem.slug
            level = logging.WARNING if isinstance(error, ProductError) else logging.ERROR
        fields = _fields() | {
            "event_id": event.id,
            "event_type": event.type,
            "event_source": event.source,
            "event_subject": event.subject,
            "tenant": wanted.tenant,
            "function": wanted.name,
            "build": _build_of(event),
            "status": status,
            "milliseconds": round((time.perf_counter() - began) * 1000, 1),
            "why": str(met) if isinstance(met, ProductError) else "",
        }
        log.log(
            level,
            "handled" if met is None else "not handled",
            extra={"fields": fields},
            exc_info=level == logging.ERROR and met,
        )
        self._tell(event.type, status, began)
        self._porter.note(wanted, _answered(status, reason), event.id, event.source, event.type)
        return met

    def _note(self, event: Event, problem: Problem) -> None:
        end = _answered(problem.status, problem.slug)
        self._porter.note(self._porter.asked(event), end, event.id, event.source, event.type)

    def _note_unread(self, problem: Problem) -> None:
        """Note a request of which no event was let in, as what its headers say of it."""
        event_id, kind, source = (request.headers.get(f"Ce-{name}", "") for name in ("Id", "Type", "Source"))
        wanted = Asked(asked.operation_of(kind))
        self._porter.note(wanted, _answered(problem.status, problem.slug), event_id, source, kind)

    def _tell(self, kind: str, status: int, began: float) -> None:
        for listener in self._listeners:
            listener(kind, status, time.perf_counter() - began)


def _told(event: Event) -> Attributes:
    """Return what a span says of an event: whose it is, and which; nothing of what it holds."""
    data = event.data if isinstance(event.data, dict) else {}
    place = {name: value for name in ("tenant", "name") if isinstance(value := data.get(name), str)}
    return {"event_id": event.id, "event_type": event.type, "event_source": event.source, **place}


def _build_of(event: Event) -> str:
    """Return the Build that an event names, or reports of; "" where it names none."""
    data = event.data if isinstance(event.data, dict) else {}
    return str(data.get("build") or (data.get("name", "") if data.get("kind") == "Build" else ""))


def _body(stream: IO[bytes], limit: int) -> bytes:
    """Return the request's body, never holding much beyond `limit` bytes, whatever its length is said to be."""
    said, too_large = request.content_length, TooLarge.because("body", f"is larger than {limit} bytes")
    if said is not None and said > limit:
        if said <= limit + bodies.THROWN_AWAY:
            bodies.throw_away(stream)
        raise too_large
    try:
        body, is_more = bodies.read(stream, limit)
    except Exception as error:  # the server's own exceptions of a client that stalled, left, or broke its chunks
        raise Malformed.because("body", "the request ended before its body did") from error
    if is_more:
        raise too_large
    if said is not None and len(body) < said:
        raise Malformed.because("body", "the request ended before its body did")
    return body


def _let_in_api(door: Door, limits: Limits, porter: Porter, operation: Operation) -> None:
    """Let a request to ``/v1`` in and count it; raise `Denied`, or `TooMany` where it is over a rate.

    Who may not is not counted: a stranger would use up what is a tenant's.
    """
    entrance, attempt = door.access.api, _attempt(limits)
    _decide(entrance, _caller(entrance, attempt), operation)
    g.body = attempt.body
    if wanted := _asked_of_api():
        porter.admit(wanted)


def _act(door: Door, listeners: Sequence[Listener], spans: Spans, event: Event) -> None:
    """Do what an event asks for that was made of an action; what is raised is answered, and told there."""
    began = time.perf_counter()
    within = trace.within(request.headers.get("Traceparent", ""))
    with within, spans.span(event.type, _told(event), serves=True):
        door.receive(event)
    seconds = time.perf_counter() - began
    fields = {"event_id": event.id, "event_type": event.type, "event_source": event.source, "status": 202}
    log.info("handled", extra={"fields": _fields() | fields | {"milliseconds": round(seconds * 1000, 1)}})
    for listener in listeners:
        listener(event.type, 202, seconds)


def _asked_body() -> bytes:
    body: bytes = g.body()
    return body


def _require_there(deprecated: Mapping[str, Deprecated]) -> None:
    known = deprecated.get(request.endpoint or "")
    if known is not None and known.is_gone:
        raise Gone(f"This is no more: see {known.instead}.")


def _tell_deprecated(deprecated: Mapping[str, Deprecated], response: Response) -> Response:
    if known := deprecated.get(request.endpoint or ""):
        response.headers.update(known.headers())
    return response


def _note_api(porter: Porter, response: Response) -> Response:
    """Note a request under ``/v1`` that is to change something, and any that was denied or one too many."""
    wanted = _asked_of_api()
    if wanted and (request.method not in READS or response.status_code in REFUSED):
        porter.note(wanted, _answered(response.status_code, g.get("reason", "")))
    return response


def _asked_of_api() -> Asked | None:
    if request.endpoint is None or request.endpoint not in asked.API:
        return None
    names = request.view_args or {}
    return Asked(request.endpoint, names.get("tenant", ""), names.get("name", ""))


def _answered(status: int, reason: str) -> Answered:
    return Answered(status, reason, g.get("caller", ""), g.correlation_id)


def _add_health(app: Flask, door: Door, draining: Callable[[], bool]) -> None:
    @app.get("/health/live")
    def live() -> Response:
        return _json({"status": "live"})

    @app.get("/health/ready")
    def ready() -> Response:
        if draining():
            return _json({"status": "draining"}, 503)
        degraded = sorted(name for name, state in door.dependencies().items() if state != CLOSED)
        return _json({"status": "ready", "degraded": degraded})

    @app.get("/health/dependencies")
    def dependencies() -> Response:
        states = dict(door.dependencies())
        healthy = all(state == CLOSED for state in states.values())
        return _json({"status": "ok" if healthy else "degraded", "dependencies": states}, 200 if healthy else 503)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(catalogue.openapi())


def _correlate() -> None:
    """Give the request the id that its log lines and its answer bear: the caller's, where it has a proper one."""
    given = request.headers.get("X-Request-Id", "")
    known = trace.trace_id(request.headers.get("Traceparent", ""))
    g.correlation_id = given if _REQUEST_ID.fullmatch(given) else known or uuid.uuid4().hex


def _name_correlation(response: Response) -> Response:
    response.headers["X-Correlation-Id"] = g.correlation_id
    return response


def _call_when_sent(then: Callable[[], None], response: Response) -> Response:
    response.call_on_close(then)
    return response


def _failed(error: Exception) -> Response:
    """Answer what no view has answered: an unknown path or method, a dependency that is away, a bug."""
    if isinstance(error, HTTPException) and error.code is not None:
        headers = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
        slug = error.name.lower().replace(" ", "-")
        return _answer(Problem(error.code, slug, error.name, error.description or "", headers=headers))
    problem = problems.of(error)
    bug = not isinstance(error, ProductError)
    fields = _fields() | {"path": request.path, "status": problem.status, "why": "" if bug else str(error)}
    log.log(logging.ERROR if bug else logging.WARNING, "not answered", extra={"fields": fields}, exc_info=bug and error)
    return _answer(problem)


def _answer(problem: Problem) -> Response:
    g.reason = problem.slug
    body = json.dumps(redacted(problem.body(g.correlation_id)))
    return Response(body, problem.status, problem.headers, content_type=problems.CONTENT_TYPE)


def _json(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")


def _claimed(problem: Problem) -> dict[str, Any]:
    """Return what a request that was not let in says of its event, as far as its headers do, and all its faults."""
    said = {f"event_{name}": request.headers.get(f"Ce-{name}", "") for name in ("id", "type", "source")}
    return said | {"status": problem.status, "faults": [f"{each.where}: {each.message}" for each in problem.faults]}


def _fields() -> dict[str, Any]:
    known = {"caller": g.caller, "caller_by": g.caller_by} if g.get("caller") else {}
    return {"correlation_id": g.correlation_id} | known
