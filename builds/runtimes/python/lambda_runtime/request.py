"""A request, as `server.py` read it and `delivery.py` and `web.py` take it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Request(NamedTuple):
    """One HTTP request, whole."""

    method: str
    target: str
    """The path, with its query."""
    headers: Sequence[tuple[str, str]]
    body: bytes
