"""The receiver as the process it is: it answers what is in flight when it is told to stop, and then ends well."""

import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.ports import free_port

from knative_lambda.handler.__main__ import FAREWELL
from knative_lambda.handler.receive.server import ServerSettings
from knative_lambda.handler.settings import Settings
from knative_lambda.schemas import tls

SCRIPT = Path(__file__).with_name("serve_door.py")
HEADERS = {
    "Ce-Specversion": "1.0",
    "Ce-Id": "1",
    "Ce-Source": "/shop",
    "Ce-Type": "dev.knative.sources.ping",
    "Content-Type": "application/json",
}
HEAD = "POST / HTTP/1.1\r\nHost: x\r\n" + "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items())


@dataclass
class Receiver:
    """A receiver that was started, and the lines it prints."""

    process: subprocess.Popen[str]
    port: int
    home: Path

    def line(self) -> dict[str, Any]:
        """Return the next line of its output."""
        assert self.process.stdout
        text = self.process.stdout.readline()
        assert text, "the receiver ended"
        found: dict[str, Any] = json.loads(text)
        return found

    def life(self, expected: str) -> dict[str, Any]:
        """Read its output up to this moment of its life."""
        while (found := self.line()).get("life") != expected:
            pass
        return found

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def say(self, raw: bytes, *, last: bool = False) -> int:
        """Send bytes, the last ones or with more to come, and return the status of the answer."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            connection.sendall(raw)
            if last:
                connection.shutdown(socket.SHUT_WR)
            return int(connection.makefile("rb").readline().split()[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(timeout=60)


def start(folder: Path, *arguments: str, **variables: str) -> Receiver:
    port = free_port()
    tmp_dir = folder / "tmp"
    tmp_dir.mkdir()
    home = folder / "home"
    home.mkdir()
    command = [sys.executable, str(SCRIPT), str(port), str(tmp_dir), *arguments]
    environment = {**os.environ, "HOME": str(home), "WEB_CONCURRENCY": "3", **variables}
    environment.pop("XDG_RUNTIME_DIR", None)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment, cwd=home)
    return Receiver(process, port, home)


@contextmanager
def started(folder: Path, **variables: str) -> Iterator[Receiver]:
    receiver = start(folder, **variables)
    try:
        yield receiver
    finally:
        receiver.process.terminate()
        receiver.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """Yield a receiver that has started, for tests that leave it running; it waits a second for the rest of a body."""
    with started(tmp_path_factory.mktemp("receiver"), PATIENCE="1") as receiver:
        receiver.life("started")
        yield receiver


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=lambda number: number.name)
def test_requests_in_flight_are_answered_before_it_ends(tmp_path: Path, number: signal.Signals) -> None:
    with started(tmp_path) as receiver, ThreadPoolExecutor() as senders:
        receiver.life("started")
        held = {**HEADERS, "Ce-Subject": "hold"}
        answers = [senders.submit(receiver.ask, "POST", "/", held, b"{}") for _ in range(3)]
        for _ in answers:
            receiver.life("arrived")
        assert receiver.stop(number) == 0
        assert [answer.result().status for answer in answers] == [202, 202, 202]
        receiver.life("stopping")
        receiver.life("stopped")


def test_a_probe_is_answered_while_every_thread_for_events_is_busy(tmp_path: Path) -> None:
    """Knative's proxy lets no more events in than there are threads for; the probes come past it."""
    with started(tmp_path) as receiver, ThreadPoolExecutor() as senders:
        receiver.life("started")
        held = [senders.submit(receiver.ask, "POST", "/", HEADERS | {"Ce-Subject": "hold"}, b"{}") for _ in range(4)]
        for _ in held:
            receiver.life("arrived")
        assert receiver.ask("GET", "/health/live", {}).status == 200
        receiver.stop()
        assert [answer.result().status for answer in held] == [202] * 4


def test_while_it_answers_what_it_took_it_takes_nothing_new(tmp_path: Path) -> None:
    """A connection that is open already is told 503, a new one is not taken; a second SIGTERM changes nothing."""
    release = tmp_path / "release"
    with started(tmp_path) as receiver, ThreadPoolExecutor() as senders:
        receiver.life("started")
        kept = http.client.HTTPConnection("127.0.0.1", receiver.port, timeout=60)
        kept.request("GET", "/health/ready")
        assert kept.getresponse().read() == b'{"status": "ready", "degraded": []}'
        held = {**HEADERS, "Ce-Subject": "wait", "Ce-Id": str(release)}
        slow = senders.submit(receiver.ask, "POST", "/", held, b"{}")
        receiver.life("arrived")

        receiver.process.send_signal(signal.SIGTERM)
        receiver.life("stopping")
        assert is_turned_away(kept)
        assert is_refused(receiver.port)
        receiver.process.send_signal(signal.SIGTERM)
        assert not slow.done()
        release.touch()
        assert slow.result(60).status == 202
        receiver.life("stopped")
        assert receiver.process.wait(60) == 0


def test_a_request_that_never_ends_does_not_keep_it(tmp_path: Path) -> None:
    """Its connection is cut when the time is over; what is to be done at the end is done all the same."""
    with started(tmp_path, DRAIN="1", FAREWELL="1") as receiver, ThreadPoolExecutor() as senders:
        receiver.life("started")
        endless = senders.submit(receiver.ask, "POST", "/", {**HEADERS, "Ce-Subject": "forever"}, b"{}")
        receiver.life("arrived")
        receiver.process.send_signal(signal.SIGTERM)
        receiver.life("stopping")
        receiver.life("stopped")
        assert receiver.process.wait(60) == 0
        assert isinstance(endless.exception(60), http.client.RemoteDisconnected | ConnectionResetError)


def test_told_to_stop_before_it_has_begun_it_ends_as_well(tmp_path: Path) -> None:
    receiver = start(tmp_path, "early")
    output, _ = receiver.process.communicate(timeout=60)
    assert receiver.process.returncode == 0
    assert [json.loads(line).get("life") for line in output.splitlines()] == ["made", "started", "stopping", "stopped"]


def test_a_pod_ends_within_half_a_minute() -> None:
    """Whatever happens: a Service's `timeoutSeconds`, which is the pod's grace period, is at least 31."""
    for settings in (ServerSettings(), ServerSettings(graceful_timeout=Settings().drain_seconds)):
        assert settings.graceful_timeout + settings.farewell < 30
        assert settings.farewell > FAREWELL


def is_turned_away(connection: http.client.HTTPConnection) -> bool:
    """Say whether an event on an open connection is answered 503, or not any more: it is closed two seconds later."""
    try:
        connection.request("POST", "/", b"{}", HEADERS)
        answer = connection.getresponse()
    except (http.client.RemoteDisconnected, ConnectionError):
        return True
    answer.read()
    return (answer.status, answer.headers["Retry-After"]) == (503, "1")


def is_refused(port: int) -> bool:
    """Say whether new connections are refused, once they are: the signal comes when it comes.

    One that the kernel had shaken hands with when the socket was closed is reset, by some kernels in `connect` itself;
    no answer has been begun on it. The next one is refused.
    """
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
                connection.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                answer = connection.makefile("rb").read()
        except ConnectionRefusedError:
            return True
        except ConnectionResetError:
            continue
        assert answer.startswith(b"HTTP/1.1 200") or not answer


def test_the_one_process_makes_the_app_and_nothing_is_written(tmp_path: Path) -> None:
    """No other process, no control socket, no file beside the nameless heartbeat: the root may be read-only."""
    with started(tmp_path) as receiver:
        made = receiver.life("made")
        assert made["pid"] == receiver.process.pid
        assert Path(f"/proc/{made['pid']}/task/{made['pid']}/children").read_text() == ""
        receiver.life("started")
        assert list((tmp_path / "tmp").iterdir()) == []
        heartbeat = [str(link.readlink()) for link in Path(f"/proc/{made['pid']}/fd").iterdir() if link.is_symlink()]
        assert any(target.startswith(str(tmp_path / "tmp")) for target in heartbeat)
        assert receiver.stop() == 0
        assert list(receiver.home.iterdir()) == []
        assert receiver.process.stdout
        assert '"made"' not in receiver.process.stdout.read()


def test_an_app_that_cannot_be_made_ends_the_process(tmp_path: Path) -> None:
    receiver = start(tmp_path, "fail")
    output, _ = receiver.process.communicate(timeout=60)
    assert receiver.process.returncode not in (0, None)
    assert all(json.loads(line) for line in output.splitlines())
    assert "RuntimeError" in output


def test_each_event_has_one_line_of_json_and_no_request_another(shared: Receiver) -> None:
    assert shared.ask("POST", "/", {**HEADERS, "X-Request-Id": "first"}, b"{}").status == 202
    assert shared.ask("GET", "/health/ready", {}).status == 200
    assert shared.ask("POST", "/events", {**HEADERS, "X-Request-Id": "second"}, b"{}").status == 202
    ids = [""]
    while ids[-1] != "second":
        ids.append(shared.line().get("correlation_id", ""))
    assert ids[-2:] == ["first", "second"]
    assert ids.count("first") == ids.count("second") == 1


def test_who_sends_too_much_hears_that_it_is_too_much(tmp_path: Path) -> None:
    """A Broker whose connection breaks as it sends takes that for no answer, and brings the event again and again."""
    with started(tmp_path) as receiver:
        receiver.life("started")
        assert receiver.ask("POST", "/", HEADERS, b"x" * 20_000_000).status == 413


@pytest.mark.parametrize(
    ("raw", "last", "status"),
    [
        ("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", False, 202),
        (
            "Transfer-Encoding: chunked\r\n\r\n" + "8000\r\n" + "x" * 0x8000 + "\r\n8000\r\n" + "x" * 0x8000 + "\r\n",
            True,
            400,
        ),
        ("Transfer-Encoding: chunked\r\n\r\n" + ("8000\r\n" + "x" * 0x8000 + "\r\n") * 5, False, 413),
        ("Transfer-Encoding: chunked\r\n\r\nbroken\r\n", False, 400),
        ("Content-Length: 100001\r\n\r\n", False, 413),
        ("Content-Length: 100\r\n\r\n{", True, 400),
        ("Content-Length: 100\r\n\r\n{", False, 400),
        ("Script_Name: /x\r\nScript-Name: /x\r\nSCRIPT_NAME: /x\r\nContent-Length: 2\r\n\r\n{}", False, 202),
        ("Content-Length: junk\r\n\r\n{}", False, 400),
        ("Ce_Id: 2\r\nContent-Length: 2\r\n\r\n{}", False, 202),
    ],
    ids=[
        "chunked",
        "left in a chunk",
        "chunked over the limit",
        "broken chunk",
        "declared over the limit",
        "left early",
        "silent",
        "another script name",
        "no length",
        "underscore",
    ],
)
def test_no_way_of_sending_is_an_error_of_ours(shared: Receiver, raw: str, last: bool, status: int) -> None:  # noqa: FBT001 - a column of the table
    assert shared.say((HEAD + raw).encode(), last=last) == status
    assert shared.ask("GET", "/health/live", {}).status == 200


def secure(receiver: Receiver, client: ssl.SSLContext) -> tuple[int, bytes | None]:
    """Return the status of an answer by https, and the certificate that was shown."""
    connection = http.client.HTTPSConnection("127.0.0.1", receiver.port, timeout=60, context=client)
    with closing(connection):
        connection.request("POST", "/", b"{}", HEADERS)
        shown = connection.sock.getpeercert(binary_form=True)
        answer = connection.getresponse()
        answer.read()
        return answer.status, shown


def test_it_serves_by_https_and_shows_a_new_certificate_once_there_is_one(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "authority")
    served = authority.folder("served", trusts=False)
    trusting = tls.context(authority.folder("client", identity=False))
    stranger = tls.context(Authority.made(tmp_path / "strangers").folder("client", identity=False))
    with started(tmp_path, TLS=str(served)) as receiver:
        receiver.life("started")
        status, first = secure(receiver, trusting)
        assert (status, secure(receiver, trusting)) == (202, (202, first))
        with pytest.raises(ssl.SSLCertVerificationError):
            secure(receiver, stranger)
        with pytest.raises((OSError, IndexError)):  # no answer in clear
            receiver.say(f"{HEAD}Content-Length: 2\r\n\r\n{{}}".encode())
        authority.renew(served)
        status, second = secure(receiver, trusting)
        assert status == 202
        assert first != second


def test_it_serves_only_who_has_a_certificate_where_it_asks_for_one(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "authority")
    served = authority.folder("served")
    nobody = tls.context(authority.folder("nobody", identity=False))
    known = tls.context(authority.folder("known"))
    with started(tmp_path, TLS=str(served), CLIENTS="1") as receiver:
        receiver.life("started")
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            secure(receiver, nobody)
        assert secure(receiver, known)[0] == 202


def test_a_client_that_says_nothing_takes_no_thread_for_ever(tmp_path: Path) -> None:
    """More of them than there are threads, each silent in the middle of its handshake; then others are served."""
    authority = Authority.made(tmp_path / "authority")
    with started(tmp_path, TLS=str(authority.folder("served")), PATIENCE="2") as receiver, ExitStack() as silent:
        receiver.life("started")
        for _ in range(8):
            connection = silent.enter_context(socket.create_connection(("127.0.0.1", receiver.port), timeout=60))
            connection.sendall(b"\x16\x03\x01")  # of a handshake, and no more
        assert secure(receiver, tls.context(authority.folder("client", identity=False)))[0] == 202
