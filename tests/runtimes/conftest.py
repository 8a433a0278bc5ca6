"""The runtimes, each as a fixture: missing programs skip at home and fail in CI."""

import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import pytest
from support.wrappers import PROGRAMS, Runtime, Served

IDENTITY = {"K_SERVICE": "hello", "K_REVISION": "hello-00001", "LAMBDA_TENANT": "acme", "LAMBDA_TIMEOUT": "1000"}


def _runtime(name: str, stack: ExitStack) -> Runtime:
    if shutil.which(PROGRAMS[name]) is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{name} is not on this machine")
    return Runtime(name, stack)


@pytest.fixture(params=["python", "node", "go"])
def runtime(request: pytest.FixtureRequest) -> Iterator[Runtime]:
    with ExitStack() as stack:
        yield _runtime(request.param, stack)


@pytest.fixture
def python() -> Iterator[Runtime]:
    with ExitStack() as stack:
        yield _runtime("python", stack)


@pytest.fixture
def node() -> Iterator[Runtime]:
    with ExitStack() as stack:
        yield _runtime("node", stack)


@pytest.fixture
def go() -> Iterator[Runtime]:
    with ExitStack() as stack:
        yield _runtime("go", stack)


@pytest.fixture(scope="session", params=["python", "node", "go"])
def served(request: pytest.FixtureRequest) -> Iterator[Served]:
    """One process for all tests that do no harm to it."""
    with ExitStack() as stack:
        yield _runtime(request.param, stack).serve(**IDENTITY)
