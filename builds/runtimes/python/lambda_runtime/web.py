"""An HTTP function, as functions-framework has it: Flask makes its request, and the answer of what it returns.

Called by `server.py` in the place of a `Delivery`. The function answers what it likes, to whatever comes; but who sends
an event gets one: a broker takes no other body, so what it answers then is wrapped.
"""

from __future__ import annotations

import io
import sys
from typing import Any
from urllib.parse import unquote_to_bytes

from .binding import STRUCTURED, read
from .context import RESULT, Context
from .delivery import Delivery
from .event import Event
from .function import Function, LoadError
from .reply import Reply, reply_to
from .request import Request
from .settings import Settings

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


class Web(Delivery):
    """Hands requests to an HTTP function, at most `settings.concurrency` at once."""

    everything = True

    def __init__(self, function: Function, settings: Settings) -> None:
        """Raise `LoadError` where there is no Flask."""
        super().__init__(function, settings)
        self._app = _app(function, settings)

    def __call__(self, request: Request) -> Reply:
        """Return the function's answer to a request."""
        event = _event(request)
        with self.delivered(event or Event({}), request) as context:
            return self._answered(request, context, wrapped=event is not None)

    def _answered(self, request: Request, context: Context, *, wrapped: bool) -> Reply:
        try:
            with self._slot, self._app.request_context(_environ(request)):
                response = self._app.full_dispatch_request()
                response.direct_passthrough = False
                body = b"" if request.method == "HEAD" else response.get_data()
                response.close()
        except BaseException as error:  # noqa: BLE001 - a function's sys.exit() must not end the process for the others
            return self.raised(error)
        headers = [(name, value) for name, value in response.headers if name.lower() != "content-length"]
        reply = Reply(response.status_code, headers, body)
        return _as_event(reply, context) if wrapped else reply


def _app(function: Function, settings: Settings) -> Any:
    try:
        import flask  # noqa: PLC0415 - only functions that need it pay for it, and bring it
    except ModuleNotFoundError as error:
        raise LoadError(
            f"{settings.entrypoint!r} is an HTTP function, which takes Flask's request: "
            "is functions-framework in requirements.txt?"
        ) from error
    app = flask.Flask(settings.name, root_path=settings.code, static_folder=None)

    def view(**_: str) -> Any:
        return function(flask.request, None)  # type: ignore[arg-type]

    app.add_url_rule("/", "function", view, methods=METHODS, defaults={"path": ""})
    app.add_url_rule("/<path:path>", "function", view, methods=METHODS)
    for error, handler in getattr(sys.modules.get("functions_framework"), "errorhandlers", ()):
        app.register_error_handler(error, handler)
    return app


def _event(request: Request) -> Event | None:
    """Return the event that a request bears, or None: what is no well-formed one is a request like any."""
    names = {name.lower(): value for name, value in request.headers}
    if "ce-specversion" not in names and not names.get("content-type", "").startswith(STRUCTURED):
        return None
    try:
        return read(request.headers, request.body)
    except ValueError:
        return None


def _as_event(reply: Reply, context: Context) -> Reply:
    """Return a success that is no event as the data of one."""
    headers = {name.lower(): value for name, value in reply.headers}
    content_type = headers.get("content-type", "")
    is_event = "ce-specversion" in headers or content_type.startswith(STRUCTURED)
    if reply.status >= 300 or not reply.body or is_event:  # noqa: PLR2004 - the successes end there
        return reply
    made = reply_to(context.event(type=RESULT, data=reply.body, datacontenttype=content_type or None), context)
    return Reply(
        reply.status, [*made.headers, *((n, v) for n, v in reply.headers if n.lower() != "content-type")], made.body
    )


def _environ(request: Request) -> dict[str, Any]:
    """Return a request as WSGI has it (PEP 3333)."""
    path, _, query = request.target.partition("?")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(path).decode("latin-1"),
        "QUERY_STRING": query,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = f"HTTP_{key}"
        environ[key] = f"{environ[key]},{value}" if key in environ else value
    environ["CONTENT_LENGTH"] = str(len(request.body))
    environ.pop("HTTP_TRANSFER_ENCODING", None)
    return environ
