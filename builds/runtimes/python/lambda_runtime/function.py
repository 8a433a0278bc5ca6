"""The user's function: found, checked, and called.

`serve.py` loads it, `delivery.py` calls it. What is wrong with it is told in one line that names the next step.
"""

from __future__ import annotations

import importlib
import inspect
import threading
from collections.abc import Awaitable, Callable
from typing import Any

from .context import Context
from .event import Event

Function = Callable[[Event, Context], Any]


class LoadError(Exception):
    """The function cannot be loaded; where its own code raised, that is the cause."""


def load(entrypoint: str, folder: str) -> Function:
    """Import the function that `entrypoint` names (``package.module.function``); raise `LoadError`.

    `folder`, which is on the import path already, is only used to say where it was looked for.
    """
    module_name, _, name = entrypoint.rpartition(".")
    if not module_name or not name:
        raise LoadError(f"the entrypoint {entrypoint!r} is not <module>.<function>, such as main.handle")
    module = _import(module_name, folder)
    if not hasattr(module, name):
        there = sorted(key for key, value in vars(module).items() if inspect.isfunction(value) and key[0] != "_")
        raise LoadError(f"module {module_name!r} has no function {name!r}; it has: {', '.join(there) or 'none'}")
    function = getattr(module, name)
    if not callable(function):
        raise LoadError(f"{entrypoint!r} is no function but a {type(function).__name__}")
    settled = _settled(_with_two_parameters(function, entrypoint), EventLoop())
    signature = getattr(function, "lambda_signature", "event")
    served = _silent(settled) if signature == "cloud_event" else settled
    served.__dict__["lambda_signature"] = signature
    return served


def is_web(function: Function) -> bool:
    """Tell whether functions-framework's `http` marked the function."""
    return function.__dict__["lambda_signature"] == "http"


def _import(module_name: str, folder: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name == error.name or module_name.startswith(f"{error.name}.")):
            raise LoadError(f"there is no module {module_name!r} in {folder}") from None
        raise LoadError(
            f"module {module_name!r} imports {error.name!r}, which is not installed: is it in requirements.txt?"
        ) from error
    except SyntaxError as error:
        raise LoadError(f"{error.filename}, line {error.lineno}: {error.msg}") from error
    except BaseException as error:  # a module may raise what it likes, SystemExit too
        raise LoadError(f"module {module_name!r} cannot be loaded: {type(error).__name__}: {error}") from error


def _with_two_parameters(function: Callable[..., Any], entrypoint: str) -> Function:
    """Return `function` as one of event and context; one of a single parameter takes the event."""
    try:
        signature = inspect.signature(function)
    except ValueError as error:
        raise LoadError(f"{entrypoint!r} is not a Python function: {error}") from None
    if _takes(signature, 2):
        return function
    if _takes(signature, 1):
        return lambda event, _: function(event)
    raise LoadError(f"{entrypoint!r} takes {signature}; it must take (event, context), or (event)")


def _takes(signature: inspect.Signature, arguments: int) -> bool:
    try:
        signature.bind(*(None,) * arguments)
    except TypeError:
        return False
    return True


def _settled(function: Function, loop: EventLoop) -> Function:
    """Return `function` with what it returns awaited, where that can be awaited."""

    def settled(event: Event, context: Context) -> Any:
        value = function(event, context)
        return loop.run(value) if inspect.isawaitable(value) else value

    return settled


def _silent(function: Function) -> Function:
    """Return `function` with what it returns dropped: for functions-framework such a function only takes events."""

    def silent(event: Event, context: Context) -> None:
        function(event, context)

    return silent


class EventLoop:
    """One asyncio loop in a thread of its own, for the coroutines of all requests, so that they can share clients.

    It starts with the first of them: importing asyncio takes as long as all the rest of the wrapper.
    """

    def __init__(self) -> None:
        self._start = threading.Lock()
        self._loop: Any | None = None  # an asyncio.AbstractEventLoop

    def run(self, awaitable: Awaitable[Any]) -> Any:
        """Return what `awaitable` returns, or raise what it raises."""
        import asyncio  # noqa: PLC0415 - only functions that need it pay for it

        async def outcome() -> tuple[Any, BaseException | None]:
            try:
                return await awaitable, None
            except BaseException as error:  # noqa: BLE001 - a SystemExit would end the loop for all
                return None, error

        with self._start:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                threading.Thread(target=self._loop.run_forever, name="event-loop", daemon=True).start()
        value, error = asyncio.run_coroutine_threadsafe(outcome(), self._loop).result()
        if error is not None:
            raise error
        return value
