"""Log records as lines of JSON on standard error, each with the event that was being handled.

`serve.py` sets it up; `delivery.py` says which event it is. A function's own loggers print the same way.
"""

from __future__ import annotations

import importlib
import json
import logging
import sys
import traceback
from collections.abc import Mapping
from contextvars import ContextVar
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

Fields = Mapping[str, Any]
handling: ContextVar[Fields | None] = ContextVar("handling", default=None)
"""What to print with every record: of the event that this thread or coroutine handles."""

_OURS = (str(Path(__file__).parent), str(Path(importlib.__file__).parent), "<frozen importlib")


def configure(settings: Fields) -> None:
    """Print all records from INFO on, each with the fields `settings` says."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(Lines(settings))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class Lines(logging.Formatter):
    """One record, one line."""

    def __init__(self, always: Fields) -> None:
        super().__init__()
        self._always = dict(always)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a JSON object; what the caller gave as `extra={"fields": …}` is in it."""
        line = {
            "time": datetime.fromtimestamp(record.created, timezone.utc).isoformat(),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **self._always,
            **(handling.get() or {}),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = traceback_of(record.exc_info[1])
        return json.dumps(line, default=str)


def traceback_of(error: BaseException) -> str:
    """Return the traceback as a text that begins with the first frame that is not the wrapper's, nor an import's."""
    first: TracebackType | None = error.__traceback__
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next
    return "".join(traceback.format_exception(type(error), error, first))
