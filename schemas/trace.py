"""Which trace this thread works for: a W3C `traceparent`, the same word in headers, annotations and log lines.

Known to all rooms, and needs no library: who makes spans is `handler/observe/spans.py`. See https://www.w3.org/TR/trace-context/.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from knative_lambda.schemas.names import TRACE_ANNOTATION

HEADER = "traceparent"
_FORM = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")
_CURRENT = ContextVar("traceparent", default="")


def current() -> str:
    """Return the `traceparent` that this thread works for, "" for none."""
    return _CURRENT.get()


def trace_id(traceparent: str) -> str:
    """Return the trace's id, "" where that is no `traceparent`."""
    found = _FORM.fullmatch(traceparent)
    return found[1] if found else ""


def of(body: Mapping[str, Any]) -> str:
    """Return the `traceparent` that an object of the cluster is annotated with, "" where there is no such."""
    found = str(body["metadata"].get("annotations", {}).get(TRACE_ANNOTATION, ""))
    return found if trace_id(found) else ""


def annotations(traceparent: str) -> dict[str, str]:
    """Return those of an object's annotations that say its trace; none for ""."""
    return {TRACE_ANNOTATION: traceparent} if traceparent else {}


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """Work for a trace; for none where that is no `traceparent`."""
    token = _CURRENT.set(traceparent if trace_id(traceparent) else "")
    try:
        yield
    finally:
        _CURRENT.reset(token)
