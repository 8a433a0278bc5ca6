"""What a function's Pod is given, on a real cluster: a key, a file, a probe, a label; what is missing; and a pause."""

import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from support.live import TENANT, Live, within

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


def selects_nodes() -> bool:
    """Say whether this cluster's Knative lets functions select nodes."""
    features = json.loads(kubectl("get", "configmap", "config-features", "-n", "knative-serving", "-o", "json"))
    return bool(features.get("data", {}).get("kubernetes.podspec-nodeselector") == "enabled")


def source(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": CODE % version}}


def test_a_function_gets_what_it_names_and_says_what_is_not_there(live: Live, given: dict[str, Any]) -> None:
    live.start(NAME, source=source("one"), **given)

    def told() -> bool:
        live.tick()
        ready = live.condition(NAME, "Ready")
        return ready.get("message") == f"there is no ConfigMap {NAME} in {TENANT}"

    within(90, "the condition names what is missing", told, every=2)
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

    if not selects_nodes():
        live.start(NAME, source=source("two"), architecture="amd64", **given)
        within(60, "it is refused", lambda: live.condition(NAME, "Deployed").get("reason") == "FeatureDisabled")
        assert "kubernetes.podspec-nodeselector: enabled" in live.condition(NAME, "Deployed")["message"]
