"""What a function's Pod is given, on a real cluster: keys, files, probes, a volume, a password to pull by; a pause."""

import json
import subprocess
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.live import TENANT, Live, within
from support.registry import BASIC, gate

from knative_lambda.deploy.cluster import POD

NAME = "settled"
CODE = """
import os, pathlib

def handle(event, context):
    level = pathlib.Path("/etc/settled/level").read_text()
    pathlib.Path("/cache/written").write_text(level)
    return {"version": %r, "token": os.environ["TOKEN"], "level": level}
"""


def kubectl(*arguments: str) -> str:
    done = subprocess.run(["kubectl", "-n", TENANT, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.fixture
def given(live: Live) -> Iterator[dict[str, Any]]:
    """Make the Secret, and no ConfigMap; yield the function's settings, which name both."""
    kubectl("delete", "secret,configmap", NAME, "--ignore-not-found")
    kubectl("create", "secret", "generic", NAME, "--from-literal=token=abc")
    yield {
        "runtime": "python",
        "envFrom": [{"name": "TOKEN", "secret": NAME, "key": "token"}],
        "mounts": [{"path": "/etc/settled", "configMap": NAME}, {"path": "/cache", "emptyDir": {"sizeLimit": "1Mi"}}],
        "probes": {
            "liveness": {"path": "/healthz", "periodSeconds": 5},
            "startup": {"path": "/healthz", "periodSeconds": 1, "failureThreshold": 60},
        },
        "labels": {"team": "shop"},
    }
    live.delete(NAME)
    kubectl("delete", "secret,configmap", NAME, "--ignore-not-found")


def features() -> dict[str, str]:
    """Return which features of Knative's are said to be on or off."""
    found = json.loads(kubectl("get", "configmap", "config-features", "-n", "knative-serving", "-o", "json"))
    return dict(found.get("data", {}))


@contextmanager
def featuring(wanted: Mapping[str, str]) -> Iterator[None]:
    """Have Knative's features so, and then as they were."""
    before = features()

    def patch(data: Mapping[str, str | None]) -> None:
        said = json.dumps({"data": data})
        kubectl("patch", "configmap", "config-features", "-n", "knative-serving", "--type=merge", "-p", said)

    patch(wanted)
    try:
        yield
    finally:
        patch({name: before.get(name) for name in wanted})


def source(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": CODE % version}}


def missing(live: Live, name: str, message: str) -> None:
    """Wait until a function's condition names what is missing."""

    def told() -> bool:
        live.tick()
        return live.condition(name, "Ready").get("message") == message

    within(90, "the condition names what is missing", told, every=2)


def test_a_function_gets_what_it_names_and_says_what_is_not_there(live: Live, given: dict[str, Any]) -> None:
    live.start(NAME, source=source("one"), **given)

    missing(live, NAME, f"there is no ConfigMap {NAME} in {TENANT}")
    kubectl("create", "configmap", NAME, "--from-literal=level=debug")
    image = live.ready(NAME)
    wanted = {"version": "one", "token": "abc", "level": "debug"}
    live.answer(NAME, {}, wanted.__eq__)
    [pod, *_] = live.cluster.list(POD, TENANT, {"serving.knative.dev/service": NAME, "team": "shop"})
    [container] = [each for each in pod["spec"]["containers"] if each["name"] == "function"]
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["startupProbe"]["failureThreshold"] == 60

    live.start(NAME, source=source("two"), paused=True, **given)
    within(60, "it is paused", lambda: live.condition(NAME, "Deployed").get("reason") == "Paused")
    assert live.condition(NAME, "Built")["reason"] == "Paused"
    live.answer(NAME, {"again": 1}, wanted.__eq__)
    kubectl("patch", "fn", NAME, "--type=merge", "-p", json.dumps({"spec": {"paused": False}}))
    live.ready(NAME, image_other_than=image)
    live.answer(NAME, {}, {**wanted, "version": "two"}.__eq__)

    if features().get("kubernetes.podspec-nodeselector") != "enabled":
        live.start(NAME, source=source("two"), architecture="amd64", **given)
        within(60, "it is refused", lambda: live.condition(NAME, "Deployed").get("reason") == "FeatureDisabled")
        assert "kubernetes.podspec-nodeselector: enabled" in live.condition(NAME, "Deployed")["message"]


PULLED = "pulled"
SAYS = "import os\n\n\ndef handle(event, context):\n    return {'version': os.environ['VERSION']}\n"


@pytest.fixture
def without_secret(live: Live) -> Iterator[None]:
    kubectl("delete", "secret", PULLED, "--ignore-not-found")
    yield
    live.delete(PULLED)
    kubectl("delete", "secret", PULLED, "--ignore-not-found")


@pytest.mark.long
@pytest.mark.usefixtures("without_secret")
def test_a_ready_image_is_pulled_by_a_password_of_its_tenants(live: Live) -> None:
    """From a registry that gives nobody anything without; until its Secret is there the version before goes on."""
    live.start(PULLED, runtime="python", source={"inline": {"main.py": SAYS}}, env={"VERSION": "one"})
    image = live.ready(PULLED)
    live.answer(PULLED, {}, {"version": "one"}.__eq__)
    host, _, rest = image.partition("/")
    with gate(host) as guarded:  # on the node itself, where no other registry is spoken to without TLS
        guarded.token, guarded.basic = uuid.uuid4().hex, BASIC
        elsewhere = {"image": f"{guarded.host}/{rest}"}
        live.start(PULLED, runtime="python", source=elsewhere, pullSecrets=[PULLED], env={"VERSION": "two"})
        missing(live, PULLED, f"there is no Secret {PULLED} in {TENANT} to pull the image with")
        assert f"Bearer {guarded.token}" not in {said for *_, said in guarded.asked}
        live.answer(PULLED, {"again": 1}, {"version": "one"}.__eq__)
        server = f"--docker-server={guarded.host}"
        kubectl(
            "create", "secret", "docker-registry", PULLED, server, "--docker-username=user", "--docker-password=secret"
        )
        live.ready(PULLED, image_other_than=image)
        live.answer(PULLED, {"again": 2}, {"version": "two"}.__eq__)
        assert f"Bearer {guarded.token}" in {said for *_, said in guarded.asked}


CLAIMS = "claims"
OF_CLAIMS = ("kubernetes.podspec-persistent-volume-claim", "kubernetes.podspec-persistent-volume-write")
KEEPS = """
import pathlib

def handle(event, context):
    pathlib.Path("/data/written").write_text("written")
    return {"found": pathlib.Path("/data/found").read_text()}
"""


@pytest.fixture
def volume(live: Live, tmp_path: Path) -> Iterator[Path]:
    """Return the folder of a volume on the node, this machine, as a cluster may have no storage of its own to claim."""
    folder = tmp_path / "volume"
    folder.mkdir()
    folder.chmod(0o777)
    (folder / "found").write_text("found")
    about = {"capacity": {"storage": "1Mi"}, "accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    reference = {"namespace": TENANT, "name": CLAIMS}
    spec = {
        **about,
        "hostPath": {"path": str(folder)},
        "claimRef": reference,
        "persistentVolumeReclaimPolicy": "Retain",
    }
    apply({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": CLAIMS}, "spec": spec})
    yield folder
    live.delete(CLAIMS)
    kubectl("delete", "pvc,pv", CLAIMS, "--ignore-not-found")


def apply(body: Mapping[str, Any]) -> None:
    command = ["kubectl", "apply", "-f", "-"]
    subprocess.run(command, input=json.dumps(body), text=True, check=True, capture_output=True)


def claim() -> None:
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "",
        "volumeName": CLAIMS,
        "resources": {"requests": {"storage": "1Mi"}},
    }
    meta = {"name": CLAIMS, "namespace": TENANT}
    apply({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec})


@pytest.mark.long
def test_a_claim_is_mounted_where_knative_takes_it_and_it_is_there(live: Live, volume: Path) -> None:
    mounts = [{"path": "/data", "persistentVolumeClaim": CLAIMS}]
    with featuring(dict.fromkeys(OF_CLAIMS, "disabled")):
        live.start(CLAIMS, runtime="python", source={"inline": {"main.py": KEEPS}}, mounts=mounts)
        within(60, "it is refused", lambda: live.condition(CLAIMS, "Deployed").get("reason") == "FeatureDisabled")
        assert f"{OF_CLAIMS[0]}: enabled" in live.condition(CLAIMS, "Deployed")["message"]
    with featuring(dict.fromkeys(OF_CLAIMS, "enabled")):
        missing(live, CLAIMS, f"there is no PersistentVolumeClaim {CLAIMS} in {TENANT}")
        claim()
        live.ready(CLAIMS)
        live.answer(CLAIMS, {}, {"found": "found"}.__eq__)
    assert (volume / "written").read_text() == "written"
