"""A `Sink` over HTTP: lines of JSON in the body of a POST, or rows for ClickHouse's HTTP interface.

https://clickhouse.com/docs/interfaces/http says how ClickHouse is asked. No redirect is followed: what is written is
for one place only.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3

from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.redaction import learn
from knative_lambda.schemas.tls import Connections

TIMEOUT = 3.0
"""Seconds that one write may take: no longer than a process has that is told to stop."""
EXCEPTION = "X-ClickHouse-Exception-Code"


@dataclass(frozen=True)
class HttpSink:
    """Posts to `url`; into a `table` where that is ClickHouse's."""

    url: str
    credentials: Path
    trust: Path
    table: str = ""

    def write(self, lines: bytes) -> None:
        """See `Sink.write`."""
        host = urlsplit(self.url).netloc
        try:
            headers = {"Content-Type": "application/x-ndjson", **self._authorization()}
            answer = self._connections.pool.request("POST", self._address, headers=headers, body=lines, redirect=False)
        except OSError as error:
            raise Temporary(f"{host}: the credentials or certificates cannot be read: {error.strerror}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Temporary(f"{host} did not answer: {type(error).__name__}") from error
        if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES or EXCEPTION in answer.headers:
            raise Temporary(f"{host} answered {answer.status}")

    @cached_property
    def _connections(self) -> Connections:
        return Connections(self.trust, TIMEOUT)

    @property
    def _address(self) -> str:
        if not self.table:
            return self.url
        query = f"INSERT INTO {self.table} FORMAT JSONEachRow"
        options = {"date_time_input_format": "best_effort", "input_format_skip_unknown_fields": "1"}
        return f"{self.url}?{urlencode({'query': query, **options})}"

    def _authorization(self) -> Mapping[str, str]:
        """Return the headers that say who we are, read anew each time so that a rotation is seen."""
        name, password, token = (self._credential(each) for each in ("username", "password", "token"))
        if self.table:
            return {"X-ClickHouse-User": name, "X-ClickHouse-Key": password} if name else {}
        if token:
            return {"Authorization": f"Bearer {token}"}
        return urllib3.make_headers(basic_auth=f"{name}:{password}") if name else {}

    def _credential(self, name: str) -> str:
        file = self.credentials / name
        if not self.credentials.name or not file.exists():
            return ""
        value = file.read_text().strip()
        return value if name == "username" else learn(value)
