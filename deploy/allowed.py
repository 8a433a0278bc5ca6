"""What a function may ask for of its Pod, beyond what the schemas say: each fault with its place.

Called before a Function is taken, whichever way it came. What is a Secret of the platform's own, a label that nodes and
other programs act upon, or a place in the container that is not the function's, is nobody's to name.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from knative_lambda.deploy import pod, quantities
from knative_lambda.deploy.manifests import DeploySettings
from knative_lambda.schemas.errors import Fault

SCALING = frozenset(
    f"autoscaling.knative.dev/{name}"
    for name in (
        "metric",
        "target",
        "target-utilization-percentage",
        "window",
        "panic-window-percentage",
        "panic-threshold-percentage",
        "activation-scale",
        "scale-down-delay",
        "scale-to-zero-pod-retention-period",
    )
)
"""Annotations of Knative's that say no more than how many replicas of this function there are, and when."""
PLATFORM = re.compile(r"^(.*\.)?(knative-lambda\.dev|knative\.dev)$")
"""Prefixes that no setting opens: by these labels and annotations the product and Knative know what is theirs."""
RESERVED = "is a Secret of the platform's own"
"""What is said of a Secret that no function may name."""
TAKEN = frozenset({"app", "app.kubernetes.io/managed-by"})
"""Labels that the product and Knative set themselves."""
NOT_OF_ETC = frozenset({"group", "hostname", "hosts", "ld.so.conf.d", "passwd", "pki", "resolv.conf", "shadow", "ssl"})
"""What of /etc is the image's or the kubelet's: names, and whom to trust."""


def faults(spec: Mapping[str, Any], where: str, settings: DeploySettings, reserved: Collection[str]) -> Iterator[Fault]:
    """Yield everything that this function may not have; `reserved` are the platform's Secrets."""
    for field, name in _secrets(spec):
        if name in reserved:
            yield Fault(f"{where}/{field}", f"{name} {RESERVED}")
    for name, count in Counter([*spec.get("env", {}), *(each["name"] for each in pod.variables(spec))]).items():
        if count > 1:
            yield Fault(f"{where}/envFrom", f"the variable {name} is given {count} times")
    yield from _mounts(spec.get("mounts", []), f"{where}/mounts", settings)
    for name in spec.get("nodeSelector", {}):
        if name not in settings.node_labels:
            known = ", ".join(settings.node_labels) or "none"
            yield Fault(_at(f"{where}/nodeSelector", name), f"functions select nodes by these labels: {known}")
    for field in ("labels", "annotations"):
        for name in spec.get(field, {}):
            if (why := _unnamed(field, name, settings)) != "":
                yield Fault(_at(f"{where}/{field}", name), why)


def _secrets(spec: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for field in ("secrets", "pullSecrets"):
        for name in spec.get(field, []):
            yield field, name
    for field in ("envFrom", "mounts"):
        for number, each in enumerate(spec.get(field, [])):
            if "secret" in each:
                yield f"{field}/{number}/secret", each["secret"]


def _mounts(mounts: list[Mapping[str, Any]], where: str, settings: DeploySettings) -> Iterator[Fault]:
    paths = [each["path"] for each in mounts]
    for number, each in enumerate(mounts):
        path = each["path"]
        others = [*paths[:number], *paths[number + 1 :]]
        if any(path == other or path.startswith(f"{other}/") for other in others):
            yield Fault(f"{where}/{number}/path", f"{path} is, or lies below, another mount")
        if path.startswith("/etc/") and path.split("/")[2] in NOT_OF_ETC:
            yield Fault(f"{where}/{number}/path", f"{path} is not for functions to lay something over")
        size = each.get("emptyDir", {}).get("sizeLimit", settings.empty_dir)
        if not 0 < quantities.value(size) <= quantities.value(settings.empty_dir):  # Kubernetes takes 0 for no limit
            yield Fault(f"{where}/{number}/emptyDir/sizeLimit", f"{size} is not over 0 and up to {settings.empty_dir}")


def _unnamed(field: str, name: str, settings: DeploySettings) -> str:
    """Return why no function may carry a label or an annotation of this name, or ""."""
    prefix, has_prefix, _ = name.rpartition("/")
    if name in TAKEN:
        return f"{name} is set by the platform"
    if field == "annotations" and name in SCALING:
        return ""
    if not has_prefix or (prefix in settings.label_prefixes and not PLATFORM.match(prefix)):
        return ""
    open_to_all = ", ".join(f"{each}/" for each in settings.label_prefixes)
    return f"functions carry names without a prefix, and below {open_to_all or 'none'}"


def _at(where: str, name: str) -> str:
    return f"{where}/{name.replace('~', '~0').replace('/', '~1')}"
