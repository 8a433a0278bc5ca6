"""What the namespaces of a tenant admit: the Pods of the product as they are, and none that is more."""

import copy
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.live import TENANT, Live

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings, job
from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas import names

RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(namespace: str, spec: Any) -> Object:
    meta = {"name": f"tried-{uuid.uuid4().hex[:8]}", "namespace": namespace}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": meta,
        "spec": {"automountServiceAccountToken": False, **spec},
    }


def function_pod(namespace: str) -> Object:
    return pod(namespace, {"containers": [{"name": "function", "image": "r.test/f", "securityContext": RESTRICTED}]})


def build_pod(namespace: str) -> Object:
    attempt = Attempt(TENANT, "tried", "tried-1", "u", 1, "python", "c/x.tar.gz", "r.test/t:1", seconds=60)
    resources = {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"cpu": "1", "memory": "1Gi"}}
    settings = KanikoSettings("r.test/kaniko", "r.test/product", resources=resources)
    return pod(namespace, job(attempt, "http://store.test", settings)["spec"]["template"]["spec"])


def host_path(spec: Any) -> None:
    spec.setdefault("volumes", []).append({"name": "host", "hostPath": {"path": "/"}})


def privileged(spec: Any) -> None:
    spec["containers"][0]["securityContext"] = {"privileged": True}


def host_network(spec: Any) -> None:
    spec["hostNetwork"] = True


def every_capability(spec: Any) -> None:
    spec["containers"][0].setdefault("securityContext", {})["capabilities"] = {"add": ["SYS_ADMIN"]}


def as_root(spec: Any) -> None:
    spec["containers"][0]["securityContext"] |= {"runAsNonRoot": False, "runAsUser": 0}


def without_seccomp(spec: Any) -> None:
    spec["containers"][0]["securityContext"].pop("seccompProfile", None)
    spec["securityContext"] = {"seccompProfile": {"type": "Unconfined"}}


def with_escalation(spec: Any) -> None:
    spec["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True


BASELINE: list[Callable[[Any], None]] = [host_path, privileged, host_network, every_capability, without_seccomp]
STRICTER: list[Callable[[Any], None]] = [as_root, with_escalation]


@pytest.fixture(scope="module")
def lax() -> Iterator[str]:
    """Yield a namespace that enforces nothing."""
    name = f"lax-{uuid.uuid4().hex[:8]}"
    subprocess.run(["kubectl", "create", "namespace", name], capture_output=True, check=True)
    account = ["kubectl", "create", "serviceaccount", "builder", "-n", name]
    subprocess.run(account, capture_output=True, check=True)
    yield name
    subprocess.run(["kubectl", "delete", "namespace", name, "--wait=false"], capture_output=True, check=True)


def refused(body: Object) -> str:
    """Return why the API server refuses an object, "" where it takes it; nothing is made."""
    command = ["kubectl", "create", "--dry-run=server", "-f", "-"]
    done = subprocess.run(command, input=json.dumps(body), capture_output=True, text=True, check=False)
    return done.stderr if done.returncode else ""


def with_(change: Callable[[Any], None], body: Object) -> Object:
    changed = copy.deepcopy(body)
    change(changed["spec"])
    return changed


def test_the_pods_of_functions_and_builds_are_let_in(live: Live) -> None:
    assert not refused(function_pod(TENANT))
    assert not refused(build_pod(names.builds_namespace(TENANT)))


@pytest.mark.parametrize("change", BASELINE + STRICTER)
def test_a_tenants_namespace_admits_no_pod_that_is_more(live: Live, lax: str, change: Callable[[Any], None]) -> None:
    assert "violates PodSecurity" in refused(with_(change, function_pod(TENANT)))
    assert not refused(with_(change, function_pod(lax))), "the control is what refuses it, and not the Pod itself"


@pytest.mark.parametrize("change", BASELINE)
def test_a_builds_namespace_admits_no_pod_that_is_more(live: Live, lax: str, change: Callable[[Any], None]) -> None:
    assert "violates PodSecurity" in refused(with_(change, build_pod(names.builds_namespace(TENANT))))
    assert not refused(with_(change, build_pod(lax))), "the control is what refuses it, and not the Pod itself"


def test_the_pod_of_a_build_would_not_be_let_in_where_functions_run(live: Live) -> None:
    """It unpacks images as root; so it has a namespace of its own, which is closed to the tenant."""
    tried = build_pod(TENANT)
    tried["spec"].pop("serviceAccountName")  # that is not there either
    assert "violates PodSecurity" in refused(tried)
