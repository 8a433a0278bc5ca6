"""Who may come in, on the real cluster: real ServiceAccounts of two tenants, with real tokens, at real rights.

The cluster's own receiver serves `/v1` to tokens, with the rights that the chart gives it. For events, a receiver in
the modes `token` and `hmac` runs beside the cluster: the cluster's own takes what its Brokers bring.
"""

import json
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.live import TENANT, Live, within
from support.signing import signed, written

from knative_lambda.deploy.cluster import FUNCTION, SERVICE_ACCOUNT, Kind
from knative_lambda.schemas import types

NEIGHBOUR = "neighbour"
ACCOUNTS = {"e2e-alice": TENANT, "e2e-bob": NEIGHBOUR, "e2e-carol": TENANT}
"""alice and bob develop in their tenants; carol is there, too, and has no rights."""
ROLE = Kind("rbac.authorization.k8s.io", "v1", "Role", "roles")
BINDING = Kind("rbac.authorization.k8s.io", "v1", "RoleBinding", "rolebindings")
SERVICE = Kind("", "v1", "Service", "services")
KEY = b"e2e-" * 8
CODE = {"inline": {"main.py": "def handle(event, context):\n    return {'n': 1}\n"}}


def token(name: str, audience: str = "knative-lambda") -> dict[str, str]:
    """Return the header of a ServiceAccount, as its owner has it from kubectl."""
    command = ["kubectl", "create", "token", name, "-n", ACCOUNTS[name], f"--audience={audience}"]
    return {
        "authorization": f"Bearer {subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()}"
    }


def develop(live: Live, name: str) -> None:
    """Let somebody develop in their tenant."""
    meta = {"name": name, "namespace": ACCOUNTS[name]}
    verbs = ["get", "list", "create", "update", "delete"]
    rules = [{"apiGroups": [FUNCTION.group], "resources": ["functions", "builds", "deadletters"], "verbs": verbs}]
    live.cluster.apply(ROLE, {"apiVersion": ROLE.api_version, "kind": ROLE.kind, "metadata": meta, "rules": rules})
    role = {"apiGroup": ROLE.group, "kind": ROLE.kind, "name": name}
    subjects = [{"kind": "ServiceAccount", "name": name, "namespace": ACCOUNTS[name]}]
    body = {"apiVersion": BINDING.api_version, "kind": BINDING.kind, "metadata": meta}
    live.cluster.apply(BINDING, body | {"roleRef": role, "subjects": subjects})


@pytest.fixture(scope="module", autouse=True)
def people(live: Live) -> Iterator[None]:
    for name, namespace in ACCOUNTS.items():
        body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name, "namespace": namespace}}
        live.cluster.apply(SERVICE_ACCOUNT, body)
    develop(live, "e2e-alice")
    develop(live, "e2e-bob")
    yield
    for name, namespace in ACCOUNTS.items():
        for kind in (BINDING, ROLE, SERVICE_ACCOUNT):
            live.cluster.delete(kind, namespace, name)


class Records:
    """`/v1` of the cluster's own receiver, by its route."""

    def __init__(self, live: Live) -> None:
        found = live.cluster.get(SERVICE, "kourier-system", "kourier-internal")
        assert found is not None
        self.address = f"http://{found['spec']['clusterIP']}"
        self.http = live.http

    def get(self, path: str, headers: dict[str, str]) -> tuple[int, dict[str, Any]]:
        whole = {"host": "receiver.knative-lambda.svc.cluster.local", **headers}
        answer = self.http.request("GET", f"{self.address}/v1/tenants/{path}", headers=whole)
        body: dict[str, Any] = json.loads(answer.data)
        body.pop("correlation_id", None)
        return answer.status, body


@pytest.fixture
def records(live: Live) -> Records:
    return Records(live)


def test_who_does_not_say_who_they_are_reads_nothing(records: Records) -> None:
    at = f"{TENANT}/functions"
    for headers in (
        {},
        {"authorization": "Bearer a.b.c"},
        token("e2e-alice", "https://kubernetes.default.svc"),
        token("e2e-alice", "another"),
    ):
        assert records.get(at, headers)[0] == 401
    assert records.get(at, token("e2e-alice"))[0] == 200


def test_one_reads_what_is_ones_own_tenants_and_learns_nothing_of_others(live: Live, records: Records) -> None:
    name = f"access-{uuid.uuid4().hex[:6]}"
    live.start(name, runtime="python", source=CODE)
    within(60, "it is there", lambda: live.function(name))
    alice, bob = token("e2e-alice"), token("e2e-bob")
    places = [f"{TENANT}/functions", f"{TENANT}/functions/{name}", f"{TENANT}/deadletters"]
    assert [records.get(place, alice)[0] for place in places] == [200] * 3
    refused = [records.get(place, bob) for place in (*places, f"{TENANT}/functions/none", "no-such/functions")]
    assert refused == [refused[0]] * len(refused)
    assert refused[0][0] == 403
    assert records.get(f"{NEIGHBOUR}/functions", bob)[0] == 200
    live.delete(name)


def test_a_right_counts_once_it_is_given_and_no_longer_once_it_is_taken(live: Live, records: Records) -> None:
    at, carol = f"{TENANT}/functions", token("e2e-carol")
    assert records.get(at, carol)[0] == 403
    develop(live, "e2e-carol")
    within(60, "it is given", lambda: records.get(at, carol)[0] == 200, every=1)
    live.cluster.delete(BINDING, TENANT, "e2e-carol")
    within(60, "it is taken", lambda: records.get(at, carol)[0] == 403, every=1)


class Beside:
    """A receiver beside the cluster."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        keys = folder / "keys"
        keys.mkdir()
        (keys / "e2e").write_text(json.dumps({"tenants": [TENANT], "secrets": [written(KEY)]}))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        modes = {"KNATIVE_LAMBDA_ACCESS_EVENTS": "token,hmac", "KNATIVE_LAMBDA_ACCESS_KEYS": str(keys)}
        command = [sys.executable, "-m", "knative_lambda.handler", "serve"]
        self.process = subprocess.Popen(command, env={**settings, **modes, "PORT": str(port)})
        self.url = f"http://127.0.0.1:{port}"
        self.http = urllib3.PoolManager(retries=False, timeout=45)
        within(60, "the receiver is ready", self.is_ready)

    def is_ready(self) -> bool:
        try:
            return self.http.request("GET", f"{self.url}/health/ready").status == 200
        except urllib3.exceptions.HTTPError:
            return False

    def close(self) -> None:
        self.process.terminate()
        self.process.wait(60)

    def send(self, body: bytes, headers: dict[str, str]) -> int:
        whole = {"content-type": "application/cloudevents+json", **headers}
        return self.http.request("POST", f"{self.url}/events", body=body, headers=whole).status


@pytest.fixture
def beside(settings: dict[str, str], tmp_path: Path) -> Iterator[Beside]:
    found = Beside(settings, tmp_path)
    yield found
    found.close()


def event(kind: str, tenant: str, name: str, **data: Any) -> bytes:
    said = {"specversion": "1.0", "id": str(uuid.uuid4()), "source": "/e2e", "type": kind}
    said |= {"time": datetime.now(UTC).isoformat(), "datacontenttype": "application/json"}
    return json.dumps({**said, "data": {"tenant": tenant, "name": name, **data}}).encode()


def start(tenant: str, name: str) -> bytes:
    return event(types.BUILD_START, tenant, name, runtime="python", source=CODE)


def test_one_acts_in_ones_own_tenant_and_in_no_other(live: Live, beside: Beside) -> None:
    alice, bob = token("e2e-alice"), token("e2e-bob")
    assert beside.send(start(NEIGHBOUR, "access-token"), alice) == 403
    assert live.cluster.get(FUNCTION, NEIGHBOUR, "access-token") is None
    assert beside.send(start(TENANT, "access-token"), alice) == 202
    live.ready("access-token")
    gone = event(types.FUNCTION_DELETE, TENANT, "access-token")
    for headers, status in (({}, 401), (token("e2e-alice", "another"), 401), (bob, 403), (token("e2e-carol"), 403)):
        assert beside.send(gone, headers) == status
    assert live.function("access-token")
    assert beside.send(gone, alice) == 202
    within(120, "nothing is left of it", lambda: not live.left_of("access-token"), every=1)


def test_a_signed_event_is_taken_once_and_for_the_keys_tenants(live: Live, beside: Beside) -> None:
    """The API server keeps what was taken."""

    def sign(body: bytes) -> dict[str, str]:
        return signed(body, datetime.now(UTC).timestamp(), KEY, identifier=uuid.uuid4().hex)

    other = start(NEIGHBOUR, "access-signed")
    assert beside.send(other, sign(other)) == 403
    body = start(TENANT, "access-signed")
    once = sign(body)
    assert beside.send(body + b" ", once) == 401
    assert [beside.send(body, once), beside.send(body, once)] == [202, 401]
    live.ready("access-signed")
    live.delete("access-signed")
