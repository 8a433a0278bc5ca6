"""What becomes of a run in which something fails, and how it asks."""

import http.server
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from bench.acks import SENDERS, flood
from bench.calls import Line, NoAnswer, said, until_answer
from bench.index import MODULE, Index
from bench.measure import measure
from bench.plan import choose
from bench.rounds import Measured, attempt


class Place:
    """As much of a cluster as is needed to fail on it."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def say(self, text: str) -> None:
        self.told.append(text)

    def until_clear(self) -> None:
        pass


def test_a_part_that_fails_leaves_the_others_their_turn_and_nothing_behind() -> None:
    place, cleaned = Place(), []

    def fails(*_: Any) -> Generator[Measured, None, None]:
        try:
            yield Measured("cold.nothing", 1, 2.0)
            raise NoAnswer("gone")
        finally:
            cleaned.append("fails")

    def works(*_: Any) -> Generator[Measured, None, None]:
        yield Measured("acks.ours_rate", 1, 50.0)

    values: dict[str, dict[int, float]] = {}
    measure({"cold": fails, "acks": works}, place, 1, choose(""), values)  # type: ignore[arg-type]
    assert values == {"cold.nothing": {1: 2.0}, "acks.ours_rate": {1: 50.0}}
    assert cleaned == ["fails"]
    assert "From zero goes no further: gone" in place.told


def test_a_run_that_is_told_to_stop_takes_away_what_it_made_and_leaves_what_it_measured() -> None:
    cleaned: list[str] = []
    values: dict[str, dict[int, float]] = {}

    def stopped(*_: Any) -> Generator[Measured, None, None]:
        try:
            yield Measured("cold.nothing", 1, 2.0)
            sys.exit(143)
        finally:
            cleaned.append("stopped")

    with pytest.raises(SystemExit):
        measure({"cold": stopped}, Place(), 1, choose(""), values)  # type: ignore[arg-type]
    assert cleaned == ["stopped"]
    assert values == {"cold.nothing": {1: 2.0}}


def test_a_step_that_fails_is_told_and_measures_nothing() -> None:
    place = Place()

    def fails() -> float:
        raise NoAnswer("it does not come")

    assert list(attempt(place, 2, "speed.first", fails)) == []
    assert place.told[0].startswith("round 2, first build, code alone: failed after")
    assert list(attempt(place, 1, "speed.first", lambda: 2.5)) == [Measured("speed.first", 1, 2.5)]


@pytest.mark.parametrize(
    ("body", "version"), [(b'{"version": "one"}', "one"), (b"[]", None), (b"", None), (b"<html>", None)]
)
def test_a_version_is_what_the_answer_says(body: bytes, version: object) -> None:
    assert said(body) == version


@pytest.fixture
def changing() -> Iterator[Line]:
    """Answer 404 first, then as the old version, then as the new."""
    answers = [(404, b""), (200, b'{"version": "old"}'), (200, b'{"version": "new"}')]

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            status, body = answers.pop(0) if len(answers) > 1 else answers[0]
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with server, Line(f"127.0.0.1:{server.server_address[1]}") as line:
        yield line
        server.shutdown()


def test_a_function_is_asked_until_the_new_version_answers(changing: Line) -> None:
    until_answer(changing, "new", seconds=30)


def test_a_version_that_never_answers_fails_with_the_last_answer(changing: Line) -> None:
    with pytest.raises(NoAnswer, match="newest does not answer"):
        until_answer(changing, "newest", seconds=0.2)


def test_a_flood_ends_after_so_many_and_counts_each() -> None:
    took, seconds = flood(lambda: Line("127.0.0.1:1"), lambda _line, _name: (202, b""), most=57)
    assert len(took) == 57
    assert len(took) > SENDERS
    assert seconds > 0


def test_a_flood_that_is_refused_fails() -> None:
    with pytest.raises(NoAnswer, match="answered 503"):
        flood(lambda: Line("127.0.0.1:1"), lambda _line, _name: (503, b"busy"))


def test_pip_finds_each_version_of_the_dependency(tmp_path: Path) -> None:
    with Index("127.0.0.1") as index:
        for number in range(2):
            wanted = tmp_path / f"{number}.txt"
            wanted.write_text(index.requirements())
            command = [sys.executable, "-m", "pip", "install", "-q", "--target", tmp_path / str(number), "-r", wanted]
            subprocess.run([*command, "--no-cache-dir", "--disable-pip-version-check"], check=True)
            assert (tmp_path / str(number) / f"{MODULE}.py").read_text() == f"VERSION = '1.0.{number}'\n"
