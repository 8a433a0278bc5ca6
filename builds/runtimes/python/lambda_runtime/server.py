"""The HTTP/1.1 server: paths, bodies, probes, and how it ends.

Joined to a `Delivery` by `serve.py`. A thread per connection; it knows nothing of events.
"""

from __future__ import annotations

import contextlib
import logging
import re
import select
import socketserver
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol

from .reply import Reply, problem
from .request import Request


class Answer(Protocol):
    """What requests are handed to."""

    everything: bool
    """Whether it takes every request but the probes; otherwise only what may be an event."""

    def __call__(self, request: Request) -> Reply:
        """Return the reply."""


_PIECE = 64 * 1024
_DISCARDED = 4
_NUMBER = re.compile(r"[0-9]{1,18}")
_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})[ \t]*(;.*)?\r?\n")


class BadRequest(Exception):
    """The request's body cannot be read, or is too large."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        super().__init__(detail)


class Server(ThreadingHTTPServer):
    """Answers events with `answer`, and `/healthz` and `/readyz` by itself."""

    request_queue_size = 1024  # what arrives together while the function starts waits in the kernel

    def __init__(self, address: tuple[str, int], answer: Answer, *, max_body: int) -> None:
        self.answer = answer
        self.max_body = max_body
        self.draining = False
        self._running = 0
        self._changed = threading.Condition()
        super().__init__(address, Handler)

    def server_bind(self) -> None:
        """Bind without the base class's question to the DNS for this machine's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "localhost", int(self.server_address[1])

    def serve_until(self, stop: int) -> None:
        """Accept connections until the file descriptor `stop` can be read, then no more."""
        self.timeout = 0
        waited_for: list[Any] = [self, stop]
        while stop not in select.select(waited_for, [], [])[0]:
            self.handle_request()
        self.draining = True
        self.server_close()

    def drain(self, seconds: float) -> bool:
        """Wait until no request runs, at most `seconds`; tell whether none does."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, seconds)

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Count a request as running, for `drain`."""
        with self._changed:
            self._running += 1
        try:
            yield
        finally:
            with self._changed:
                self._running -= 1
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ARG002 - the base class's signature
        """Log what a connection's thread ended with, unless the client has just gone away."""
        error = sys.exc_info()[1]
        if not isinstance(error, ConnectionError):
            logging.getLogger(__name__).error("a connection was given up", exc_info=error)


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body leave together

    def do_GET(self) -> None:
        """Answer the probes, and what else is asked of an HTTP function."""
        if self.path == "/healthz":
            self._send(Reply(200))
        elif self.path == "/readyz":
            self._send(problem(503, "the process is ending") if self.server.draining else Reply(200))
        elif self.server.answer.everything:
            self.do_POST()
        else:
            self._send(problem(404, "an event is sent with POST to /; the probes are /healthz and /readyz"))

    def do_POST(self) -> None:
        """Answer an event."""
        with self.server.running():
            try:
                body = self._body()
            except BadRequest as error:
                self._send(problem(error.status, str(error)))
            else:
                request = Request(self.command, self.path, self.headers.items(), body)
                here = self.server.answer.everything or self.path.partition("?")[0] == "/"
                self._send(self.server.answer(request) if here else problem(404, "events go to /"))
            self.wfile.flush()

    def do_other(self) -> None:
        """Answer what only an HTTP function takes."""
        if self.server.answer.everything:
            self.do_POST()
        else:
            self.send_error(501, f"{self.command} is not supported")

    do_HEAD = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_other  # noqa: N815 - the base class asks for them

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer what the base class refuses, in the form that all problems have."""
        self.close_connection = True
        self._send(problem(int(code), message or explain or "the request cannot be read"))

    def log_message(self, *_: Any) -> None:
        """Log no requests: Knative does, and probes come every few seconds."""

    def _send(self, reply: Reply) -> None:
        self.send_response_only(reply.status)
        for name, value in reply.headers:
            self.send_header(name, value)
        self.send_header("content-length", str(len(reply.body)))
        if self.close_connection or self.server.draining:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(reply.body)

    def _body(self) -> bytes:
        """Return the request's body; one that is too large is read to its end where that is near, to be answered."""
        limit = self.server.max_body
        kept: list[bytes] = []
        size = 0
        for piece in self._pieces():
            size += len(piece)
            if size <= limit:
                kept.append(piece)
            elif size > limit * _DISCARDED:
                self.close_connection = True
                break
        if size > limit:
            raise BadRequest(413, f"the body is larger than {limit} bytes")
        return b"".join(kept)

    def _pieces(self) -> Iterator[bytes]:
        lengths = set(self.headers.get_all("content-length", ()))
        coding = self.headers.get("transfer-encoding")
        if coding is None:
            length = lengths.pop() if lengths else "0"
            if lengths or not _NUMBER.fullmatch(length):
                raise self._unreadable(400, "the content-length is no number")
            return self._read(int(length))
        if lengths:
            raise self._unreadable(400, "content-length and transfer-encoding exclude each other")
        if coding.lower() != "chunked":
            raise self._unreadable(501, f"the transfer-encoding {coding!r} is not known")
        return self._chunks()

    def _chunks(self) -> Iterator[bytes]:
        while True:
            line = _CHUNK_SIZE.fullmatch(self.rfile.readline(_PIECE))
            if line is None:
                raise self._unreadable(400, "a chunk has no size")
            size = int(line[1], 16)
            if not size:
                break
            yield from self._read(size)
            if self.rfile.readline(3) not in (b"\r\n", b"\n"):
                raise self._unreadable(400, "a chunk is not as long as it says")
        while self.rfile.readline(_PIECE) not in (b"\r\n", b"\n", b""):
            pass

    def _read(self, size: int) -> Iterator[bytes]:
        while size:
            piece = self.rfile.read(min(size, _PIECE))
            if not piece:
                raise self._unreadable(400, "the body ends early")
            size -= len(piece)
            yield piece

    def _unreadable(self, status: int, detail: str) -> BadRequest:
        self.close_connection = True
        return BadRequest(status, detail)
