"""The paths of Server-Sent Events: what is new is answered at once, and the answer ends.

Called by `records.py`. A watcher comes back after `retry`, with `Last-Event-ID`, as browsers do by themselves; an open
answer would hold a thread of this process, and a place in the pod's concurrency, for as long as somebody watches.
"""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from flask import Response, request
from werkzeug.exceptions import NotFound

from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.deploy.conditions import age
from knative_lambda.handler.api import live
from knative_lambda.handler.api.live import Look, Place, Told
from knative_lambda.handler.api.looks import Looks
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.api.pages import Wanted
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Refused

MOST = 256 * 1024
"""Characters of one answer, about: there is more at once."""
SOON = 0.05
"""Seconds until a watcher comes back for whom there is more."""


class Watching:
    """The watchers of a process."""

    def __init__(self) -> None:
        self._builds: Looks[Look] = Looks()
        self._functions: Looks[Object] = Looks()

    def build(self, read: ReadModel, tenant: str, name: str, after: str = "") -> Response:
        """Answer what is new of a Build; 204, at which a watcher stops, where all was told and it has ended.

        Who comes for the first time may know of a place that was told `after` another way.
        """
        at = Place.of(_last() or after)
        if at.is_over:
            return Response(status=204)
        is_known, seen, again = self._builds.of((tenant, name), lambda before: read.look(tenant, name, before))
        if is_known and seen is None:
            raise NotFound(f"There is no build {tenant}/{name}.")
        return _answer(live.told(seen, at) if seen else (), str, again)

    def function(self, read: ReadModel, tenant: str, name: str) -> Response:
        """Answer what is new of a Function, and of its newest Build once all was told of the one before."""
        version, build, place = _parts(_last())
        is_known, body, again = self._functions.of((tenant, name), lambda _: read.get(FUNCTION, tenant, name))
        if not is_known:
            return _answer((), str, again)
        if body is None:
            raise NotFound(f"There is no function {tenant}/{name}.")
        now, wanted = body["metadata"]["resourceVersion"], body.get("status", {}).get("latestBuild", "")
        at, events = Place.of(place), list[Told]()
        if now != version:
            events.append(Told("function", live.function(body), at))
        if build != wanted and (not build or at.is_over or not self._is_there(read, tenant, build)):
            events += _missed(read, body, build, at)
            build, at = wanted, Place()
        if build:
            _, seen, later = self._builds.of((tenant, build), lambda before: read.look(tenant, build, before))
            events = [*(Told(one.kind, one.data, at) for one in events), *(live.told(seen, at) if seen else ())]
            again = max(again, later)
        return _answer(events, lambda place: f"{now}~{build}~{place}", again)

    def _is_there(self, read: ReadModel, tenant: str, build: str) -> bool:
        is_known, seen, _ = self._builds.of((tenant, build), lambda before: read.look(tenant, build, before))
        return not is_known or seen is not None


def _missed(read: ReadModel, function: Object, build: str, at: Place) -> Iterator[Told]:
    """Yield that there were Builds between one that was told to its end, and the newest, where there were any."""
    tenant, name = function["metadata"]["namespace"], function["metadata"]["name"]
    told = read.get(BUILD, tenant, build) if at.is_over else None
    listed = told and read.page(BUILD, tenant, Wanted({names.FUNCTION_LABEL: name}, sort="-created"))
    if not told or not listed:
        return
    since, newest = age(told), function["status"]["latestBuild"]
    known = {build, newest}
    made = [one for one in listed.items if one["metadata"]["name"] not in known]
    between = sorted(one["metadata"]["name"] for one in made if age(one) > since)
    if between:
        message = f"other builds came meanwhile, which may not be shown: {', '.join(between)}"
        yield Told("gap", {"attempt": 0, "message": message}, at)


def _last() -> str:
    return request.headers.get("Last-Event-ID", "")


def _parts(text: str) -> tuple[str, str, str]:
    version, *rest = text.split("~")
    if text and len(rest) != 2:  # noqa: PLR2004 - a build, and the place in it
        raise Refused.because("Last-Event-ID", "no event here has this id")
    return (version, rest[0], rest[1]) if text else ("", "", "")


def _answer(events: Iterable[Told], identify: Callable[[Place], str], again: float) -> Response:
    said, size = list[str](), 0
    for one in events:
        if size > MOST:
            again = SOON
            break
        said.append(_event(one.kind, one.data, identify(one.place)))
        size += len(said[-1])
    body = f"retry: {int(again * 1000)}\n\n{''.join(said)}"
    headers = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "X-Accel-Buffering": "no"}
    return Response(body, headers=headers, content_type="text/event-stream; charset=utf-8")


def _event(kind: str, data: Any, identifier: str) -> str:
    return f"id: {identifier}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
