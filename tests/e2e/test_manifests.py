"""A real API server, with Knative's webhooks, takes every object of the chart as it is, to the last field."""

import subprocess
import uuid
from collections.abc import Iterator

import pytest
import yaml
from support.chart import render

from knative_lambda.deploy.cluster import Object


def apply(objects: list[Object], *flags: str) -> subprocess.CompletedProcess[str]:
    command = ["kubectl", "apply", "--server-side", "--force-conflicts", "--field-manager=manifests", *flags, "-f", "-"]
    return subprocess.run(command, input=yaml.safe_dump_all(objects), capture_output=True, text=True, check=False)


@pytest.fixture
def objects() -> Iterator[list[Object]]:
    """Yield what the chart renders for two tenants, in namespaces of this test's own; remove them in the end.

    The namespaces are there, and the accounts too: Knative's webhook tries the Pod that a Service would make.
    """
    product = f"manifests-{uuid.uuid4().hex[:8]}"
    rendered = render(product, tenants=[f"{product}-a", f"{product}-b"], keepTenants=False)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespaces = [item for item in rendered if item["kind"] == "Namespace"]
    namespaces.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": product, "labels": labels}})
    done = apply([*namespaces, *(item for item in rendered if item["kind"] == "ServiceAccount")])
    assert done.returncode == 0, done.stderr
    yield rendered
    names = [item["metadata"]["name"] for item in namespaces]
    subprocess.run(["kubectl", "delete", "namespace", "--wait=false", *names], capture_output=True, check=True)


def test_every_object_of_the_chart_is_valid_on_a_real_server(objects: list[Object]) -> None:
    """The definitions are needed for nothing else here: no object of the chart is of the product's own kinds."""
    done = apply(objects, "--dry-run=server", "--validate=strict")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == len(objects)


def test_a_misspelt_field_would_be_told(objects: list[Object]) -> None:
    (broken,) = [item for item in objects if (item["kind"], item["metadata"]["name"]) == ("Service", "receiver")]
    spec = broken["spec"]["template"]["spec"]
    misspelt = broken | {"spec": {"template": {"spec": spec | {"containerConcurency": 1}}}}
    done = apply([misspelt], "--dry-run=server", "--validate=strict")
    assert done.returncode != 0
    assert "containerConcurency" in done.stderr
