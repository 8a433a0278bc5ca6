"""Event type → what is done with it. The table is the documentation.

Called by the HTTP door for each event that the gate let in.
"""

from collections.abc import Callable, Mapping

from knative_lambda.handler.acts import aliases
from knative_lambda.handler.acts.cancel import cancel_build
from knative_lambda.handler.acts.delete import delete_function
from knative_lambda.handler.acts.external import end_external_build
from knative_lambda.handler.acts.reports import resource_changed
from knative_lambda.handler.acts.start import start_build
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep.sweep import sweep
from knative_lambda.schemas import types

ROUTES: Mapping[str, Callable[[Event, Product], None]] = {
    types.BUILD_START: start_build,
    types.BUILD_CANCEL: cancel_build,
    types.BUILD_COMPLETE: end_external_build,
    types.BUILD_FAILED: end_external_build,
    types.FUNCTION_DELETE: delete_function,
    types.PING: sweep,
    types.RESOURCE_ADDED: resource_changed,
    types.RESOURCE_UPDATED: resource_changed,
    types.RESOURCE_DELETED: resource_changed,
    types.REFERENCE_ADDED: resource_changed,
    types.REFERENCE_UPDATED: resource_changed,
    types.REFERENCE_DELETED: resource_changed,
}


def handle(event: Event, product: Product) -> None:
    """Do what an event asks for; an alias of an older family means what its canonical type means."""
    event = aliases.canonical(event, product.is_tenant, product.settings.legacy_tenant)
    ROUTES[event.type](event, product)
