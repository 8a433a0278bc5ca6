"""Kubernetes quantities, as far as two of them must be compared: a request may not be over its limit.

Called where a function's resources are taken; an API server would refuse its Pods only, and say so far from here.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from knative_lambda.schemas.errors import Fault

SUFFIXES = {
    "": Decimal(1),
    "m": Decimal("0.001"),
    "k": Decimal(1000),
    **{unit: Decimal(1000) ** power for power, unit in enumerate("MGT", start=2)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGT", start=1)},
}


def value(quantity: str) -> Decimal:
    """Return the number that a quantity such as ``50m`` or ``64Mi`` stands for."""
    number = quantity.rstrip("kKMGTim")
    return Decimal(number) * SUFFIXES[quantity[len(number) :]]


def faults(resources: Mapping[str, Any], where: str) -> list[Fault]:
    """Return a fault for each request that is over its limit."""
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    return [
        Fault(f"{where}/requests/{name}", f"{requests[name]} is over the limit {limits[name]}")
        for name in sorted(requests.keys() & limits.keys())
        if value(requests[name]) > value(limits[name])
    ]
