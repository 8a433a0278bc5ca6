"""The read model: what runs and what is being built, from the cluster's own records.

Called by the paths under ``/v1``. None where there is no such thing, or no such tenant.
"""

from dataclasses import dataclass

from knative_lambda.builds.settle import LOG_KEPT
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.handler.product import Product


@dataclass(frozen=True)
class Records:
    """Reads Functions, Builds and logs."""

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
