"""The entrance of ``/v1``: who may, how often, what is noted of it, and what an action becomes.

Called by `app.py`, once, when the application is made.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from functools import partial

from flask import Flask, Response, g, request
from werkzeug.exceptions import Gone

from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.api import records
from knative_lambda.handler.api.deprecations import Deprecated
from knative_lambda.handler.api.records import Way
from knative_lambda.handler.events import Event
from knative_lambda.handler.observe.spans import Spans
from knative_lambda.handler.receive import asked, problems, requests
from knative_lambda.handler.receive.arrivals import told
from knative_lambda.handler.receive.asked import Asked
from knative_lambda.handler.receive.door import Door, HttpSettings, Listener
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.porter import Porter
from knative_lambda.schemas import trace

READS = ("GET", "HEAD")
REFUSED = (401, 403, 429)
"""What is noted of a request that would have changed nothing, too."""
log = logging.getLogger(__name__)


def add(  # noqa: PLR0913 - what `app.py` was given
    app: Flask, door: Door, settings: HttpSettings, *, listeners: Sequence[Listener], porter: Porter, spans: Spans
) -> None:
    """Add the paths under ``/v1``, with what is done before and after each."""
    app.after_request(partial(_note, porter))
    let_in = partial(_let_in, door, settings.limits, porter)
    records.add(app, Way(lambda: door.read, let_in, _body, partial(_act, door, listeners, spans), settings.limits))
    app.before_request(partial(_require_there, settings.deprecated))
    app.after_request(partial(_tell_deprecated, settings.deprecated))


def _let_in(door: Door, limits: Limits, porter: Porter, operations: Sequence[Operation]) -> None:
    """Let a request in and count it; raise `Denied`, or `TooMany` where it is over a rate.

    Who may not is counted as a caller alone: a stranger would use up what is a tenant's.
    """
    entrance, attempt = door.access.api, requests.attempt(limits)
    caller = requests.caller(entrance, attempt)
    porter.meet(caller)
    entrance.once(caller)
    for operation in operations:
        entrance.require(caller, operation)
    g.body = attempt.body
    if wanted := _asked():
        porter.admit(wanted)


def _act(door: Door, listeners: Sequence[Listener], spans: Spans, event: Event) -> None:
    """Do what an event asks for that was made of an action, log its line, and count it; what is raised is answered."""
    began, met = time.perf_counter(), None
    within = trace.within(request.headers.get("Traceparent", ""))
    try:
        with within, spans.span(event.type, told(event), serves=True):
            door.receive(event)
    except Exception as error:
        met = error
        raise
    finally:
        seconds = time.perf_counter() - began
        status = 202 if met is None else problems.of(met).status
        fields = {
            "event_id": event.id,
            "event_type": event.type,
            "event_source": event.source,
            "tenant": event.data["tenant"],
            "function": event.data["name"],
            "build": event.data.get("build", ""),
            "status": status,
            "milliseconds": round(seconds * 1000, 1),
        }
        level, said = (logging.INFO, "handled") if met is None else (logging.WARNING, "not handled")
        log.log(level, said, extra={"fields": requests.fields() | fields})
        for listener in listeners:
            listener(event.type, status, seconds)


def _body() -> bytes:
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


def _note(porter: Porter, response: Response) -> Response:
    """Note a request under ``/v1`` that is to change something, and any that was denied or one too many."""
    wanted = _asked()
    if wanted and (request.method not in READS or response.status_code in REFUSED):
        porter.note(wanted, requests.ended(response.status_code, g.get("reason", "")))
    return response


def _asked() -> Asked | None:
    if request.endpoint is None or request.endpoint not in asked.API:
        return None
    names = request.view_args or {}
    return Asked(request.endpoint, names.get("tenant", ""), names.get("name", ""))
