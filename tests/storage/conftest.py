"""Stores of every vendor for the contract suite, and the S3 server that two of them speak to."""

import os
import shutil
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knative_lambda.schemas.guard import Guard, GuardSettings
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import GuardedStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

BUCKET = "test-bucket"
ACCESS_KEY = "tester"
SECRET_KEY = "tester-secret"
START_SECONDS = 20

Connect = Callable[..., Store]


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Yield the endpoint of a real S3 server, and the folder that is its bucket."""
    home = tmp_path_factory.mktemp("s3")
    process, endpoint = start_server(home)
    yield endpoint, home / "buckets" / BUCKET
    stop(process)


@pytest.fixture
def doomed_server(tmp_path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the endpoint of a server of the test's own, and how to stop it."""
    process, endpoint = start_server(tmp_path)
    yield endpoint, lambda: stop(process)
    stop(process)


@pytest.fixture(params=["s3", "minio"])
def connect(request: pytest.FixtureRequest) -> Connect:
    """Return how each of the network's clients is opened: ``connect(endpoint, bucket=…, prefix=…, **settings)``."""
    return {"s3": connect_s3, "minio": connect_minio}[request.param]


@pytest.fixture(params=["memory", "guarded", "file", "s3", "minio"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Store, Path | None]:
    """Return an empty store, and the folder in which its objects can also be made by hand."""
    if request.param in {"s3", "minio"}:
        endpoint, folder = request.getfixturevalue("s3_server")
        prefix = uuid.uuid4().hex
        connect = {"s3": connect_s3, "minio": connect_minio}[request.param]
        return connect(endpoint, prefix=prefix), folder / prefix
    if request.param == "file":
        url = (tmp_path / "a store").as_uri()
        return open_store(url, StoreSettings(url)), tmp_path / "a store"
    memory = open_store("memory://test", StoreSettings("memory://test"))
    if request.param == "guarded":
        return GuardedStore(memory, Guard("store", GuardSettings()), page=7), None
    return memory, None


@pytest.fixture
def store(opened: tuple[Store, Path | None]) -> Store:
    """Return an empty store of each vendor."""
    return opened[0]


def connect_s3(endpoint: str, *, bucket: str = BUCKET, prefix: str = "", **settings: float) -> Store:
    url = f"s3://{bucket}/{prefix}"
    return open_store(url, StoreSettings(url, endpoint, access_key=ACCESS_KEY, secret_key=SECRET_KEY, **settings))


def connect_minio(endpoint: str, *, bucket: str = BUCKET, prefix: str = "", **settings: float) -> Store:
    url = f"{endpoint.replace('http', 'minio')}/{bucket}/{prefix}?secure=false"
    return open_store(url, StoreSettings(url, access_key=ACCESS_KEY, secret_key=SECRET_KEY, **settings))


def start_server(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Start the S3 server with one bucket; where its program is missing, skip, or fail in CI."""
    cache = os.environ.get("CLUSTER_CACHE") or Path.home() / ".cache" / "knative-cluster"
    program = shutil.which("versitygw") or shutil.which("versitygw", path=Path(cache) / "bin")
    if program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"versitygw is neither on PATH nor in {cache}/bin")
    (home / "buckets" / BUCKET).mkdir(parents=True)
    (home / "metadata").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    setpriv = shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []  # it stops with this process, however that ends
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                *(*leash, program, "--quiet", "--port", f"127.0.0.1:{port}"),
                *("posix", "--sidecar", home / "metadata", home / "buckets"),
            ],
            env={"ROOT_ACCESS_KEY": ACCESS_KEY, "ROOT_SECRET_KEY": SECRET_KEY},
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
