"""The path that events come in by: let in, handled one by one, each logged, counted and noted, and answered.

Called by `app.py`. A broker takes any body of a success for a broken event, so what was accepted is answered with none.
"""

import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

from flask import Response, g, request

from knative_lambda.deploy.reviews import Right
from knative_lambda.handler.events import Event
from knative_lambda.handler.observe.spans import Attributes, Spans
from knative_lambda.handler.receive import asked, intake, problems, requests
from knative_lambda.handler.receive.asked import Asked
from knative_lambda.handler.receive.batches import together
from knative_lambda.handler.receive.door import Door, Listener
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.porter import Porter
from knative_lambda.handler.receive.problems import Problem
from knative_lambda.schemas import trace
from knative_lambda.schemas.errors import ProductError, Temporary
from knative_lambda.schemas.types import SOURCES

INTERNAL = frozenset(known.type for known in SOURCES)
"""What nobody sends by hand: there are many of these, and one that was handled says nothing."""
log = logging.getLogger(__name__)


class Arrivals:
    """Takes the events of requests in."""

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
            return requests.answer(problem)
        began = time.perf_counter()
        try:
            found = self._let_in()
        except ProductError as error:
            problem = problems.of(error)
            log.warning("not let in", extra={"fields": requests.fields() | _claimed(problem) | {"why": str(error)}})
            self._tell("", problem.status, began)
            if not g.get("noted"):
                self._note_unread(problem)
            return requests.answer(problem)
        errors = [(index, met) for index, event in enumerate(found) if (met := self._handle(event))]
        if errors:
            batch = intake.is_batch(request.headers.get("Content-Type", ""))
            return requests.answer(problems.of(together(errors) if batch else errors[0][1]))
        accepted = Response(status=202)
        del accepted.headers["Content-Type"]
        return accepted

    def _let_in(self) -> list[Event]:
        """Return the events of a request, all of which its sender may send.

        Who it is comes first: a stranger's body is not read. Then whether they send too much, which costs nobody
        anything, and only then what the cluster is asked. Raises `Denied`, `Temporary`, the errors of `intake.read`.
        """
        access, attempt = self._door.access, requests.attempt(self._limits)
        caller = requests.caller(access.events, attempt)
        found = intake.read(attempt.headers, attempt.body(), self._limits)
        event, granted = next(iter(found), None), set[Right]()
        try:
            self._porter.meet(caller, len(found))
            access.events.once(caller)
            for event in found:
                access.events.require(caller, access.operation(event), granted)
        except ProductError as error:
            if event:
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
            with self._spans.span(event.type, told(event), link=str(event.extensions.get(trace.HEADER, ""))):
                self._door.receive(event)
        except Exception as error:  # noqa: BLE001 - a bug in one event of a batch must not keep the others from being handled
            met = error
            problem = problems.of(error)
            status, reason = problem.status, problem.slug
            level = logging.WARNING if isinstance(error, ProductError) else logging.ERROR
        fields = requests.fields() | {
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
        self._porter.note(wanted, requests.ended(status, reason), event.id, event.source, event.type)
        return met

    def _note(self, event: Event, problem: Problem) -> None:
        g.noted = True
        end = requests.ended(problem.status, problem.slug)
        self._porter.note(self._porter.asked(event), end, event.id, event.source, event.type)

    def _note_unread(self, problem: Problem) -> None:
        """Note a request of which no event was let in, as what its headers say of it."""
        event_id, kind, source = (request.headers.get(f"Ce-{name}", "") for name in ("Id", "Type", "Source"))
        wanted = Asked(asked.operation_of(kind))
        self._porter.note(wanted, requests.ended(problem.status, problem.slug), event_id, source, kind)

    def _tell(self, kind: str, status: int, began: float) -> None:
        for listener in self._listeners:
            listener(kind, status, time.perf_counter() - began)


def told(event: Event) -> Attributes:
    """Return what a span says of an event: whose it is, and which; nothing of what it holds."""
    data = event.data if isinstance(event.data, dict) else {}
    place = {name: value for name in ("tenant", "name") if isinstance(value := data.get(name), str)}
    return {"event_id": event.id, "event_type": event.type, "event_source": event.source, **place}


def _build_of(event: Event) -> str:
    """Return the Build that an event names, or reports of; "" where it names none."""
    data = event.data if isinstance(event.data, dict) else {}
    return str(data.get("build") or (data.get("name", "") if data.get("kind") == "Build" else ""))


def _claimed(problem: Problem) -> dict[str, Any]:
    """Return what a request that was not let in says of its event, as far as its headers do, and all its faults."""
    said = {f"event_{name}": request.headers.get(f"Ce-{name}", "") for name in ("id", "type", "source")}
    return said | {"status": problem.status, "faults": [f"{each.where}: {each.message}" for each in problem.faults]}
