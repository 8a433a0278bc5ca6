"""The paths under ``/v1``, those of `schemas/openapi.json`: what there is, from the read model, as JSON.

Called by `app.py`, which answers what is raised here. A path's endpoint is its `operationId` there.
"""

import json
import re
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from flask import Flask, Response
from werkzeug.exceptions import NotFound

from knative_lambda.handler.access.operations import Operation

Thing = TypeVar("Thing")
_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


class ReadModel(Protocol):
    """What runs, what is being built, what nobody could handle; None where there is no such thing."""

    def list_functions(self, tenant: str) -> list[dict[str, Any]] | None:
        """Return a tenant's Functions."""

    def get_function(self, tenant: str, name: str) -> dict[str, Any] | None:
        """Return a Function."""

    def get_build(self, tenant: str, name: str) -> dict[str, Any] | None:
        """Return a Build."""

    def get_log(self, tenant: str, name: str) -> bytes | None:
        """Return the log of a Build's last attempt."""

    def list_letters(self, namespace: str) -> list[dict[str, Any]] | None:
        """Return the DeadLetters of a tenant, or of the product's own namespace, without their events' data."""

    def get_letter(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Return a DeadLetter."""

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

    _add_letters(app, ask)

    @app.get("/v1/tenants/<tenant>/functions", endpoint="listFunctions")
    def functions(tenant: str) -> Response:
        return _json({"items": _found(ask("list", "functions", tenant).list_functions(tenant), f"tenant {tenant}")})

    @app.get("/v1/tenants/<tenant>/functions/<name>", endpoint="getFunction")
    def function(tenant: str, name: str) -> Response:
        found = ask("get", "functions", tenant, name).get_function(tenant, name)
        return _json(_found(found, f"function {tenant}/{name}"))

    @app.get("/v1/tenants/<tenant>/builds/<name>", endpoint="getBuild")
    def build(tenant: str, name: str) -> Response:
        return _json(_found(ask("get", "builds", tenant, name).get_build(tenant, name), f"build {tenant}/{name}"))

    @app.get("/v1/tenants/<tenant>/builds/<name>/log", endpoint="getBuildLog")
    def build_log(tenant: str, name: str) -> Response:
        found = _found(ask("get", "builds", tenant, name).get_log(tenant, name), f"log of the build {tenant}/{name}")
        return Response(found, content_type="text/plain; charset=utf-8", headers={"X-Content-Type-Options": "nosniff"})


def _add_letters(app: Flask, ask: Ask) -> None:

    @app.get("/v1/tenants/<tenant>/deadletters", endpoint="listDeadLetters")
    def letters(tenant: str) -> Response:
        return _json({"items": _found(ask("list", "deadletters", tenant).list_letters(tenant), f"tenant {tenant}")})

    @app.get("/v1/tenants/<tenant>/deadletters/<name>", endpoint="getDeadLetter")
    def letter(tenant: str, name: str) -> Response:
        found = ask("get", "deadletters", tenant, name).get_letter(tenant, name)
        return _json(_found(found, f"dead letter {tenant}/{name}"))

    @app.post("/v1/tenants/<tenant>/deadletters/<name>/resend", endpoint="resendDeadLetter")
    def resend(tenant: str, name: str) -> Response:
        found = ask("patch", "deadletters", tenant, name).resend(tenant, name)
        return _json(_found(found, f"dead letter {tenant}/{name}"), 202)

    @app.post("/v1/tenants/<tenant>/deadletters/resend", endpoint="resendDeadLetters")
    def resend_all(tenant: str) -> Response:
        found = ask("patch", "deadletters", tenant).resend_all(tenant)
        return _json({"resent": _found(found, f"tenant {tenant}")}, 202)


def _found(thing: Thing | None, what: str) -> Thing:
    if thing is None:
        raise NotFound(f"There is no {what}.")
    return thing


def _json(document: object, status: int = 200) -> Response:
    return Response(json.dumps(document), status, content_type="application/json")
