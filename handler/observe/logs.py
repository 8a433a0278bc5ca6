"""One line of log for each thing that happened: JSON for machines, plain where a person watches.

Called by `__main__.py` once at the start; whoever logs passes ``extra={"fields": {…}}``. `dev.py` relays what functions
print. It is the last gate before a line is out: no secret passes, whoever has logged it.
"""

import json
import logging
from datetime import UTC, datetime
from typing import Any, TextIO

from knative_lambda.schemas import trace
from knative_lambda.schemas.redaction import redact, redacted

PRODUCT = "knative_lambda"
LEVELS = {"WARNING": logging.WARNING, "ERROR": logging.ERROR, "CRITICAL": logging.ERROR}
log = logging.getLogger(__name__)
SHOWN = 200
"""Characters of a value that a line shows; a sender chooses the length of its ids."""
FEW = 10
"""Items of a list that a line shows."""


def configure(stream: TextIO, *, verbose: bool = False) -> None:
    """Make `stream` the only place that the process logs to; `verbose` shows the product's debug lines, too."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(PlainLines() if stream.isatty() else JsonLines())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger(PRODUCT).setLevel(logging.DEBUG if verbose else logging.NOTSET)


def relay(function: str, line: str) -> None:
    """Log a line that a function has printed; of one that its runtime has logged, the message at its own level."""
    try:
        output = json.loads(line)
    except (ValueError, RecursionError):
        output = None
    if not (isinstance(output, dict) and isinstance(output.get("message"), str) and "level" in output):
        output = {}
    level = LEVELS.get(str(output.get("level")), logging.INFO)
    log.log(level, "%s: %s", function, output.get("message", line), extra={"output": output})


class JsonLines(logging.Formatter):
    """A line of JSON: ts, level, msg, the fields, and the traceback of an exception."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line."""
        line: dict[str, Any] = {
            "ts": _moment(record).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
        }
        line |= {"msg": record.getMessage(), **_fields(record)}
        if (output := _output(record)) is not None:
            line["output"] = output
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(redacted(line))


class PlainLines(logging.Formatter):
    """The same for a terminal: the time of day, the message, and the fields that say something."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's line, followed by the traceback of an exception."""
        fields = " ".join(
            f"{name}={json.dumps(value, default=str)}" for name, value in _fields(record).items() if value != ""
        )
        line = f"{_moment(record):%H:%M:%S} {record.levelname:<7} {record.getMessage()}  {fields}".rstrip()
        traceback = (
            self.formatException(record.exc_info) if record.exc_info else (_output(record) or {}).get("traceback")
        )
        return redact(f"{line}\n{str(traceback).rstrip()}" if traceback else line)


def _moment(record: logging.LogRecord) -> datetime:
    return datetime.fromtimestamp(record.created, UTC)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    known = {"trace_id": found} if (found := trace.trace_id(trace.current())) else {}
    return {name: _shown(value) for name, value in (fields | known).items()}


def _shown(value: Any) -> Any:
    if isinstance(value, list):
        return [_shown(each) for each in value[:FEW]]
    # cut after it is redacted: nobody knows half a secret
    return redact(value)[:SHOWN] if isinstance(value, str) else value


def _output(record: logging.LogRecord) -> dict[str, Any] | None:
    """Return the JSON of a line that a function has printed, {} where it was text; None where nobody's is relayed."""
    output: dict[str, Any] | None = getattr(record, "output", None)
    return output
