"""What ``/v1`` is answered from: the port `ReadModel`.

Implemented by `read.py`; asked by `records.py`, `actions.py` and `watching.py`.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

from knative_lambda.deploy.cluster import Kind
from knative_lambda.handler.api.live import Look
from knative_lambda.handler.api.pages import Part, Wanted


class ReadModel(Protocol):
    """What runs, what is being built, what nobody could handle; None where there is no such thing."""

    def page(self, kind: Kind, namespace: str, wanted: Wanted) -> Part | None:
        """Return a page of a tenant's objects, each with its state and what may be done; letters without their data."""

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any] | None:
        """Return an object, with its state and what may be done."""

    def has(self, kind: Kind, namespace: str) -> bool:
        """Say whether there may be objects of that kind in a namespace: whether it is a tenant's."""

    def namespaces(self) -> Sequence[str]:
        """Return the tenants by name and, as the last, the product's own namespace, which has dead letters alone."""

    def now(self) -> datetime:
        """Return the product's time."""

    def get_log(self, tenant: str, name: str) -> bytes | None:
        """Return the logs of a Build's attempts, one after the other; of one that runs, so far."""

    def look(self, tenant: str, name: str, before: Look | None) -> Look | None:
        """Return a Build with the logs of its attempts; `before` has what was seen of it last."""

    def resend(self, namespace: str, name: str) -> dict[str, Any] | None:
        """Wish a DeadLetter to be sent again and return it; raise `Refused` where that can't be."""

    def resend_all(self, namespace: str) -> int | None:
        """Wish for all DeadLetters of a namespace what can be; return how many these are."""
