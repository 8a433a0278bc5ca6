"""The `Sink` port: where the audit trail is written beside standard output.

Called by `trail.py` alone, in its own thread. `sink_of` says which one an URL means:

    file:///var/log/audit.jsonl                      lines appended to a file
    https://host/path                                lines posted, application/x-ndjson
    clickhouse+https://host:8443/database.table      INSERT INTO database.table FORMAT JSONEachRow

Whoever asks for credentials gets what lies in a folder: ``username`` and ``password``, or (not ClickHouse) ``token``.
"""

import re
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from knative_lambda.handler.audit.sink_file import FileSink
from knative_lambda.handler.audit.sink_http import HttpSink

CLICKHOUSE = "clickhouse+"
_TABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)?")


class Sink(Protocol):
    """What the trail asks of a sink."""

    def write(self, lines: bytes) -> None:
        """Keep whole lines of JSON, in their order; raise `Temporary` where that did not happen, or nobody knows."""


def sink_of(url: str, credentials: str = "", trust: str = "") -> Sink | None:
    """Return the sink that an URL means, without speaking to it, None for "".

    Raises `ValueError` saying what is wrong with it.

    `credentials` and `trust` are folders (see `schemas/tls.py`). The error quotes no URL: that may hold a secret.
    """
    if not url:
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise ValueError("the audit sink's URL cannot be read") from error
    if "@" in parts.netloc:
        raise ValueError("credentials do not belong into the audit sink's URL, but into files")
    if parts.scheme == "file" and not parts.netloc and parts.path.strip("/"):
        return FileSink(Path(unquote(parts.path)))
    scheme = parts.scheme.removeprefix(CLICKHOUSE)
    if scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("the audit sink's URL is none of file:///…, http(s)://…, clickhouse+http(s)://host/table")
    if scheme == parts.scheme:
        return HttpSink(url, Path(credentials), Path(trust))
    table = parts.path.strip("/")
    if not _TABLE.fullmatch(table) or parts.query:
        raise ValueError("the audit sink's URL must end with the name of a table, or database.table")
    return HttpSink(f"{scheme}://{parts.netloc}/", Path(credentials), Path(trust), table)
