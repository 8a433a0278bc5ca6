"""What the API server itself refuses: objects that the schemas can't describe, and whoever writes what is not theirs.

Nothing is made: each attempt is a dry run, which meets every rule, by a person of the tenant's to whom somebody has
given too many rights.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from support.live import TENANT, Live

from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB, POD, Object

PERSON = "somebody-of-the-tenants"
PLACES = (TENANT, f"{TENANT}-builds")
RECEIVER = "system:serviceaccount:knative-lambda:receiver"
CONTROLLER = "system:serviceaccount:kube-system:job-controller"
OUTSIDE = f"admission-{uuid.uuid4().hex[:8]}"
"""A namespace that is no tenant's: what is refused in a tenant's only is let through here."""
PYTHON = {"runtime": "python", "source": {"inline": {"main.py": "x"}}}


def kubectl(*arguments: str, body: Object | None = None, user: str = "") -> subprocess.CompletedProcess[str]:
    command = ["kubectl", *([f"--as={user}"] if user else []), *arguments]
    text = yaml.safe_dump(body) if body else ""
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False)


def attempt(body: Object, user: str = PERSON) -> str:
    """Return what the API server says against an object that a user would make; "" where it takes it."""
    done = kubectl("create", "--dry-run=server", "--validate=strict", "-f", "-", body=body, user=user)
    return "" if done.returncode == 0 else done.stderr


def edit(kind: str, name: str, patch: Any, *flags: str, user: str = PERSON) -> str:
    """Return what the API server says against a change that a user would make; "" where it takes it."""
    place = ["-n", TENANT, kind, name, "--type=merge", "--dry-run=server", *flags]
    done = kubectl("patch", *place, "-p", json.dumps(patch), user=user)
    return "" if done.returncode == 0 else done.stderr


def function(namespace: str = TENANT, name: str = "hello", **spec: Any) -> Object:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": PYTHON | spec}


def noted(namespace: str = TENANT, *, field: str = "annotations", key: str = "knative-lambda.dev/input") -> Object:
    body = function(namespace)
    body["metadata"][field] = {key: "x"}
    return body


def build(namespace: str = TENANT) -> Object:
    digest = "sha256:" + "1" * 64
    spec = {"function": "f", "functionUID": "1", "inputHash": digest, "context": digest, "cause": "x"}
    meta = {"name": "forged", "namespace": namespace}
    spec |= {"runtime": "python", "builder": "kaniko"}
    return {"apiVersion": BUILD.api_version, "kind": "Build", "metadata": meta, "spec": spec}


def pod(namespace: str, **more: Any) -> Object:
    harmless = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}, "runAsNonRoot": True}
    container = {
        "name": "x",
        "image": "x.test/x",
        "securityContext": {**harmless, "seccompProfile": {"type": "RuntimeDefault"}},
        "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"memory": "1Mi"}},
    }
    spec = {"serviceAccountName": "builder", "automountServiceAccountToken": False, "restartPolicy": "Never"}
    return {
        "apiVersion": "v1",
        "kind": POD.kind,
        "metadata": {"name": "x", "namespace": namespace},
        "spec": {**spec, "containers": [container], **more},
    }


def job(namespace: str) -> Object:
    template = {"spec": pod(namespace)["spec"]}
    meta = {"name": "x", "namespace": namespace}
    return {"apiVersion": JOB.api_version, "kind": JOB.kind, "metadata": meta, "spec": {"template": template}}


@pytest.fixture(scope="module", autouse=True)
def too_many_rights(live: Live) -> Iterator[None]:
    """Let a person do anything in the tenant's namespaces, and in one that is nobody's."""
    assert live
    kubectl("create", "namespace", OUTSIDE)
    kubectl("create", "serviceaccount", "builder", "-n", OUTSIDE)
    for namespace in (*PLACES, OUTSIDE):
        done = kubectl(
            "create", "rolebinding", "admission", "-n", namespace, "--clusterrole=cluster-admin", f"--user={PERSON}"
        )
        assert done.returncode == 0, done.stderr
    yield
    kubectl("delete", "namespace", OUTSIDE, "--wait=false")
    for namespace in PLACES:
        kubectl("delete", "rolebinding", "admission", "-n", namespace)


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"source": {}}, "at least 1 properties"),
        ({"source": {"inline": {"main.py": "x"}, "image": "r.test/x"}}, "at most 1"),
        ({"source": {"image": "x"}}, "source.image"),
        ({"source": {"image": "r.test/x; id"}}, "source.image"),
        ({"source": {"inline": {"../main.py": "x"}}}, "no segment is empty"),
        ({"source": {"inline": {"/etc/passwd": "x"}}}, "no segment is empty"),
        ({"source": {"inline": {"a//b": "x"}}}, "no segment is empty"),
        ({"source": {"inline": {"a\\b": "x"}}}, "no segment is empty"),
        ({"source": {"inline": {"a\nb": "x"}}}, "no segment is empty"),
        ({"source": {"inline": {"..": "x"}}}, "no segment is empty"),
        ({"source": {"object": "s3://b\n"}}, "source.object"),
        ({"runtime": "perl"}, "Unsupported value"),
        ({"runtime": "dockerfile", "entrypoint": "a.b"}, "says itself what it starts"),
        ({"runtime": "go", "builder": "layer"}, "no layer can be made"),
        ({"entrypoint": "main.handle; id"}, "entrypoint"),
        ({"env": {"LAMBDA_TENANT": "x"}}, "belong to the platform"),
        ({"env": {"A B": "x"}}, "belong to the platform"),
        ({"triggers": [{"Type": "x"}]}, "attributes are named"),
        ({"secrets": ["a b"]}, "secrets"),
        ({"envFrom": [{"name": "A", "secret": "db"}]}, "name and key go together"),
        ({"envFrom": [{"secret": "db", "configMap": "db"}]}, "exactly one of secret and configMap"),
        ({"envFrom": [{"name": "K_SINK", "secret": "db", "key": "a"}]}, "belong to the platform"),
        ({"mounts": [{"path": "/proc", "secret": "db"}]}, "path"),
        ({"mounts": [{"path": "/data"}]}, "exactly one of"),
        ({"mounts": [{"path": "/data", "secret": "a"}, {"path": "/data", "secret": "b"}]}, "Duplicate value"),
        ({"mounts": [{"path": "/data", "secret": "a", "readOnly": False}]}, "readOnly is of"),
        ({"probes": {"liveness": {"path": "healthz"}}}, "path"),
        ({"architecture": "vax"}, "Unsupported value"),
        ({"labels": {"a b": "x"}}, "are named as Kubernetes has it"),
        ({"annotations": {"/x": "x"}}, "are named as Kubernetes has it"),
        ({"scale": {"min": 2, "max": 1}}, "scale.min is over"),
        ({"timeout": "11m"}, "timeout"),
    ],
)
def test_what_no_function_can_be_is_refused_when_it_is_applied(spec: dict[str, Any], why: str) -> None:
    assert why in attempt(function(**spec), user="")


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"source": {"image": "r.test:5000/a/b@sha256:" + "1" * 64}},
        {"source": {"inline": {"a/..b/.c.py": "x", "ünïcode/名.py": "x"}}},
        {"runtime": "dockerfile"},
        {"env": {"A": "$(id) `id` {{ x }}\n"}},
        {"triggers": [{"type": "a", "source": "/b; id"}]},
        {"envFrom": [{"name": "A", "secret": "db", "key": "a.b"}, {"configMap": "settings"}]},
        {"mounts": [{"path": "/etc/shop", "configMap": "a"}, {"path": "/cache", "emptyDir": {"medium": "Memory"}}]},
        {"probes": {"startup": {"path": "/healthz", "failureThreshold": 3}}, "architecture": "arm64"},
        {"labels": {"team": "shop"}, "annotations": {"autoscaling.knative.dev/target": "5"}, "paused": True},
    ],
)
def test_what_one_can_be_is_taken_from_the_tenants_own_people(spec: dict[str, Any]) -> None:
    assert attempt(function(**spec)) == ""


def test_a_build_is_not_changed_once_it_is_made(live: Live) -> None:
    made = live.cluster.create(BUILD, build())["metadata"]["name"]
    try:
        assert "immutable but for its status" in edit("build", made, {"spec": {"cause": "y"}}, user="")
        assert edit("build", made, {"metadata": {"labels": {"x": "y"}}}, user="") == ""
        outcome = {"status": {"phase": "Succeeded", "image": "r.test/forged"}}
        assert "written by the product alone" in edit("build", made, outcome, "--subresource=status")
        assert "written by the product alone" in edit("build", made, {"metadata": {"labels": {"x": "y"}}})
        assert edit("build", made, outcome, "--subresource=status", user="") == ""  # who looks after the cluster
    finally:
        live.cluster.delete(BUILD, TENANT, made)


@pytest.mark.parametrize(
    ("field", "key"),
    [
        ("annotations", "knative-lambda.dev/input"),
        ("annotations", "knative-lambda.dev/event"),
        ("labels", "knative-lambda.dev/function"),
        ("labels", "knative-lambda.dev/anything"),
    ],
)
def test_the_products_own_labels_and_annotations_are_written_by_it_alone(field: str, key: str) -> None:
    assert "are the product's own" in attempt(noted(field=field, key=key))
    assert attempt(noted(field=field, key=key), user=RECEIVER) == ""
    assert attempt(noted(OUTSIDE, field=field, key=key)) == ""
    assert attempt(noted(field=field, key="example.test/" + key.partition("/")[2])) == ""


def test_nor_are_they_changed_or_taken_away_and_the_rest_of_the_object_may_be(live: Live) -> None:
    made = function(name=f"noted-{uuid.uuid4().hex[:8]}")
    made["metadata"]["annotations"] = {"knative-lambda.dev/event": "x"}
    name = live.cluster.create(FUNCTION, made)["metadata"]["name"]
    try:
        for value in ("y", None):
            said = edit("function", name, {"metadata": {"annotations": {"knative-lambda.dev/event": value}}})
            assert "are the product's own" in said
        assert edit("function", name, {"spec": {"timeout": "5s"}}) == ""
        assert "written by the product alone" in edit(
            "function", name, {"status": {"url": "x"}}, "--subresource=status"
        )
    finally:
        live.cluster.delete(FUNCTION, TENANT, name)


def test_a_letter_is_sent_again_by_anybody_who_may_label_it() -> None:
    letter = {
        "apiVersion": "knative-lambda.dev/v1alpha1",
        "kind": "DeadLetter",
        "metadata": {"name": "x", "namespace": TENANT, "labels": {"knative-lambda.dev/resend": "true"}},
        "spec": {"reason": "x", "event": {}},
    }
    assert attempt(letter) == ""
    letter["metadata"]["labels"] = {"knative-lambda.dev/owes": "function.error"}
    assert "are the product's own" in attempt(letter)
    assert attempt(letter, user="system:serviceaccount:knative-lambda:deadletters") == ""


def test_builds_are_made_by_the_product_alone() -> None:
    assert "written by the product alone" in attempt(build())
    assert attempt(build(), user=RECEIVER) == ""
    assert attempt(build(OUTSIDE)) == ""


def test_a_namespace_for_builds_is_closed_to_its_tenant_whatever_rights_were_given() -> None:
    builds = PLACES[1]
    assert "is closed" in attempt(job(builds))
    assert attempt(job(builds), user=RECEIVER) == ""
    assert attempt(job(OUTSIDE)) == ""
    assert "is closed" in attempt(pod(builds))
    assert attempt(pod(OUTSIDE)) == ""
    for door in ("exec", "attach", "portforward", "proxy"):
        place = f"/api/v1/namespaces/{builds}/pods/nobody/{door}?command=true"
        assert "is closed" in kubectl("get", "--raw", place, user=PERSON).stderr
        assert "is closed" not in kubectl("get", "--raw", place).stderr
    assert "is closed" in kubectl("create", "token", "builder", "-n", builds, user=PERSON).stderr
    assert kubectl("create", "token", "builder", "-n", OUTSIDE, user=PERSON).returncode == 0


def test_a_builds_pod_has_no_token_whoever_makes_it(live: Live) -> None:
    """The controller of Jobs makes it, and asks nobody for leave."""
    source = {"serviceAccountToken": {"path": "token"}}
    projected = {"volumes": [{"name": "t", "projected": {"sources": [source]}}]}
    builds = PLACES[1]
    assert live
    for more in (projected, {"automountServiceAccountToken": True}, {"serviceAccountName": "default"}):
        assert "has no token" in attempt(pod(builds, **more), user="")
        assert attempt(pod(OUTSIDE, **more), user="") == ""
    assert attempt(pod(builds), user="") == ""
