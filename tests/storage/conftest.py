"""Stores of every vendor for the contract suite, and the S3 server that two of them speak to."""

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.s3 import ACCESS_KEY, BUCKET, SECRET_KEY, start_server, stop

from knative_lambda.schemas.guard import Guard, GuardSettings
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import GuardedStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store
from knative_lambda.storage.tenants import TenantStores

Connect = Callable[..., Store]
PATIENT = {"connect_timeout": 30.0, "read_timeout": 60.0}
"""On a busy machine a server may be slow, and nothing is wrong with it."""


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


@pytest.fixture(params=["memory", "guarded", "tenants", "file", "s3", "minio"])
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
    if request.param == "tenants":
        own = {
            tenant: open_store("memory://test", StoreSettings("memory://test")) for tenant in ("acme", "b", "tenant")
        }
        return TenantStores(memory, own), None
    return memory, None


@pytest.fixture
def store(opened: tuple[Store, Path | None]) -> Store:
    """Return an empty store of each vendor."""
    return opened[0]


def connect_s3(endpoint: str, *, bucket: str = BUCKET, prefix: str = "", **settings: float) -> Store:
    url = f"s3://{bucket}/{prefix}"
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return open_store(url, StoreSettings(url, endpoint, **keys, **PATIENT | settings))


def connect_minio(endpoint: str, *, bucket: str = BUCKET, prefix: str = "", **settings: float) -> Store:
    url = f"{endpoint.replace('http', 'minio')}/{bucket}/{prefix}?secure=false"
    keys = {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    return open_store(url, StoreSettings(url, **keys, **PATIENT | settings))
