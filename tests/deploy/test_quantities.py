"""Kubernetes quantities: the notation of the API, and requests that no limit allows."""

import pytest

from knative_lambda.deploy import quantities


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("1", 1),
        ("0.5", 0.5),
        ("50m", 0.05),
        ("1k", 1000),
        ("64Mi", 64 * 2**20),
        ("2G", 2 * 10**9),
        ("1Ki", 1024),
        ("1T", 10**12),
    ],
)
def test_a_quantity_is_a_number(text: str, number: float) -> None:
    assert float(quantities.value(text)) == number


def test_each_request_over_its_limit_is_named() -> None:
    resources = {
        "requests": {"cpu": "2", "memory": "1Gi", "ephemeral-storage": "1Gi"},
        "limits": {"cpu": "1900m", "memory": "1024Mi"},
    }
    assert [fault.where for fault in quantities.faults(resources, "/data/resources")] == [
        "/data/resources/requests/cpu"
    ]
