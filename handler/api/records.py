"""The paths under ``/v1``, those of `schemas/openapi.json`: what there is, from the read model, as JSON.

Called by `app.py`, which answers what is raised here. A path's endpoint is its `operationId` there.
"""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol, TypeVar

from flask import Flask, Response, g, request
from werkzeug.exceptions import NotFound

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.api import actions
from knative_lambda.handler.api.actions import ACTIONS, Action
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.api.pages import NEWEST, Wanted
from knative_lambda.handler.api.watching import Watching
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import NotNow

Thing = TypeVar("Thing")
LISTED = (FUNCTION, BUILD, DEAD_LETTER)
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class Ask(Protocol):
    """Returns what is read, once it is known that whoever asks may do that."""

    def __call__(
        self, verbs: tuple[str, ...], resource: str, tenant: str, name: str = "", also: Sequence[Operation] = ()
    ) -> ReadModel:
        """Raise `Denied` or `NotFound` otherwise; `also` is what is done there beside."""


@dataclass(frozen=True)
class Way:
    """What the paths go by."""

    read: Callable[[], ReadModel | None]
    """Returns what they read, or None where they are not served."""
    let_in: Callable[[Sequence[Operation]], None]
    """Raises `Denied` for who may not do all that they ask for, before it is looked whether that is there."""
    body: Callable[[], bytes]
    """Returns the body of a request that was let in; raises `Refused` where it is too large, or has no end."""
    receive: Callable[[Event], None]
    """Does what an event asks for, as for one that was sent."""
    limits: Limits = field(default_factory=Limits)


def add(app: Flask, way: Way) -> None:
    """Add the paths."""

    def ask(
        verbs: tuple[str, ...], resource: str, tenant: str, name: str = "", also: Sequence[Operation] = ()
    ) -> ReadModel:
        read = way.read()
        if read is None:
            raise NotFound("The records under /v1 are not enabled here.")
        way.let_in((Operation(verbs, resource, tenant, name), *also))
        if not is_label(tenant) or not is_label(name or tenant):
            raise NotFound("There is nothing of that name.")
        return read

    for kind in LISTED:
        path = f"/v1/tenants/<tenant>/{kind.plural}"
        app.add_url_rule(path, f"list{kind.kind}s", partial(_list, ask, kind))
        app.add_url_rule(f"{path}/<name>", f"get{kind.kind}", partial(_get, ask, kind))
    for action in ACTIONS:
        path = f"/v1/tenants/<tenant>/{action.kind.plural}/<name>/{action.name}"
        app.add_url_rule(path, action.operation, partial(_act, way, ask, action), methods=["POST"])
    _add_letters(app, ask)
    watching = Watching()

    @app.get("/v1/tenants/<tenant>/functions/<name>/builds", endpoint="listFunctionBuilds")
    def builds(tenant: str, name: str) -> Response:
        return _list(ask, BUILD, tenant, name)

    @app.get("/v1/tenants/<tenant>/builds/<name>/log", endpoint="getBuildLog")
    def build_log(tenant: str, name: str) -> Response:
        found = _found(ask(("get",), "builds", tenant, name).get_log(tenant, name), f"log of the build {tenant}/{name}")
        return Response(found, content_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})

    @app.get("/v1/tenants/<tenant>/builds/<name>/events", endpoint="watchBuild")
    def build_events(tenant: str, name: str) -> Response:
        return watching.build(ask(("get",), "builds", tenant, name), tenant, name)

    @app.get("/v1/tenants/<tenant>/functions/<name>/events", endpoint="watchFunction")
    def function_events(tenant: str, name: str) -> Response:
        builds = Operation(("get",), "builds", tenant)  # of the function, whose names are not known yet
        return watching.function(ask(("get",), "functions", tenant, name, (builds,)), tenant, name)


def is_label(name: str) -> bool:
    """Say whether a tenant, or any thing that is shown here, may be called so."""
    return _LABEL.fullmatch(name) is not None


def _list(ask: Ask, kind: Kind, tenant: str, name: str = "") -> Response:
    """Answer a page of a kind; with a name, of what belongs to the function of that name."""
    read = ask(("list",), kind.plural, tenant)
    if not is_label(name or tenant):
        raise NotFound("There is nothing of that name.")
    wanted = Wanted.of(kind, request.args, NEWEST if name else "name")
    if name:
        wanted = replace(wanted, labels={**wanted.labels, names.FUNCTION_LABEL: name})
    part = _found(read.page(kind, tenant, wanted), f"tenant {tenant}")
    if name and not part.items:
        _found(read.get(FUNCTION, tenant, name), f"function {tenant}/{name}")
    versions = [_tag(item) for item in part.items]
    return _unless_known(
        {"items": part.items, "metadata": {"continue": part.after}}, names.sha256([versions, part.after])[7:39]
    )


def _get(ask: Ask, kind: Kind, tenant: str, name: str) -> Response:
    found = _found(ask(("get",), kind.plural, tenant, name).get(kind, tenant, name), f"{_words(kind)} {tenant}/{name}")
    return _unless_known(found, _tag(found))


def _act(way: Way, ask: Ask, action: Action, tenant: str, name: str) -> Response:
    """Make an action into its event, let that be handled, and answer what there is then, and where to look."""
    read = ask(action.verbs, FUNCTION.plural, tenant, "" if action.kind == BUILD else name)
    if not is_label(name):
        raise NotFound("There is nothing of that name.")
    _found(read.has(action.kind, tenant) or None, f"tenant {tenant}")
    said = actions.said(way.body(), way.limits)
    made = actions.Made(lambda: str(g.correlation_id), read.now)
    event = actions.event(action, (tenant, name), said, read, made)
    before = read.get(action.kind, tenant, name)
    way.receive(_found(event, f"{_words(action.kind)} {tenant}/{name}"))
    answer = _json(read.get(action.kind, tenant, name) or before, 202)
    answer.headers["Location"] = f"/v1/tenants/{tenant}/{action.kind.plural}/{name}"
    return answer


def _add_letters(app: Flask, ask: Ask) -> None:

    @app.post("/v1/tenants/<tenant>/deadletters/<name>/resend", endpoint="resendDeadLetter")
    def resend(tenant: str, name: str) -> Response:
        read = ask(("patch",), "deadletters", tenant, name)
        found = _found(read.get(DEAD_LETTER, tenant, name), f"dead letter {tenant}/{name}")
        if "resend" not in found.get("allowed_actions", ["resend"]):
            raise NotNow(f"It cannot be sent again: it is {found['state']}.", found["allowed_actions"])
        return _json(_found(read.resend(tenant, name), f"dead letter {tenant}/{name}"), 202)

    @app.post("/v1/tenants/<tenant>/deadletters/resend", endpoint="resendDeadLetters")
    def resend_all(tenant: str) -> Response:
        found = ask(("patch",), "deadletters", tenant).resend_all(tenant)
        return _json({"resent": _found(found, f"tenant {tenant}")}, 202)


def _words(kind: Kind) -> str:
    return "dead letter" if kind == DEAD_LETTER else kind.kind.lower()


def _tag(body: dict[str, Any]) -> str:
    """Return what tells one version of an object from all others: all that is shown of it follows from that."""
    return f"{body['metadata'].get('uid', '')}.{body['metadata'].get('resourceVersion', '')}"


def _unless_known(document: object, tag: str) -> Response:
    """Answer a document, or 304 to who has this version of it."""
    known = request.if_none_match.contains_weak(tag)
    response = Response(status=304) if known else _json(document)
    response.set_etag(tag)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


def _found(thing: Thing | None, what: str) -> Thing:
    if thing is None:
        raise NotFound(f"There is no {what}.")
    return thing


def _json(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
