"""The registries of tenants that have one of their own, each behind a guard of its own, beside the one that is shared.

Joined in `wire.py`. As with stores: one that is away is its tenant's outage and nobody else's.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from knative_lambda.builds import guard
from knative_lambda.builds.guard import GuardedPusher, GuardedRegistry
from knative_lambda.builds.tenants import TenantPushers, TenantRegistries
from knative_lambda.handler.guards import Hooks, Ports, named
from knative_lambda.schemas.guard import REAL, Guard, Switches


def place(tenant: str, prefix: str) -> str:
    """Return how the references begin that lie in a tenant's place below a prefix."""
    return f"{prefix}/{tenant}/"


def beside(ports: Ports, bare: Ports, given: Mapping[str, Any], hooks: Hooks, switches: Switches = REAL) -> Ports:
    """Return ports whose references are asked, for each of these tenants, behind a guard of its own."""
    if not given:
        return ports
    patience = replace(guard.PATIENCE, failures=2, reset=30.0)
    guards = {
        place(tenant, fields["prefix"]): Guard(
            "registry",
            patience,
            listeners=named(f"registry of {tenant}", hooks.changed),
            retried=hooks.retried,
            switches=switches,
        )
        for tenant, fields in given.items()
    }
    own = {begins: GuardedRegistry(bare.registry, one) for begins, one in guards.items()}
    pushers = {begins: GuardedPusher(bare.pusher, one) for begins, one in guards.items()}
    return replace(ports, registry=TenantRegistries(ports.registry, own), pusher=TenantPushers(ports.pusher, pushers))
