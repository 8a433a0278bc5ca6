"""What the receiver weighs, and how fast it takes events, on this machine: `make weigh`.

It runs as in a pod, before a real API server, S3 server and registry that this starts; nothing else of a cluster is
there, so a build's Job gets no Pod. Every event makes a Function, a Build, and its Job while there are SLOTS; EVENTS of
them are sent, AT_ONCE. Memory is PSS: what processes share is counted once.
"""

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[1]))

from storage.conftest import ACCESS_KEY, BUCKET, SECRET_KEY, start_server, stop
from support.apiserver import api_server
from support.machine import children, weight
from support.registry import push, real_registry

from knative_lambda.deploy.cluster import NAMESPACE, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings

SLOTS = os.environ.get("SLOTS", "100000")
EVENTS = int(os.environ.get("EVENTS", "1000"))
AT_ONCE = int(os.environ.get("AT_ONCE", "10"))
MIB = 1 << 20
IN_POD = """
import runpy, sys
from knative_lambda.deploy import access
access.ACCOUNT = sys.argv.pop(1)
runpy.run_module("knative_lambda.handler", run_name="__main__", alter_sys=True)
"""


@contextlib.contextmanager
def world(home: Path) -> Iterator[dict[str, str]]:
    """Start what the receiver speaks to, and yield its environment."""
    registry = shutil.which("docker-registry")
    if registry is None:
        sys.exit("docker-registry is not on PATH")
    with contextlib.ExitStack() as running:
        kubeconfig = running.enter_context(api_server())
        (home / "s3").mkdir()
        store, endpoint = start_server(home / "s3")
        running.callback(stop, store)
        (home / "registry").mkdir()
        host = running.enter_context(real_registry(registry, home / "registry"))
        push(host, "python", "1", b"base")
        said = yaml.safe_load(kubeconfig.read_text())
        server = said["clusters"][0]["cluster"]
        account = home / "account"
        account.mkdir()
        shutil.copy(server["certificate-authority"], account / "ca.crt")
        (account / "token").write_text(said["users"][0]["user"]["token"])
        (home / "keys").mkdir()
        (home / "keys" / "access-key").write_text(ACCESS_KEY)
        (home / "keys" / "secret-key").write_text(SECRET_KEY)
        _install(kubeconfig)
        settings = {
            "TENANTS": "acme",
            "STORE_URL": os.environ.get("STORE_URL", "s3://{bucket}").format(
                bucket=BUCKET, host=endpoint.removeprefix("http://")
            ),
            "STORE_ENDPOINT": endpoint,
            "STORE_CREDENTIALS": str(home / "keys"),
            "REGISTRY": host,
            "REGISTRY_INSECURE": "true",
            "PYTHON_BASE": f"{host}/python:1",
            "NODE_BASE": f"{host}/python:1",
            "KANIKO_IMAGE": "kaniko",
            "FETCH_IMAGE": "fetch",
            "BROKER_URL": "http://127.0.0.1:9",
            "BUILDS_PER_TENANT": SLOTS,
            "BUILDS_AT_ONCE": SLOTS,
            "THREADS": os.environ.get("THREADS", "10"),
            "METRICS_PORT": "0",
        }
        host, _, port = server["server"].removeprefix("https://").partition(":")
        yield {
            **{f"KNATIVE_LAMBDA_{name}": value for name, value in settings.items()},
            "KUBERNETES_SERVICE_HOST": host,
            "KUBERNETES_SERVICE_PORT": port,
        }


def _install(kubeconfig: Path) -> None:
    with contextlib.closing(KubernetesCluster(KubernetesSettings(str(kubeconfig)))) as cluster:
        for name, labels in (
            ("acme", {"knative-lambda.dev/tenant": "true"}),
            ("acme-builds", {}),
            ("knative-lambda", {}),
        ):
            body: Object = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
            cluster.apply(NAMESPACE, body)


@dataclass
class Receiver:
    """The receiver's process."""

    process: subprocess.Popen[bytes]
    port: int
    seconds: list[float] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)

    def weight(self) -> float:
        """Return the MiB of all its processes."""
        return weight(self.process.pid) / MIB

    def processor(self) -> float:
        """Return the seconds of processor that all its processes have used."""
        ticks = 0
        for pid in (self.process.pid, *children(self.process.pid)):
            told = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            ticks += int(told[11]) + int(told[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def start(self, connection: http.client.HTTPConnection, number: int) -> None:
        """Send a `build.start` of a function of its own."""
        code = f"def handle(event, context):\n    return {number}\n"
        data = {"tenant": "acme", "name": f"f-{number}", "runtime": "python", "source": {"inline": {"main.py": code}}}
        headers = {
            "Ce-Specversion": "1.0",
            "Ce-Id": str(number),
            "Ce-Source": "/bench",
            "Ce-Type": "dev.knative-lambda.build.start",
            "Ce-Time": datetime.now(UTC).isoformat(),
            "Content-Type": "application/json",
        }
        began = time.perf_counter()
        connection.request("POST", "/", json.dumps(data | {"builder": "kaniko"}), headers)
        answer = connection.getresponse()
        said = answer.read()
        self.seconds.append(time.perf_counter() - began)
        self.statuses.append(answer.status)
        if answer.status != http.HTTPStatus.ACCEPTED:
            sys.stderr.write(f"{answer.status} {said.decode()}\n")

    def many(self, numbers: Iterator[int]) -> None:
        """Send one after the other on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        for number in numbers:
            self.start(connection, number)


@contextlib.contextmanager
def receiver(home: Path, environment: dict[str, str]) -> Iterator[Receiver]:
    """Start the receiver, and yield it once it is ready."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    kept = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "MALLOC_ARENA_MAX")}
    command = [sys.executable, "-c", IN_POD, str(home / "account"), "serve"]
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=kept | environment | {"PORT": str(port)})
    try:
        while True:
            with (
                contextlib.suppress(OSError),
                contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=60)) as probe,
            ):
                probe.request("GET", "/health/ready")
                if probe.getresponse().status == http.HTTPStatus.OK:
                    break
            if process.poll() is not None:
                sys.exit((home / "log").read_text())
            time.sleep(0.01)
        yield Receiver(process, port)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder, world(Path(folder)) as environment:
        home = Path(folder)
        began = time.perf_counter()
        with receiver(home, environment) as it:
            print(f"ready after                {time.perf_counter() - began:8.2f} s")
            print(f"processor until ready      {it.processor():8.2f} s")
            time.sleep(2)
            print(f"memory after start         {it.weight():8.1f} MiB")
            it.many(iter([0]))
            print(f"first event                {it.seconds[0] * 1000:8.0f} ms")
            print(f"memory after it            {it.weight():8.1f} MiB")
            it.seconds.clear()
            numbers, used, began = iter(range(1, EVENTS)), it.processor(), time.perf_counter()
            lock = threading.Lock()

            def handed_out() -> Iterator[int]:
                while True:
                    with lock:
                        number = next(numbers, None)
                    if number is None:
                        return
                    yield number

            threads = [threading.Thread(target=it.many, args=(handed_out(),)) for _ in range(AT_ONCE)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            took = time.perf_counter() - began
            cuts = statistics.quantiles(it.seconds, n=100)
            print(f"{EVENTS} events, {AT_ONCE} at once  {len(it.seconds) / took:8.1f} /s")
            print(f"p50, p95, p99              {cuts[49] * 1000:8.0f} {cuts[94] * 1000:.0f} {cuts[98] * 1000:.0f} ms")
            print(f"processor for each         {(it.processor() - used) / len(it.seconds) * 1000:8.1f} ms")
            print(f"memory after them          {it.weight():8.1f} MiB")
            print("answers", {status: it.statuses.count(status) for status in sorted(set(it.statuses))})


if __name__ == "__main__":
    main()
