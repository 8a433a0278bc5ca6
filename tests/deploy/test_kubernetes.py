"""What the adapter of the API server makes of what only a real one, or a bad network, does.

Where a real API server would have to be broken first, a few lines of HTTP stand in for it.
"""

import contextlib
import json
import shutil
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from support.ports import free_port

from knative_lambda.deploy.cluster import JOB, KNATIVE_SERVICE, LEASE, NAMESPACE, POD, SERVICE_ACCOUNT, Kind, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.schemas.errors import Conflict, Fault, ProductError, Refused, Temporary, TooLarge, Unavailable

QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")


@pytest.fixture
def cluster(kubeconfig: str) -> Iterator[KubernetesCluster]:
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig))) as opened:
        yield opened


@pytest.fixture
def namespace(cluster: KubernetesCluster) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name


def thing(kind: Kind, namespace: str, name: str, **fields: Any) -> Object:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, **fields}


def pod(**fields: Any) -> Object:
    return {"restartPolicy": "Never", "containers": [{"name": "main", "image": "example.com/image", **fields}]}


def job(namespace: str, **fields: Any) -> Object:
    return thing(JOB, namespace, "hello", spec={"template": {"spec": pod(**fields)}})


# --- a real API server


@pytest.mark.parametrize("write", ["create", "apply"])
def test_an_unknown_field_is_refused_and_named(cluster: KubernetesCluster, namespace: str, write: str) -> None:
    """For an apply the API server says so with status 500, which would be sent again for ever."""
    with pytest.raises(Refused, match="nonsense"):
        getattr(cluster, write)(JOB, job(namespace, nonsense=1))
    assert cluster.get(JOB, namespace, "hello") is None


def test_an_unknown_field_is_refused_by_replace_too(cluster: KubernetesCluster, namespace: str) -> None:
    stored = cluster.create(LEASE, thing(LEASE, namespace, "slot-1"))
    with pytest.raises(Refused, match="nonsense"):
        cluster.replace(LEASE, stored | {"spec": {"nonsense": 1}})


def test_a_refusal_has_the_api_servers_words_and_the_field(cluster: KubernetesCluster, namespace: str) -> None:
    with pytest.raises(Refused) as refused:
        cluster.create(JOB, job(namespace, image=""))
    whole, *causes = refused.value.faults
    assert whole.where == "cluster"
    assert 'Job.batch "hello" is invalid' in whole.message
    assert causes == [Fault("spec.template.spec.containers[0].image", "Required value")]


def test_a_deleted_job_does_not_stay_for_its_orphans(cluster: KubernetesCluster, namespace: str) -> None:
    """Without a propagation policy it would wait for a controller to cut its Pod loose, which then runs on."""
    cluster.create(JOB, job(namespace))
    cluster.delete(JOB, namespace, "hello")
    assert cluster.get(JOB, namespace, "hello") is None


def test_a_pod_that_has_not_started_has_no_log(cluster: KubernetesCluster, namespace: str) -> None:
    cluster.create(POD, thing(POD, namespace, "hello", spec=pod()))
    assert cluster.pod_log(namespace, "hello", "main", limit=100) is None
    assert cluster.pod_log(namespace, "hello", "other", limit=100) is None


def test_what_may_not_be_seen_is_not_there_and_what_may_not_be_done_is_refused(
    kubeconfig: str, cluster: KubernetesCluster, namespace: str
) -> None:
    cluster.create(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, "hello"))
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig, context="nobody"))) as nobody:
        assert nobody.get(SERVICE_ACCOUNT, namespace, "hello") is None
        forbidden: list[Callable[[], object]] = [
            lambda: nobody.list(SERVICE_ACCOUNT, namespace),
            lambda: nobody.create(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, "other")),
            lambda: nobody.apply(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, "hello")),
            lambda: nobody.delete(SERVICE_ACCOUNT, namespace, "hello"),
            lambda: nobody.pod_log(namespace, "hello", "main", limit=100),
        ]
        for call in forbidden:
            with pytest.raises(Refused, match="forbidden"):
                call()


def test_a_quota_that_is_used_up_passes(cluster: KubernetesCluster, namespace: str) -> None:
    quota = cluster.create(QUOTA, thing(QUOTA, namespace, "few", spec={"hard": {"pods": "0"}}))
    cluster.replace_status(QUOTA, quota | {"status": {"hard": {"pods": "0"}, "used": {"pods": "0"}}})
    with pytest.raises(Temporary, match="exceeded quota"):
        cluster.create(POD, thing(POD, namespace, "hello", spec=pod()))


def test_a_quota_that_nobody_has_counted_yet_passes(cluster: KubernetesCluster, namespace: str) -> None:
    """A new installation's quota on its own kinds is such a one for minutes: an event then is no refused one."""
    quota = cluster.create(QUOTA, thing(QUOTA, namespace, "new", spec={"hard": {"pods": "10"}}))
    cluster.replace_status(QUOTA, quota | {"status": {"hard": {"pods": "10"}}})

    def more_pods_for(seconds: float) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            cluster.create(POD, thing(POD, namespace, f"hello-{uuid.uuid4().hex[:8]}", spec=pod()))

    with pytest.raises(Temporary, match="status unknown for quota"):
        more_pods_for(60)  # the server learns of the quota a little later


def test_a_namespace_on_its_way_out_passes(cluster: KubernetesCluster, namespace: str) -> None:
    cluster.delete(NAMESPACE, "", namespace)
    with pytest.raises(Temporary, match="being terminated"):
        cluster.create(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, "hello"))


def test_a_list_of_more_than_a_page_is_whole(cluster: KubernetesCluster, namespace: str) -> None:
    names = [f"hello-{number:03}" for number in range(501)]

    def create(name: str) -> None:
        cluster.create(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, name))

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(create, names))
    assert [each["metadata"]["name"] for each in cluster.list(SERVICE_ACCOUNT, namespace)] == names


def test_in_a_pod_the_service_accounts_token_is_used_and_read_again_after_it_was_rotated(
    kubeconfig: str, namespace: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]
    token = enter_pod(server, "admin-token\n", tmp_path, monkeypatch)
    with contextlib.closing(KubernetesCluster(KubernetesSettings(account=str(tmp_path)))) as cluster:
        assert cluster.get(NAMESPACE, "", namespace) is not None
        token.write_text("nobody-token")
        assert cluster.get(NAMESPACE, "", namespace) is None
        token.unlink()
        with pytest.raises(Unavailable, match="token"):
            cluster.get(NAMESPACE, "", namespace)


def enter_pod(server: Object, token: str, account: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let it look as in a pod whose ServiceAccount has this folder; return where its token is."""
    address = urlsplit(server["server"])
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", str(address.hostname))
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))
    shutil.copy(server["certificate-authority"], account / "ca.crt")
    (account / "token").write_text(token)
    return account / "token"


# --- a few lines of HTTP


class Script(BaseHTTPRequestHandler):
    """Answers every request with `answer`, and notes it."""

    protocol_version = "HTTP/1.1"
    answer: tuple[int, dict[str, str], bytes]
    seen: list[str]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        status, headers, body = self.answer
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
        pass


Answering = Callable[..., tuple[KubernetesCluster, list[str]]]


@pytest.fixture
def answering(tmp_path: Path) -> Iterator[Answering]:
    """Return what makes a cluster that gives one answer, and the list of the paths that it was asked for."""
    with contextlib.ExitStack() as opened:

        def start(status: int, body: bytes = b"", **headers: str) -> tuple[KubernetesCluster, list[str]]:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            handler = type("Handler", (Script,), {"answer": (status, named, body), "seen": []})
            server = opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
            opened.callback(server.shutdown)
            cluster = connect(tmp_path, server.server_port)
            opened.callback(cluster.close)
            return cluster, handler.seen

        yield start


def connect(folder: Path, port: int, seconds: float = 30) -> KubernetesCluster:
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "test", "user": {}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
    }
    (folder / "kubeconfig").write_text(json.dumps(config))
    return KubernetesCluster(KubernetesSettings(str(folder / "kubeconfig"), timeout=seconds))


@pytest.mark.parametrize(
    ("status", "body", "meaning"),
    [
        (302, b"", Unavailable),
        (401, b'{"message": "Unauthorized"}', Unavailable),
        (410, b'{"reason": "Expired"}', Unavailable),
        (429, b'{"reason": "TooManyRequests"}', Unavailable),
        (500, b'{"message": "etcdserver: leader changed"}', Unavailable),
        (500, b'{"message": "etcdserver: request is too large"}', TooLarge),
        (502, b"<html>bad gateway</html>", Unavailable),
        (503, b"", Unavailable),
        (200, b"<html>please log in</html>", Unavailable),
        (200, b'["no object"]', Unavailable),
        (400, b'{"message": "no"}', Refused),
        (409, b'{"reason": "Conflict"}', Conflict),
        (413, b"too large", TooLarge),
        (422, b'{"details": null}', Refused),
    ],
)
def test_each_answer_has_its_meaning(
    answering: Answering, status: int, body: bytes, meaning: type[ProductError]
) -> None:
    cluster, _ = answering(status, body)
    with pytest.raises(meaning) as raised:
        cluster.get(KNATIVE_SERVICE, "demo", "hello")
    assert type(raised.value) is meaning


def test_the_cluster_says_when_to_come_back(answering: Answering) -> None:
    cluster, _ = answering(429, b"{}", Retry_After="17")
    with pytest.raises(Unavailable) as raised:
        cluster.get(KNATIVE_SERVICE, "demo", "hello")
    assert raised.value.retry_after == 17


def test_an_answer_that_is_cut_off_is_no_answer(answering: Answering) -> None:
    cluster, _ = answering(200, b'{"metadata": {}}', Content_Length="100", Connection="close")
    with pytest.raises(Unavailable):
        cluster.get(KNATIVE_SERVICE, "demo", "hello")


def test_nobody_listening_is_no_answer(tmp_path: Path) -> None:
    cluster = connect(tmp_path, free_port())
    with pytest.raises(Unavailable) as raised:
        cluster.list(KNATIVE_SERVICE, "demo")
    assert raised.value.dependency == "cluster"
    assert raised.value.__cause__ is not None


def test_a_server_that_says_nothing_is_not_waited_for(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        cluster = connect(tmp_path, silent.getsockname()[1], seconds=0.3)
        for call in (cluster.create, cluster.apply):
            with pytest.raises(Unavailable):
                call(KNATIVE_SERVICE, thing(KNATIVE_SERVICE, "demo", "hello"))
        with pytest.raises(Unavailable):
            cluster.pod_log("demo", "hello", "main", limit=100)


def test_a_kubeconfig_that_is_not_there_is_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cluster"):
        KubernetesCluster(KubernetesSettings(str(tmp_path / "missing")))


def test_of_a_long_log_the_last_bytes_are_kept(answering: Answering) -> None:
    """Bytes, not lines, not text: a log may end without a newline, and within a character."""
    log = b"".join(b"%07d\n" % number for number in range(100_000)) + "the é".encode()[:-1]
    cluster, seen = answering(200, log)
    assert cluster.pod_log("demo", "hello", "main", limit=20) == log[-20:]
    assert cluster.pod_log("demo", "hello", "main", limit=10_000_000) == log
    assert parse_qs(urlsplit(seen[0]).query) == {"container": ["main"], "tailLines": ["20"]}


def test_an_empty_log_is_a_log(answering: Answering) -> None:
    cluster, _ = answering(200, b"")
    assert cluster.pod_log("demo", "hello", "main", limit=20) == b""


def test_the_kubernetes_package_is_not_loaded_in_a_pod(
    kubeconfig: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would take more of the memory that the receiver may have, and more of its time to start, than all of ours."""
    server = yaml.safe_load(Path(kubeconfig).read_text())["clusters"][0]["cluster"]
    enter_pod(server, "nobody-token", tmp_path, monkeypatch)
    settings = f"KubernetesSettings(account={str(tmp_path)!r})"
    code = f"""
import sys
from knative_lambda.deploy.cluster import NAMESPACE
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
KubernetesCluster({settings}).get(NAMESPACE, "", "default")
print(*sys.modules)
"""
    loaded = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "urllib3" in loaded
    assert [name for name in loaded if name.partition(".")[0] == "kubernetes"] == []
