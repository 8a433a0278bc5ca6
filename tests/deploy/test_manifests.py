"""The objects that a Function owns, compared whole."""

from dataclasses import replace
from typing import Any

import pytest

from knative_lambda.deploy.manifests import DeploySettings, children, seconds
from knative_lambda.schemas import names

FUNCTION: dict[str, Any] = {
    "apiVersion": "knative-lambda.dev/v1alpha1",
    "kind": "Function",
    "metadata": {"name": "hello", "namespace": "acme", "uid": "u-1"},
    "spec": {
        "runtime": "python",
        "env": {"GREETING": "hi"},
        "secrets": ["db"],
        "triggers": [{"type": "demo.hello", "source": "/shop"}],
        "scale": {"min": 1, "max": 3, "concurrency": 10},
        "resources": {"limits": {"memory": "64Mi"}},
        "timeout": "2m",
    },
}
SETTINGS = DeploySettings(broker_url="http://brokers", dead_letter_url="http://letters", retry=7)
IMAGE = "registry/acme/hello@sha256:1"
OWNER = {
    "apiVersion": "knative-lambda.dev/v1alpha1",
    "kind": "Function",
    "name": "hello",
    "uid": "u-1",
    "controller": True,
    "blockOwnerDeletion": False,
}
META = {
    "name": "hello",
    "namespace": "acme",
    "labels": {"knative-lambda.dev/function": "hello", "app.kubernetes.io/managed-by": "knative-lambda"},
    "ownerReferences": [OWNER],
}
SECURITY = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def test_a_python_function_owns_an_account_a_service_and_a_trigger_for_each_filter() -> None:
    account, service, trigger = children(FUNCTION, IMAGE, "main.handle", SETTINGS)
    assert account == {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": META,
        "automountServiceAccountToken": False,
    }
    template = service["spec"]["template"]
    assert service == {
        "apiVersion": "serving.knative.dev/v1",
        "kind": "Service",
        "metadata": {**META, "annotations": {"knative-lambda.dev/template": names.sha256(template)}},
        "spec": {
            "template": {
                "metadata": {
                    "labels": {"knative-lambda.dev/function": "hello"},
                    "annotations": {
                        "autoscaling.knative.dev/min-scale": "1",
                        "autoscaling.knative.dev/max-scale": "3",
                        "serving.knative.dev/progress-deadline": "120s",
                    },
                },
                "spec": {
                    "serviceAccountName": "hello",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "containerConcurrency": 10,
                    "timeoutSeconds": 120,
                    "containers": [
                        {
                            "name": "function",
                            "image": IMAGE,
                            "env": [
                                {"name": "GREETING", "value": "hi"},
                                {"name": "K_SINK", "value": "http://brokers/acme/default"},
                                {"name": "LAMBDA_ENTRYPOINT", "value": "main.handle"},
                                {"name": "LAMBDA_TENANT", "value": "acme"},
                                {"name": "LAMBDA_TIMEOUT", "value": "120"},
                            ],
                            "envFrom": [{"secretRef": {"name": "db"}}],
                            "ports": [{"containerPort": 8080}],
                            "readinessProbe": {"httpGet": {"path": "/readyz"}, "successThreshold": 1},
                            "resources": {"limits": {"memory": "64Mi"}},
                            "securityContext": {**SECURITY, "readOnlyRootFilesystem": True},
                            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],  # noqa: S108 (the container's own)
                        }
                    ],
                    "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}}],
                },
            }
        },
    }
    ref = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "name": "hello", "namespace": "acme"}
    assert trigger == {
        "apiVersion": "eventing.knative.dev/v1",
        "kind": "Trigger",
        "metadata": {**META, "name": trigger["metadata"]["name"]},
        "spec": {
            "broker": "default",
            "filter": {"attributes": {"type": "demo.hello", "source": "/shop"}},
            "subscriber": {"ref": ref},
            "delivery": {
                "retry": 7,
                "backoffPolicy": "exponential",
                "backoffDelay": "PT1S",
                "deadLetterSink": {"uri": "http://letters/acme"},
            },
        },
    }


def test_another_restart_is_another_version_and_the_same_one_is_not() -> None:
    def template(**said: str) -> Any:
        _, service, _ = children({**FUNCTION, "spec": {**FUNCTION["spec"], **said}}, IMAGE, "", SETTINGS)
        return service["spec"]["template"]

    first = template(restart="1")
    assert (first["metadata"].pop("annotations"), first["metadata"]["labels"]) == (
        {**template()["metadata"]["annotations"], names.RESTART_ANNOTATION: "1"},
        template()["metadata"]["labels"],
    )
    assert template(restart="1") == template(restart="1") != template(restart="2")


@pytest.mark.parametrize(
    ("given", "limits"),
    [
        ({}, {"cpu": "1", "memory": "256Mi"}),
        ({"requests": {"memory": "1Mi"}}, {"memory": "256Mi"}),
        ({"requests": {"memory": "2Gi", "ephemeral-storage": "3Gi"}}, {"memory": "2Gi", "ephemeral-storage": "3Gi"}),
        ({"limits": {"cpu": "2"}}, {"cpu": "2", "memory": "256Mi"}),
        ({"limits": {"memory": "64Mi"}, "requests": {"cpu": "1m"}}, {"memory": "64Mi"}),
        ({"limits": {"memory": "0"}}, {"memory": "256Mi"}),
    ],
)
def test_no_function_is_without_a_limit_whatever_it_asks_for(given: dict[str, Any], limits: dict[str, str]) -> None:
    function = {**FUNCTION, "spec": {**FUNCTION["spec"], "resources": given}}
    _, service, _ = children(function, IMAGE, "", SETTINGS)
    [container] = service["spec"]["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == limits
    assert not given or container["resources"].get("requests", {}) == given.get("requests", {})
    assert function["spec"]["resources"] is given


def test_an_image_of_ones_own_is_asked_for_nothing_that_only_a_wrapper_answers() -> None:
    _, service, _ = children(FUNCTION, IMAGE, "", SETTINGS)
    pod = service["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert "readinessProbe" not in container
    assert "LAMBDA_ENTRYPOINT" not in {entry["name"] for entry in container["env"]}


def test_no_image_can_be_written_by_what_it_runs_unless_the_installation_lets_images_of_ones_own() -> None:
    def root(entrypoint: str, *, read_only: bool) -> tuple[bool, list[str]]:
        _, service, _ = children(FUNCTION, IMAGE, entrypoint, replace(SETTINGS, read_only_root=read_only))
        [container] = service["spec"]["template"]["spec"]["containers"]
        return container["securityContext"]["readOnlyRootFilesystem"], [
            v["mountPath"] for v in container["volumeMounts"]
        ]

    assert root("", read_only=True) == (True, ["/tmp"])  # noqa: S108 (the container's own)
    assert root("", read_only=False)[0] is False
    assert root("main.handle", read_only=False)[0] is True


def test_a_private_registrys_images_are_pulled_with_the_secret_of_the_installation() -> None:
    account, *_ = children(FUNCTION, IMAGE, "main.handle", DeploySettings(pull_secret="pull"))
    assert account["imagePullSecrets"] == [{"name": "pull"}]


def test_a_user_cannot_overwrite_what_belongs_to_the_platform() -> None:
    spec = {**FUNCTION["spec"], "env": {"K_SINK": "http://elsewhere"}}
    _, service, _ = children({**FUNCTION, "spec": spec}, IMAGE, "main.handle", SETTINGS)
    env = {entry["name"]: entry["value"] for entry in service["spec"]["template"]["spec"]["containers"][0]["env"]}
    assert env["K_SINK"] == "http://brokers/acme/default"


@pytest.mark.parametrize(("text", "expected"), [("1s", 1), ("600s", 600), ("10m", 600)])
def test_a_timeout_is_in_seconds(text: str, expected: int) -> None:
    assert seconds(text) == expected
