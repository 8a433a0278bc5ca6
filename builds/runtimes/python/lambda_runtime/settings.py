"""The wrapper's settings. `serve.py` reads them from the environment, once; nobody else reads it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class BadSettings(ValueError):
    """Some variables of the environment cannot be used; the text names them all."""


@dataclass(frozen=True)
class Settings:
    """How this one process runs its function."""

    entrypoint: str
    """LAMBDA_ENTRYPOINT: the module's path and the function in it, joined by dots."""
    code: str
    """LAMBDA_CODE: the folder with the function's files."""
    dependencies: str
    """LAMBDA_DEPENDENCIES: the folder that `pip install --target` filled; it need not exist."""
    host: str
    """HOST: the address to listen on; all of them by default."""
    port: int
    """PORT: where to listen, as Knative says; 0 takes a free one, which the first line of the log tells."""
    name: str
    """K_SERVICE: the function's name."""
    revision: str
    """K_REVISION: the revision's name."""
    tenant: str
    """LAMBDA_TENANT: the namespace that the function belongs to."""
    max_body: int
    """LAMBDA_MAX_BODY: the largest body that is accepted, in bytes."""
    concurrency: int
    """LAMBDA_CONCURRENCY: how many events are handled at once; 0 sets no bound."""
    timeout: int
    """LAMBDA_TIMEOUT: the seconds until a sender gives up on an answer: what `context.deadline` is made of."""
    parent_pipe: bool
    """LAMBDA_PARENT_PIPE: where it says anything, the process ends when its standard input does."""

    @classmethod
    def read(cls, environ: Mapping[str, str]) -> Settings:
        """Return the settings in `environ`; raise `BadSettings` for all faults together."""
        faults: list[str] = []

        def number(name: str, default: int) -> int:
            text = environ.get(name) or str(default)
            if text.isascii() and text.isdigit():
                return int(text)
            faults.append(f"{name} is {text!r}, which is no whole number")
            return default

        settings = cls(
            entrypoint=environ.get("LAMBDA_ENTRYPOINT") or "main.handle",
            code=environ.get("LAMBDA_CODE") or "/function",
            dependencies=environ.get("LAMBDA_DEPENDENCIES") or "/dependencies",
            host=environ.get("HOST", ""),
            port=number("PORT", 8080),
            name=environ.get("K_SERVICE") or "function",
            revision=environ.get("K_REVISION", ""),
            tenant=environ.get("LAMBDA_TENANT") or "default",
            max_body=number("LAMBDA_MAX_BODY", 10 * 1024 * 1024),
            concurrency=number("LAMBDA_CONCURRENCY", 0),
            timeout=number("LAMBDA_TIMEOUT", 60),
            parent_pipe=bool(environ.get("LAMBDA_PARENT_PIPE")),
        )
        if faults:
            raise BadSettings("; ".join(faults))
        return settings
