"""The main job on this machine, told step by step: `make demo` runs it.

It starts the service as a process of its own, with a folder that is thrown away, and speaks to it as any sender would:
with CloudEvents over HTTP.
"""

import contextlib
import json
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from knative_lambda.client import local
from knative_lambda.client.local import HOST
from knative_lambda.schemas.types import BUILD_START, FUNCTION_DELETE, FUNCTION_RESULT

EXAMPLES = Path(__file__).resolve().parents[1] / "docs" / "examples"
TENANT = "demo"
SECONDS = 150.0
POLL = 0.1
LINES_SHOWN = 30
CONDITIONS = ("Built", "Deployed", "Ready")


class Failed(Exception):
    """The demo cannot go on; the text says why."""


@dataclass(frozen=True)
class Example:
    """One of the examples as a function: its files, and what is changed in one of them for a new version."""

    name: str
    runtime: str
    folder: str
    main: str
    dependencies: str

    def source(self) -> dict[str, str]:
        """Return the files of the function."""
        return {name: (EXAMPLES / self.folder / name).read_text("utf-8") for name in (self.main, self.dependencies)}

    def changed(self) -> dict[str, str]:
        """Return them with another greeting."""
        files = self.source()
        before, after = ('"hello":', '"good morning":') if self.runtime == "python" else ("hello:", '"good morning":')
        if before not in files[self.main]:
            raise Failed(f"{self.folder}/{self.main} greets with something else than {before}")
        return files | {self.main: files[self.main].replace(before, after)}


PYTHON = Example("hello", "python", "python-hello", "main.py", "requirements.txt")
NODE = Example("hello-node", "node", "node-hello", "index.js", "package.json")


@dataclass
class Story:
    """What is told, with the seconds that have passed, and the time by which it must have ended."""

    begun: float = field(default_factory=time.monotonic)

    def say(self, text: str) -> None:
        """Print a line."""
        sys.stdout.write(f"{time.monotonic() - self.begun:7.1f} s  {text}\n")
        sys.stdout.flush()

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Tell what is begun, and how long it took."""
        begun = time.monotonic()
        self.say(f"==> {title}")
        yield
        self.say(f"    done in {time.monotonic() - begun:.1f} s")

    def wait(self, what: str, found: Callable[[], Any]) -> Any:
        """Return what `found` returns as soon as that is something; raise `Failed` when the time is over."""
        while not (result := found()):
            if time.monotonic() - self.begun > SECONDS:
                raise Failed(f"{what} did not come within {SECONDS:g} s")
            time.sleep(POLL)
        return result


@dataclass
class Service:
    """The service's process, spoken to over HTTP."""

    port: int
    child: subprocess.Popen[bytes]

    def request(self, method: str, path: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Any:
        """Return status and body of an answer; status 0 where there is none."""
        connection = HTTPConnection(HOST, self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.read()
        except (OSError, HTTPException):
            if self.child.poll() is not None:
                raise Failed(f"the service has ended with exit code {self.child.returncode}") from None
            return 0, b""
        finally:
            connection.close()

    def ready(self) -> bool:
        """Say whether it takes requests."""
        status, _ = self.request("GET", "/health/ready")
        return bool(status == HTTPStatus.OK)

    def send(self, broker: str, kind: str, data: Mapping[str, Any]) -> None:
        """Send a CloudEvent to a Broker, ``<namespace>/<name>``."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": str(uuid.uuid4()),
            "ce-source": "/demo",
            "ce-type": kind,
            "ce-time": datetime.now(UTC).isoformat(),
            "content-type": "application/json",
        }
        status, body = self.request("POST", f"/{broker}", headers, json.dumps(data).encode())
        if status != HTTPStatus.ACCEPTED:
            raise Failed(f"broker {broker} answered {status}: {body.decode(errors='replace')}")

    def function(self, name: str) -> dict[str, Any] | None:
        """Return a Function as the service reports it, or None where there is none (yet)."""
        status, body = self.request("GET", f"/v1/tenants/{TENANT}/functions/{name}")
        if status == HTTPStatus.OK:
            found: dict[str, Any] = json.loads(body)
            return found
        if status in (0, HTTPStatus.NOT_FOUND, HTTPStatus.SERVICE_UNAVAILABLE):
            return None
        raise Failed(f"asked for function {name}, the service answered {status}: {body.decode(errors='replace')}")


@dataclass
class Listener:
    """Keeps the replies of functions: the service sends it every event of the tenants' Brokers."""

    replies: queue.Queue[Any] = field(default_factory=queue.Queue)

    @contextlib.contextmanager
    def listening(self) -> Iterator[str]:
        """Yield the URL that takes events."""
        replies = self.replies

        class Sink(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                if self.headers.get("ce-type") == FUNCTION_RESULT:
                    replies.put(json.loads(body))
                self.send_response(HTTPStatus.ACCEPTED)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        with ThreadingHTTPServer((HOST, 0), Sink) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield f"http://{HOST}:{server.server_port}/"
            server.shutdown()

    def reply(self) -> Any:
        """Return the next reply, or None."""
        with contextlib.suppress(queue.Empty):
            return self.replies.get_nowait()
        return None


@dataclass
class Demo:
    """The story itself."""

    story: Story
    service: Service
    listener: Listener

    def run(self, examples: list[Example]) -> None:
        """Tell it all; raise `Failed`."""
        self.story.wait("the service", self.service.ready)
        for example in examples:
            with self.story.step(f"{example.folder}: build.start to the product's broker, and wait until it is ready"):
                generation = self.deploy(example, example.source())
            with self.story.step(f"{example.folder}: an event to the tenant's broker"):
                before = self.ask(example)
            with self.story.step(f"{example.folder}: a new version"):
                self.deploy(example, example.changed(), generation)
                if self.ask(example) == before:
                    raise Failed("the version before has answered")
        for example in examples:
            with self.story.step(f"{example.folder}: function.delete"):
                self.delete(example)

    def deploy(self, example: Example, source: Mapping[str, str], before: int = 0) -> int:
        """Send a version and return its generation once it is ready in place of the generation `before`."""
        data = {
            "tenant": TENANT,
            "name": example.name,
            "runtime": example.runtime,
            "source": {"inline": dict(source)},
            "triggers": [{"type": f"demo.{example.name}"}],
        }
        self.service.send("knative-lambda/default", BUILD_START, data)
        told: set[str] = set()

        def generation() -> int:
            function = self.service.function(example.name) or {}
            status, wanted = function.get("status", {}), function.get("metadata", {}).get("generation", 0)
            if wanted <= before or status.get("observedGeneration") != wanted:  # it speaks of the version before
                return 0
            found = {condition["type"]: condition for condition in status.get("conditions", [])}
            for kind in CONDITIONS:
                self._tell(told, kind, found.get(kind, {}))
            is_there = all(found.get(kind, {}).get("status") == "True" for kind in CONDITIONS)
            return int(wanted) if is_there and found["Deployed"].get("reason") != "OlderVersion" else 0

        return int(self.story.wait(f"function {example.name}", generation))

    def ask(self, example: Example) -> Any:
        """Send the function an event; tell its reply, and return it."""
        self.service.send(f"{TENANT}/default", f"demo.{example.name}", {"name": "ada lovelace"})
        reply = self.story.wait("the reply", self.listener.reply)
        self.story.say(f"    reply: {json.dumps(reply)}")
        return reply

    def delete(self, example: Example) -> None:
        """Have the function deleted, and wait until nobody knows it any more."""
        self.service.send("knative-lambda/default", FUNCTION_DELETE, {"tenant": TENANT, "name": example.name})
        self.story.wait("the end", lambda: self.service.function(example.name) is None)

    def _tell(self, told: set[str], kind: str, condition: Mapping[str, str]) -> None:
        line = f"{kind}: {condition.get('status', '')} {condition.get('reason', '')}".rstrip()
        if condition and line not in told:
            told.add(line)
            self.story.say(f"    {line}")
        if condition.get("status") == "False":
            raise Failed(f"{kind}: {condition.get('reason')}: {condition.get('message')}")


@contextlib.contextmanager
def service(folder: Path, sink: str) -> Iterator[Service]:
    """Start the service with its data below `folder`, yield it, and end it."""
    with local.embedded(folder, "--sink", sink, "--tenants", TENANT) as process:
        yield Service(process.port, process.child)
    child = process.child
    if child.returncode != 0:
        raise Failed(f"the service ended with exit code {child.returncode}")


def main() -> int:
    """Run the demo and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(1))
    story, listener = Story(), Listener()
    examples = [PYTHON]
    if shutil.which("node") and shutil.which("npm"):
        examples.append(NODE)
    else:
        story.say("node and npm are not on this machine: node-hello is skipped")
    with tempfile.TemporaryDirectory(prefix="knative-lambda-demo-") as name:
        folder = Path(name)
        try:
            with listener.listening() as sink:
                story.say("==> knative-lambda dev, with an empty folder")
                with service(folder, sink) as started:
                    Demo(story, started, listener).run(examples)
                    story.say("==> SIGTERM to the service")
        except Failed as failure:
            lines = (folder / "log").read_text("utf-8", "replace").splitlines()[-LINES_SHOWN:]
            story.say(f"FAILED: {failure}")
            sys.stdout.write("\n".join(("the end of the service's log:", *lines, "")))
            return 1
    story.say("all done")
    return 0


if __name__ == "__main__":
    sys.exit(main())
