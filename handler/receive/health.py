"""The paths that say how the process is, and which others there are; nobody is asked who they are.

Called by `app.py`. Whether it is ready is about the process alone: a dependency that is down would else take away the
pods that should say so.
"""

import json
from collections.abc import Callable, Mapping

from flask import Flask, Response, redirect
from werkzeug.wrappers import Response as Answer

from knative_lambda.schemas import catalogue

CLOSED = "closed"
ENTRANCES = {
    "events": "/",
    "health": ["/health/live", "/health/ready", "/health/dependencies"],
    "description": "/openapi.json",
}
"""What whoever has but the address is told of, where there is no page to lead them to."""


def add(
    app: Flask, dependencies: Callable[[], Mapping[str, str]], draining: Callable[[], bool], *, page: bool = False
) -> None:
    """Add the paths; `dependencies` returns the state of each one's breaker, as `Door` has it.

    With a `page` a browser is led there, by a way from where it is: a proxy may have all of it below a path of its own.
    """

    @app.get("/")
    def entrances() -> Answer:
        return redirect("ui", 303) if page else _json(ENTRANCES)

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
