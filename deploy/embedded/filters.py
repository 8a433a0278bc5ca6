"""Which events a Trigger takes: Knative's `filter` and `filters`, as pure functions.

Used by `eventing.py` for each event, and by `readiness.py` to refuse a Trigger whose filters it can't keep.
"""

from collections.abc import Callable, Mapping
from typing import Any

from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas.errors import Refused

Attributes = Mapping[str, str]


def matches(spec: Object, attributes: Attributes) -> bool:
    """Say whether a Trigger with this `spec` takes an event; `filters` count before `filter`, and nothing takes all.

    Raises `Refused` for a dialect that is not known here.
    """
    if filters := spec.get("filters"):
        return _all(filters, attributes)
    wanted = spec.get("filter", {}).get("attributes") or {}
    return all(name in attributes and value in ("", attributes[name]) for name, value in wanted.items())


def _all(filters: list[Object], attributes: Attributes) -> bool:
    taken = [_one(each, attributes) for each in filters]  # each of them, so that an unknown one is always refused
    return all(taken)


def _any(filters: list[Object], attributes: Attributes) -> bool:
    taken = [_one(each, attributes) for each in filters]
    return any(taken)


def _not(inner: Object, attributes: Attributes) -> bool:
    return not _one(inner, attributes)


def _compared(compare: Callable[[str, str], bool]) -> Callable[[Any, Attributes], bool]:
    def dialect(wanted: Mapping[str, str], attributes: Attributes) -> bool:
        return all(name in attributes and compare(attributes[name], value) for name, value in wanted.items())

    return dialect


DIALECTS: Mapping[str, Callable[[Any, Attributes], bool]] = {
    "exact": _compared(str.__eq__),
    "prefix": _compared(str.startswith),
    "suffix": _compared(str.endswith),
    "all": _all,
    "any": _any,
    "not": _not,
}


def _one(each: Object, attributes: Attributes) -> bool:
    if len(each) != 1:
        raise Refused.because("/spec/filters", "a filter has exactly one dialect")
    [(dialect, value)] = each.items()
    if dialect not in DIALECTS:
        raise Refused.because("/spec/filters", f"the embedded mode knows no dialect {dialect}")
    return DIALECTS[dialect](value, attributes)
