"""The real API server that this room's tests share."""

import contextlib
import os
from collections.abc import Iterator

import pytest
from support.apiserver import MissingProgramError, api_server


@pytest.fixture(scope="session")
def kubeconfig() -> Iterator[str]:
    """Yield the path of a kubeconfig; where the server's programs are missing, skip, or fail in CI."""
    with contextlib.ExitStack() as running:
        try:
            path = running.enter_context(api_server())
        except MissingProgramError as error:
            (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
        yield str(path)
