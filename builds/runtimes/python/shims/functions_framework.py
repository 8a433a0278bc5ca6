"""Stands in for functions-framework: the wrapper serves what it marks.

It comes before one among a function's dependencies: there is one server in a process, and it is ours. What a function
lists functions-framework for is there all the same: Flask, which an HTTP function gets its request from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Function = Callable[..., Any]

errorhandlers: list[tuple[Any, Function]] = []
"""What `errorhandler` was given; the wrapper hands it to Flask."""


def cloud_event(function: Function) -> Function:
    """Return `function`, marked as one that answers nothing: what it returns is dropped, as the framework does."""
    function.__dict__["lambda_signature"] = "cloud_event"
    return function


def http(function: Function) -> Function:
    """Return `function`, marked as one that takes a request; what wraps it with `functools.wraps` is marked too."""
    function.__dict__["lambda_signature"] = "http"
    return function


def errorhandler(error: Any) -> Callable[[Function], Function]:
    """Return what registers a function as the answer of HTTP functions to an exception, or a status."""

    def register(function: Function) -> Function:
        errorhandlers.append((error, function))
        return function

    return register


def __getattr__(name: str) -> Any:
    raise AttributeError(
        f"functions_framework has no {name!r} here: the wrapper stands in for it, with http, cloud_event, errorhandler"
    )
