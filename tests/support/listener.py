"""A webhook, as somebody has it who is told what becomes of functions."""

import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from knative_lambda.schemas import types

Verify = Callable[[Mapping[str, str], bytes, str], None]


class Server(ThreadingHTTPServer):
    """Somebody's webhook; it answers as the test says, and takes as long."""

    daemon_threads = True

    def __init__(self, port: int, host: str) -> None:
        hook = self
        self.code, self.go_on = 204, threading.Event()
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.go_on.set()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                hook.got.append(({key.lower(): value for key, value in self.headers.items()}, body))
                hook.go_on.wait()
                self.send_response(hook.code)
                self.send_header("location", "/elsewhere")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__((host, port), Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who waited no longer

    @property
    def types(self) -> list[str]:
        return [json.loads(body)["type"].removeprefix(types.PREFIX) for _, body in self.got]


@contextmanager
def listening(port: int, host: str = "127.0.0.1") -> Iterator[Server]:
    with Server(port, host) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield made
        finally:
            made.go_on.set()
            made.shutdown()
            thread.join()


def verifier() -> Verify:
    """Return the function by which the documentation has events verified."""
    page = (Path(__file__).parents[2] / "docs" / "notifications.md").read_text("utf-8")
    [code] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    known: dict[str, Any] = {}
    exec(code, known)  # noqa: S102 - it is our own documentation
    found: Verify = known["verify"]
    return found
