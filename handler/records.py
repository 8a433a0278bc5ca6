"""The paths under ``/v1``, those of `schemas/openapi.json`: what there is, from the read model, as JSON.

Called by `app.py`, which answers what is raised here. A path's endpoint is its `operationId` there.
"""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, TypeVar

from flask import Flask, Response, request
from werkzeug.exceptions import NotFound

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.api.pages import Part, Wanted
from knative_lambda.schemas import names

Thing = TypeVar("Thing")
LISTED = {FUNCTION: "name", BUILD: "-created", DEAD_LETTER: "-created"}
"""In which order, unless another is asked for."""
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ReadModel(Protocol):
    """What runs, what is being built, what nobody could handle; None where there is no such thing."""

    def page(self, kind: Kind, namespace: str, wanted: Wanted) -> Part | None:
        """Return a page of a tenant's objects, each with its state and what may be done; letters without their data."""

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, with its state and what may be done."""

    def get_log(self, tenant: str, name: str) -> bytes | None:
        """Return the log of a Build's last attempt."""

    def resend(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Wish a DeadLetter to be sent again and return it; raise `Refused` where that can't be."""

    def resend_all(self, namespace: str) -> int | None:
        """Wish for all DeadLetters of a namespace what can be; return how many these are."""


class Ask(Protocol):
    """Returns what is read, once it is known that whoever asks may do that."""

    def __call__(self, verb: str, resource: str, tenant: str, name: str = "") -> ReadModel:
        """Raise `Denied` or `NotFound` otherwise."""


def add(app: Flask, door: Callable[[], ReadModel | None], let_in: Callable[[Operation], None]) -> None:
    """Add the paths.

    `door` returns what they read, or None where they are not served; `let_in` raises `Denied` for who may not do what
    they ask for, before it is looked whether that is there.
    """

    def ask(verb: str, resource: str, tenant: str, name: str = "") -> ReadModel:
        read = door()
        if read is None:
            raise NotFound("The records under /v1 are not enabled here.")
        let_in(Operation((verb,), resource, tenant, name))
        if not _LABEL.fullmatch(tenant) or not _LABEL.fullmatch(name or tenant):
            raise NotFound("There is nothing of that name.")
        return read

    for kind in LISTED:
        path = f"/v1/tenants/<tenant>/{kind.plural}"
        app.add_url_rule(path, f"list{kind.kind}s", partial(_list, ask, kind))
        app.add_url_rule(f"{path}/<name>", f"get{kind.kind}", partial(_get, ask, kind))
    _add_letters(app, ask)

    @app.get("/v1/tenants/<tenant>/functions/<name>/builds", endpoint="listFunctionBuilds")
    def builds(tenant: str, name: str) -> Response:
        return _list(ask, BUILD, tenant, name)

    @app.get("/v1/tenants/<tenant>/builds/<name>/log", endpoint="getBuildLog")
    def build_log(tenant: str, name: str) -> Response:
        found = _found(ask("get", "builds", tenant, name).get_log(tenant, name), f"log of the build {tenant}/{name}")
        return Response(found, content_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})


def _list(ask: Ask, kind: Kind, tenant: str, name: str = "") -> Response:
    """Answer a page of a kind; with a name, of what belongs to the function of that name."""
    read = ask("list", kind.plural, tenant)
    if not _LABEL.fullmatch(name or tenant):
        raise NotFound("There is nothing of that name.")
    wanted = Wanted.of(kind, request.args, LISTED[kind])
    if name:
        wanted = replace(wanted, labels={**wanted.labels, names.FUNCTION_LABEL: name})
    part = _found(read.page(kind, tenant, wanted), f"tenant {tenant}")
    versions = [_tag(item) for item in part.items]
    return _unless_known(
        {"items": part.items, "metadata": {"continue": part.after}}, names.sha256([versions, bool(part.after)])[7:39]
    )


def _get(ask: Ask, kind: Kind, tenant: str, name: str) -> Response:
    found = _found(ask("get", kind.plural, tenant, name).get(kind, tenant, name), f"{_words(kind)} {tenant}/{name}")
    return _unless_known(found, _tag(found))


def _add_letters(app: Flask, ask: Ask) -> None:

    @app.post("/v1/tenants/<tenant>/deadletters/<name>/resend", endpoint="resendDeadLetter")
    def resend(tenant: str, name: str) -> Response:
        found = ask("update", "deadletters", tenant, name).resend(tenant, name)
        return _json(_found(found, f"dead letter {tenant}/{name}"), 202)

    @app.post("/v1/tenants/<tenant>/deadletters/resend", endpoint="resendDeadLetters")
    def resend_all(tenant: str) -> Response:
        found = ask("update", "deadletters", tenant).resend_all(tenant)
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
