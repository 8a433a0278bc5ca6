"""The read model: what runs, what is being built and what nobody could handle, from the cluster's own records.

Called by the paths under ``/v1``. None where there is no such thing, or no such tenant.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from knative_lambda.deploy.cluster import DEAD_LETTER, Kind, Object
from knative_lambda.handler import letters
from knative_lambda.handler.api import live, pages, states
from knative_lambda.handler.api.live import Look
from knative_lambda.handler.api.pages import Orders, Part, Wanted
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Refused


@dataclass(frozen=True)
class Records:
    """Reads Functions, Builds, logs and DeadLetters; all it writes is that one of these is wanted again."""

    product: Product
    orders: Orders = field(default_factory=Orders)

    def page(self, kind: Kind, namespace: str, wanted: Wanted) -> Part | None:
        """Return a page of a list; raise `Refused` like `pages.read`."""
        if not self.has(kind, namespace):
            return None
        part = pages.read(kind, namespace, wanted, self.product.cluster, self.orders)
        summary = letters.summary if kind == DEAD_LETTER else dict
        return Part([states.shown(kind, summary(body)) for body in part.items], part.after)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return one object."""
        found = self.product.cluster.get(kind, namespace, name) if self.has(kind, namespace) else None
        return states.shown(kind, found) if found else None

    def namespaces(self) -> list[str]:
        """Return the tenants that the settings name, in order, and the product's own."""
        return [*sorted(self.product.settings.tenants), self.product.settings.namespace]

    def now(self) -> datetime:
        """Return the product's time."""
        return self.product.now()

    def get_log(self, tenant: str, name: str) -> bytes | None:
        """Return what all attempts of a Build have said, so far where one runs; None where that is nothing."""
        seen = self.look(tenant, name, None)
        logs = [seen.logs[number] for number in sorted(seen.logs) if seen.logs[number]] if seen else []
        ended = [log if log.endswith(b"\n") else log + b"\n" for log in logs[:-1]]
        return b"".join([*ended, *logs[-1:]]) or None

    def look(self, tenant: str, name: str, before: Look | None) -> Look | None:
        """Return a Build with the logs of its attempts."""
        return live.look(tenant, name, before, self.product) if self.product.is_tenant(tenant) else None

    def resend(self, namespace: str, name: str) -> Object | None:
        """Label a DeadLetter to be sent again and return it; raise `Refused` where its event was not kept whole."""
        letter = self.product.cluster.get(DEAD_LETTER, namespace, name) if self.has(DEAD_LETTER, namespace) else None
        if letter is None:
            return None
        if why_not := letters.obstacle(letter):
            raise Refused.because("/spec/event", why_not)
        return states.shown(DEAD_LETTER, self.product.cluster.replace(DEAD_LETTER, letters.wanted_again(letter)))

    def resend_all(self, namespace: str) -> int | None:
        """Label all DeadLetters of a namespace that were kept whole; return how many these are."""
        if not self.has(DEAD_LETTER, namespace):
            return None
        resent = 0
        for head in self.product.cluster.heads(DEAD_LETTER, namespace):
            with suppress(Refused, Conflict):  # not kept whole; or it came again just now
                resent += self.resend(namespace, head["metadata"]["name"]) is not None
        return resent

    def has(self, kind: Kind, namespace: str) -> bool:
        """Say whether a namespace is a tenant's; of letters, the product's own too."""
        is_ours = kind == DEAD_LETTER and namespace == self.product.settings.namespace
        return is_ours or self.product.is_tenant(namespace)
