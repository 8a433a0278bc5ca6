"""One HTTP request and its answer, each on a connection of its own.

Used by `process.py` for functions, and by `subscribers.py` for everything else that has an URL.
"""

import http.client
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

LIMIT = 32 * 1024 * 1024
HOP_BY_HOP = frozenset(
    {
        *("connection", "content-length", "host", "keep-alive", "proxy-authenticate", "proxy-authorization"),
        *("te", "trailer", "transfer-encoding", "upgrade"),
    }
)
"""Headers that are about one connection, RFC 9110 section 7.6.1, and those that are written afresh."""


@dataclass(frozen=True)
class Request:
    """What is asked of a service: `path` may have a query, `timeout` is in seconds."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    timeout: float = 60.0


@dataclass(frozen=True)
class Response:
    """An answer; the names of its headers are in lower case."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class NoAnswer(Exception):
    """There was no answer, or only a part of one."""


class TimedOut(NoAnswer):
    """There was no answer within the time."""


def end_to_end(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the headers that travel on, their names in lower case."""
    lower = {name.lower(): value for name, value in headers}
    return {name: value for name, value in lower.items() if name not in HOP_BY_HOP}


def send(base: str, request: Request) -> Response:
    """Send `request` to the server at the URL `base` and return its answer; raise `NoAnswer`.

    Each wait for the network is bounded by the request's timeout.
    """
    server = urlsplit(base)
    kinds = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
    if server.scheme not in kinds or server.hostname is None:
        raise NoAnswer(f"{base} is no http URL")
    headers = end_to_end(request.headers.items()) | {"connection": "close"}
    try:
        connection = kinds[server.scheme](server.hostname, server.port, timeout=request.timeout)
        try:
            connection.request(request.method, request.path, request.body, headers)
            answer = connection.getresponse()
            content = answer.read(LIMIT + 1)
            if len(content) > LIMIT:
                raise NoAnswer(f"{base} answers more than {LIMIT} bytes")
            return Response(answer.status, end_to_end(answer.getheaders()), content)
        finally:
            connection.close()
    except TimeoutError as error:
        raise TimedOut(f"{base} did not answer in {request.timeout:g} s") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NoAnswer(f"{base}: {error or type(error).__name__}") from error
