"""What a Function's settings make of its Pod: variables from keys, mounts, probes, a place, names; dicts out.

Called by `manifests.py`. What may be asked for is looked at before, in `allowed.py`.
"""

from collections.abc import Mapping
from typing import Any

from knative_lambda.deploy.cluster import Object

Spec = Mapping[str, Any]
ARCHITECTURE = "kubernetes.io/arch"
"""The label by which nodes say what they are."""
PORT = 8080
"""Where functions listen."""
TMP = "/tmp"  # noqa: S108 (the container's own)
PERIOD = 10
"""Seconds between two probes, as Kubernetes has it."""


def variables(spec: Spec) -> list[Object]:
    """Return the variables that are one key of a Secret or a ConfigMap each."""
    return [
        {"name": each["name"], "valueFrom": {f"{kind}KeyRef": {"name": name, "key": each["key"]}}}
        for each in spec.get("envFrom", [])
        if "key" in each
        for kind, name in (_source(each),)
    ]


def sources(spec: Spec) -> list[Object]:
    """Return the Secrets and ConfigMaps all of whose keys are variables."""
    whole = [_source(each) for each in spec.get("envFrom", []) if "key" not in each]
    secrets = [("secret", name) for name in spec.get("secrets", [])]
    return [{f"{kind}Ref": {"name": name}} for kind, name in (*secrets, *whole)]


def mounts(spec: Spec, tmp: str, empty_dir: str) -> tuple[list[Object], list[Object]]:
    """Return the container's mounts and the Pod's volumes; `tmp` is what ``/tmp`` holds, `empty_dir` any other.

    Secrets and ConfigMaps are read-only, which Knative asks for.
    """
    placed: list[Object] = [{"name": "tmp", "mountPath": TMP}]
    volumes: list[Object] = [{"name": "tmp", "emptyDir": {"sizeLimit": tmp}}]
    for number, each in enumerate(spec.get("mounts", [])):
        name, volume, read_only = f"mount-{number}", _volume(each, empty_dir), "emptyDir" not in each
        if "persistentVolumeClaim" in each:
            read_only = each.get("readOnly", False)
        volumes.append({"name": name, **volume})
        placed.append({"name": name, "mountPath": each["path"], **({"readOnly": True} if read_only else {})})
    return placed, volumes


def probes(spec: Spec, entrypoint: str) -> Object:
    """Return the container's probes: those given, and where a wrapper of ours answers, whether it is ready.

    Of another image only the port is known, which Knative probes by itself.
    """
    given: Mapping[str, Object] = spec.get("probes", {})
    found = {f"{kind}Probe": _probe(kind, given[kind]) for kind in ("liveness", "startup") if kind in given}
    if "readiness" in given or entrypoint:
        found["readinessProbe"] = _readiness(given.get("readiness", {"path": "/readyz"}))
    return found


def place(spec: Spec) -> Object:
    """Return which nodes may run it, and what its image is pulled with, as parts of a Pod's spec."""
    selector = dict(spec.get("nodeSelector", {}))
    if "architecture" in spec:
        selector[ARCHITECTURE] = spec["architecture"]
    return {"nodeSelector": selector} if selector else {}


def pulled_with(spec: Spec, usual: str) -> Object:
    """Return the Secrets of the function's own to pull with, as a part of a Pod's spec; `usual` is on its account.

    A Pod that names one gets none of its account's.
    """
    secrets = [name for name in (usual, *spec["pullSecrets"]) if name] if spec.get("pullSecrets") else []
    return {"imagePullSecrets": [{"name": name} for name in dict.fromkeys(secrets)]} if secrets else {}


def _source(each: Mapping[str, str]) -> tuple[str, str]:
    kind = "secret" if "secret" in each else "configMap"
    return kind, each[kind]


def _volume(each: Object, empty_dir: str) -> Object:
    if "secret" in each:
        return {"secret": {"secretName": each["secret"]}}
    if "configMap" in each:
        return {"configMap": {"name": each["configMap"]}}
    if "emptyDir" in each:
        return {"emptyDir": {"sizeLimit": empty_dir, **each["emptyDir"]}}
    claim = {"claimName": each["persistentVolumeClaim"]}
    return {"persistentVolumeClaim": {**claim, **({"readOnly": True} if each.get("readOnly") else {})}}


def _probe(kind: str, given: Object) -> Object:
    numbers = {name: number for name, number in given.items() if name != "path"}
    # the other two get their port of Knative, and this one does not
    return {"httpGet": {"path": given["path"], **({"port": PORT} if kind == "startup" else {})}, **numbers}


def _readiness(given: Object) -> Object:
    """Return a readiness probe; without a period it is Knative's own, many a second, which takes no other number."""
    probe = {"successThreshold": 1, **_probe("readiness", given)}
    if probe.keys() & {"timeoutSeconds", "failureThreshold"}:
        probe.setdefault("periodSeconds", PERIOD)
    return probe
