"""The paths under ``/ui``: who may look, what they see, and the answers' headers. All of them are `GET`.

Called by `app.py` where there is a page. Who may see what is asked as under ``/v1``; a browser has no bearer token to
show, so here a password may be one. It sends a password by itself with whatever a page of anywhere has it ask for: that
is why nothing is changed here, and why no other entrance takes one.
"""

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from flask import Blueprint, Flask, Response, g, redirect, request
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from werkzeug.exceptions import NotFound
from werkzeug.wrappers import Response as Answer

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind
from knative_lambda.handler.access.caller import Attempt
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.api import live, records, states
from knative_lambda.handler.api.live import Look, Place
from knative_lambda.handler.api.model import ReadModel
from knative_lambda.handler.api.pages import NEWEST, Part, Wanted
from knative_lambda.handler.api.watching import Watching
from knative_lambda.handler.page import shown, text
from knative_lambda.handler.receive import requests
from knative_lambda.handler.receive.asked import Asked
from knative_lambda.handler.receive.door import Door
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.porter import TURNED_AWAY, Porter
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Denied, Forbidden, Unauthenticated
from knative_lambda.schemas.redaction import redact

Found = TypeVar("Found")
FOLDER = Path(__file__).parent
FILES = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}
SHOWN: Mapping[Kind, Callable[[Any], shown.Thing]] = {
    FUNCTION: shown.function,
    BUILD: shown.build,
    DEAD_LETTER: shown.letter,
}
TITLES = {FUNCTION: "Functions", BUILD: "Builds", DEAD_LETTER: "Dead letters"}
SORTED = {FUNCTION: "name", BUILD: NEWEST, DEAD_LETTER: NEWEST}
"""In which order, unless another is asked for."""
LISTED, SOME = 50, 10
"""Things on a page of a list, and in one of several lists beside each other."""
LINES = 2000
"""Lines of a log that are shown: the last."""
CHALLENGE = 'Basic realm="knative-lambda: any name, a token as the password", charset="UTF-8"'
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def add(app: Flask, door: Door, limits: Limits, porter: Porter) -> None:
    """Add the paths."""
    page = Page(door, limits, porter)
    ui = Blueprint("page", __name__, url_prefix="/ui")
    ui.add_url_rule("", "index", page.index)
    ui.add_url_rule("/", "index/", page.index)
    ui.add_url_rule("/_/<name>", "file", page.file)
    ui.add_url_rule("/<tenant>", "overview", page.overview)
    for kind in SHOWN:
        ui.add_url_rule(f"/<tenant>/{kind.plural}", f"list {kind.plural}", page.listed, defaults={"kind": kind})
        ui.add_url_rule(f"/<tenant>/{kind.plural}/<name>", f"show {kind.plural}", page.thing, defaults={"kind": kind})
    ui.add_url_rule("/<tenant>/builds/<name>/log", "log", page.log)
    ui.add_url_rule("/<tenant>/builds/<name>/events", "events", page.events)
    ui.add_url_rule("/<path:rest>", "nothing", page.nothing)
    ui.register_error_handler(Exception, page.failed)
    ui.after_request(page.note)
    app.register_blueprint(ui)


@dataclass(frozen=True)
class Page:
    """The page's views, over what lies behind the door."""

    door: Door
    limits: Limits
    porter: Porter
    watching: Watching = field(default_factory=Watching)

    def index(self) -> Answer:
        """Show the tenants to who may list functions everywhere; ask anybody else which one they mean."""
        if tenant := request.args.get("tenant", "").strip():
            return redirect(f"{_root()}ui/{tenant if records.is_label(tenant) else '-'}", 303)
        try:
            namespaces = self._ask("list", FUNCTION, "").namespaces()
        except Forbidden:
            namespaces = ()
        return _answer("index.html", namespaces=namespaces)

    def overview(self, tenant: str) -> Response:
        """Show the beginning of each list that whoever asks may see; one of them there must be."""
        parts, denied = list[tuple[Kind, Part | None]](), list[Denied]()
        for kind in SHOWN:
            try:
                read = self._ask("list", kind, tenant)
            except Forbidden as error:
                denied.append(error)
                parts.append((kind, None))
                continue
            wanted = Wanted(sort=SORTED[kind], limit=LISTED if kind == FUNCTION else SOME)
            if (part := read.page(kind, tenant, wanted)) is not None:
                parts.append((kind, part))
        if len(denied) == len(SHOWN):
            raise denied[0]
        if not any(part for _, part in parts):
            raise NotFound(f"There is no tenant {tenant}.")
        lists = [self._table(kind, part) for kind, part in parts]
        return _answer(
            "overview.html", tenant=tenant, section="Overview", lists=lists, kinds=[kind for kind, _ in parts]
        )

    def listed(self, kind: Kind, tenant: str) -> Response:
        """Show a page of a list, as ``/v1`` would have it for the same parameters."""
        read = self._ask("list", kind, tenant)
        asked = {name: value for name, value in request.args.items() if value}
        wanted = Wanted.of(kind, {"limit": str(LISTED), **asked}, SORTED[kind])
        part = _found(read.page(kind, tenant, wanted), f"tenant {tenant}")
        first = {name: value for name, value in asked.items() if name != "continue"}
        more = {"asked": asked, "first": first, "next": first | {"continue": part.after}}
        more |= _kinds(read, kind, tenant) | {"table": self._table(kind, part), "states": states.KNOWN[kind].states}
        return _answer("list.html", tenant=tenant, section=TITLES[kind], **more)

    def thing(self, kind: Kind, tenant: str, name: str) -> Response:
        """Show a function, a build or a dead letter."""
        read = self._ask("get", kind, tenant, name)
        body = _found(read.get(kind, tenant, name), f"{name} in {tenant}")
        it = SHOWN[kind](body)
        more = _kinds(read, kind, tenant)
        if kind == FUNCTION:
            more["table"] = self._builds(tenant, name)
        if kind == BUILD and (look := read.look(tenant, name, None)) is not None:
            more |= _log(look)
        return _answer(f"{kind.kind.lower()}.html", tenant=tenant, section=TITLES[kind], it=it, **more)

    def log(self, tenant: str, name: str) -> Response:
        """Answer all that a build's attempts have said, as text."""
        look = _found(self._ask("get", BUILD, tenant, name).look(tenant, name, None), f"build {tenant}/{name}")
        whole = b"".join(look.logs[number] for number in sorted(look.logs))
        return Response(whole, content_type="text/plain; charset=utf-8")

    def events(self, tenant: str, name: str) -> Response:
        """Answer what is new of a build, as Server-Sent Events: after what the page had, at first."""
        read = self._ask("get", BUILD, tenant, name)
        return self.watching.build(read, tenant, name, request.args.get("after", ""))

    def file(self, name: str) -> Response:
        """Answer a file of the page's; nobody is asked who they are."""
        if name not in FILES:
            raise NotFound("There is no such file.")
        headers = {"Cache-Control": "public, max-age=31536000, immutable"} if request.args else {}
        return Response(_file(name), headers=headers, content_type=f"{FILES[name]}; charset=utf-8")

    def nothing(self, rest: str) -> Response:
        """Say that there is no such page."""
        raise NotFound(f"There is no page {rest}.")

    def failed(self, error: Exception) -> Response:
        """Show why there is nothing to be seen."""
        problem = requests.failed(error)
        g.reason = problem.slug
        answer = _answer("fault.html", problem=problem, detail=redact(problem.detail), correlation=g.correlation_id)
        answer.status_code = problem.status
        answer.headers.update(problem.headers)
        if isinstance(error, Unauthenticated):
            answer.headers["WWW-Authenticate"] = CHALLENGE
        return answer

    def note(self, answer: Response) -> Response:
        """Have nobody frame, keep or reinterpret an answer; note who was turned away."""
        answer.headers.update(HEADERS)
        if "Cache-Control" not in answer.headers:
            answer.headers["Cache-Control"] = "no-store"
        if answer.status_code in TURNED_AWAY:
            self.porter.note(_asked(), requests.ended(answer.status_code, g.get("reason", "")))
        return answer

    def _ask(self, verb: str, kind: Kind, tenant: str, name: str = "") -> ReadModel:
        """Return what may be read; raise `Denied` for who may not, before it is looked whether it is there."""
        read = self.door.read
        if read is None:
            raise NotFound("The records are not served here.")
        entrance = self.door.access.api
        g.page_now = read.now()
        if "page_caller" not in g:
            g.page_caller = requests.caller(entrance, _attempt(self.limits))
            self.porter.meet(g.page_caller)
            entrance.once(g.page_caller)
        entrance.require(g.page_caller, Operation((verb,), kind.plural, tenant, name))
        if "page_admitted" not in g:
            g.page_admitted = True
            self.porter.admit(_asked())
        if tenant and not (records.is_label(tenant) and records.is_label(name or tenant)):
            raise NotFound("There is nothing of that name.")
        return read

    def _builds(self, tenant: str, name: str) -> "Table | None":
        """Return the newest builds of a function, None for who may not see any."""
        try:
            read = self._ask("list", BUILD, tenant)
        except Forbidden:
            return None
        wanted = Wanted(labels={names.FUNCTION_LABEL: name}, sort=NEWEST, limit=SOME)
        return self._table(BUILD, read.page(BUILD, tenant, wanted))

    def _table(self, kind: Kind, part: Part | None) -> "Table":
        items = [SHOWN[kind](body) for body in part.items] if part else []
        return Table(kind.plural, TITLES[kind], items, part.after if part else "", is_allowed=part is not None)


@dataclass(frozen=True)
class Table:
    """A list as it is shown."""

    kind: str
    """In the plural, as it stands in paths."""
    title: str
    items: list[shown.Thing]
    after: str
    """What the next page is asked for with, or ""."""
    is_allowed: bool
    """Whether whoever asks may see it."""


def _log(look: Look) -> dict[str, Any]:
    """Return the lines that a build's page has, with the place after the last one of them."""
    lines, after = list[tuple[str, str]](), Place()
    for told in live.told(look, Place()):
        after = told.place
        if told.kind in ("log", "gap"):
            lines.append((told.kind, text.line(str(told.data.get("line", told.data.get("message", ""))))))
    left_out = max(0, len(lines) - LINES)
    return {"lines": list(islice(lines, left_out, None)), "left_out": left_out, "after": after, "is_over": look.is_over}


def _kinds(read: ReadModel, kind: Kind, tenant: str) -> dict[str, Any]:
    """Return of what there are lists, where there is one of a kind: there may be letters alone."""
    return {"kinds": list(SHOWN) if kind != DEAD_LETTER or read.has(FUNCTION, tenant) else [DEAD_LETTER]}


def _attempt(limits: Limits) -> Attempt:
    """Return what a request brings to say who sent it; a password is a token."""
    brought = requests.attempt(limits)
    scheme, _, given = brought.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return brought
    try:
        token = base64.b64decode(given, validate=True).decode("ascii").partition(":")[2]
    except ValueError:
        token = ""
    return replace(brought, headers={**brought.headers, "authorization": f"Bearer {token}"})


def _asked() -> Asked:
    names = request.view_args or {}
    return Asked("page", names.get("tenant", ""), names.get("name", ""))


def _found(thing: Found | None, what: str) -> Found:
    if thing is None:
        raise NotFound(f"There is no {what}.")
    return thing


def _root() -> str:
    """Return the way up to where the receiver is: a proxy may have it below a path of its own."""
    return "../" * (request.path.count("/") - 1)


def _answer(template: str, *, tenant: str = "", section: str = "", **words: Any) -> Response:
    places = [("", "Overview"), *((f"/{kind.plural}", TITLES[kind]) for kind in words.pop("kinds", ()))]
    words |= {"root": _root(), "now": g.get("page_now"), "tenant": tenant, "section": section, "places": places}
    body = _templates().get_template(template).render(words)
    return Response(body, content_type="text/html; charset=utf-8")


@cache
def _templates() -> Environment:
    """Return the templates, which are loaded for the first who looks."""
    found = Environment(
        loader=FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        finalize=text.shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["age"] = shown.age
    found.globals["files"] = {name: f"_/{name}?{names.sha256(_file(name).decode())[7:19]}" for name in FILES}
    return found


@cache
def _file(name: str) -> bytes:
    return (FOLDER / "files" / name).read_bytes()
