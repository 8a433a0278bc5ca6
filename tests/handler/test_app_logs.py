"""A line of log is JSON for machines, and readable where a person watches."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from knative_lambda.handler import logs


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the tests' own log back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def lines_of(stream: io.StringIO) -> str:
    logs.configure(stream)
    log = logging.getLogger("x")
    log.info(
        "handled %s", "it", extra={"fields": {"event_id": "a\nb", "why": "", "milliseconds": 1.5, "long": "y" * 999}}
    )
    try:
        _ = {}["lost"]
    except KeyError:
        log.exception("not handled")
    return stream.getvalue()


def test_a_machine_reads_json_one_line_each() -> None:
    first, second = (json.loads(line) for line in lines_of(io.StringIO()).splitlines())
    assert first.pop("ts").endswith("+00:00")
    assert first == {
        "level": "info",
        "msg": "handled it",
        "event_id": "a\nb",
        "why": "",
        "milliseconds": 1.5,
        "long": "y" * 200,
    }
    assert (second["level"], second["msg"]) == ("error", "not handled")
    assert "KeyError: 'lost'" in second["traceback"]


def test_a_person_reads_text_that_no_sender_can_break() -> None:
    first, *rest = lines_of(Terminal()).splitlines()
    assert 'INFO    handled it  event_id="a\\nb" milliseconds=1.5' in first
    assert "why" not in first
    assert rest[-1] == "KeyError: 'lost'"
