"""A hostile function, and what it got; then the same code in a Pod of which each control was taken away.

What the network keeps it from is `test_network`'s: here that lets everybody reach everything.
"""

import json
import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from support.live import Live, within
from support.policies import everything_let_through

from knative_lambda.deploy.cluster import POD, Object

SOURCE = {"inline": {"main.py": (Path(__file__).parent / "hostile.py").read_text()}}
STORE = f"{os.environ.get('S3_ENDPOINT', '')}/knative-lambda?list-type=2"
API = "https://kubernetes.default.svc.cluster.local"
ASKED = {
    "secrets of the system": f"{API}/api/v1/namespaces/kube-system/secrets",
    "functions of another tenant": f"{API}/apis/knative-lambda.dev/v1alpha1/namespaces/neighbour/functions",
    "the store": STORE,
}
UNREACHED = "refused URLError"
UNBOUND = """
import json, sys
sys.path.insert(0, "/function")
import main
class Event:
    data = json.loads(sys.argv[1])
print("GOT", json.dumps(main.handle(Event, None)))
"""
ITS_POD = (
    "its own folder",
    "the system's folder",
    "a file for root",
    "to be root",
    "a raw socket",
    "another root",
    "a token",
)
"""What the Pod's own settings are in the way of."""
REFUSED = {
    "its own folder": "refused OSError",
    "the system's folder": "refused OSError",
    "a file for root": "refused PermissionError",
    "to be root": "refused PermissionError",
    "a raw socket": "refused PermissionError",
    "another root": "refused PermissionError",
    "a token": "refused FileNotFoundError",
    "secrets of the system": ("refused 401", "refused 403"),
    "functions of another tenant": ("refused 401", "refused 403"),
    "the store": "refused 403",
}


@pytest.fixture(scope="module")
def got(live: Live) -> Iterator[dict[str, Any]]:
    """Yield what the function got, where the product runs it."""
    live.start("hostile", runtime="python", source=SOURCE)
    live.ready("hostile")
    with everything_let_through():
        found = live.answer("hostile", ASKED, lambda data: data.get("the store", UNREACHED) != UNREACHED)
    yield found
    live.delete("hostile")


@pytest.fixture(scope="module")
def unbound(live: Live, got: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield what the same image gets in a Pod without any of the controls: root, with a token, all capabilities."""
    image = live.function("hostile")["status"]["image"]  # type: ignore[index]  # it is there: `got` asked it
    namespace = f"unbound-{uuid.uuid4().hex[:8]}"
    kubectl("create", "namespace", namespace)
    try:
        within(30, "it has its account", lambda: said("get", "serviceaccount", "default", "-n", namespace))
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "hostile", "namespace": namespace},
            "spec": {
                "restartPolicy": "Never",
                "containers": [
                    {
                        "name": "hostile",
                        "image": image,
                        "command": ["python3", "-c", UNBOUND, json.dumps(ASKED)],
                        "securityContext": {"runAsUser": 0, "runAsGroup": 0, "privileged": True},
                    }
                ],
            },
        }
        live.cluster.create(POD, pod)

        def told() -> Any:
            log = said("logs", "-n", namespace, "hostile")
            line = next((line for line in log.splitlines() if line.startswith("GOT ")), "")
            return json.loads(line.removeprefix("GOT ")) if line else None

        yield within(90, "the Pod without controls says what it got", told, every=1)
    finally:
        kubectl("delete", "namespace", namespace, "--wait=false")


def kubectl(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=True).stdout


def said(*arguments: str) -> str:
    return subprocess.run(["kubectl", *arguments], capture_output=True, text=True, check=False).stdout


def test_a_function_is_nobody_in_particular_and_has_nothing_that_it_was_not_given(got: dict[str, Any]) -> None:
    assert got["who"] == "65532:65532"
    assert int(got["capabilities"], 16) == 0
    assert got["no new privileges"] == "1"
    assert got["seccomp"] == "2", "a filter of system calls"
    assert got["secrets in its environment"] == []
    assert got["services in its environment"] == ["KUBERNETES_SERVICE_HOST"], "the kubelet gives it to every Pod"
    assert got["a folder of its own"] == "got written"


@pytest.mark.parametrize("attempt", REFUSED)
def test_a_hostile_function_gets_nothing(got: dict[str, Any], attempt: str) -> None:
    expected = REFUSED[attempt]
    assert got[attempt] in ((expected,) if isinstance(expected, str) else expected)


@pytest.mark.parametrize("attempt", ITS_POD)
def test_without_the_controls_of_its_pod_the_same_code_gets_it(unbound: dict[str, Any], attempt: str) -> None:
    assert unbound[attempt].startswith("got")


def test_without_them_it_is_root_with_everything_that_root_has(unbound: dict[str, Any]) -> None:
    assert unbound["who"] == "0:0"
    assert int(unbound["capabilities"], 16) > 0


@pytest.mark.parametrize("path", ["/api/v1/namespaces/kube-system/secrets", ASKED["functions of another tenant"]])
def test_what_the_api_server_refused_it_gives_to_whoever_may(path: str) -> None:
    assert json.loads(kubectl("get", "--raw", path.removeprefix(API)))["items"] is not None


def test_what_the_store_refused_it_gives_to_whoever_has_its_key() -> None:
    keys = {"aws_access_key_id": os.environ["S3_ACCESS_KEY"], "aws_secret_access_key": os.environ["S3_SECRET_KEY"]}
    store = boto3.client("s3", endpoint_url=os.environ["S3_ENDPOINT"], region_name="us-east-1", **keys)
    assert store.list_objects_v2(Bucket="knative-lambda")["KeyCount"] > 0


def test_the_pod_that_runs_it_is_as_it_was_asked_for(live: Live, got: dict[str, Any]) -> None:
    """What the cluster admitted, defaults and all: `restricted` lets in nothing else."""
    [pod] = live.cluster.list(POD, "demo", {"serving.knative.dev/service": "hostile"})[:1]
    container = next(each for each in pod["spec"]["containers"] if each["name"] == "function")
    assert pod["spec"].get("automountServiceAccountToken") is False
    assert not host_rights(pod)
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert not [v for v in pod["spec"].get("volumes", []) if "hostPath" in v or "serviceAccountToken" in json.dumps(v)]


def host_rights(pod: Object) -> list[str]:
    return [name for name in ("hostNetwork", "hostPID", "hostIPC") if pod["spec"].get(name)]
