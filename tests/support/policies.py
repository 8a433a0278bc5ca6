"""The network of a real cluster without its policies, for a while.

Policies only ever add up: one more in each namespace that lets everything through takes the control away, and no other.
"""

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from support.live import TENANT

PRODUCT, NEIGHBOUR = "knative-lambda", "neighbour"
NAMESPACES = (PRODUCT, TENANT, NEIGHBOUR, f"{TENANT}-builds", f"{NEIGHBOUR}-builds")


@contextmanager
def everything_let_through() -> Iterator[None]:
    """Have a policy in each of the product's namespaces that lets everything in and out; it holds a moment later."""
    name = f"everything-{uuid.uuid4().hex[:8]}"
    spec = {"podSelector": {}, "policyTypes": ["Ingress", "Egress"], "ingress": [{}], "egress": [{}]}
    kind = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "spec": spec}
    items = [{**kind, "metadata": {"name": name, "namespace": namespace}} for namespace in NAMESPACES]
    try:
        body = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        subprocess.run(["kubectl", "create", "-f", "-"], input=body, text=True, check=True, capture_output=True)
        yield
    finally:
        for namespace in NAMESPACES:
            place = ["-n", namespace, name, "--ignore-not-found"]
            subprocess.run(["kubectl", "delete", "networkpolicy", *place], check=True, capture_output=True)
