"""What an event asks for, in the words of Kubernetes: which verbs, on which of the product's resources, where.

Who may do that with kubectl may send the event, and nobody else. The table is the documentation.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from knative_lambda.deploy.cluster import BUILD, FUNCTION
from knative_lambda.deploy.reviews import Right
from knative_lambda.handler.acts import aliases
from knative_lambda.handler.events import Event
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Refused

EVENTS: Mapping[str, tuple[tuple[str, ...], str]] = {
    types.BUILD_START: (("create", "update"), FUNCTION.plural),
    types.BUILD_CANCEL: (("update",), FUNCTION.plural),
    types.FUNCTION_DELETE: (("delete",), FUNCTION.plural),
    types.BUILD_COMPLETE: (("update",), BUILD.plural),
    types.BUILD_FAILED: (("update",), BUILD.plural),
}
"""What is not here is a hint (a report, a tick) that belongs to no tenant: only who is trusted may send it."""


@dataclass(frozen=True)
class Operation:
    """What somebody wants to do."""

    verbs: tuple[str, ...]
    """Of Kubernetes; all of them are needed."""
    resource: str
    tenant: str
    """Its namespace; "" where what is said leads to none: then only who may do it everywhere is told so."""
    name: str = ""

    @property
    def rights(self) -> tuple[Right, ...]:
        """Return the rights that it needs."""
        return tuple(Right(verb, self.resource, self.tenant, self.name) for verb in self.verbs)


def of(event: Event, is_tenant: Callable[[str], bool], legacy_tenant: str) -> Operation | None:
    """Return what an event asks for, or None for a hint."""
    known = types.TYPES[event.type]
    asked = EVENTS.get(known.alias_of or known.type)
    if asked is None:
        return None
    verbs, resource = asked
    tenant, name = _place(event, is_tenant, legacy_tenant) if known.alias_of else _named(event)
    return Operation(verbs, resource, tenant, event.data.get("build", "") if resource == BUILD.plural else name)


def _named(event: Event) -> tuple[str, str]:
    return event.data["tenant"], event.data["name"]


def _place(event: Event, is_tenant: Callable[[str], bool], legacy_tenant: str) -> tuple[str, str]:
    try:
        return aliases.place(aliases.ids_of(event), is_tenant, legacy_tenant)
    except Refused:  # such as: there is no such tenant, which is told to those alone who may know
        return "", ""
