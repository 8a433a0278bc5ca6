"""People of two tenants on a real cluster, their tokens, and the receivers that they come to; for `e2e/security`."""

import json
import re
import subprocess
import sys
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import urllib3
from support.live import TENANT, Live, within
from support.ports import free_port
from support.signing import written

from knative_lambda.deploy.cluster import SERVICE_ACCOUNT, Kind

NEIGHBOUR = "neighbour"
ACCOUNTS = {"e2e-alice": TENANT, "e2e-bob": NEIGHBOUR, "e2e-carol": TENANT}
"""alice and bob are people of their tenants (`people` of the chart, in `run.sh`); carol is in one, without rights."""
SERVICE = Kind("", "v1", "Service", "services")
KEY = b"e2e-" * 8
PRODUCT = "knative-lambda"
_OWN = re.compile(rb'"correlation_id": "[^"]*"')


def introduce(live: Live) -> None:
    """Make the accounts of all."""
    for name, namespace in ACCOUNTS.items():
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        live.cluster.apply(SERVICE_ACCOUNT, body)


def forget(live: Live) -> None:
    """Remove the accounts of all."""
    for name, namespace in ACCOUNTS.items():
        live.cluster.delete(SERVICE_ACCOUNT, namespace, name)


def kubectl(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    """Return how a command ended."""
    return subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)


def bare_token(name: str, audience: str = "") -> str:
    """Return a token of an account, as its owner has it from kubectl; without an audience it is for the API server."""
    for_whom = [f"--audience={audience}"] if audience else []
    done = kubectl("create", "token", name, "-n", ACCOUNTS[name], *for_whom)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def token(name: str, audience: str = PRODUCT) -> dict[str, str]:
    """Return the header that says whose a request is."""
    return {"authorization": f"Bearer {bare_token(name, audience)}"}


def event(kind: str, tenant: str, name: str, **data: Any) -> bytes:
    """Return an event in structured mode."""
    said = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/e2e", "type": kind}
    said |= {"time": datetime.now(UTC).isoformat(), "datacontenttype": "application/json"}
    return json.dumps({**said, "data": {"tenant": tenant, "name": name, **data}}).encode()


@dataclass(frozen=True)
class Answer:
    """What was answered, without what is of each request's own."""

    status: int
    body: bytes
    headers: Mapping[str, str]


class Receiver:
    """A receiver, by its address and the host that it is known by there."""

    def __init__(self, url: str, host: str = "") -> None:
        self.url = url
        self.host = {"host": host} if host else {}
        self.http = urllib3.PoolManager(retries=False, timeout=45)

    def ask(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None = None) -> Answer:
        """Return the answer to a request."""
        got = self.http.request(method, self.url + path, body=body, headers={**self.host, **headers})
        kept = {name.lower(): value for name, value in got.headers.items()}
        told = {name: kept.get(name, "") for name in ("content-type", "www-authenticate", "retry-after")}
        return Answer(got.status, _OWN.sub(b"", got.data), told)

    def send(self, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Return the answer to an event in structured mode."""
        return self.ask("POST", "/events", {"content-type": "application/cloudevents+json", **headers}, body)


def inside(live: Live, service: str, namespace: str = PRODUCT) -> Receiver:
    """Return one of the product's services, or a function, by the route that is open inside of the cluster."""
    found = live.cluster.get(SERVICE, "kourier-system", "kourier-internal")
    assert found is not None
    return Receiver(f"http://{found['spec']['clusterIP']}", f"{service}.{namespace}.svc.cluster.local")


class Beside(Receiver):
    """A receiver beside the cluster, which asks senders of events for tokens or signatures."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        keys = folder / "keys"
        keys.mkdir()
        (keys / "e2e").write_text(json.dumps({"tenants": [TENANT], "secrets": [written(KEY)]}))
        port = free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        modes = {"KNATIVE_LAMBDA_ACCESS_EVENTS": "token,hmac", "KNATIVE_LAMBDA_ACCESS_KEYS": str(keys)}
        command = [sys.executable, "-m", "knative_lambda.handler", "serve"]
        self.process = subprocess.Popen(command, env={**settings, **modes, "PORT": str(port)})
        within(60, "the receiver is ready", self.is_ready)

    def is_ready(self) -> bool:
        """Say whether it takes requests."""
        try:
            return self.http.request("GET", f"{self.url}/health/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(60)
