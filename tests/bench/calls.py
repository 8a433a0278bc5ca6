"""How everything is asked: a route of the cluster, by an event, and again every 20 ms until the right version answers.

Both sides of every comparison are asked by this, in this way.
"""

import http.client
import json
import subprocess
import threading
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Self

EVERY = 0.02
"""Seconds between two questions."""
PATIENCE = 240.0
"""Seconds after which a version that does not answer has failed."""


class NoAnswer(Exception):
    """What was waited for did not come; the round goes on without it."""


def headers(kind: str, **attributes: str) -> dict[str, str]:
    """Return the headers of an event."""
    return {
        "ce-specversion": "1.0",
        "ce-id": str(uuid.uuid4()),
        "ce-source": "/bench",
        "ce-type": kind,
        "ce-time": datetime.now(UTC).isoformat(),
        "content-type": "application/json",
        **{f"ce-{name}": value for name, value in attributes.items()},
    }


class Line:
    """One connection to a host of the cluster, which stays open; of one thread."""

    def __init__(self, address: str, host: str = "") -> None:
        self.address, self.host = address, host
        self._connection = http.client.HTTPConnection(address, timeout=60)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def post(self, path: str, kind: str, data: Any, **attributes: str) -> tuple[int, bytes]:
        """Send an event and return the status and the body of its answer; 0 where there was none."""
        return self.ask("POST", path, json.dumps(data).encode(), headers(kind, **attributes))

    def ask(self, method: str, path: str, body: bytes = b"", said: dict[str, str] | None = None) -> tuple[int, bytes]:
        """Ask for anything."""
        given = {**(said or {}), **({"Host": self.host} if self.host else {})}
        try:
            self._connection.request(method, path, body, given)
            response = self._connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException):
            self._connection.close()  # the next one opens it again
            return 0, b""


class Ready:
    """The newest ready Revision of each Knative Service of a namespace, as the API server tells it, unasked.

    Knative routes to nothing before it stands in the Configuration, so that to ask sooner would only take time from
    what is measured.
    """

    def __init__(self, namespace: str) -> None:
        path = '{.metadata.name} {.status.latestReadyRevisionName}{"\\n"}'
        kind = "configurations.serving.knative.dev"
        command = ["kubectl", "get", kind, "-n", namespace, "--watch", "-o", f"jsonpath={path}"]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self._seen: dict[str, str] = {}
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for line in self._process.stdout or ():
            name, _, revision = line.rstrip("\n").partition(" ")
            with self._changed:
                self._seen[name] = revision
                self._changed.notify_all()

    def now(self, name: str) -> str:
        """Return the Revision of a Service that is ready now; "" for none."""
        return self._seen.get(name, "")

    def wait(self, name: str, other_than: str, seconds: float) -> None:
        """Wait until another Revision is ready."""
        with self._changed:
            if not self._changed.wait_for(lambda: self.now(name) not in ("", other_than), seconds):
                raise NoAnswer(f"{name}: no new Revision is ready after {seconds:.0f} s")

    def close(self) -> None:
        """Stop listening."""
        self._process.terminate()
        self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()


def until_answer(line: Line, version: str, seconds: float = PATIENCE) -> None:
    """Ask a function every 20 ms until this version answers."""
    end = time.monotonic() + seconds
    last = (0, b"")
    while (start := time.monotonic()) < end:
        last = line.post("/", "bench.hello", {})
        if last[0] == http.HTTPStatus.OK and said(last[1]) == version:
            return
        time.sleep(max(0.0, start + EVERY - time.monotonic()))
    raise NoAnswer(f"{line.host}: {version} does not answer after {seconds:.0f} s; last: {last[0]} {last[1][:200]!r}")


def said(body: bytes) -> Any:
    """Return the version that a function's answer names; None for what is none."""
    try:
        found = json.loads(body)
    except ValueError:
        return None
    return found.get("version") if isinstance(found, dict) else None
