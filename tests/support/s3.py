"""A real S3 server for tests, the program `versitygw`, on loopback."""

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
from support.ports import free_port

BUCKET = "test-bucket"
ACCESS_KEY = "tester"
SECRET_KEY = "tester-secret"
START_SECONDS = 90


def start_server(
    home: Path, keys: tuple[str, str] = (ACCESS_KEY, SECRET_KEY), port: int = 0
) -> tuple[subprocess.Popen[bytes], str]:
    """Start the S3 server with one bucket, which these keys open; where its program is missing, skip, or fail in CI."""
    cache = os.environ.get("CLUSTER_CACHE") or Path.home() / ".cache" / "knative-cluster"
    program = shutil.which("versitygw") or shutil.which("versitygw", path=Path(cache) / "bin")
    if program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"versitygw is neither on PATH nor in {cache}/bin")
    (home / "buckets" / BUCKET).mkdir(parents=True, exist_ok=True)
    (home / "metadata").mkdir(exist_ok=True)
    port = port or free_port()
    setpriv = shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []  # it stops with this process, however that ends
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(*leash, program, "--quiet", "--port", f"127.0.0.1:{port}"),
                *("posix", "--sidecar", home / "metadata", home / "buckets"),
            ],
            env={"ROOT_ACCESS_KEY": keys[0], "ROOT_SECRET_KEY": keys[1]},
            stdout=log,
            stderr=log,
        )
    give_up = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > give_up:
                stop(process)
                pytest.fail(f"versitygw did not start: {(home / 'log').read_text()}")
            time.sleep(0.02)
        else:
            return process, f"http://127.0.0.1:{port}"


def stop(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
