"""HTTP as both doors speak it: a request, its answer, and what an answer that is no success means.

Called by `service.py` and `cluster.py`; the one file of the client that knows the HTTP library.
"""

import contextlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode, urlsplit

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from knative_lambda.client.errors import Away, ClientError, Forbidden, NotServed, NotThere, Unreachable

JSON = {"Content-Type": "application/json"}
CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 60.0
ERRORS = 400
_ELSEWHERE = ("The requested URL", "The records under /v1")
"""How a service begins that does not know a path at all."""
_OLDER = "it is older than this command, and does not know that field"
_NOT_NOW = "`describe` tells how far it is; try again once that allows it"
_LATER = (
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)


def _nobody() -> str:
    return ""


@dataclass(frozen=True)
class Advice:
    """What a person may do about a server that does not answer as it should."""

    silent: str = ""
    """Nobody answers."""
    unknown: str = ""
    """It does not know who asks."""
    forbidden: str = ""
    """It does, and that one may not."""
    absent: str = ""
    """It has no such path: it is something else, or an older one."""
    later: str = ""
    """It is too busy, or what it needs is away."""


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By their names in lower case."""
    body: bytes
    asked: str = ""
    """The path that this is the answer of."""
    advice: Advice = Advice()

    def json(self) -> Any:
        """Return the body's JSON; raise `Unreachable` where it is none: somebody else answers there."""
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Unreachable("it does not answer as knative-lambda does: this is no JSON") from error

    def checked(self) -> "Answer":
        """Return the answer if it is a success; raise what it is otherwise."""
        if self.status < ERRORS:
            return self
        why = self._why()
        if self.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.GONE):
            if self.status != HTTPStatus.NOT_FOUND or self._is_elsewhere():
                raise NotServed(f"{self.asked.partition('?')[0]} is not served there: {why}", self.advice.absent)
            raise NotThere(why)
        if self.status == HTTPStatus.UNAUTHORIZED:
            raise Unreachable(why, self.advice.unknown)
        if self.status == HTTPStatus.FORBIDDEN:
            raise Forbidden(why, self.advice.forbidden)
        if self.status in _LATER:
            raise Away(why, self.advice.later)
        not_now = _NOT_NOW if self.status == HTTPStatus.CONFLICT else ""
        raise ClientError(why, _OLDER if "unknown field" in why else not_now)

    @property
    def is_nowhere(self) -> bool:
        """Say whether a service of ours says that it has no such path."""
        with contextlib.suppress(ValueError, AttributeError):
            said = str(json.loads(self.body).get("detail", ""))
            return self.status == HTTPStatus.NOT_FOUND and said.startswith(_ELSEWHERE)
        return False

    def _is_elsewhere(self) -> bool:
        """Say whether it is the path that is not there, and not a thing of that name."""
        try:
            return str(json.loads(self.body).get("detail", "")).startswith(_ELSEWHERE)
        except (ValueError, AttributeError):
            return True

    def _why(self) -> str:
        """Return the words of a problem (RFC 9457) with all its faults, of a Kubernetes Status, or of anybody."""
        try:
            said = json.loads(self.body)
            faults = [f"{fault['where']}: {fault['message']}" for fault in said.get("faults") or ()]
            words = "; ".join(faults) or said.get("detail") or said.get("message") or said.get("title")
        except (ValueError, AttributeError, KeyError, TypeError):
            words = self.body.decode(errors="replace").strip()
        return str(words or f"status {self.status}")


@dataclass(frozen=True)
class Http:
    """A server, and how it is told who asks; every method raises `Unreachable` where it does not answer."""

    url: str
    pool: PoolManager = field(default_factory=lambda: PoolManager(retries=False))
    authorization: Callable[[], str] = _nobody
    """Returns what the header of that name says, "" for none."""
    advice: Advice = Advice()

    def get(self, path: str, query: Mapping[str, str] | None = None) -> Any:
        """Return the JSON at a path; raise what the answer is where it is no success."""
        return self.ask("GET", path, query).checked().json()

    def send(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Send JSON and return the answer's, {} where that is empty; raise what it is where it is no success."""
        sent = b"" if body is None else json.dumps(body).encode()
        answer = self.ask(method, path, body=sent, headers=JSON).checked()
        return answer.json() if answer.body else {}

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer, whatever its status."""
        timeout = Timeout(connect=CONNECT_SECONDS, read=ANSWER_SECONDS)
        with self._open(method, _target(path, query), body, headers or {}, timeout) as response:
            return self._answer(path, response)

    def lines(
        self, path: str, query: Mapping[str, str] | None = None, headers: Mapping[str, str] | None = None
    ) -> Iterator[str]:
        """Yield the lines of an answer as they come, for as long as it takes; raise what it is if no success."""
        rest = b""
        timeout = Timeout(connect=CONNECT_SECONDS, read=None)
        with self._open("GET", _target(path, query), b"", headers or {}, timeout) as response:
            if response.status >= ERRORS:
                self._answer(path, response).checked()
            for chunk in response.stream(amt=None):
                *whole, rest = (rest + chunk).split(b"\n")
                yield from (line.decode(errors="replace") for line in whole)
        if rest:
            yield rest.decode(errors="replace")

    @contextlib.contextmanager
    def _open(
        self, method: str, target: str, body: bytes, headers: Mapping[str, str], timeout: Timeout
    ) -> Iterator[BaseHTTPResponse]:
        said = {"Authorization": known} if (known := self.authorization()) else {}
        sent = {"Accept": "application/json", **headers, **said}
        try:
            response = self.pool.request(
                method,
                self.url + target,
                body=body,
                headers=sent,
                timeout=timeout,
                redirect=False,
                preload_content=False,
            )
            with contextlib.closing(response):
                yield response
        except (HTTPError, OSError) as error:
            place = urlsplit(self.url)
            why = f"{place.scheme}://{place.netloc} does not answer: {_cause(error)}"
            raise Away(why, self.advice.silent) from error

    def _answer(self, path: str, response: BaseHTTPResponse) -> Answer:
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Answer(response.status, headers, response.data, path, self.advice)


def _target(path: str, query: Mapping[str, str] | None) -> str:
    return path + (f"?{urlencode(query)}" if query else "")


def _cause(error: BaseException) -> str:
    """Return the innermost words: urllib3 wraps them in its own objects' names."""
    while error.__cause__ is not None:
        error = error.__cause__
    return str(getattr(error, "strerror", None) or error)
