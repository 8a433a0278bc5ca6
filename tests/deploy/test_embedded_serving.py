import http.client
import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.deploy.cluster import KNATIVE_SERVICE, NAMESPACE, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.embedded.process import FunctionLog
from knative_lambda.deploy.embedded.serving import Serving, ServingSettings
from knative_lambda.deploy.embedded.transport import Request, Response

SERVER = textwrap.dedent(
    """
    import http.server, json, os, sys, threading, time

    VERSION = "@VERSION@"
    print("starting", VERSION, flush=True)
    if VERSION == "broken":
        sys.exit("no module named nowhere")
    threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    busy, most = 0, 0

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(503 if VERSION == "never" else 200)
            self.end_headers()

        def do_POST(self):
            global busy, most
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.path == "/crash":
                os._exit(1)
            busy += 1
            most = max(most, busy)
            time.sleep(float(self.headers.get("x-seconds", 0)))
            while most < int(self.headers.get("x-at-once", 0)):
                time.sleep(0.01)
            busy -= 1
            answer = json.dumps({"version": VERSION, "pid": os.getpid(), "path": self.path, "body": body.decode(),
                "most": most, "env": dict(os.environ), "cwd": os.getcwd()}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.send_header("x-answer", "yes")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *arguments):
            pass

    address = (os.environ["HOST"], int(os.environ["PORT"]))
    server = http.server.ThreadingHTTPServer(address, Handler)
    server.serve_forever()
    """
)
POST = Request("POST", "/", timeout=60)
NAME = ("demo", "hello")


class Bench:
    """Services over an object store in memory, and the images that they run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cluster = SQLiteCluster(":memory:")
        self.layout = OciLayout(folder / "layout")
        self.printed: list[str] = []
        self.serving = self.restarted()
        self.cluster.on_change(self.changed)
        self.cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
        self.serving.start()

    def changed(self, verb: str, kind: Kind, obj: Object) -> None:
        self.serving.changed(verb, kind, obj)

    def restarted(self, **changes: Any) -> Serving:
        settings = replace(ServingSettings(self.folder / "serving", "http://127.0.0.1:1", start_timeout=60), **changes)
        return Serving(self.cluster, self.layout, settings, echo=lambda _function, line: self.printed.append(line))

    def image(self, version: str) -> str:
        content = archive.canonical({"function/server.py": File(SERVER.replace("@VERSION@", version).encode())})
        config = {"Cmd": ["python3", "server.py"], "WorkingDir": "/function", "Env": ["OF_IMAGE=1"]}
        return (
            f"embedded.local/demo/hello@{self.layout.push(f'embedded.local/demo/hello:{version}', [content], config)}"
        )

    def apply(self, image: str, **container: Any) -> None:
        limits = {key: container.pop(key) for key in ("containerConcurrency", "timeoutSeconds") if key in container}
        annotations = {"autoscaling.knative.dev/min-scale": container.pop("min_scale", "0")}
        probe = {"readinessProbe": {"httpGet": {"path": "/readyz"}}}
        self.cluster.apply(
            KNATIVE_SERVICE,
            {
                "apiVersion": KNATIVE_SERVICE.api_version,
                "kind": KNATIVE_SERVICE.kind,
                "metadata": {"namespace": "demo", "name": "hello"},
                "spec": {
                    "template": {
                        "metadata": {"annotations": annotations},
                        "spec": {**limits, "containers": [{"image": image, **probe, **container}]},
                    }
                },
            },
        )

    def run(self, image: str, **container: Any) -> Object:
        """Apply the service and return what its status says once that is final."""
        self.apply(image, **container)
        assert self.serving.settled(90)
        return self.status()

    def status(self) -> Object:
        service = self.cluster.get(KNATIVE_SERVICE, *NAME)
        assert service is not None
        status: Object = service["status"]
        return status

    def ready(self) -> Mapping[str, Any]:
        return condition({"status": self.status()}, "Ready")

    def ask(self, request: Request = POST) -> Any:
        response = self.serving.call(*NAME, request)
        assert response.status == 200, response
        return json.loads(response.body)


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.serving.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 90
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def test_a_service_becomes_ready_as_its_first_revision_and_answers(bench: Bench) -> None:
    status = bench.run(bench.image("one"))

    assert bench.ready()["status"] == "True"
    assert (status["latestCreatedRevisionName"], status["latestReadyRevisionName"]) == ("hello-00001", "hello-00001")
    assert status["url"] == status["address"]["url"] == "http://127.0.0.1:1/functions/demo/hello"
    assert status["observedGeneration"] == 1
    response = bench.serving.call(*NAME, Request("POST", "/a/b?c=d", {"X-Seconds": "0"}, b"text"))
    answer = json.loads(response.body)
    assert (answer["version"], answer["path"], answer["body"]) == ("one", "/a/b?c=d", "text")
    assert response.headers["x-answer"] == "yes"


def test_a_python_function_has_none_of_the_products_packages(bench: Bench) -> None:
    """What it does not list it would not have on a cluster either."""
    bench.run(bench.image("one"))
    path = bench.ask()["env"]["PATH"]
    python = shutil.which("python3", path=path)
    assert python
    said = subprocess.run(
        [python, "-c", "import knative_lambda"], env={"PATH": path}, capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in said.stderr


def test_a_function_sees_its_own_environment_and_nothing_of_ours(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STORE_PASSWORD", "secret")
    secrets = bench.folder / "serving" / "secrets" / "demo"
    secrets.mkdir(parents=True)
    (secrets / "db.env").write_text("# the database\nDB_PASSWORD=a=b\n")

    bench.run(
        bench.image("one"),
        env=[{"name": "GREETING", "value": "hi"}],
        envFrom=[{"secretRef": {"name": "db"}}],
    )

    answer = bench.ask()
    env = answer["env"]
    assert (env["GREETING"], env["DB_PASSWORD"], env["OF_IMAGE"]) == ("hi", "a=b", "1")
    assert (env["K_SERVICE"], env["K_CONFIGURATION"], env["K_REVISION"]) == ("hello", "hello", "hello-00001")
    assert "STORE_PASSWORD" not in env
    assert env["HOME"] != os.environ.get("HOME")
    assert Path(answer["cwd"]).name == "function"


def test_a_variable_is_one_key_of_a_secret_or_of_a_config_map(bench: Bench) -> None:
    for kind, text in (("secrets", "token=a=b\nother=x\n"), ("configmaps", "log.level=debug\nREGION=eu\n")):
        place = bench.folder / "serving" / kind / "demo"
        place.mkdir(parents=True)
        (place / "shop.env").write_text(text)

    def keyed(name: str, kind: str, key: str) -> dict[str, Any]:
        return {"name": name, "valueFrom": {f"{kind}KeyRef": {"name": "shop", "key": key}}}

    bench.run(
        bench.image("one"),
        env=[keyed("TOKEN", "secret", "token"), keyed("LEVEL", "configMap", "log.level")],
        envFrom=[{"configMapRef": {"name": "shop"}}],
    )
    env = bench.ask()["env"]
    assert (env["TOKEN"], env["LEVEL"], env["REGION"]) == ("a=b", "debug", "eu")
    assert "other" not in env

    bench.run(bench.image("one"), env=[keyed("TOKEN", "secret", "none")])
    assert 'couldn\'t find key none in secret "shop"' in bench.ready()["message"]
    assert bench.ready()["reason"] == "KeyMissing"


def test_a_secret_that_comes_later_is_found(bench: Bench) -> None:
    """Until then the status stays as it is: who looks at it again and again is told nothing new."""
    failed = bench.run(bench.image("one"), envFrom=[{"secretRef": {"name": "db"}}])
    bench.serving.retry()
    assert bench.serving.settled(90)
    assert bench.status() == failed
    secrets = bench.folder / "serving" / "secrets" / "demo"
    secrets.mkdir(parents=True)
    (secrets / "db.env").write_text("DB_PASSWORD=x\n")

    bench.serving.retry()

    assert bench.serving.settled(90)
    assert bench.ready()["status"] == "True"
    assert bench.ask()["env"]["DB_PASSWORD"] == "x"


def test_a_program_that_fails_is_not_started_again_and_again(bench: Bench) -> None:
    bench.run(bench.image("broken"))
    bench.serving.retry()
    assert bench.serving.settled(90)
    assert bench.printed.count("starting broken") == 1


@pytest.mark.parametrize(
    ("container", "reason", "why"),
    [
        ({"envFrom": [{"secretRef": {"name": "db"}}]}, "SecretMissing", 'secret "db" not found'),
        ({"envFrom": [{"configMapRef": {"name": "settings"}}]}, "ConfigMapMissing", 'configmap "settings" not found'),
        (
            {"env": [{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}}]},
            "SecretMissing",
            'secret "db" not found',
        ),
        ({"env": [{"name": "KEY", "valueFrom": {"fieldRef": {}}}]}, "RevisionFailed", "valueFrom"),
        (
            {"volumeMounts": [{"name": "mount-0", "mountPath": "/data"}]},
            "RevisionFailed",
            "the embedded mode mounts nothing: /data",
        ),
    ],
)
def test_what_cannot_be_given_to_a_function_is_a_failed_revision(
    bench: Bench, container: dict[str, Any], reason: str, why: str
) -> None:
    bench.run(bench.image("one"), **container)

    assert bench.ready()["reason"] == reason
    assert why in bench.ready()["message"]


def test_an_image_that_is_not_here_is_a_failed_revision(bench: Bench) -> None:
    bench.run("docker.io/library/busybox:latest")

    assert bench.ready()["status"] == "False"
    assert "Unable to fetch image" in bench.ready()["message"]
    assert bench.serving.call(*NAME, POST).status == 503


def test_a_process_that_ends_fails_its_revision_with_its_last_words_while_the_old_one_serves(bench: Bench) -> None:
    bench.run(bench.image("one"))

    status = bench.run(bench.image("broken"))

    assert bench.ready()["reason"] == "RevisionFailed"
    assert "no module named nowhere" in bench.ready()["message"]
    assert condition({"status": status}, "RoutesReady")["status"] == "True"
    assert (status["latestCreatedRevisionName"], status["latestReadyRevisionName"]) == ("hello-00002", "hello-00001")
    assert bench.ask()["version"] == "one"


def test_a_new_version_takes_over_once_it_is_ready_and_no_request_is_lost(bench: Bench) -> None:
    """Requests that were under way are answered by the old version, even where they take longer than the switch."""
    bench.run(bench.image("one"))
    new = bench.image("two")
    stop = threading.Event()

    def ask_on() -> list[Response]:
        answers = []
        while not stop.is_set():
            answers.append(bench.serving.call(*NAME, replace(POST, headers={"x-seconds": "0.01"})))
        return answers

    with ThreadPoolExecutor() as pool:
        slow = pool.submit(bench.ask, replace(POST, headers={"x-seconds": "1", "x-at-once": "2"}))
        bench.ask(replace(POST, headers={"x-at-once": "2"}))  # so it has come
        asking = [pool.submit(ask_on) for _ in range(3)]
        bench.run(new)
        until(lambda: bench.ask()["version"] == "two")
        stop.set()
        answers = [answer for each in asking for answer in each.result()]

    assert {answer.status for answer in answers} == {200}
    assert slow.result()["version"] == "one"
    assert bench.status()["latestReadyRevisionName"] == "hello-00002"
    until(lambda: gone(slow.result()["pid"]))


def test_the_same_template_makes_no_new_revision_and_no_write(bench: Bench) -> None:
    image = bench.image("one")
    bench.run(image)
    before = bench.cluster.get(KNATIVE_SERVICE, *NAME)

    bench.run(image)

    assert bench.cluster.get(KNATIVE_SERVICE, *NAME) == before


def test_a_newer_version_does_not_wait_for_one_that_never_gets_ready(bench: Bench) -> None:
    bench.apply(bench.image("never"))
    until(lambda: "starting never" in bench.printed)

    status = bench.run(bench.image("two"))

    assert status["latestReadyRevisionName"] == "hello-00002"
    assert bench.ask()["version"] == "two"


def test_an_idle_function_goes_to_zero_and_the_next_request_starts_it(bench: Bench) -> None:
    bench.run(bench.image("one"))
    bench.serving.close()
    bench.serving = bench.restarted(idle=0.2)
    bench.serving.start()
    assert bench.serving.settled(90)
    first = bench.ask()

    until(lambda: gone(first["pid"]))

    assert bench.ask()["pid"] != first["pid"]


def test_a_function_with_a_minimum_stays_and_comes_back_when_it_dies(bench: Bench) -> None:
    bench.serving.close()
    bench.serving = bench.restarted(idle=0.2)
    bench.serving.start()
    bench.run(bench.image("one"), min_scale="1")
    pid = bench.ask()["pid"]

    os.kill(pid, signal.SIGKILL)

    until(lambda: bench.printed.count("starting one") == 2)


def test_a_crash_costs_its_own_request_and_the_next_one_starts_the_process_again(bench: Bench) -> None:
    bench.run(bench.image("one"))

    assert bench.serving.call(*NAME, replace(POST, path="/crash")).status == 502
    assert bench.ask()["version"] == "one"


def test_a_function_that_crashes_again_and_again_is_not_started_at_once(bench: Bench) -> None:
    bench.run(bench.image("one"))

    statuses = [bench.serving.call(*NAME, replace(POST, path="/crash")).status for _ in range(3)]

    assert statuses == [502, 502, 503]


def test_a_request_beyond_its_time_is_answered_for_the_function(bench: Bench) -> None:
    bench.run(bench.image("one"), timeoutSeconds=1)

    assert bench.serving.call(*NAME, replace(POST, headers={"x-seconds": "30"})).status == 504


def test_no_more_requests_at_once_than_the_concurrency(bench: Bench) -> None:
    bench.run(bench.image("one"), containerConcurrency=2)

    with ThreadPoolExecutor() as pool:
        answers = list(pool.map(bench.ask, [replace(POST, headers={"x-seconds": "0.05", "x-at-once": "2"})] * 6))

    assert max(answer["most"] for answer in answers) == 2


def test_a_deleted_service_is_gone_with_its_process_and_starts_anew_under_its_name(bench: Bench) -> None:
    bench.run(bench.image("one"))
    pid = bench.ask()["pid"]

    bench.cluster.delete(KNATIVE_SERVICE, *NAME)
    assert bench.serving.settled(90)

    assert bench.serving.call(*NAME, POST).status == 404
    assert gone(pid)
    assert bench.run(bench.image("two"))["latestReadyRevisionName"] == "hello-00001"


def test_after_a_restart_the_revision_that_served_serves_on(bench: Bench) -> None:
    """The newest had failed: the one before it is taken up from the ledger."""
    bench.run(bench.image("one"))
    bench.run(bench.image("broken"))
    bench.serving.close()
    bench.serving = bench.restarted(url="http://127.0.0.1:2")

    bench.serving.start()

    assert bench.serving.settled(90)
    assert bench.ask()["version"] == "one"
    assert bench.status()["latestReadyRevisionName"] == "hello-00001"
    assert bench.status()["url"].startswith("http://127.0.0.1:2/")


def test_closing_ends_every_process(bench: Bench) -> None:
    bench.run(bench.image("one"))
    pid = bench.ask()["pid"]

    bench.serving.close()

    assert gone(pid)


def test_what_a_function_prints_is_kept_in_its_log_and_echoed(bench: Bench) -> None:
    bench.run(bench.image("one"))

    until(lambda: bench.printed)  # it may be ready before its line was read
    assert bench.printed == ["starting one"]
    assert (bench.folder / "serving" / "logs" / "demo" / "hello.log").read_text() == "starting one\n"


def test_a_log_is_begun_anew_when_it_is_full_and_the_one_before_is_kept(tmp_path: Path) -> None:
    log = FunctionLog(tmp_path / "hello.log", limit=10)

    for number in range(5):
        log.append(f"line {number}\n".encode())

    assert (tmp_path / "hello.log").read_text() == "line 4\n"
    assert (tmp_path / "hello.log.1").read_text() == "line 2\nline 3\n"


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    """The program below is a parent of its own, because the test cannot kill itself."""
    server = tmp_path / "server.py"
    server.write_text(SERVER)
    parent = textwrap.dedent(
        """
        import os, signal, sys, threading
        from pathlib import Path
        from knative_lambda.deploy.embedded.process import FunctionLog, Process, Program

        program = Program((sys.executable, sys.argv[1]), Path(sys.argv[2]), dict(os.environ))
        process = Process(program, FunctionLog(Path(sys.argv[2]) / "log"))
        process.wait_until_ready(60, threading.Event())
        print(process.address, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    )
    ended = subprocess.run(
        [sys.executable, "-c", parent, str(server), str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    port = int(ended.stdout.rpartition(":")[2])

    def refused() -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.connect()
        except OSError:
            return True
        connection.close()
        return False

    until(refused)
