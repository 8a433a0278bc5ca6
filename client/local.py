"""The embedded mode as a process of our own, for as long as somebody needs it: `run` and `demo` do."""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"
STOP_SECONDS = 20.0
LOG = "log"
"""The file below the folder that has what the process says."""


@dataclass(frozen=True)
class Process:
    """What runs, and where."""

    port: int
    child: subprocess.Popen[bytes]
    log: Path
    """The file that has its lines, and those of its functions."""

    @property
    def url(self) -> str:
        """Return where it serves."""
        return f"http://{HOST}:{self.port}"


@contextlib.contextmanager
def embedded(folder: Path, *options: str) -> Iterator[Process]:
    """Start it with its data below `folder` and options of ``dev``, yield it, and end it."""
    with socket.create_server((HOST, 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "knative_lambda.handler", "dev", "--port", str(port)]
    command += ["--data", str(folder / "data"), *options]
    with (folder / LOG).open("wb") as log:
        child = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)  # noqa: S603 - our own
    try:
        yield Process(port, child, folder / LOG)
    finally:
        child.terminate()
        try:
            child.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
