"""ApiServerSource and PingSource: changes of objects, and the clock's tick, as events for a Broker.

Joined by `handler` for `knative-lambda dev`. Like theirs, these events say only where to look.
"""

import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE, Kind, Object
from knative_lambda.schemas.types import PING, RESOURCE_ADDED, RESOURCE_DELETED, RESOURCE_UPDATED

Publish = Callable[[Mapping[str, str], bytes], object]
"""Takes an event's headers and body."""
TYPES = {"add": RESOURCE_ADDED, "update": RESOURCE_UPDATED, "delete": RESOURCE_DELETED}


@dataclass(frozen=True)
class Sources:
    """Publishes an event for each change of an object of these kinds, and for each tick."""

    publish: Publish
    kinds: tuple[Kind, ...] = (FUNCTION, KNATIVE_SERVICE)
    name: str = "embedded"

    def report(self, verb: str, kind: Kind, obj: Object) -> None:
        """Tell of a change: to be hooked to the cluster."""
        if kind not in self.kinds:
            return
        meta = obj["metadata"]
        place = {"namespace": meta["namespace"]} if kind.namespaced else {}
        reference = {"apiVersion": kind.api_version, "kind": kind.kind, "name": meta["name"], **place}
        path = "".join(f"/namespaces/{namespace}" for namespace in place.values())
        subject = f"/apis/{kind.api_version}{path}/{kind.plural}/{meta['name']}"
        self._send(TYPES[verb], f"/apiserver/{self.name}", reference, {"ce-subject": subject})

    def tick(self) -> None:
        """Tell of a moment passed."""
        self._send(PING, f"/pingsource/{self.name}", {}, {})

    def _send(self, kind: str, source: str, data: Mapping[str, Any], more: Mapping[str, str]) -> None:
        headers = {
            "ce-specversion": "1.0",
            "ce-id": str(uuid.uuid4()),
            "ce-source": source,
            "ce-type": kind,
            "ce-time": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "content-type": "application/json",
            **more,
        }
        self.publish(headers, json.dumps(data).encode())
