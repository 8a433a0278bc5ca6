"""What the chart's admission policies refuse in a namespace for builds, asked of a real API server."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.chart import render

from knative_lambda.deploy.cluster import Object

PLACE, PERSON = "closed-builds", "somebody-of-the-tenants"
Kubectl = Callable[..., str]
QUOTA = {"kind": "ResourceQuota", "apiVersion": "v1", "spec": {"hard": {"pods": "1"}}}
OPEN: Object = {
    "kind": "NetworkPolicy",
    "apiVersion": "networking.k8s.io/v1",
    "spec": {"podSelector": {}, "egress": [{}]},
}
TOKENED: Object = {"kind": "Pod", "apiVersion": "v1", "spec": {"containers": [{"name": "x", "image": "x"}]}}
ROLE = {"kind": "Role", "apiVersion": "rbac.authorization.k8s.io/v1", "rules": []}
KINDS: list[Object] = [
    OPEN,
    QUOTA,
    ROLE,
    {"kind": "ServiceAccount", "apiVersion": "v1"},
    {"kind": "Secret", "apiVersion": "v1"},
    {"kind": "Lease", "apiVersion": "coordination.k8s.io/v1"},
]
EVERYBODY_ELSE = [
    "system:serviceaccount:knative-lambda:receiver",
    "system:serviceaccount:kube-system:namespace-controller",
    "system:kube-controller-manager",
    "system:kube-scheduler",
    "system:node:one",
    "installer",
]


@pytest.fixture(scope="module")
def kubectl(kubeconfig: str) -> Iterator[Kubectl]:
    cache = Path(os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster"))
    program = shutil.which("kubectl") or shutil.which("kubectl", path=cache / "bin")
    if program is None:
        pytest.skip("kubectl is not on PATH")

    def run(*arguments: str, body: Any = None, user: str = "") -> str:
        """Return what is said against it; "" where it is done."""
        command = [program, f"--kubeconfig={kubeconfig}", *([f"--as={user}"] if user else []), *arguments]
        text = json.dumps(body) if body else ""
        done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
        return "" if done.returncode == 0 else done.stderr

    wanted = [item for item in render(tenants=["demo"]) if item["kind"].startswith("ValidatingAdmissionPolicy")]
    everything = {"apiVersion": "v1", "kind": "List", "items": wanted}
    space = {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": PLACE, "labels": {"knative-lambda.dev/builds-of": "closed"}},
    }
    assert run("create", "-f", "-", body=space) == ""
    assert run("create", "rolebinding", "all", "-n", PLACE, "--clusterrole=cluster-admin", f"--user={PERSON}") == ""
    for number, user in enumerate(EVERYBODY_ELSE):
        assert (
            run("create", "clusterrolebinding", f"all-{number}", "--clusterrole=cluster-admin", f"--user={user}") == ""
        )
    for kind in KINDS:
        assert run("create", "-f", "-", body=named(kind, "there")) == ""
    assert run("create", "-f", "-", body=everything) == ""
    end = time.monotonic() + 120
    for body, user, why in ((QUOTA, PERSON, "is closed"), (TOKENED, "", "has no token")):
        while why not in (said := run("create", "--dry-run=server", "-f", "-", body=named(body, "x"), user=user)):
            assert time.monotonic() < end, f"the policies are not in force: {said}"
    yield run
    run("delete", "-f", "-", body=everything)
    run("delete", "clusterrolebinding", "installs")


def named(kind: Object, name: str) -> Object:
    return {**kind, "metadata": {"name": name, "namespace": PLACE}}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind["kind"]))
def test_what_lies_beside_builds_is_neither_made_changed_nor_deleted_by_whoever_has_all_rights_there(
    kubectl: Kubectl, kind: Object
) -> None:
    there = [kind["kind"], "there", "-n", PLACE, "--dry-run=server"]
    note = '{"metadata": {"annotations": {"x": "y"}}}'
    for user in (PERSON, *EVERYBODY_ELSE, ""):
        said = [
            kubectl("create", "--dry-run=server", "-f", "-", body=named(kind, "x"), user=user),
            kubectl("patch", *there, "-p", note, "--type=merge", user=user),
            kubectl("delete", *there, user=user),
        ]
        closed = ["is closed" in each for each in said]
        assert closed == [user == PERSON] * 3, (user, said)


def test_the_namespace_itself_is_deleted_and_events_are_told(kubectl: Kubectl) -> None:
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "involvedObject": {"kind": "Pod", "namespace": PLACE, "name": "x"},
        "reason": "x",
        "type": "Normal",
    }
    assert kubectl("create", "--dry-run=server", "-f", "-", body=named(event, "x"), user=PERSON) == ""
    assert kubectl("delete", "namespace", PLACE, "--dry-run=server", user="installer") == ""


@pytest.mark.parametrize(
    ("spec", "refused"),
    [
        ({"serviceAccountName": "builder", "automountServiceAccountToken": False}, False),
        ({"serviceAccountName": "builder", "automountServiceAccountToken": True}, True),
        ({"serviceAccountName": "builder"}, True),
        ({"serviceAccountName": "default", "automountServiceAccountToken": False}, True),
    ],
)
def test_a_builds_pod_has_no_token_whoever_makes_it(kubectl: Kubectl, spec: Object, refused: bool) -> None:  # noqa: FBT001
    pod = {"kind": "Pod", "apiVersion": "v1", "spec": {**spec, "containers": [{"name": "x", "image": "x"}]}}
    assert ("has no token" in kubectl("create", "--dry-run=server", "-f", "-", body=named(pod, "x"))) == refused
