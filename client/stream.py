"""Server-Sent Events as a service answers them: what is new, and when to ask again.

Called by `service.py`. An answer ends, and who watches comes back with the id of the last event, so that a line is told
once however often the connection or the service goes.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from knative_lambda.client.http import Http
from knative_lambda.client.patience import AGAIN, patiently


@dataclass(frozen=True)
class Told:
    """One event: its kind, and its data."""

    kind: str
    data: Mapping[str, Any]


def watch(http: Http, path: str, sleep: Callable[[float], None]) -> Iterator[Told]:
    """Yield each event once, until all was told.

    Raises `NotThere` where there is nothing to watch, `Unreachable` at once where one may not.
    """
    last = ""
    while True:
        headers = {"Last-Event-ID": last} if last else {}
        answer = patiently(lambda said=headers: http.ask("GET", path, headers=said).checked(), sleep)  # type: ignore[misc] # its default is its type
        if answer.status == HTTPStatus.NO_CONTENT:
            return
        again = AGAIN
        for fields in map(_fields, answer.body.decode().split("\n\n")):
            again = int(fields["retry"]) / 1000 if "retry" in fields else again
            if "data" in fields:
                last = fields.get("id", last)
                yield Told(fields.get("event", "message"), json.loads(fields["data"]))
        sleep(again)


def _fields(block: str) -> dict[str, str]:
    """Return the fields of an event; each has one line here."""
    pairs = (line.partition(":") for line in block.splitlines())
    return {name: value.removeprefix(" ") for name, _, value in pairs if name}
