"""A real Kubernetes API server for tests: etcd and kube-apiserver on loopback, without root, in a folder of its own.

Used by the fixture `kubeconfig`; as a program it prints the path of a kubeconfig and serves until interrupted. The
kubeconfig has two contexts: `admin` may do everything, `nobody` nothing. The product's own kinds are installed as the
chart has them, Knative's with a schema that takes anything, and knows `spec.env` for a map of texts. Nothing else of a
cluster runs here: no controller, so nothing collects garbage or empties a namespace; no scheduler, no kubelet.

kube-apiserver is the one that the test cluster's `build.sh` makes.
"""

import contextlib
import os
import shutil
import signal
import ssl
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import yaml
from support.ports import free_port

from knative_lambda.deploy.cluster import BROKER, BUILD, DEAD_LETTER, FUNCTION, KNATIVE_SERVICE, TRIGGER, Kind, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.schemas.errors import Refused

_CRDS = Path(__file__).parents[2] / "deploy" / "charts" / "knative-lambda" / "charts" / "crds" / "templates"
_CRD = Kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
_START_SECONDS = 90
_STOP_SECONDS = 10


class MissingProgramError(Exception):
    """A program that the server is made of is not on this machine."""


@contextlib.contextmanager
def api_server() -> Iterator[Path]:
    """Start the two servers, yield the path of a kubeconfig, and stop them."""
    etcd, apiserver = _program("etcd"), _program("kube-apiserver")
    with tempfile.TemporaryDirectory(prefix="apiserver-") as folder, contextlib.ExitStack() as processes:
        home = Path(folder)
        client, peer, secure = (free_port() for _ in range(3))
        _write_keys(home)
        _write_kubeconfig(home, secure)
        processes.enter_context(
            _process(
                home / "etcd.log",
                [
                    *(etcd, f"--data-dir={home / 'etcd'}", "--unsafe-no-fsync", "--log-level=warn"),
                    *(f"--{which}-client-urls=http://127.0.0.1:{client}" for which in ("listen", "advertise")),
                    *(
                        f"--{which}=http://127.0.0.1:{peer}"
                        for which in ("listen-peer-urls", "initial-advertise-peer-urls")
                    ),
                    f"--initial-cluster=default=http://127.0.0.1:{peer}",
                ],
            )
        )
        server = processes.enter_context(
            _process(
                home / "apiserver.log",
                [
                    *(apiserver, f"--etcd-servers=http://127.0.0.1:{client}"),
                    *("--bind-address=127.0.0.1", f"--secure-port={secure}"),
                    *(f"--tls-cert-file={home / 'server.crt'}", f"--tls-private-key-file={home / 'server.key'}"),
                    *(f"--service-account-{which}key-file={home / 'server.key'}" for which in ("", "signing-")),
                    *("--service-account-issuer=https://test", "--service-cluster-ip-range=10.0.0.0/24"),
                    *("--authorization-mode=RBAC", f"--token-auth-file={home / 'tokens.csv'}"),
                    # a Pod would be refused for want of a ServiceAccount, which a controller makes
                    "--disable-admission-plugins=ServiceAccount",
                ],
            )
        )
        _wait_until_ready(home, secure, server)
        _install_kinds(home / "kubeconfig")
        yield home / "kubeconfig"


def _program(name: str) -> str:
    cache = os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster")
    found = shutil.which(name) or shutil.which(name, path=Path(cache) / "bin")
    if found is None:
        raise MissingProgramError(f"{name} is neither on PATH nor in {cache}/bin")
    return found


def _write_keys(home: Path) -> None:
    openssl = ["openssl", "req", "-x509", "-nodes", "-newkey", "rsa:2048", "-days", "2", "-subj", "/CN=apiserver"]
    names = ["-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(home / "server.key"), "-out", str(home / "server.crt")]
    subprocess.run([*openssl, *names, *files], check=True, capture_output=True)


def _write_kubeconfig(home: Path, port: int) -> None:
    (home / "tokens.csv").write_text('admin-token,admin,1,"system:masters"\nnobody-token,nobody,2\n')
    (home / "kubeconfig").write_text(f"""\
apiVersion: v1
kind: Config
current-context: admin
clusters: [{{name: test, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority: {home}/server.crt}}}}]
users: [{{name: admin, user: {{token: admin-token}}}}, {{name: nobody, user: {{token: nobody-token}}}}]
contexts:
- {{name: admin, context: {{cluster: test, user: admin}}}}
- {{name: nobody, context: {{cluster: test, user: nobody}}}}
""")


@contextlib.contextmanager
def _process(log: Path, command: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    # the server goes when this process goes, even when it is killed
    leash = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with log.open("wb") as output, subprocess.Popen([*leash, *command], stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _wait_until_ready(home: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    request = urllib.request.Request(
        f"https://127.0.0.1:{port}/readyz", headers={"Authorization": "Bearer admin-token"}
    )
    direct = urllib.request.build_opener(
        urllib.request.ProxyHandler({}),
        urllib.request.HTTPSHandler(context=ssl.create_default_context(cafile=str(home / "server.crt"))),
    )
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        with contextlib.suppress(OSError):
            direct.open(request, timeout=5).close()
            return
        time.sleep(0.1)
    raise RuntimeError(f"the API server did not start:\n{(home / 'apiserver.log').read_text()[-2000:]}")


def _install_kinds(kubeconfig: Path) -> None:
    cluster = KubernetesCluster(KubernetesSettings(str(kubeconfig)))
    for file in _CRDS.glob("*.yaml"):
        cluster.apply(_CRD, yaml.safe_load(file.read_text()))
    for kind in (KNATIVE_SERVICE, BROKER, TRIGGER):
        cluster.apply(_CRD, _permissive(kind))
    for kind in (FUNCTION, BUILD, DEAD_LETTER, KNATIVE_SERVICE, BROKER, TRIGGER):
        _wait_until_served(cluster, kind)
    cluster.close()


def _permissive(kind: Kind) -> Object:
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    # the owners of a map's entries are told apart only where the schema says that it is a map
    texts = {"type": "object", "additionalProperties": {"type": "string"}}
    schema = anything | {"properties": {"spec": anything | {"properties": {"env": texts}}}}
    version = {"name": kind.version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": _CRD.api_version,
        "kind": _CRD.kind,
        "metadata": {"name": f"{kind.plural}.{kind.group}"},
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {"kind": kind.kind, "plural": kind.plural},
            "versions": [version | {"subresources": {"status": {}}}],
        },
    }


def _wait_until_served(cluster: KubernetesCluster, kind: Kind) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        with contextlib.suppress(Refused):
            cluster.list(kind, "default")
            return
        time.sleep(0.1)
    raise RuntimeError(f"the API server does not serve {kind.plural}")


def main() -> None:
    """Serve until interrupted."""
    for interrupt in (signal.SIGINT, signal.SIGTERM):
        signal.signal(interrupt, signal.default_int_handler)
    with contextlib.suppress(KeyboardInterrupt), api_server() as kubeconfig:
        print(kubeconfig, flush=True)  # noqa: T201 - the path is what the program is asked for
        signal.pause()


if __name__ == "__main__":
    main()
