"""The HTTP door: events in, problems out, and the read model under ``/v1``.

Called by `__main__.py`, `dev.py` (or a test) with what lies behind the door. Flask is imported here for the receiver.
"""

from collections.abc import Callable, Sequence
from functools import partial

from flask import Flask, Response

from knative_lambda.handler.api import entry
from knative_lambda.handler.observe.spans import Spans
from knative_lambda.handler.receive import correlation, health, requests
from knative_lambda.handler.receive.arrivals import Arrivals
from knative_lambda.handler.receive.door import Door, HttpSettings, Listener
from knative_lambda.handler.receive.porter import Porter


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
    porter, spans = porter or Porter(), spans or Spans()
    app = Flask(__name__, static_folder=None, template_folder=None)
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    correlation.add(app)
    app.after_request(partial(_call_when_sent, door.answered))
    app.register_error_handler(Exception, _failed)
    events = Arrivals(door, settings.limits, draining, listeners=listeners, porter=porter, spans=spans)
    for path in ("/", "/events"):
        app.add_url_rule(path, f"receive {path}", events.receive, methods=["POST"])
    health.add(app, door.dependencies, draining, page=settings.page)
    entry.add(app, door, settings, listeners=listeners, porter=porter, spans=spans)
    if settings.page:
        from knative_lambda.handler.page import paths  # noqa: PLC0415 - for the first event nobody needs it

        paths.add(app, door, settings.limits, porter)
    return app


def _call_when_sent(then: Callable[[], None], response: Response) -> Response:
    response.call_on_close(then)
    return response


def _failed(error: Exception) -> Response:
    return requests.answer(requests.failed(error))
