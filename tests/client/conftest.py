"""What the tests of the client on a cluster share: a real API server, with a tenant. Pytest reads it."""

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from knative_lambda.deploy.cluster import NAMESPACE
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings


@pytest.fixture
def cluster(kubeconfig: str) -> Iterator[KubernetesCluster]:
    with contextlib.closing(KubernetesCluster(KubernetesSettings(kubeconfig))) as opened:
        yield opened


@pytest.fixture
def tenant(cluster: KubernetesCluster) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    return name
