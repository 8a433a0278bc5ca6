"""Stands in for functions-framework where a function imports it and its dependencies don't bring it.

It lies at the very end of the import path, so that a real one wins. A decorated function stays what it is: the
wrapper finds it by its entrypoint, and gives it the event alone because it takes nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def cloud_event(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return `function` as it is."""
    return function
