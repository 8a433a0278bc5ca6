"""A `Store` of several: what is of a tenant that has a store of its own lies there, all else in the one that is shared.

Joined in the handler's `stores.py`. By the key alone, so nobody who uses a store knows of more than one.
"""

import heapq
from collections.abc import Iterator, Mapping
from typing import Any

from knative_lambda.storage import keys
from knative_lambda.storage.store import Store, Stored

KNOWN = frozenset({"url", "endpoint", "region", "credentials", "tls", "caSecret"})
"""What an installation may say of a tenant's store."""


class TenantStores:
    """Keeps objects in `own`, by tenant, or in `shared`."""

    def __init__(self, shared: Store, own: Mapping[str, Store]) -> None:
        self._shared, self._own = shared, own

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        self._of(key).put(key, body)

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        return self._of(key).get(key, limit=limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        return self._of(key).stat(key)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        self._of(key).delete(key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`. A prefix that is of no one tenant is asked of all stores."""
        if keys.tenant(prefix):
            return self._of(prefix).list(prefix, after=after)
        found = [store.list(prefix, after=after) for store in (self._shared, *self._own.values())]
        return heapq.merge(*found, key=lambda stored: stored.key)

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        return self._of(key).presign(key, seconds=seconds)

    def _of(self, key: str) -> Store:
        return self._own.get(keys.tenant(key), self._shared)


def faults(given: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with tenants' stores as the settings have them, without quoting an URL."""
    wrong = []
    for tenant, fields in given.items():
        if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
            wrong.append(f"{tenant}: an object of texts is needed")
        elif strange := sorted(fields.keys() - KNOWN):
            wrong.append(f"{tenant}: nobody knows {', '.join(strange)}")
        elif not fields.get("url"):
            wrong.append(f"{tenant}: url is missing")
    return wrong
