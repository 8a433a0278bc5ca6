"""Prometheus' own programs, for tests. Where they are missing a test skips at home and fails in CI."""

import os
import shutil

import pytest


def program(name: str) -> str:
    """Return where ``prometheus`` or ``promtool`` is."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not on PATH; it is in Debian's package prometheus"
        pytest.fail(message) if "CI" in os.environ else pytest.skip(message)
    return str(found)
