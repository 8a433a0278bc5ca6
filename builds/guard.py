"""The guard around a registry: every call is retried within a deadline, and fails at once while the breaker is open.

Wrapped around the registry, once, by whoever joins the service.
"""

from dataclasses import dataclass

from knative_lambda.builds.registry import Registry
from knative_lambda.schemas.guard import Guard, GuardSettings

PATIENCE = GuardSettings(attempts=2, deadline=10.0, attempt_timeout=5.0)
"""How patient the guard is with a registry; an attempt takes what `RegistrySettings.timeout` says."""


@dataclass(frozen=True)
class GuardedRegistry:
    """A `Registry` that asks another one through `guard`. A digest that is gone is success, so a removal may repeat."""

    registry: Registry
    guard: Guard

    def digest(self, reference: str) -> str | None:
        """See `Registry.digest`."""
        return self.guard.call(self.registry.digest, reference)

    def tags(self, repository: str) -> list[str]:
        """See `Registry.tags`."""
        return self.guard.call(self.registry.tags, repository)

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`."""
        self.guard.call(self.registry.delete, repository, digest)
