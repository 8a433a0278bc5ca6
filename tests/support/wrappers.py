"""Starts the runtimes' wrappers as the processes they are, and speaks HTTP with them."""

import functools
import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

PATIENCE = 120
"""Seconds after which a process that should have done something is given up; nothing is measured by it."""

TESTS = Path(__file__).parents[1]
RUNTIMES = TESTS.parent / "builds" / "runtimes"
PROGRAMS = {"python": sys.executable, "node": "node", "go": "go"}
COMMANDS = {
    "python": (sys.executable, str(RUNTIMES / "python" / "serve.py")),
    "node": ("node", str(RUNTIMES / "node" / "serve.js")),
}
"""What serves a function as it is; a Go function is its own program."""

Pairs = Iterable[tuple[str, str]]
Body = bytes | Iterable[bytes]


@dataclass(frozen=True)
class Answer:
    """What came back; header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Connection:
    """One kept connection to a server."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self.http = http.client.HTTPConnection(host, port, timeout=PATIENCE)

    def request(self, method: str, path: str, headers: Pairs = (), body: Body = b"") -> Answer:
        self.send(method, path, headers, body)
        return self.answer()

    def send(self, method: str, path: str, headers: Pairs = (), body: Body = b"") -> None:
        """Send a request; bytes with their length, an iterable in chunks."""
        whole = isinstance(body, bytes)
        self.http.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            self.http.putheader(name, value)
        self.http.putheader(*(("content-length", str(len(body))) if whole else ("transfer-encoding", "chunked")))
        self.http.endheaders(body, encode_chunked=not whole)

    def answer(self) -> Answer:
        response = self.http.getresponse()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, headers, response.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()


class Served:
    """A function that is being served by a process of a runtime."""

    def __init__(self, runtime: str, process: subprocess.Popen[bytes]) -> None:
        self.runtime = runtime
        self.process = process
        self._lines: list[dict[str, Any]] = []
        self._changed = threading.Condition()
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.port: int = self.line(lambda line: "port" in line)["port"]

    def _read(self) -> None:
        assert self.process.stderr is not None
        for text in self.process.stderr:
            with self._changed:
                self._lines.append(json.loads(text) if text.startswith(b"{") else {"message": text.decode()})
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()

    def line(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Return the first line of the log that is `wanted`, once it is there."""
        with self._changed:
            found = self._changed.wait_for(lambda: [line for line in self._lines if wanted(line)], PATIENCE)
            assert found, self._lines
            return found[0]

    def lines(self, **fields: str) -> list[dict[str, Any]]:
        """Return the log's lines that have these fields, once there is one."""
        self.line(lambda line: fields.items() <= line.items())
        with self._changed:
            return [line for line in self._lines if fields.items() <= line.items()]

    def connect(self, host: str = "127.0.0.1") -> Connection:
        return Connection(self.port, host)

    def request(self, method: str, path: str, headers: Pairs = (), body: Body = b"") -> Answer:
        with self.connect() as connection:
            return connection.request(method, path, headers, body)

    def post(self, headers: Pairs, body: Body = b"") -> Answer:
        return self.request("POST", "/", headers, body)

    def send(self, kind: str, data: Any = None, **attributes: str) -> Answer:
        """Send an event of type `kind` with JSON data, in binary mode."""
        return self.post(*binary(kind, data, **attributes))

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        return self.process.wait(PATIENCE)

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stderr):
            if pipe is not None:
                pipe.close()


def binary(kind: str, data: Any = None, **attributes: str) -> tuple[list[tuple[str, str]], bytes]:
    """Return headers and body of an event with JSON data in binary mode."""
    given = {"specversion": "1.0", "id": "1", "source": "/tests", "type": kind, **attributes}
    headers = [(f"ce-{name}", value) for name, value in given.items()]
    if data is None:
        return headers, b""
    return [*headers, ("content-type", "application/json")], json.dumps(data).encode()


class NotCompiled(Exception):
    """There is no program of a function; the arguments are the compiler's exit code and the lines that it printed."""


def compiled(folder: Path, entrypoint: str) -> str:
    """Return the program of a Go function, whose folder stays as it is; raise `NotCompiled`."""
    with tempfile.TemporaryDirectory() as name:
        code, program = Path(name, "function"), Path(name, "program")
        if folder.is_dir():
            shutil.copytree(folder, code)
        command = ("go", "-C", str(RUNTIMES / "go"), "run", "./compile", str(code if folder.is_dir() else folder))
        ended = subprocess.run(
            [*command, entrypoint, str(program)], capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
        if ended.returncode:
            raise NotCompiled(ended.returncode, ended.stderr.decode().splitlines())
        kept = Path(tempfile.mkdtemp(prefix="go-function-"), "program")
        shutil.move(program, kept)
    return str(kept)


compiled_once = functools.cache(compiled)
"""The same for a folder that does not change."""


class Runtime:
    """One of the runtimes, able to serve functions."""

    def __init__(self, name: str, stack: ExitStack) -> None:
        self.name = name
        self.functions = TESTS / "runtimes" / "functions" / name
        self._stack = stack

    def serve(self, folder: Path | None = None, **environment: str) -> Served:
        """Serve the function in `folder` (the tests' own, if not said) until the test has ended."""
        process = subprocess.Popen(
            self._command(folder, environment),
            env=self._environment({"HOST": "127.0.0.1", "PORT": "0", **environment}, folder),
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        served = Served(self.name, process)
        self._stack.callback(served.close)
        return served

    def fail(self, folder: Path, **environment: str) -> tuple[int, list[str]]:
        """Start what should not come up; return its exit code and the lines it printed."""
        try:
            command = self._command(folder, environment)
        except NotCompiled as error:
            return error.args[0], [line for line in error.args[1] if line != "exit status 1"]
        ended = subprocess.run(
            command,
            env=self._environment({"HOST": "127.0.0.1", "PORT": "0", **environment}, folder),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=PATIENCE,
        )
        return ended.returncode, ended.stderr.decode().splitlines()

    def _command(self, folder: Path | None, environment: Mapping[str, str]) -> tuple[str, ...]:
        if self.name in COMMANDS:
            return COMMANDS[self.name]
        make = compiled_once if folder is None else compiled
        return (make(folder or self.functions, environment.get("LAMBDA_ENTRYPOINT", "handle.Handle")),)

    def _environment(self, given: Mapping[str, str], folder: Path | None) -> dict[str, str]:
        code = {"LAMBDA_CODE": str(folder or self.functions)}
        return {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", **code, **given}
