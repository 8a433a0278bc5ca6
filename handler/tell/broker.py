"""The `Broker` port: where notifications are posted, which is the one ingress of all tenants' Brokers.

Called by `outbox.py` alone, in its own thread: no handler posts to a Broker while it serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Protocol

import urllib3

from knative_lambda.schemas import trace
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.guard import Guard, GuardSettings
from knative_lambda.schemas.redaction import learn
from knative_lambda.schemas.tls import NOWHERE, Connections

TIMEOUT = 3.0
PATIENCE = GuardSettings(attempts=2, deadline=4.0, attempt_timeout=TIMEOUT)
"""How patient the guard is with the ingress: what it does not take comes again anyway."""


class Broker(Protocol):
    """What the product asks of the Brokers' ingress."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post an event and return the status of the answer, which may be a refusal (4xx).

        Raises `Unavailable` ("broker") where there was no answer, or one that says so (5xx).
        """


class HttpBroker:
    """A `Broker` over HTTP; `timeout` is in seconds, `trust` as in `tls.py`, and nothing is tried again here.

    `tokens` is a folder with a token for each Broker that asks who sends, ``<namespace>.<broker>``; "" where none does.
    """

    def __init__(self, timeout: float = TIMEOUT, trust: Path = NOWHERE, tokens: str = "") -> None:
        self._connections = Connections(trust, timeout)
        self._tokens = tokens

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `Broker.post`."""
        traced = {trace.HEADER: now} if (now := trace.current()) else {}
        sent = {**headers, **traced, **self._authorization(url)}
        try:
            pool = self._connections.pool
            status = pool.request("POST", url, headers=sent, body=body, redirect=False).status
        except OSError as error:
            raise Unavailable("broker", f"the certificates cannot be read: {error.strerror}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("broker", f"no answer from {url}: {type(error).__name__}") from error
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise Unavailable("broker", f"{url} answered {status}")
        return status

    def _authorization(self, url: str) -> dict[str, str]:
        if not self._tokens:
            return {}
        *_, namespace, name = url.split("/")
        try:  # read each time: it is rotated, and lies in memory
            token = learn(Path(self._tokens, f"{namespace}.{name}").read_text().strip(), passing=True)
        except OSError as error:
            raise Unavailable("broker", f"no token for {url}: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {token}"}


@dataclass(frozen=True)
class GuardedBroker:
    """A `Broker` that asks another one through `guard`. An event keeps its id, so it may be posted again."""

    broker: Broker
    guard: Guard

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `Broker.post`."""
        return self.guard.call(self.broker.post, url, headers, body)
