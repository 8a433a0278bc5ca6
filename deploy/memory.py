"""A `Cluster` in memory, for tests: the embedded mode's, and what its Pods have written."""

import weakref
from collections.abc import Callable
from datetime import UTC, datetime

from knative_lambda.deploy.cluster import NAMESPACE, Kind, Object
from knative_lambda.deploy.embedded.objects import SQLiteCluster, random_uid


class MemoryCluster(SQLiteCluster):
    """A `Cluster` that begins with these namespaces; `logs` maps namespace, Pod and container to a log."""

    def __init__(
        self,
        *namespaces: str,
        validate: Callable[[Kind, Object], None] = lambda _kind, _body: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[Kind, Object], str] = random_uid,
    ) -> None:
        super().__init__(":memory:", validate=validate, now=now, new_uid=new_uid)
        weakref.finalize(self, self._db.close)
        self.logs: dict[tuple[str, str, str], bytes] = {}
        self.silent = False
        """Whether no container has said anything of late."""
        for name in namespaces:
            self.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        """Return the last `limit` bytes at most of what `logs` holds."""
        log = b"" if seconds and self.silent else self.logs.get((namespace, pod, container))
        return None if log is None else log[max(0, len(log) - limit) :]
