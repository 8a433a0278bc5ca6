"""What a function's settings make of its Pod, compared whole; and what none of them may ask for."""

from dataclasses import replace
from typing import Any

import pytest

from knative_lambda.deploy.allowed import faults
from knative_lambda.deploy.manifests import DeploySettings, knative_service
from knative_lambda.schemas.catalogue import event_faults

SETTINGS = DeploySettings(tmp="2Gi", empty_dir="512Mi")
START = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"image": "registry/acme/hello:1"}}


def service(settings: DeploySettings = SETTINGS, entrypoint: str = "", **spec: Any) -> dict[str, Any]:
    function = {
        "apiVersion": "knative-lambda.dev/v1alpha1",
        "kind": "Function",
        "metadata": {"name": "hello", "namespace": "acme", "uid": "u-1"},
        "spec": spec,
    }
    return knative_service(function, "registry/acme/hello@sha256:1", entrypoint, settings)


def pod(settings: DeploySettings = SETTINGS, entrypoint: str = "", **spec: Any) -> dict[str, Any]:
    found: dict[str, Any] = service(settings, entrypoint, **spec)["spec"]["template"]["spec"]
    return found


def container(entrypoint: str = "", **spec: Any) -> dict[str, Any]:
    [found] = pod(SETTINGS, entrypoint, **spec)["containers"]
    assert isinstance(found, dict)
    return found


def refused(settings: DeploySettings = SETTINGS, *reserved: str, **spec: Any) -> list[str]:
    """Return where the faults of a spec lie."""
    return [fault.where for fault in faults(spec, "/spec", settings, reserved)]


def test_single_keys_become_variables_and_whole_ones_stand_beside_the_secrets() -> None:
    given = [
        {"name": "TOKEN", "secret": "db", "key": "token"},
        {"name": "LEVEL", "configMap": "settings", "key": "log.level"},
        {"configMap": "settings"},
        {"secret": "more"},
    ]
    assert event_faults("build.start", {**START, "envFrom": given}) == []
    found = container(envFrom=given, secrets=["first"], env={"A": "1"})
    assert found["env"][0] == {"name": "A", "value": "1"}
    assert found["env"][-2:] == [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "db", "key": "token"}}},
        {"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "log.level"}}},
    ]
    assert found["envFrom"] == [
        {"secretRef": {"name": "first"}},
        {"configMapRef": {"name": "settings"}},
        {"secretRef": {"name": "more"}},
    ]


def test_mounts_are_read_only_but_for_what_is_the_functions_own_to_write() -> None:
    given = [
        {"path": "/etc/shop", "configMap": "settings"},
        {"path": "/secrets", "secret": "db"},
        {"path": "/cache", "emptyDir": {}},
        {"path": "/srv/fast", "emptyDir": {"medium": "Memory", "sizeLimit": "16Mi"}},
        {"path": "/models", "persistentVolumeClaim": "models", "readOnly": True},
        {"path": "/data", "persistentVolumeClaim": "data"},
    ]
    assert event_faults("build.start", {**START, "mounts": given}) == []
    assert refused(mounts=given) == []
    found = pod(mounts=given)
    assert found["containers"][0]["volumeMounts"] == [
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 (the container's own)
        {"name": "mount-0", "mountPath": "/etc/shop", "readOnly": True},
        {"name": "mount-1", "mountPath": "/secrets", "readOnly": True},
        {"name": "mount-2", "mountPath": "/cache"},
        {"name": "mount-3", "mountPath": "/srv/fast"},
        {"name": "mount-4", "mountPath": "/models", "readOnly": True},
        {"name": "mount-5", "mountPath": "/data"},
    ]
    assert found["volumes"] == [
        {"name": "tmp", "emptyDir": {"sizeLimit": "2Gi"}},
        {"name": "mount-0", "configMap": {"name": "settings"}},
        {"name": "mount-1", "secret": {"secretName": "db"}},
        {"name": "mount-2", "emptyDir": {"sizeLimit": "512Mi"}},
        {"name": "mount-3", "emptyDir": {"sizeLimit": "16Mi", "medium": "Memory"}},
        {"name": "mount-4", "persistentVolumeClaim": {"claimName": "models", "readOnly": True}},
        {"name": "mount-5", "persistentVolumeClaim": {"claimName": "data"}},
    ]


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/proc",
        "/proc/self",
        "/sys",
        "/dev/shm",  # noqa: S108 (the container's own)
        "/app",
        "/tmp",  # noqa: S108 (the container's own)
        "/usr/lib",
        "/var/run/secrets/kubernetes.io",
        "/run/secrets",
        "/etc",
        "/opt",
        "/var/lib",
        "/data/../proc",
        "/data/.hidden",
        "/data/",
        "/data//x",
        "data",
        "/data/a b",
        "/database",
        "/data\n/proc",
    ],
)
def test_nothing_is_laid_over_what_is_not_the_functions(path: str) -> None:
    [fault] = event_faults("build.start", {**START, "mounts": [{"path": path, "secret": "db"}]})
    assert fault.where == "/data/mounts/0/path"


@pytest.mark.parametrize(
    "mount",
    [
        {"path": "/data"},
        {"path": "/data", "secret": "db", "configMap": "settings"},
        {"path": "/data", "hostPath": "/"},
        {"path": "/data", "secret": "db", "readOnly": False},
        {"path": "/data", "secret": "../db"},
        {"path": "/data", "emptyDir": {"medium": "HugePages"}},
        {"secret": "db"},
    ],
)
def test_a_mount_is_one_of_four_kinds_at_a_path(mount: dict[str, Any]) -> None:
    found = event_faults("build.start", {**START, "mounts": [mount]})
    assert found
    assert all(fault.where.startswith("/data/mounts/0") for fault in found)


@pytest.mark.parametrize(
    "entry",
    [
        {"name": "TOKEN", "secret": "db"},
        {"secret": "db", "key": "token"},
        {"name": "TOKEN", "key": "token"},
        {"name": "TOKEN", "key": "token", "secret": "db", "configMap": "settings"},
        {"name": "K_SINK", "secret": "db", "key": "token"},
        {"name": "LAMBDA_TENANT", "secret": "db", "key": "token"},
        {"name": "PORT", "configMap": "settings", "key": "port"},
        {"name": "A B", "secret": "db", "key": "token"},
        {"name": "TOKEN", "secret": "db", "key": "a/b"},
    ],
)
def test_a_variable_from_elsewhere_is_one_key_of_one_thing_and_none_of_the_platforms(entry: dict[str, Any]) -> None:
    found = event_faults("build.start", {**START, "envFrom": [entry]})
    assert found
    assert all(fault.where.startswith("/data/envFrom/0") for fault in found)


def test_mounts_lie_beside_each_other_and_each_holds_no_more_than_the_installation_lets_it() -> None:
    def mounted(*paths: str) -> list[str]:
        return refused(mounts=[{"path": path, "secret": "db"} for path in paths])

    assert mounted("/data", "/data") == ["/spec/mounts/0/path", "/spec/mounts/1/path"]
    assert mounted("/data/x", "/data") == ["/spec/mounts/0/path"]
    assert mounted("/data/x", "/data/xy", "/etc/shop") == []
    assert mounted("/etc/ssl/certs", "/etc/passwd", "/etc/sslx") == ["/spec/mounts/0/path", "/spec/mounts/1/path"]

    for nothing in ("0", "0m", "0.0Gi"):  # which Kubernetes takes for no limit
        endless = [{"path": "/data", "emptyDir": {"sizeLimit": nothing}}]
        assert refused(mounts=endless) == ["/spec/mounts/0/emptyDir/sizeLimit"]
    assert refused(mounts=[{"path": "/data", "emptyDir": {"sizeLimit": "512Mi"}}]) == []
    large = [{"path": "/data", "emptyDir": {"sizeLimit": "513Mi"}}]
    assert refused(mounts=large) == ["/spec/mounts/0/emptyDir/sizeLimit"]
    assert refused(replace(SETTINGS, empty_dir="1Gi"), mounts=large) == []


def test_a_variable_has_one_value() -> None:
    token = {"name": "TOKEN", "secret": "db", "key": "token"}
    assert refused(env={"TOKEN": "x"}, envFrom=[token]) == ["/spec/envFrom"]
    assert refused(envFrom=[token, token]) == ["/spec/envFrom"]
    assert refused(env={"OTHER": "x"}, envFrom=[token]) == []


def test_no_field_names_a_secret_of_the_platforms_own() -> None:
    given = {
        "secrets": ["pull"],
        "envFrom": [{"configMap": "pull"}, {"name": "A", "secret": "pull", "key": "a"}],
        "mounts": [{"path": "/data", "secret": "pull"}],
        "pullSecrets": ["pull"],
    }
    places = ["/spec/secrets", "/spec/pullSecrets", "/spec/envFrom/1/secret", "/spec/mounts/0/secret"]
    assert refused(SETTINGS, "pull", **given) == places
    assert refused(SETTINGS, "another", **given) == []


def test_probes_ask_by_http_within_what_knative_takes() -> None:
    given = {
        "liveness": {"path": "/healthz", "periodSeconds": 20, "failureThreshold": 2},
        "readiness": {"path": "/ready?deep=1", "timeoutSeconds": 2},
        "startup": {"path": "/healthz", "initialDelaySeconds": 1, "failureThreshold": 30},
    }
    assert event_faults("build.start", {**START, "probes": given}) == []
    found = container(probes=given)
    assert found["livenessProbe"] == {"httpGet": {"path": "/healthz"}, "periodSeconds": 20, "failureThreshold": 2}
    # of a period of 0, its default, Knative takes no timeout
    ready = {"httpGet": {"path": "/ready?deep=1"}, "timeoutSeconds": 2, "periodSeconds": 10, "successThreshold": 1}
    assert found["readinessProbe"] == ready
    started = {"httpGet": {"path": "/healthz", "port": 8080}, "initialDelaySeconds": 1, "failureThreshold": 30}
    assert found["startupProbe"] == started


def test_a_readiness_probe_without_numbers_stays_knatives_own_and_replaces_the_wrappers() -> None:
    quick = {"httpGet": {"path": "/readyz"}, "successThreshold": 1}
    assert container("main.handle")["readinessProbe"] == quick
    assert container("main.handle", probes={"liveness": {"path": "/healthz"}})["readinessProbe"] == quick
    own = container("main.handle", probes={"readiness": {"path": "/warm"}})["readinessProbe"]
    assert own == {"httpGet": {"path": "/warm"}, "successThreshold": 1}
    assert "readinessProbe" not in container(probes={"liveness": {"path": "/healthz"}})


@pytest.mark.parametrize(
    "probe",
    [{}, {"path": "ready"}, {"path": "/a b"}, {"path": "/", "periodSeconds": 0}, {"path": "/", "exec": ["sh"]}],
)
def test_a_probe_is_a_path_and_numbers(probe: dict[str, Any]) -> None:
    assert event_faults("build.start", {**START, "probes": {"liveness": probe}})


def test_nodes_are_selected_by_labels_that_the_installation_opens_and_by_their_architecture() -> None:
    selector = {"node.example.com/disk": "ssd"}
    assert refused(nodeSelector=selector) == ["/spec/nodeSelector/node.example.com~1disk"]
    assert refused(replace(SETTINGS, node_labels=("node.example.com/disk",)), nodeSelector=selector) == []
    found = pod(nodeSelector=selector, architecture="arm64")
    assert found["nodeSelector"] == {**selector, "kubernetes.io/arch": "arm64"}
    assert "nodeSelector" not in pod()


def test_labels_and_annotations_are_of_the_service_and_its_pods_beside_the_platforms() -> None:
    given = {
        "labels": {"team": "shop", "app.kubernetes.io/part-of": "checkout"},
        "annotations": {"owner": "a@example.com", "autoscaling.knative.dev/target": "5"},
    }
    assert refused(**given) == []
    found = service(**given)
    template = found["spec"]["template"]["metadata"]
    assert template["labels"] == {**given["labels"], "knative-lambda.dev/function": "hello"}
    assert given["labels"].items() <= found["metadata"]["labels"].items()
    assert given["annotations"].items() <= template["annotations"].items()
    assert template["annotations"]["autoscaling.knative.dev/min-scale"] == "0"


@pytest.mark.parametrize(
    "name",
    [
        "app",
        "app.kubernetes.io/managed-by",
        "knative-lambda.dev/function",
        "x.knative-lambda.dev/y",
        "serving.knative.dev/visibility",
        "networking.knative.dev/visibility",
        "autoscaling.knative.dev/class",
        "autoscaling.knative.dev/min-scale",
        "sidecar.istio.io/inject",
        "k8s.v1.cni.cncf.io/networks",
        "iam.amazonaws.com/role",
        "kubernetes.io/x",
    ],
)
def test_no_name_is_carried_that_the_platform_or_another_program_acts_upon(name: str) -> None:
    assert refused(labels={name: "x"}) == [f"/spec/labels/{name.replace('/', '~1')}"]
    prefix = name.rpartition("/")[0]
    opened = replace(SETTINGS, label_prefixes=(prefix,))
    is_platforms = prefix.endswith(("knative.dev", "knative-lambda.dev"))
    assert bool(refused(opened, labels={name: "x"})) == (is_platforms or name.startswith("app"))


def test_what_scales_is_said_by_annotations_and_by_no_label() -> None:
    assert refused(annotations={"autoscaling.knative.dev/window": "30s"}) == []
    assert refused(labels={"autoscaling.knative.dev/window": "30s"}) != []


def test_secrets_to_pull_with_stand_beside_the_installations() -> None:
    both = pod(replace(SETTINGS, pull_secret="usual"), pullSecrets=["own", "usual"])
    assert both["imagePullSecrets"] == [{"name": "usual"}, {"name": "own"}]
    assert pod(pullSecrets=["own"])["imagePullSecrets"] == [{"name": "own"}]
    assert "imagePullSecrets" not in pod(replace(SETTINGS, pull_secret="usual"))


def test_what_is_taken_back_changes_the_hash_of_the_template() -> None:
    def said(**spec: Any) -> str:
        found: str = service(**spec)["metadata"]["annotations"]["knative-lambda.dev/template"]
        return found

    assert said() == said()
    assert len({said(), said(secrets=["db"]), said(labels={"a": "b"}), said(architecture="amd64")}) == 4
