"""A watcher of Server-Sent Events, as a browser is one: it comes back with the last id, whoever answers."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Get = Callable[[dict[str, str]], tuple[int, str]]
"""Asks, with these headers; returns the status and the body."""


@dataclass
class Watcher:
    """What one watcher was told."""

    get: Get
    last: str = ""
    events: list[tuple[str, Any]] = field(default_factory=list)
    retry: int = 0
    """Milliseconds, as it was told last."""
    is_done: bool = False

    def ask(self) -> list[str]:
        """Ask once; return the kinds of what came."""
        status, body = self.get({"Last-Event-ID": self.last} if self.last else {})
        if status == 204:
            self.is_done = True
            return []
        assert status == 200, body
        before = len(self.events)
        for block in body.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines())
            self.retry = int(fields.get("retry", self.retry))
            if "data" in fields:
                self.events.append((fields["event"], json.loads(fields["data"])))
                self.last = fields["id"]
        return [kind for kind, _ in self.events[before:]]

    @property
    def lines(self) -> list[str]:
        return [data["line"] for kind, data in self.events if kind == "log"]

    @property
    def states(self) -> list[str]:
        """Return the states of the build that it was told, one after the other."""
        return [data["state"] for kind, data in self.events if kind == "build"]
