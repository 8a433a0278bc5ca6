"""What Knative and the nodes say of a function's settings, in the words of these settings.

Called by `children.py`. A Pod that waits for a Secret says nothing of it, nor does its Revision until its time is over:
what the node tells of it is an Event. Secrets themselves are not read for it.
"""

import re
from collections.abc import Mapping
from typing import Any

from knative_lambda.deploy.cluster import EVENT, Cluster, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas.errors import Refused

FEATURE = "/spec/features"
"""Where the fault lies of a function that asks for what Knative does not take here."""
FEATURES = (
    ("nodeSelector", "kubernetes.podspec-nodeselector", "no selection of nodes (nodeSelector, architecture)"),
    ("Persistent volume claim support", "kubernetes.podspec-persistent-volume-claim", "no persistentVolumeClaim"),
    ("Persistent volume write support", "kubernetes.podspec-persistent-volume-write", "none that is not readOnly"),
)
"""What stands in a refusal of Knative's, the feature that would let it pass, and what is not taken without."""
KINDS = {"secret": "Secret", "configmap": "ConfigMap", "persistentvolumeclaim": "PersistentVolumeClaim"}
GONE = re.compile(r'\b(secret|configmap|persistentvolumeclaim) "([^"]+)" not found')
KEY = re.compile(r"couldn't find key (\S+) in (Secret|ConfigMap) [^/\s]+/(\S+)")
UNPULLED = re.compile(r"Unable to retrieve some image pull secrets \(([^)]+)\)")


def refusal(refused: Refused) -> Refused:
    """Return why Knative did not take a Service, by the feature that is off where it is for that."""
    told = "; ".join(fault.message for fault in refused.faults)
    lacking = [(feature, what) for sign, feature, what in FEATURES if sign in told]
    if not lacking:
        return refused
    features = " and ".join(f"{feature}: enabled" for feature, _ in lacking)
    untaken = " and ".join(what for _, what in lacking)
    message = f"Knative takes {untaken} here: its ConfigMap config-features would have to say {features}"
    return Refused.because(FEATURE, message)


def missing(service: Object, revision: Object, cluster: Cluster) -> tuple[str, str]:
    """Return what the Pods of a Revision wait for that is not there, a reason and a message; "" twice for nothing.

    Asks nothing where the function names nothing; raises `Unavailable` where the cluster does not answer.
    """
    if not _names_others(service) or condition(revision, "ContainerHealthy")["status"] == "False":
        return "", ""  # a container that has ended had all that it needed
    meta = revision["metadata"]
    try:
        events = cluster.list(EVENT, meta["namespace"])
    except Refused:  # of what may not be read here nothing is told
        return "", ""
    about = [each for each in events if str(each.get("involvedObject", {}).get("name", "")).startswith(meta["name"])]
    for event in sorted(about, key=_moment, reverse=True):
        if found := _missing(event.get("message", ""), meta["namespace"]):
            return found
    return "", ""


def _missing(text: str, namespace: str) -> tuple[str, str] | None:
    if found := GONE.search(text):
        kind = KINDS[found[1]]
        return f"{kind}Missing", f"there is no {kind} {found[2]} in {namespace}"
    if found := KEY.search(text):
        return "KeyMissing", f"the {found[2]} {found[3]} in {namespace} has no key {found[1]}"
    if found := UNPULLED.search(text):
        return "SecretMissing", f"there is no Secret {found[1]} in {namespace} to pull the image with"
    return None


def _names_others(service: Object) -> bool:
    pod = service["spec"]["template"]["spec"]
    [container] = pod["containers"]
    volumes = [volume for volume in pod["volumes"] if "emptyDir" not in volume]
    variables = [variable for variable in container["env"] if "valueFrom" in variable]
    return bool(volumes or variables or container.get("envFrom") or pod.get("imagePullSecrets"))


def _moment(event: Mapping[str, Any]) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"].get("creationTimestamp") or "")
