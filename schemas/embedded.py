"""What of a function means nothing in the embedded mode, which has neither nodes nor Pods nor a registry: one table.

The service of that mode refuses by it what would make another function of it; `docs/functions.md` lists the same.
"""

from collections.abc import Mapping
from typing import Any

from knative_lambda.schemas.errors import Fault

SURROUNDINGS = ("probes", "nodeSelector", "architecture", "pullSecrets")
"""Fields that say how it is kept, not what it does: `knative-lambda run` leaves them out."""
REFUSED = (
    "runtime: dockerfile",
    "source.image",
    "source.git",
    "builder: external",
    "build.secrets",
    "build.indexes.secret",
    "mounts",
    *SURROUNDINGS,
)
"""Fields, by their names from the top, some with a value, that are taken on a cluster only."""
IDLE = ("resources", "scale.max", "labels", "annotations", "builder: layer", "builder: kaniko", "build.onBaseChange")
"""The same, taken and without effect: what the function does is the same without."""


def lacking(spec: Mapping[str, Any], where: str) -> list[Fault]:
    """Return a fault for each thing that a function asks for and that is on a cluster only."""
    asked = {field: value for field, value in spec.items() if field != "runtime" or "image" not in spec["source"]}
    return [
        Fault(
            f"{where}/{each.partition(':')[0].replace('.', '/')}",
            f"`{each}` can be had on a cluster only, not in the embedded mode",
        )
        for each in REFUSED
        if _has(asked, each)
    ]


def _has(spec: Mapping[str, Any], each: str) -> bool:
    path, valued, value = each.partition(": ")
    found: Any = spec
    for field in path.split("."):
        found = found.get(field, {})
    return bool(found == value if valued else found)
