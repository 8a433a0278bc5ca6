"""The paths that say how the process is, and the description of the others; nobody is asked who they are.

Called by `app.py`. Whether it is ready is about the process alone: a dependency that is down would else take away the
pods that should say so.
"""

import json
from collections.abc import Callable, Mapping

from flask import Flask, Response

from knative_lambda.schemas import catalogue

CLOSED = "closed"


def add(app: Flask, dependencies: Callable[[], Mapping[str, str]], draining: Callable[[], bool]) -> None:
    """Add the paths; `dependencies` returns the state of each one's breaker, as `Door` has it."""

    @app.get("/health/live")
    def live() -> Response:
        return _json({"status": "live"})

    @app.get("/health/ready")
    def ready() -> Response:
        if draining():
            return _json({"status": "draining"}, 503)
        degraded = sorted(name for name, state in dependencies().items() if state != CLOSED)
        return _json({"status": "ready", "degraded": degraded})

    @app.get("/health/dependencies", endpoint="dependencies")
    def states() -> Response:
        found = dict(dependencies())
        healthy = all(state == CLOSED for state in found.values())
        return _json({"status": "ok" if healthy else "degraded", "dependencies": found}, 200 if healthy else 503)

    @app.get("/openapi.json")
    def openapi() -> Response:
        return _json(catalogue.openapi())


def _json(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
