"""The objects that a Function owns in its tenant's namespace, as values: pure functions, dicts out.

Called by `children.py`. Nothing here reads or writes the cluster.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from knative_lambda.deploy import pod
from knative_lambda.deploy.cluster import KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER, Object
from knative_lambda.deploy.conditions import owner
from knative_lambda.deploy.quantities import value
from knative_lambda.schemas import names, trace

USER = 65532
"""Who functions run as, whatever their image says."""
DEFAULT_RESOURCES: Mapping[str, Any] = {
    "requests": {"cpu": "25m", "memory": "64Mi"},
    "limits": {"cpu": "1", "memory": "256Mi"},
}

BOUNDED = ("memory", "ephemeral-storage")
"""What a node runs out of: no function has it without a limit."""


@dataclass(frozen=True)
class DeploySettings:
    """What an installation decides about functions."""

    broker: str = "default"
    """The Broker in each tenant's namespace."""
    broker_url: str = "http://broker-ingress.knative-eventing.svc.cluster.local"
    """Where Brokers take events: ``<this>/<namespace>/<broker>``."""
    dead_letter_url: str = ""
    """The dead-letter service: exhausted events are posted to ``<this>/<tenant>``; "" has none."""
    retry: int = 5
    """How often a function's event is delivered again."""
    backoff_policy: str = "exponential"
    """``linear`` or ``exponential``."""
    backoff_delay: str = "PT1S"
    """ISO 8601."""
    pull_secret: str = ""
    """A kubernetes.io/dockerconfigjson Secret in each tenant's namespace, to pull functions' images with."""
    progress_deadline: str = "120s"
    """How long a new version may take to be ready before Knative calls it failed; Knative's default is 10 minutes."""
    read_only_root: bool = True
    """No image can be written by what it runs; false leaves that to images which the runtimes did not make."""
    resources: Mapping[str, Any] = field(default_factory=lambda: dict(DEFAULT_RESOURCES))
    """Requests and limits of a function that gives none."""
    tmp: str = "1Gi"
    """What a function's ``/tmp`` may hold."""
    empty_dir: str = "1Gi"
    """What each emptyDir of a function's may hold at most, and does where it says nothing."""
    node_labels: tuple[str, ...] = ()
    """Labels by which functions may select their nodes, beside the architecture."""
    label_prefixes: tuple[str, ...] = ("app.kubernetes.io",)
    """Prefixes of labels and annotations that functions may carry, beside names without one."""


def children(function: Object, image: str, entrypoint: str, settings: DeploySettings) -> list[Object]:
    """Return everything that a Function with this image should own, in the order in which it is applied."""
    return [
        service_account(function, settings),
        knative_service(function, image, entrypoint, settings),
        *(trigger(function, attributes, settings) for attributes in function["spec"].get("triggers", [])),
    ]


def service_account(function: Object, settings: DeploySettings) -> Object:
    """Return the function's own ServiceAccount: no rights, no token."""
    pull = {"imagePullSecrets": [{"name": settings.pull_secret}]} if settings.pull_secret else {}
    return {**_head(SERVICE_ACCOUNT, function), "automountServiceAccountToken": False, **pull}


def knative_service(function: Object, image: str, entrypoint: str, settings: DeploySettings) -> Object:
    """Return the Knative Service that runs `image`."""
    spec, meta = function["spec"], function["metadata"]
    scale = spec.get("scale", {})
    annotations = {
        **spec.get("annotations", {}),
        "autoscaling.knative.dev/min-scale": str(scale.get("min", 0)),
        "autoscaling.knative.dev/max-scale": str(scale.get("max", 0)),
        "serving.knative.dev/progress-deadline": settings.progress_deadline,
    }
    mounts, volumes = pod.mounts(spec, settings.tmp, settings.empty_dir)
    container: Object = {
        "name": "function",
        "image": image,
        "env": _environment(function, entrypoint, settings),
        "ports": [{"containerPort": pod.PORT}],
        "resources": bounded(spec.get("resources") or settings.resources, settings.resources),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "runAsNonRoot": True,
            "runAsUser": USER,  # said, since of an image with a named user or none nobody knows that it is not root
            "runAsGroup": USER,
            "readOnlyRootFilesystem": settings.read_only_root or bool(entrypoint),
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "volumeMounts": mounts,
        **pod.probes(spec, entrypoint),
    }
    if sources := pod.sources(spec):  # an empty list would not stay in the object, and be written again and again
        container["envFrom"] = sources
    template = {
        "metadata": {
            "labels": {**spec.get("labels", {}), names.FUNCTION_LABEL: meta["name"]},
            "annotations": annotations,
        },
        "spec": {
            "serviceAccountName": meta["name"],
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "containerConcurrency": scale.get("concurrency", 0),
            "timeoutSeconds": seconds(spec.get("timeout", "60s")),
            "containers": [container],
            "volumes": volumes,
            **pod.place(spec),
            **pod.pulled_with(spec, settings.pull_secret),
        },
    }
    mark = names.sha256(template)
    if "restart" in spec:  # not part of the mark: taking it out alone is no reason for another version
        annotations[names.RESTART_ANNOTATION] = spec["restart"]
    head = _head(KNATIVE_SERVICE, function)
    told = {
        "labels": {**spec.get("labels", {}), **head["metadata"]["labels"]},
        # what is left out of it since would else look like something that Knative has added
        "annotations": {
            names.TEMPLATE_ANNOTATION: mark,
            **trace.annotations(trace.of(function)),
        },
    }
    return {**head, "metadata": {**head["metadata"], **told}, "spec": {"template": template}}


def bounded(given: Mapping[str, Any], usual: Mapping[str, Any]) -> Object:
    """Return the resources that a function gives, with limits where it gives none: the usual, or what it requests."""
    requests, limits = given.get("requests", {}), dict(given.get("limits", {}))
    for name in BOUNDED:
        known = [each[name] for each in (usual.get("limits", {}), requests) if name in each]
        if known and value(limits.get(name, "0")) == 0:  # as Kubernetes reads a 0
            limits[name] = max(known, key=value)
    return {**given, **({"limits": limits} if limits else {})}


def trigger(function: Object, attributes: Mapping[str, str], settings: DeploySettings) -> Object:
    """Return the Trigger that brings events with these attributes to the function."""
    meta = function["metadata"]
    delivery: Object = {
        "retry": settings.retry,
        "backoffPolicy": settings.backoff_policy,
        "backoffDelay": settings.backoff_delay,
    }
    if settings.dead_letter_url:
        delivery["deadLetterSink"] = {"uri": f"{settings.dead_letter_url}/{meta['namespace']}"}
    subscriber = {
        "ref": {
            "apiVersion": KNATIVE_SERVICE.api_version,
            "kind": KNATIVE_SERVICE.kind,
            "name": meta["name"],
            "namespace": meta["namespace"],
        }
    }
    return {
        **_head(TRIGGER, function, names.trigger_name(meta["name"], dict(attributes))),
        "spec": {
            "broker": settings.broker,
            "filter": {"attributes": dict(attributes)},
            "subscriber": subscriber,
            "delivery": delivery,
        },
    }


def seconds(timeout: str) -> int:
    """Return the seconds of a function's timeout, such as ``60s`` or ``10m``."""
    return int(timeout[:-1]) * (60 if timeout.endswith("m") else 1)


def _head(kind: Any, function: Object, name: str = "") -> Object:
    meta = function["metadata"]
    return {
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": {
            "name": name or meta["name"],
            "namespace": meta["namespace"],
            "labels": {names.FUNCTION_LABEL: meta["name"], "app.kubernetes.io/managed-by": names.MANAGER},
            "ownerReferences": [owner(function)],
        },
    }


def _environment(function: Object, entrypoint: str, settings: DeploySettings) -> list[Object]:
    spec, meta = function["spec"], function["metadata"]
    ours = {
        "K_SINK": f"{settings.broker_url}/{meta['namespace']}/{settings.broker}",
        "LAMBDA_TENANT": meta["namespace"],
        "LAMBDA_TIMEOUT": str(seconds(spec.get("timeout", "60s"))),
        **({"LAMBDA_ENTRYPOINT": entrypoint} if entrypoint else {}),
    }
    # Kubernetes would put another variable's value in the place of $(NAME)
    theirs = {name: value.replace("$", "$$") for name, value in spec.get("env", {}).items()}
    said = [{"name": name, "value": value} for name, value in sorted({**theirs, **ours}.items())]
    return [*said, *pod.variables(spec)]
