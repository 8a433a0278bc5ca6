"""The guard around a registry: every call is retried within a deadline, and fails at once while the breaker is open.

Wrapped around the registry's two ports, once, by whoever joins the service: they have one breaker.
"""

from dataclasses import dataclass

from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest, Pusher
from knative_lambda.builds.images.registry import Registry
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

    def referrers(self, repository: str, digest: str) -> list[str]:
        """See `Registry.referrers`."""
        return self.guard.call(self.registry.referrers, repository, digest)

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`."""
        self.guard.call(self.registry.delete, repository, digest)


@dataclass(frozen=True)
class GuardedPusher:
    """A `Pusher` that asks another one through `guard`. What it puts is named by its digest: all may repeat."""

    pusher: Pusher
    guard: Guard

    def manifest(self, reference: str) -> Manifest | None:
        """See `Pusher.manifest`."""
        return self.guard.call(self.pusher.manifest, reference)

    def blob(self, repository: str, digest: str) -> bytes | None:
        """See `Pusher.blob`."""
        return self.guard.call(self.pusher.blob, repository, digest)

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        """See `Pusher.bring`."""
        self.guard.call(self.pusher.bring, blob, source, target)

    def put(self, repository: str, blob: Blob) -> None:
        """See `Pusher.put`."""
        self.guard.call(self.pusher.put, repository, blob)

    def tag(self, reference: str, manifest: Manifest) -> None:
        """See `Pusher.tag`. A tag is one attempt's alone, so this too names one thing only."""
        self.guard.call(self.pusher.tag, reference, manifest)

    def attach(self, repository: str, manifest: Manifest) -> bool:
        """See `Pusher.attach`."""
        return self.guard.call(self.pusher.attach, repository, manifest)
