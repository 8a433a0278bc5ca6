"""One process that runs a function, and the log that its output goes to.

Used by `revision.py`. The process ends when this one does, however that ends: its standard input is a pipe that the
runtimes' wrappers watch.
"""

import contextlib
import os
import signal
import socket
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path

from knative_lambda.deploy.embedded.transport import NoAnswer, Request, Response, TimedOut, send

HOST = "127.0.0.1"
LINES_KEPT = 20
PROBE_SECONDS = 0.02
PROBE_TIMEOUT = 5.0
GRACE_SECONDS = 10.0
ENDING_SECONDS = 1.0
"""How long to wait for the end of a process that has dropped a connection: the next request should find it ended."""
READ_SECONDS = 1.0
"""How long to wait for the rest of the output: what a function has started may hold the pipe open."""
LINE_LIMIT = 64 * 1024


class StartFailed(Exception):
    """The process ended, or did not become ready in time; the text says why in the process' own last words."""

    reason = "RevisionFailed"
    """What the Service's condition gives as its reason."""


class Missing(StartFailed):
    """A thing of this `kind` that it names is not there; here the Service says what on a cluster an Event tells."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.reason = f"{kind}Missing"


@dataclass(frozen=True)
class Program:
    """What to run."""

    command: tuple[str, ...]
    folder: Path
    environment: Mapping[str, str]
    probe: str = ""
    """The path that answers 2xx when it is ready; "" where an open port is enough."""


@dataclass
class FunctionLog:
    """A file that output is appended to; when it has `limit` bytes it becomes ``<name>.1`` and a new one is begun."""

    path: Path
    limit: int = 4 * 1024 * 1024
    echo: Callable[[str], None] = lambda _line: None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, line: bytes) -> None:
        """Write one line."""
        with self._lock:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if self.path.exists() and self.path.stat().st_size > self.limit:
                self.path.replace(self.path.with_name(self.path.name + ".1"))
            with self.path.open("ab") as file:
                file.write(line)
        self.echo(line.decode(errors="replace").rstrip("\n"))


class Process:
    """A started `program`; `address` is where it listens."""

    def __init__(self, program: Program, log: FunctionLog) -> None:
        self._probe = program.probe
        self._log = log
        self._last: deque[str] = deque(maxlen=LINES_KEPT)
        with socket.create_server((HOST, 0)) as free:
            self._port: int = free.getsockname()[1]
        self.address = f"http://{HOST}:{self._port}"
        own = {"HOST": HOST, "PORT": str(self._port), "LAMBDA_PARENT_PIPE": "1"}
        try:
            self._child = subprocess.Popen(  # noqa: S603 - running functions is what this is for
                program.command,
                cwd=program.folder,
                env={**program.environment, **own},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise StartFailed(f"cannot start {program.command[0]}: {error}") from error
        self._reader = threading.Thread(target=self._read, name=f"output-{self._child.pid}", daemon=True)
        self._reader.start()

    @property
    def alive(self) -> bool:
        """Say whether it still runs."""
        return self._child.poll() is None

    def wait_until_ready(self, timeout: float, cancelled: threading.Event) -> None:
        """Return when it takes requests; raise `StartFailed` when it ends, or isn't ready in `timeout` seconds."""
        probes = max(1, round(timeout / PROBE_SECONDS))
        for _ in range(probes):
            if not self.alive:
                raise StartFailed(f"Container failed with: {self._last_words()}")
            if self._ready():
                return
            if cancelled.wait(PROBE_SECONDS):
                raise StartFailed("a newer revision came first")
        raise StartFailed(f"not ready after {timeout:g} s: {self._last_words()}")

    def send(self, request: Request) -> Response:
        """Send one request to it; raise `NoAnswer`."""
        try:
            return send(self.address, request)
        except TimedOut:
            raise
        except NoAnswer:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._child.wait(ENDING_SECONDS)
            raise

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Let it finish what it does, for `grace` seconds, then kill it and all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            self._child.send_signal(signal.SIGTERM)
        try:
            self._child.wait(grace)
        except subprocess.TimeoutExpired:
            self._child.kill()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._child.pid, signal.SIGKILL)
        self._child.wait()
        self._reader.join(READ_SECONDS)
        if self._child.stdin is not None:
            self._child.stdin.close()

    def _ready(self) -> bool:
        if not self._probe:
            try:
                socket.create_connection((HOST, self._port), PROBE_TIMEOUT).close()
            except OSError:
                return False
            return True
        try:
            probe = Request("GET", self._probe, timeout=PROBE_TIMEOUT)
            return send(self.address, probe).status < HTTPStatus.MULTIPLE_CHOICES
        except NoAnswer:
            return False

    def _read(self) -> None:
        if self._child.stdout is None:
            return
        with self._child.stdout as output:
            while line := output.readline(LINE_LIMIT):
                self._last.append(line.decode(errors="replace").rstrip("\n"))
                self._log.append(line)

    def _last_words(self) -> str:
        if not self.alive:
            self._reader.join(READ_SECONDS)
        return "\n".join(self._last) or f"exit code {self._child.poll()}, no output"
