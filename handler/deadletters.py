"""The dead-letter service: events that nobody could handle, kept as `DeadLetter` objects with the reason.

A small service of its own, which needs neither the store nor the receiver: those may be what is down. Brokers and
Triggers post to ``/<namespace>``; Knative says why in extension attributes.
"""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from http import HTTPStatus

from flask import Flask, Response, request
from werkzeug.exceptions import RequestEntityTooLarge

from knative_lambda.deploy.cluster import DEAD_LETTER, Cluster, Object
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Refused, Temporary

DATA_KEPT = 256 * 1024
BODY_LIMIT = 11 * 1024 * 1024
WHY = {"knativeerrorcode": "code", "knativeerrordest": "trigger", "knativeerrordata": "message"}
REASONS = {400: "Malformed", 404: "NotFound", 413: "TooLarge", 422: "Refused", 429: "TooMany", 503: "Unavailable"}
STRUCTURED = "application/cloudevents+json"


def letter(namespace: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Object:
    """Return the DeadLetter of an event as Knative hands it over; its name is of the event, so that twice is once."""
    event, data = _event({name.lower(): value for name, value in headers.items()}, body)
    why = {field: str(event.pop(name)) for name, field in WHY.items() if name in event}
    code = int(why.get("code", "0")) if why.get("code", "0").isdigit() else 0
    spec: Object = {
        "reason": REASONS.get(code, "Failed" if code >= HTTPStatus.BAD_REQUEST else "Unreachable"),
        "message": _readable(why.get("message", "")),
        "code": code,
        "trigger": why.get("trigger", "")[:1024],
        "event": event if len(body) > DATA_KEPT else {**event, **data},
        "truncated": len(body) > DATA_KEPT,
        "time": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    identity = [event.get("source"), event.get("id"), spec["trigger"]]
    return {
        "apiVersion": DEAD_LETTER.api_version,
        "kind": DEAD_LETTER.kind,
        "metadata": {
            "name": f"dl-{names.sha256(identity)[7:39]}",
            "namespace": namespace,
            "labels": {"app.kubernetes.io/managed-by": names.MANAGER},
        },
        "spec": spec,
    }


def create_app(cluster: Cluster, namespaces: frozenset[str], now: Callable[[], datetime]) -> Flask:
    """Return the service; `namespaces` are those that it may write to."""
    app = Flask("knative-lambda-deadletters", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT

    @app.post("/<namespace>")
    def keep(namespace: str) -> Response:
        if namespace not in namespaces:
            return Response(status=HTTPStatus.UNPROCESSABLE_ENTITY)
        try:
            cluster.create(DEAD_LETTER, letter(namespace, dict(request.headers), request.get_data(), now()))
        except AlreadyExists:
            pass
        except Refused:
            app.logger.exception("a dead letter was refused by the cluster")
            return Response(status=HTTPStatus.UNPROCESSABLE_ENTITY)
        except Temporary as error:
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": str(error.retry_after)})
        return Response(status=HTTPStatus.ACCEPTED)

    @app.get("/health/live")
    @app.get("/health/ready")
    def healthy() -> Response:
        return Response(status=HTTPStatus.OK)

    @app.errorhandler(RequestEntityTooLarge)
    def too_large(_: RequestEntityTooLarge) -> Response:
        return Response(status=HTTPStatus.REQUEST_ENTITY_TOO_LARGE)

    return app


def _event(headers: Mapping[str, str], body: bytes) -> tuple[Object, Object]:
    """Return an event's attributes and its data, in the names of the JSON format; whatever it is, it is kept."""
    if headers.get("content-type", "").startswith(STRUCTURED):
        try:
            structured = json.loads(body)
        except ValueError:
            structured = None
        if isinstance(structured, dict):
            data = {key: structured.pop(key) for key in ("data", "data_base64") if key in structured}
            ours = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
            return {**structured, **ours}, data
    event = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    if "content-type" in headers:
        event["datacontenttype"] = headers["content-type"]
    try:
        return event, {"data": json.loads(body)} if body else {}
    except ValueError:
        return event, {"data_base64": base64.b64encode(body).decode()}


def _readable(message: str) -> str:
    """Return what the subscriber had said: Knative hands its answer over in base64."""
    try:
        return base64.b64decode(message, validate=True).decode()[:4000]
    except ValueError:
        return message[:4000]
