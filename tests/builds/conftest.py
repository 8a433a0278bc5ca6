"""What the tests of builds share: a real registry."""

import os
import shutil
from collections.abc import Iterator

import pytest
from support.registry import real_registry


@pytest.fixture(scope="session")
def registry_program() -> str:
    """Return the program of a real registry; where it is missing, skip, or fail in CI."""
    program = shutil.which("docker-registry")
    if program is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("docker-registry is not on PATH")
    return program


@pytest.fixture(scope="module")
def server(registry_program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Yield the host of a real registry, to which everybody may push."""
    with real_registry(registry_program, tmp_path_factory.mktemp("registry")) as host:
        yield host
