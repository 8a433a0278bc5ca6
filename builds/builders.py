"""The builder of a cluster: Kaniko's Jobs, and the layer builder where a Build says so. A `Builder` itself.

Joined in `handler/wire.py`.
"""

from dataclasses import dataclass

from knative_lambda.builds.builder import Attempt, Builder, Ended, Lost, Running


@dataclass(frozen=True)
class Builders:
    """Hands each attempt to the builder that its Build names."""

    jobs: Builder
    layers: Builder

    def start(self, attempt: Attempt) -> Ended | None:
        """See `Builder.start`."""
        return self._of(attempt).start(attempt)

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """See `Builder.look`."""
        return self._of(attempt).look(attempt)

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        """See `Builder.log`."""
        return self._of(attempt).log(attempt, limit=limit)

    def stop(self, attempt: Attempt) -> None:
        """See `Builder.stop`."""
        self._of(attempt).stop(attempt)

    def revoke(self, attempt: Attempt) -> None:
        """See `Builder.revoke`."""
        self._of(attempt).revoke(attempt)

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        """See `Builder.is_idle`. A Build has one builder: the other one knows nothing of it."""
        return self.layers.is_idle(tenant, build_uid) and self.jobs.is_idle(tenant, build_uid)

    def _of(self, attempt: Attempt) -> Builder:
        return self.layers if attempt.builder == "layer" else self.jobs
