"""The dead-letter service: events that nobody could handle, kept as `DeadLetter` objects with the reason.

A small service of its own, which needs neither the store nor the receiver: those may be what is down. Brokers and
Triggers post to ``/<namespace>``; Knative says why in extension attributes. What becomes of a letter is the receiver's
(`postman.py`): this service answers 202 once it is written, and 503, so that Knative comes again, where it cannot be.
"""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime
from http import HTTPStatus
from typing import Any

from flask import Flask, Response, request

from knative_lambda.deploy.cluster import DEAD_LETTER, Cluster, Object
from knative_lambda.deploy.reviews import Reviews
from knative_lambda.handler.access.caller import Attempt
from knative_lambda.handler.access.tokens import CHALLENGE, Deliveries
from knative_lambda.handler.receive import bodies, strict_json
from knative_lambda.handler.receive.header_text import decoded
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Denied, Refused, Temporary, Unauthenticated
from knative_lambda.schemas.redaction import redact
from knative_lambda.schemas.types import FUNCTION_ERROR, NOTIFICATIONS, PREFIX

LetIn = Callable[[str, Mapping[str, str]], None]
"""Raises `Denied` where a request with these headers may not bring letters of a namespace."""
DATA_KEPT = 256 * 1024
AS_JSON = 512 * 1024
"""Bytes of data as the API server may write it; what would be more is kept in base64, which nobody escapes."""
ATTRIBUTES_KEPT = 256 * 1024
"""Bytes of all attributes together, written likewise; those beyond are left out."""
DEPTH, VALUES = 64, 100_000
ATTEMPTS = 5
"""How often a letter is written against others who write it too."""
BODY_LIMIT = 11 * 1024 * 1024
"""Bytes of a body that are looked at."""
ERROR = FUNCTION_ERROR.removeprefix(PREFIX)
WHY = {"knativeerrorcode": "code", "knativeerrordest": "trigger", "knativeerrordata": "message"}
REASONS = {400: "Malformed", 404: "NotFound", 413: "TooLarge", 422: "Refused", 429: "TooMany", 503: "Unavailable"}
STRUCTURED = "application/cloudevents+json"
_ATTRIBUTE = re.compile(r"(?!data$)[a-z0-9]{1,64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*={0,2}")
_CODE = re.compile(r"[1-5][0-9]{2}")
_JSON = re.compile(r"(?i)|[^/;]+/(?:[^/;+]+\+)*json\s*(?:;.*)?")
_LONG_NUMBER = re.compile(r"(?<![.0-9])[0-9]{19}")
"""An integer that an API server may round."""


def letter(product: str, namespace: str, headers: Mapping[str, str], body: bytes, now: datetime) -> Object:
    """Return the DeadLetter of an event as Knative hands it over; its name is of the event, so that twice is once.

    Of its data, too, by what they say and not as they are written: an event that fails once more comes to its letter,
    and another one that goes by the same id does not take its place.

    Whatever the event is, the letter is one that the API server takes: an event that is refused here is lost. In any
    namespace but the product's own its tenant is owed word of it, unless it is such a word itself.
    """
    event, data = _event({name.lower(): value for name, value in headers.items()}, body)
    why = {field: str(event.pop(name)) for name, field in WHY.items() if name in event}
    code = int(why["code"]) if _CODE.fullmatch(why.get("code", "")) else 0
    trigger = _text(why.get("trigger", ""))[:1024]
    identity = [*(event.get(name) for name in ("source", "id", "type", "subject")), trigger]
    is_whole = len(body) <= DATA_KEPT and not {"source", "id"} - event.keys()
    identity.append(_meaning(data) if is_whole else hashlib.sha256(body).hexdigest())
    kept, came = _bounded(event), now.strftime("%Y-%m-%dT%H:%M:%SZ")
    owes = namespace != product and event.get("type") not in NOTIFICATIONS
    spec: Object = {
        "reason": REASONS.get(code, "Failed" if code >= HTTPStatus.BAD_REQUEST else "Unreachable"),
        "message": _readable(why.get("message", "")),
        "code": code,
        "trigger": trigger,
        "event": {**kept, **({} if len(body) > DATA_KEPT else data)},
        "truncated": len(body) > DATA_KEPT or len(kept) < len(event),
        "time": came,
        "count": 1,
    }
    return {
        "apiVersion": DEAD_LETTER.api_version,
        "kind": DEAD_LETTER.kind,
        "metadata": {
            "name": f"dl-{names.sha256(identity)[7:39]}",
            "namespace": namespace,
            "labels": {
                "app.kubernetes.io/managed-by": names.MANAGER,
                **({names.OWES_LABEL: ERROR} if owes else {}),
            },
            "annotations": {names.CAME_ANNOTATION: came},
        },
        "spec": spec,
    }


def keep(body: Object, cluster: Cluster) -> None:
    """Write a letter, or into the one of that name that its event has come again; raise `Conflict` where neither goes.

    A letter that was to be sent again has been, as far as anybody can know, so the wish is taken off it; whoever sent
    it deletes it only as it was before (`postman.py`), so that what has failed twice is not lost.
    """
    meta = body["metadata"]
    for _ in range(ATTEMPTS):
        try:
            cluster.create(DEAD_LETTER, body)
        except AlreadyExists:
            found = cluster.get(DEAD_LETTER, meta["namespace"], meta["name"])
            with suppress(Conflict):
                if found is not None:  # otherwise it has been sent again and deleted meanwhile
                    cluster.replace(DEAD_LETTER, again(found, body))
                    return
        else:
            return
    raise Conflict(f"{meta['namespace']}/{meta['name']} changes all the time")


def again(found: Object, body: Object) -> Object:
    """Return a letter that lay there already as it is now that its event has come again."""
    meta, new = found["metadata"], body["metadata"]
    count = found["spec"].get("count", 1) + 1
    labels = {key: value for key, value in meta.get("labels", {}).items() if key != names.RESEND_LABEL}
    if names.RESEND_LABEL in meta.get("labels", {}):  # it has failed once more, which its tenant has not been told yet
        labels |= {names.OWES_LABEL: f"{ERROR}.{count}"} if names.OWES_LABEL in new["labels"] else {}
    notes = {key: value for key, value in meta.get("annotations", {}).items() if key != names.NOTE_ANNOTATION}
    spec = {**body["spec"], "count": count}
    return {
        **found,
        "metadata": {**meta, "labels": labels, "annotations": {**notes, **new["annotations"]}},
        "spec": spec,
    }


def anybody(namespace: str, headers: Mapping[str, str]) -> None:
    """Let everybody bring letters, as inside a mesh."""


def brokers_alone(reviews: Reviews, audience: str) -> LetIn:
    """Return what lets in those whom Knative has a Broker of a namespace deliver as, with letters of that namespace."""

    def let_in(namespace: str, headers: Mapping[str, str]) -> None:
        attempt = Attempt({name.lower(): value for name, value in headers.items()}, bytes)
        if Deliveries(reviews, audience, namespace).caller(attempt) is None:
            raise Unauthenticated("the request is of no Broker there")

    return let_in


def create_app(
    cluster: Cluster,
    product: str,
    tenants: Collection[str],
    now: Callable[[], datetime],
    let_in: LetIn = anybody,
) -> Flask:
    """Return the service; it writes to the product's namespace and to those of the tenants."""
    namespaces = {product, *tenants}
    app = Flask("knative-lambda-deadletters", static_folder=None)

    @app.post("/<namespace>")
    def take(namespace: str) -> Response:
        try:
            let_in(namespace, dict(request.headers))
            if namespace not in namespaces:
                return Response(status=HTTPStatus.UNPROCESSABLE_ENTITY)
            body, _ = bodies.read(request.stream, BODY_LIMIT)
            keep(letter(product, namespace, dict(request.headers), body, now()), cluster)
        except Denied as error:
            app.logger.warning("a dead letter of %s was not let in: %s", namespace, error)
            return Response(status=HTTPStatus.UNAUTHORIZED, headers={"WWW-Authenticate": CHALLENGE})
        except Refused:
            app.logger.exception("a dead letter was refused by the cluster")
            return Response(status=HTTPStatus.UNPROCESSABLE_ENTITY)
        except Temporary as error:  # 429, too, as a 503: Knative comes again after both
            return Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": str(error.retry_after)})
        return Response(status=HTTPStatus.ACCEPTED)

    @app.get("/health/live")
    @app.get("/health/ready")
    def healthy() -> Response:
        return Response(status=HTTPStatus.OK)

    return app


def _event(headers: Mapping[str, str], body: bytes) -> tuple[Object, Object]:
    """Return an event's attributes and its data, in the names of the JSON format; whatever it is, it is kept."""
    ours: Object = {name[3:]: value for name, value in headers.items() if name.startswith("ce-")}
    ours = {name: _header(name, value) for name, value in ours.items() if _ATTRIBUTE.fullmatch(name)}
    media = headers.get("content-type", "")
    if media.lower().startswith(STRUCTURED):
        found = _structured(body)
        return ({**found[0], **ours}, found[1]) if found else (ours, _base64(body))
    if media:
        ours["datacontenttype"] = media
    if not body or len(body) > DATA_KEPT:
        return ours, {}
    try:
        return ours, _data(_json(body)) if _JSON.fullmatch(media) else _plain(media, body)
    except ValueError:
        return ours, _base64(body)


def _header(name: str, value: str) -> str:
    try:
        return decoded(name, value)
    except UnicodeError:
        return value


def _structured(body: bytes) -> tuple[Object, Object] | None:
    """Return the attributes and the data of a structured event, or None where it cannot be kept as what it says."""
    try:
        event = _json(body)
    except ValueError:
        return None
    if not isinstance(event, dict):
        return None
    data = _data(event.pop("data")) if "data" in event else {}
    if "data_base64" in event:
        data = {"data_base64": event.pop("data_base64")}
        if not isinstance(data["data_base64"], str) or not _BASE64.fullmatch(data["data_base64"]):
            return None
    attributes = {name: value for name, value in event.items() if value is not None}
    sound = all(_ATTRIBUTE.fullmatch(name) and isinstance(value, str | int) for name, value in attributes.items())
    return (attributes, data) if sound else None


def _json(body: bytes) -> Any:
    return strict_json.parse(body, depth=DEPTH, values=VALUES)


def _data(value: Any) -> Object:
    """Return the data as it is kept: as it is, or in base64 where it holds what an API server has trouble with."""
    written = json.dumps(value)
    if _written(value) > AS_JSON or "\\u0000" in written or _LONG_NUMBER.search(written):
        return _base64(written.encode())
    return {"data": value}


def _meaning(data: Object) -> Any:
    """Return what data say, however they are written: an API server and a Broker write them anew."""
    if "data_base64" not in data:
        return [_whole(value) for value in data.values()]
    try:
        return [_whole(_json(base64.b64decode(data["data_base64"])))]
    except ValueError:
        return data


def _whole(value: Any) -> Any:
    """Return a JSON value with 1 for 1.0, as an API server has it."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _plain(media: str, body: bytes) -> Object:
    """Return data that is no JSON: a text as what it says, as the JSON format has it, anything else as its bytes."""
    text = body.decode() if media.lower().startswith("text/") else ""
    return {"data": text} if text and "\0" not in text and _written(text) <= AS_JSON else _base64(body)


def _base64(body: bytes) -> Object:
    return {"data_base64": base64.b64encode(body).decode()}


def _bounded(attributes: Mapping[str, str | int]) -> Object:
    """Return the attributes that fit, small ones first, as values that may be kept."""
    kept: Object = {}
    left = ATTRIBUTES_KEPT
    for name, value in sorted(attributes.items(), key=lambda item: len(str(item[1]))):
        left -= _written(name) + _written(value)
        if left < 0:
            break
        kept[name] = _text(value) if isinstance(value, str) else value
    return kept


def _written(value: Any) -> int:
    """Return about how many bytes an API server makes of a value: it escapes what HTML would."""
    text = json.dumps(value)
    return len(text) + 5 * sum(text.count(each) for each in "<>&")


def _text(value: str) -> str:
    return value.replace("\0", "\ufffd")


def _readable(message: str) -> str:
    """Return what the subscriber had said: Knative hands its answer over in base64."""
    try:
        said = base64.b64decode(message, validate=True).decode()
    except ValueError:
        said = message
    return redact(_text(said))[:4000]
