"""The id under which a request stands in the log, in its answer, and in the audit trail.

Called by `app.py`. It is the caller's own, where it has a proper one, so that both sides speak of the same.
"""

import re
import uuid

from flask import Flask, Response, g, request

from knative_lambda.schemas import trace

_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")


def add(app: Flask) -> None:
    """Give each request its id, as `g.correlation_id`, and name it in the answer."""
    app.before_request(_correlate)
    app.after_request(_name)


def _correlate() -> None:
    given = request.headers.get("X-Request-Id", "")
    known = trace.trace_id(request.headers.get("Traceparent", ""))
    g.correlation_id = given if _REQUEST_ID.fullmatch(given) else known or uuid.uuid4().hex


def _name(response: Response) -> Response:
    response.headers["X-Correlation-Id"] = g.correlation_id
    return response
