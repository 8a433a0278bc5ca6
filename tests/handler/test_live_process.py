"""A hundred watchers of a build whose receiver is killed in the middle: each gets every line once; events come in."""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.door import envelope
from support.ports import free_port
from support.watcher import Watcher

ROOT = Path(__file__).parents[2]
WATCHERS, LINES = 100, 400


class Receiver:
    """A process on a port that stays the same, whichever it is."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "log").touch()
        (folder / "reads").touch()
        self.port = free_port()
        self.begin()

    def begin(self) -> None:
        script = [sys.executable, str(Path(__file__).with_name("serve_watched.py")), str(self.port), str(self.folder)]
        path = {"PYTHONPATH": os.pathsep.join((str(ROOT / ".rooms"), str(ROOT / "tests")))}
        self.process = subprocess.Popen(script, stdout=subprocess.PIPE, env={**os.environ, **path})
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == b"started\n"

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def says(self, begin: int, end: int) -> None:
        with (self.folder / "log").open("a", encoding="ascii") as log:
            for number in range(begin, end):
                log.write(f"line {number}\n")

    def ask(self, method: str, path: str, headers: dict[str, str], body: str = "") -> tuple[int, str]:
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)) as connection:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    made = Receiver(tmp_path)
    yield made
    made.end()


def watched(receiver: Receiver, path: str, met: threading.Semaphore) -> Watcher:
    """Watch until all is told, coming back whenever nobody answers, or the answer is cut."""
    watcher = Watcher(lambda headers: receiver.ask("GET", path, headers))
    pause = threading.Event()
    while not watcher.is_done:
        try:
            if "log" in watcher.ask():
                met.release()
        except (OSError, http.client.HTTPException):
            pause.wait(0.2)
        pause.wait(watcher.retry / 1000)
    return watcher


def test_each_of_a_hundred_watchers_gets_every_line_once_though_the_receiver_is_killed(receiver: Receiver) -> None:
    _, body = receiver.ask("GET", "/v1/tenants/acme/builds", {})
    path = f"/v1/tenants/acme/builds/{json.loads(body)['items'][0]['metadata']['name']}/events"
    met = threading.Semaphore(0)
    with ThreadPoolExecutor(WATCHERS) as pool:
        watchers = [pool.submit(watched, receiver, path, met) for _ in range(WATCHERS)]
        receiver.says(0, 150)
        for _ in range(WATCHERS):
            assert met.acquire(timeout=120)
        data = json.dumps({"tenant": "acme", "name": "nobody"})
        for number in range(20):
            event = envelope("function.delete", str(number))
            assert receiver.ask("POST", "/events", event, data)[0] == 202, "events come in beside them"
        receiver.end()
        receiver.says(150, 300)
        receiver.begin()
        receiver.says(300, LINES)
        (receiver.folder / "ended").touch()
        # what is asked for next ends the build: its log lies in the store then
        found = [watcher.result(timeout=180) for watcher in watchers]
    lines = [f"line {number}" for number in range(LINES)]
    assert [watcher.lines == lines for watcher in found] == [True] * WATCHERS
    assert {watcher.states[-1] for watcher in found} == {"Succeeded"}
    asked = sum(len(watcher.events) > 0 for watcher in found)
    assert asked == WATCHERS
    assert len((receiver.folder / "reads").read_text()) < WATCHERS, "the log was read for all of them at once"
