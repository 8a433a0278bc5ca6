"""One line of log for each thing that happened: JSON for machines, plain where a person watches.

Called by `wire.py` once at the start; whoever logs passes ``extra={"fields": {…}}``.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

SHOWN = 200
"""Characters of a value that a line shows; a sender chooses the length of its ids."""


def configure(stream: TextIO, level: int = logging.INFO) -> None:
    """Make `stream` the only place that the process logs to."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainLines() if stream.isatty() else JsonLines())
    logging.basicConfig(handlers=[handler], level=level, force=True)


class JsonLines(logging.Formatter):
    """A line of JSON: ts, level, msg, the fields, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        line = {"ts": _moment(record).isoformat(timespec="milliseconds"), "level": record.levelname.lower()}
        line |= {"msg": record.getMessage(), **_fields(record)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


class PlainLines(logging.Formatter):
    """The same for a terminal: the time of day, the message, and the fields that say something."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, followed by the traceback of an exception."""
        fields = " ".join(
            f"{name}={json.dumps(value, default=str)}" for name, value in _fields(record).items() if value != ""
        )
        line = f"{_moment(record):%H:%M:%S} {record.levelname:<7} {record.getMessage()}  {fields}".rstrip()
        return f"{line}\n{self.formatException(record.exc_info)}" if record.exc_info else line


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return {name: value[:SHOWN] if isinstance(value, str) else value for name, value in fields.items()}
