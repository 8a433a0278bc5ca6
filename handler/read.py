"""The read model: what runs, what is being built and what nobody could handle, from the cluster's own records.

Called by the paths under ``/v1``. None where there is no such thing, or no such tenant.
"""

from contextlib import suppress
from dataclasses import dataclass

from knative_lambda.builds.settle import LOG_KEPT
from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Object
from knative_lambda.handler import letters
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict, Refused


@dataclass(frozen=True)
class Records:
    """Reads Functions, Builds, logs and DeadLetters; all it writes is that one of these is wanted again."""

    product: Product

    def list_functions(self, tenant: str) -> list[Object] | None:
        """Return a tenant's Functions by name."""
        return self.product.cluster.list(FUNCTION, tenant) if self.product.is_tenant(tenant) else None

    def get_function(self, tenant: str, name: str) -> Object | None:
        """Return one Function."""
        return self.product.cluster.get(FUNCTION, tenant, name) if self.product.is_tenant(tenant) else None

    def get_build(self, tenant: str, name: str) -> Object | None:
        """Return one Build."""
        return self.product.cluster.get(BUILD, tenant, name) if self.product.is_tenant(tenant) else None

    def get_log(self, tenant: str, name: str) -> bytes | None:
        """Return the log of a Build's last attempt, once it has ended."""
        build = self.get_build(tenant, name)
        key = build.get("status", {}).get("log") if build else None
        return self.product.workshop.store.get(key, limit=2 * LOG_KEPT) if key else None

    def list_letters(self, namespace: str) -> list[Object] | None:
        """Return the DeadLetters of a tenant or of the product, the newest first, without their events' data."""
        if not self._has_letters(namespace):
            return None
        return list(letters.summaries(self.product.cluster.list(DEAD_LETTER, namespace)))

    def get_letter(self, namespace: str, name: str) -> Object | None:
        """Return one DeadLetter."""
        return self.product.cluster.get(DEAD_LETTER, namespace, name) if self._has_letters(namespace) else None

    def resend(self, namespace: str, name: str) -> Object | None:
        """Label a DeadLetter to be sent again and return it; raise `Refused` where its event was not kept whole."""
        letter = self.get_letter(namespace, name)
        if letter is None:
            return None
        if why_not := letters.obstacle(letter):
            raise Refused.because("/spec/event", why_not)
        return self.product.cluster.replace(DEAD_LETTER, letters.wanted_again(letter))

    def resend_all(self, namespace: str) -> int | None:
        """Label all DeadLetters of a namespace that were kept whole; return how many these are."""
        if not self._has_letters(namespace):
            return None
        resent = 0
        for head in self.product.cluster.heads(DEAD_LETTER, namespace):
            with suppress(Refused, Conflict):  # not kept whole; or it came again just now
                resent += self.resend(namespace, head["metadata"]["name"]) is not None
        return resent

    def _has_letters(self, namespace: str) -> bool:
        return namespace == self.product.settings.namespace or self.product.is_tenant(namespace)
