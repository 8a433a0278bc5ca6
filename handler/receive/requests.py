"""What is known of a request while it is served: who sent it, what its log lines say, and how a problem is answered.

Called by `app.py`, `arrivals.py` and `api/entry.py`; kept in Flask's `g`, which lives as long as the request.
"""

import json
import logging
from functools import cache, partial
from typing import Any

from flask import Response, g, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from knative_lambda.handler.access.caller import Attempt, Caller
from knative_lambda.handler.access.entrance import Entrance
from knative_lambda.handler.receive import bodies, problems
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.porter import Answered
from knative_lambda.handler.receive.problems import Problem
from knative_lambda.schemas.errors import ProductError
from knative_lambda.schemas.redaction import redacted

log = logging.getLogger(__name__)


def attempt(limits: Limits) -> Attempt:
    """Return what a request brings to say who sent it; its body is read when it is asked for, once."""
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Attempt(headers, cache(partial(bodies.whole, request.stream, request.content_length, limits.body)))


def caller(entrance: Entrance, brought: Attempt) -> Caller:
    """Return who sent the request, and keep it; raise `Denied` where that is nobody known."""
    found: Caller = entrance.caller(brought)
    g.caller, g.caller_by = found.name, found.mode
    return found


def fields() -> dict[str, Any]:
    """Return what each log line of the request says."""
    known = {"caller": g.caller, "caller_by": g.caller_by} if g.get("caller") else {}
    return {"correlation_id": g.correlation_id} | known


def ended(status: int, reason: str = "") -> Answered:
    """Return how the request ended, for the audit trail."""
    return Answered(status, reason, g.get("caller", ""), g.correlation_id)


def failed(error: Exception) -> Problem:
    """Return the problem of what no view has answered: an unknown path or method, a dependency that is away, a bug.

    What is none of whoever asks is logged.
    """
    if isinstance(error, HTTPException) and error.code is not None:
        headers = {"Allow": ", ".join(error.valid_methods or ())} if isinstance(error, MethodNotAllowed) else {}
        slug = error.name.lower().replace(" ", "-")
        return Problem(error.code, slug, error.name, error.description or "", headers=headers)
    problem = problems.of(error)
    bug = not isinstance(error, ProductError)
    told = fields() | {"path": request.path, "status": problem.status, "why": "" if bug else str(error)}
    log.log(logging.ERROR if bug else logging.WARNING, "not answered", extra={"fields": told}, exc_info=bug and error)
    return problem


def answer(problem: Problem) -> Response:
    """Return a problem as the answer, with no secret in it."""
    g.reason = problem.slug
    body = json.dumps(redacted(problem.body(g.correlation_id)))
    return Response(body, problem.status, problem.headers, content_type=problems.CONTENT_TYPE)
