"""Registries of tenants' own: what lies below a tenant's path there is asked of it alone, all else as it always was.

Joined in the handler's `registries.py`, around ports that have a guard each. A reference says where it lies, so nobody
who uses a registry knows of more than one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest, Pusher
from knative_lambda.builds.images.registry import Registry

Of = TypeVar("Of")
KNOWN = frozenset({"prefix", "secret", "config"})
"""What an installation may say of a tenant's registry."""


@dataclass(frozen=True)
class TenantRegistries:
    """A `Registry` of several; `own` by how the references begin that are asked there."""

    shared: Registry
    own: Mapping[str, Registry]

    def digest(self, reference: str) -> str | None:
        """See `Registry.digest`."""
        return below(self.own, reference, self.shared).digest(reference)

    def tags(self, repository: str) -> list[str]:
        """See `Registry.tags`."""
        return below(self.own, repository, self.shared).tags(repository)

    def referrers(self, repository: str, digest: str) -> list[str]:
        """See `Registry.referrers`."""
        return below(self.own, repository, self.shared).referrers(repository, digest)

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`."""
        below(self.own, repository, self.shared).delete(repository, digest)


@dataclass(frozen=True)
class TenantPushers:
    """A `Pusher` of several, as `TenantRegistries` is; what is brought somewhere is that one's call."""

    shared: Pusher
    own: Mapping[str, Pusher]

    def manifest(self, reference: str) -> Manifest | None:
        """See `Pusher.manifest`."""
        return below(self.own, reference, self.shared).manifest(reference)

    def blob(self, repository: str, digest: str) -> bytes | None:
        """See `Pusher.blob`."""
        return below(self.own, repository, self.shared).blob(repository, digest)

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        """See `Pusher.bring`."""
        below(self.own, target, self.shared).bring(blob, source, target)

    def put(self, repository: str, blob: Blob) -> None:
        """See `Pusher.put`."""
        below(self.own, repository, self.shared).put(repository, blob)

    def tag(self, reference: str, manifest: Manifest) -> None:
        """See `Pusher.tag`."""
        below(self.own, reference, self.shared).tag(reference, manifest)

    def attach(self, repository: str, manifest: Manifest) -> bool:
        """See `Pusher.attach`."""
        return below(self.own, repository, self.shared).attach(repository, manifest)


def below(own: Mapping[str, Of], reference: str, shared: Of) -> Of:
    """Return what is said of the place that a reference lies below, or `shared`."""
    return next((one for begins, one in own.items() if f"{reference}/".startswith(begins)), shared)


def faults(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with tenants' registries as the settings have them."""
    wrong = []
    for tenant, fields in given.items():
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            wrong.append(f"{tenant}: an object of texts is needed")
        elif strange := sorted(fields.keys() - KNOWN):
            wrong.append(f"{tenant}: nobody knows {', '.join(strange)}")
        elif not fields.get("prefix"):
            wrong.append(f"{tenant}: prefix is missing")
    return wrong
