"""The stores of tenants that have one of their own, beside the one that all others share.

Joined in `wire.py`. Each has a guard of its own, so that one which is away is no outage of the others: it is in the
metrics as ``store of <tenant>``, in no answer about the product's health, and asked for less long.
"""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from knative_lambda.handler.guards import Hooks, named
from knative_lambda.schemas.guard import REAL, Guard, Switches
from knative_lambda.storage import guard
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import GuardedStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store
from knative_lambda.storage.tenants import TenantStores

Read = Callable[[str], tuple[str, str]]
"""Returns the two keys that lie in a folder, as `settings.credentials` does."""


def opened(given: Mapping[str, Any], read: Read) -> dict[str, Store]:
    """Return tenants' stores, without speaking to any; raise `ValueError` naming all that is wrong with their URLs.

    Their keys are read when they are used: files that are missing are an outage of that one store.
    """
    stores, wrong = {}, []
    for tenant, fields in given.items():
        try:
            stores[tenant] = open_store(fields["url"], settings_of(fields, read))
        except ValueError as error:
            wrong.append(f"{tenant}: {error}")
    if wrong:
        raise ValueError("; ".join(wrong))
    return stores


def settings_of(fields: Mapping[str, str], read: Read) -> StoreSettings:
    """Return the settings of a tenant's store: it is given up sooner than the shared one, for the others' sake."""
    folder = fields.get("credentials", "")
    return StoreSettings(
        url=fields["url"],
        endpoint=fields.get("endpoint", ""),
        region=fields.get("region", "") or StoreSettings.region,
        trust=Path(fields.get("tls", "")),
        keys=partial(read, folder) if folder else None,
        attempts=2,
        failures=2,
        reset=30.0,
    )


def beside(shared: Store, own: Mapping[str, Store], hooks: Hooks, switches: Switches = REAL) -> Store:
    """Return the store of all: `shared`, which has its guard, and each tenant's own behind one of its own."""
    if not own:
        return shared
    patience = guard.patience(settings_of({"url": ""}, lambda _: ("", "")))

    def guarded(tenant: str, store: Store) -> Store:
        told = named(f"store of {tenant}", hooks.changed)
        return GuardedStore(store, Guard("store", patience, listeners=told, retried=hooks.retried, switches=switches))

    return TenantStores(shared, {tenant: guarded(tenant, store) for tenant, store in own.items()})
