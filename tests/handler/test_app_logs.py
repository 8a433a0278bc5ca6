"""A line of log is JSON for machines, and readable where a person watches."""

import io
import json
import logging
from collections.abc import Iterator

import pytest

from knative_lambda.handler.observe import logs
from knative_lambda.schemas.redaction import learn


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Give the tests' own log back."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.configure(io.StringIO())
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


RAISED = json.dumps(
    {"level": "ERROR", "message": "it raised", "traceback": "Traceback:\n  line 5\nZeroDivisionError: by zero\n"}
)


def relayed(stream: io.StringIO, *printed: str) -> list[str]:
    logs.configure(stream)
    for line in printed:
        logs.relay("demo/hello", line)
    return stream.getvalue().splitlines()


def test_what_a_function_prints_is_read_as_it_was_printed() -> None:
    plain, *raised = relayed(Terminal(), "a 'b' {\"c\": 1}", RAISED)
    assert plain.endswith(" INFO    demo/hello: a 'b' {\"c\": 1}")
    assert raised[0].endswith(" ERROR   demo/hello: it raised")
    assert raised[1:] == ["Traceback:", "  line 5", "ZeroDivisionError: by zero"]


@pytest.mark.parametrize("printed", ["plain", "[1]", '{"message": 1, "level": "INFO"}', "[" * 100_000])
def test_a_machine_gets_a_functions_own_line_of_json_as_json_and_any_other_as_text(printed: str) -> None:
    text, raised = (json.loads(line) for line in relayed(io.StringIO(), printed, RAISED))
    assert (text["level"], text["msg"]) == ("info", f"demo/hello: {printed}")
    assert text["output"] == {}  # by which it is told from the product's own
    assert (raised["level"], raised["msg"]) == ("error", "demo/hello: it raised")
    assert raised["output"] == json.loads(RAISED)


def test_the_products_debug_lines_are_shown_on_demand_and_nobody_elses() -> None:
    def shown(*, verbose: bool) -> list[str]:
        stream = io.StringIO()
        logs.configure(stream, verbose=verbose)
        for name in ("knative_lambda.x", "urllib3"):
            logging.getLogger(name).debug(name)
        return [json.loads(line)["msg"] for line in stream.getvalue().splitlines()]

    assert shown(verbose=True) == ["knative_lambda.x"]
    assert shown(verbose=False) == []


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


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_a_secret_is_not_told_in_part_where_a_value_is_cut(kind: type[io.StringIO]) -> None:
    secret = learn("Zq7wPl0vR4tYb2NcXs9MdEfGhJk5Ua8i")
    around = "x" * (logs.SHOWN - len(secret) + 1)
    stream = kind()
    logs.configure(stream)
    whys = [f"{around}{secret} was refused", f"{around}https://me:{'hush' * 9}@host"]
    logging.getLogger("x").info("not let in", extra={"fields": {"why": whys[0], "faults": whys}})
    assert around in stream.getvalue()
    assert secret[:8] not in stream.getvalue()
    assert "hush" not in stream.getvalue()


def test_a_person_reads_text_that_no_sender_can_break() -> None:
    first, *rest = lines_of(Terminal()).splitlines()
    assert 'INFO    handled it  event_id="a\\nb" milliseconds=1.5' in first
    assert "why" not in first
    assert rest[-1] == "KeyError: 'lost'"
