"""`knative-lambda dev` as the process that a user starts, stops, kills, and reads the lines of."""

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.ports import free_port

EVENT = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/me", "content-type": "application/json"}


@dataclass
class Dev:
    """A process that was started, and the file that its lines go to."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes]

    def lines(self, message: str, number: int = 1) -> list[dict[str, Any]]:
        """Return the lines whose message begins like this, once there are so many."""
        deadline = time.monotonic() + 60
        while len(found := [line for line in self._all() if line["msg"].startswith(message)]) < number:
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, (self.folder / "log").read_text()
            threading.Event().wait(0.05)
        return found

    def _all(self) -> list[dict[str, Any]]:
        return [
            json.loads(line) for line in (self.folder / "log").read_text().splitlines(keepends=True) if line[-1] == "\n"
        ]

    def post(self, broker: str, headers: dict[str, str], body: bytes = b"{}") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request("POST", f"/{broker}", body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, text

    def stop(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)


def command(port: int, folder: Path) -> list[str]:
    return [sys.executable, "-m", "knative_lambda.client", "dev", "--port", str(port), "--data", str(folder / "data")]


@contextmanager
def running(folder: Path, port: int) -> Iterator[Dev]:
    """Yield a process that takes requests."""
    (folder / "log").unlink(missing_ok=True)  # what a killed one has left may still write to the old one
    with (folder / "log").open("wb") as log:
        dev = Dev(port, folder, subprocess.Popen(command(port, folder), stdout=log, stderr=log))
    try:
        dev.lines("ready on")
        yield dev
    finally:
        dev.process.terminate()
        dev.process.wait(60)


@pytest.fixture
def port() -> int:
    return free_port()


def test_it_is_one_process_that_every_signal_reaches_and_that_can_be_killed_and_started_again(
    tmp_path: Path, port: int
) -> None:
    """The folder's and the port's owner is the process that the user started, however it ends."""
    with running(tmp_path, port) as dev:
        second = subprocess.run(command(port, tmp_path), capture_output=True, text=True, check=False)
        assert second.returncode == 2
        assert f"already used by process {dev.process.pid}" in second.stderr
        assert f"port {port} is taken" in second.stderr
        assert dev.stop(signal.SIGKILL) == -signal.SIGKILL
    with running(tmp_path, port) as dev:
        assert dev.stop(signal.SIGINT) == 0
    with running(tmp_path, port) as dev:
        assert dev.stop(signal.SIGTERM) == 0


def test_the_sender_of_a_lost_event_reads_why(tmp_path: Path, port: int) -> None:
    """A Broker's 202 comes before anybody has looked at the event."""
    with running(tmp_path, port) as dev:
        [ready] = dev.lines("ready on")
        assert ready["msg"].endswith(f" http://127.0.0.1:{port}/knative-lambda/default")

        assert dev.post("knative-lambda/default", {}) == (
            400,
            "this is no CloudEvent: specversion: is missing; id: is missing; source: is missing; type: is missing\n",
        )

        start = "dev.knative-lambda.build.start"
        assert dev.post("knative-lambda/default", {**EVENT, "ce-type": start})[0] == 202
        [kept] = dev.lines("kept as DeadLetter")
        assert re.fullmatch("kept as DeadLetter dl-[0-9a-f]{32} in knative-lambda", kept["msg"])
        assert (kept["level"], kept["event_id"], kept["event_type"], kept["status"]) == ("warning", "7", start, 422)
        assert kept["why"].startswith("/data: `tenant` is missing")

        typo = "dev.knative-lambda.build.strat"
        assert dev.post("knative-lambda/default", {**EVENT, "ce-type": typo})[0] == 202
        [lost] = dev.lines("no Trigger of knative-lambda/default")
        assert (lost["level"], lost["event_id"], lost["event_type"]) == ("warning", "7", typo)
        assert lost["nearest_type"] == start


def test_a_folder_that_holds_something_else_is_an_error_and_only_that_one(tmp_path: Path, port: int) -> None:
    (tmp_path / "data" / "objects.db").mkdir(parents=True)
    failed = subprocess.run(command(port, tmp_path), capture_output=True, text=True, check=False, timeout=60)
    assert failed.returncode not in (0, 2)
    assert "unable to open database file" in failed.stdout
    assert "IndexError" not in failed.stdout + failed.stderr


def test_what_was_sent_before_a_kill_is_done_after_the_restart(tmp_path: Path, port: int) -> None:
    """The Broker's 202 is kept: the function is built and answers although everything died right behind it."""
    code = "def handle(event, context):\n    return {'hello': event.data}\n"
    data = {"tenant": "demo", "name": "hello", "runtime": "python", "source": {"inline": {"main.py": code}}}
    sent = {**EVENT, "ce-type": "dev.knative-lambda.build.start", "ce-time": "2026-01-01T00:00:00Z"}
    with running(tmp_path, port) as dev:
        assert dev.post("knative-lambda/default", sent, json.dumps(data).encode())[0] == 202
        dev.stop(signal.SIGKILL)
    with running(tmp_path, port) as dev:
        assert answered(dev) == '{"hello":1}'
        dev.stop(signal.SIGKILL)
    with running(tmp_path, port) as dev:
        assert answered(dev) == '{"hello":1}', "from zero again, and nothing was built anew"


def test_a_poison_event_costs_one_delivery_and_is_listed_shown_and_sent_again(tmp_path: Path, port: int) -> None:
    """What is refused once more comes back as a letter, and is not sent again by itself."""

    def command(*arguments: str) -> str:
        whole = [sys.executable, "-m", "knative_lambda.client", "deadletters", "--url", f"http://127.0.0.1:{port}"]
        return subprocess.run([*whole, *arguments], capture_output=True, text=True, check=True).stdout

    with running(tmp_path, port) as dev:
        dev.post("knative-lambda/default", {**EVENT, "ce-type": "dev.knative-lambda.build.start"}, b'{"name": "x"}')
        dev.lines("kept as DeadLetter")
        assert len(dev.lines("not let in")) == 1
        heading, letter = command("list").splitlines()
        assert heading.split() == ["NAME", "REASON", "CODE", "TYPE", "SOURCE", "ID", "COUNT", "CAME"]
        name, reason, code, kind, source, *_ = letter.split()
        assert (reason, code, kind, source) == ("Refused", "422", "dev.knative-lambda.build.start", "/me")
        assert json.loads(command("show", name))["spec"]["event"]["data"] == {"name": "x"}

        assert command("resend", name) == f"{name} will be sent again\n"
        dev.lines("kept as DeadLetter", 2)
        assert command("resend", "--all") == "1 will be sent again\n"
        assert len(dev.lines("kept as DeadLetter", 3)) == len(dev.lines("not let in")) == 3
        assert name in command("list")


def test_a_tenant_hears_of_an_event_that_its_function_does_not_take(tmp_path: Path, port: int) -> None:
    """The function itself may listen, as here: it is told, and what it makes of that is told to nobody."""
    code = (
        "def handle(event, context):\n"
        "    print('told:', event.type, event.subject, event.data.get('reason') if event.data else None)\n"
        "    raise ValueError('poison')\n"
    )
    source = {"inline": {"main.py": code}}
    triggers = [{"type": "demo.hello"}, {"type": "dev.knative-lambda.function.error"}]
    data = {"tenant": "demo", "name": "hello", "runtime": "python", "source": source, "triggers": triggers}
    sent = {**EVENT, "ce-type": "dev.knative-lambda.build.start", "ce-time": "2026-01-01T00:00:00Z"}
    with running(tmp_path, port) as dev:
        dev.post("knative-lambda/default", sent, json.dumps(data).encode())
        deadline = time.monotonic() + 60
        while dev.post("functions/demo/hello", {**EVENT, "ce-type": "demo.hello"}, b"{}")[0] != 500:
            assert time.monotonic() < deadline
            threading.Event().wait(0.1)
        letter = f"http://127.0.0.1:{port}/functions/demo/hello"
        died = {"ce-knativeerrordest": letter, "ce-knativeerrorcode": "500", "ce-type": "demo.hello"}
        assert dev.post("deadletters/demo", {**EVENT, **died})[0] == 202
        told = "told: dev.knative-lambda.function.error hello Failed"
        log = tmp_path / "data" / "functions" / "logs" / "demo" / "hello.log"
        while told not in log.read_text():
            assert time.monotonic() < deadline, log.read_text()
            threading.Event().wait(0.1)


def answered(dev: Dev) -> str:
    """Return the function's answer, once it has one."""
    deadline = time.monotonic() + 60
    while (answer := dev.post("functions/demo/hello", {**EVENT, "ce-type": "demo.hello"}, b"1"))[0] != 200:
        assert time.monotonic() < deadline, (dev.folder / "log").read_text()
        threading.Event().wait(0.1)
    return answer[1]
