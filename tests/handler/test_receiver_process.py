"""The receiver as it is started on a cluster, before an API server that does what the test says."""

import http.client
import http.server
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.collector import Collector, collector
from support.ports import free_port

from knative_lambda.deploy.guard import PATIENCE

ROOT = Path(__file__).parents[2]
TYPE = "dev.knative-lambda.build.start"
SECONDS = 60
"""How long a test waits for a process that would otherwise hang it."""
DATA = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": {"main.py": "x = 1"}}}
KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: test
contexts: [{{name: test, context: {{cluster: test, user: test}}}}]
clusters: [{{name: test, cluster: {{server: "http://127.0.0.1:{port}"}}}}]
users: [{{name: test, user: {{}}}}]
"""


class ApiServer(http.server.ThreadingHTTPServer):
    """Answers each request with the status that `answer` returns, which may take its time."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answer: Callable[[], int] = lambda: 500
        self.asked = 0


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ApiServer

    def do_GET(self) -> None:
        self.server.asked += 1
        status = self.server.answer()
        body = json.dumps({"kind": "Status", "message": f"status {status}"}).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@dataclass
class Receiver:
    process: subprocess.Popen[str]
    port: int
    metrics_port: int
    audited: Path
    """Where its audit trail goes beside its output."""

    def ask(self, method: str, path: str, port: int = 0) -> tuple[int, dict[str, str], str]:
        """Return the status, the headers and the body of an answer; an event is sent by POST."""
        headers = {
            "Ce-Specversion": "1.0",
            "Ce-Id": "1",
            "Ce-Source": "/shop",
            "Ce-Type": TYPE,
            "Ce-Time": datetime.now(UTC).isoformat(),
            "Content-Type": "application/json",
        }
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=SECONDS)
        connection.request(method, path, json.dumps(DATA) if method == "POST" else None, headers)
        answer = connection.getresponse()
        said = answer.status, dict(answer.headers), answer.read().decode()
        connection.close()
        return said

    def metric(self, name: str) -> float:
        """Return a metric's value, labels and all in its name."""
        _, _, shown = self.ask("GET", "/metrics", self.metrics_port)
        found = re.search(rf"^{re.escape(name)} (\S+)$", shown, re.MULTILINE)
        assert found, shown
        return float(found[1])


@pytest.fixture
def api_server() -> Iterator[ApiServer]:
    with ApiServer() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def kept() -> Iterator[Collector]:
    with collector() as made:
        yield made


@pytest.fixture
def receiver(api_server: ApiServer, kept: Collector, tmp_path: Path) -> Iterator[Receiver]:
    (tmp_path / "kubeconfig").write_text(KUBECONFIG.format(port=api_server.server_port))
    port, metrics_port = free_port(), free_port()
    settings = {
        "TENANTS": "acme",
        "STORE_URL": "memory://store",
        "REGISTRY": "registry.test",
        "PYTHON_BASE": "registry.test/python",
        "NODE_BASE": "registry.test/node",
        "KANIKO_IMAGE": "kaniko",
        "FETCH_IMAGE": "fetch",
        "METRICS_PORT": str(metrics_port),
        "TRACES_URL": kept.url,
        "AUDIT_SINK": (tmp_path / "audit.jsonl").as_uri(),
    }
    environment = {key: value for key, value in os.environ.items() if not key.startswith("KNATIVE_LAMBDA_")}
    environment |= {f"KNATIVE_LAMBDA_{name}": value for name, value in settings.items()}
    environment |= {"PORT": str(port), "KUBECONFIG": str(tmp_path / "kubeconfig"), "PYTHONPATH": str(ROOT / ".rooms")}
    command = [sys.executable, "-m", "knative_lambda.handler", "serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            _wait_for(port, process)
            started = Receiver(process, port, metrics_port, tmp_path / "audit.jsonl")
            assert started.ask("GET", "/health/live")[0] == 200
            yield started
        finally:
            process.terminate()
            process.communicate(timeout=SECONDS)


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)
        else:
            return
    pytest.fail("the receiver ended")


def test_an_api_server_that_fails_is_left_alone_and_named(receiver: Receiver, api_server: ApiServer) -> None:
    """By every event's answer, by the probe that stays green, and by the metrics on their own port."""
    assert receiver.metric('knative_lambda_breaker_state{dependency="cluster",state="closed"}') == 1
    while json.loads(receiver.ask("GET", "/health/ready")[2])["degraded"] != ["cluster"]:
        assert receiver.ask("POST", "/")[0] == 503
    assert api_server.asked == PATIENCE.failures
    status, headers, body = receiver.ask("POST", "/")
    assert (status, api_server.asked) == (503, PATIENCE.failures)
    assert 1 <= int(headers["Retry-After"]) <= PATIENCE.reset
    assert "cluster: not called" in json.loads(body)["detail"]
    assert receiver.ask("GET", "/health/ready")[0] == receiver.ask("GET", "/health/live")[0] == 200
    assert receiver.ask("GET", "/health/dependencies")[0] == 503
    assert receiver.metric('knative_lambda_breaker_state{dependency="cluster",state="open"}') == 1
    assert receiver.metric('knative_lambda_breaker_transitions_total{dependency="cluster",state="open"}') == 1
    assert receiver.metric('knative_lambda_dependency_retries_total{dependency="cluster"}') >= 1
    event = 'type="dev.knative-lambda.build.start"'
    assert receiver.metric(f'knative_lambda_events_total{{status="503",{event}}}') >= 2
    assert receiver.metric(f"knative_lambda_event_seconds_count{{{event}}}") >= 2


def test_an_event_that_waits_for_a_slow_api_server_is_answered_before_the_process_ends(
    receiver: Receiver, api_server: ApiServer, kept: Collector
) -> None:
    """And its record is written, and its spans are out; its metrics go with it."""
    asked, told = threading.Event(), threading.Event()

    def slow() -> int:
        asked.set()
        assert told.wait(SECONDS)
        return 404

    api_server.answer = slow
    with ThreadPoolExecutor(1) as senders:
        answer = senders.submit(receiver.ask, "POST", "/")
        assert asked.wait(SECONDS)
        receiver.process.send_signal(signal.SIGTERM)
        while _is_open(receiver.port):
            time.sleep(0.05)
        assert not answer.done()
        told.set()
        status, _, body = answer.result(SECONDS)
    assert (status, "there is no tenant acme" in body) == (422, True)
    assert receiver.process.wait(SECONDS) == 0
    assert not _is_open(receiver.metrics_port)
    [record] = map(json.loads, receiver.audited.read_text().splitlines())
    assert (record["operation"], record["tenant"], record["status"]) == ("build.start", "acme", 422)
    [trace] = kept.traces()
    assert [line.split()[0] for line in kept.tree(trace).splitlines()] == ["receive", TYPE, "cluster.get"]


def _is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
