"""Time goes by on the real cluster: what was deleted leaves nothing behind in the store and in the registry.

Nobody waits a week for a test: the receiver's own parts, joined in a process beside the cluster, have a clock that is
ahead. All else is real.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from support.faults import Handler
from support.live import TENANT, Live, within
from support.recorded import Recorded

from knative_lambda.handler import wire
from knative_lambda.handler.product import Product
from knative_lambda.handler.settings import read
from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas import names
from knative_lambda.storage import keys

WEEK = timedelta(days=8)
"""Longer than anything is kept of which no object says anything."""


def left_of(name: str, product: Product) -> list[str]:
    """Return what there is of a function beside the cluster's objects."""
    store, registry = product.workshop.store, product.workshop.registry
    places = (keys.contexts, keys.logs, keys.tombstones, keys.retirements, keys.farewells)
    found = [stored.key for place in places for stored in store.list(f"{place(TENANT)}{name}/")]
    repository = names.repository(product.settings.registry, TENANT, name)
    return found + [f"tags/{tag}" for tag in registry.tags(repository) if registry.digest(f"{repository}:{tag}")]


def test_a_week_after_its_delete_nothing_is_left_of_a_function(
    live: Live, settings: dict[str, str], recorded: Recorded
) -> None:
    code = "def handle(event, context):\n    return {}\n"
    files = {"main.py": code, "requirements.txt": "inflection==0.5.1\n"}  # Kaniko keeps what installs it
    live.start("aged", runtime="python", source={"inline": files}, builder="kaniko")
    live.ready("aged")
    live.delete("aged")
    process = Handler()
    service, _ = wire.service(replace(read(settings), build_cache=1), wire.Listeners(called=[process.around]))
    later = replace(service.product, now=lambda: datetime.now(UTC) + WEEK)
    kinds = {what.partition("/")[0] for what in left_of("aged", later)}
    assert {"contexts", "logs", "tombstones", "tags"} <= kinds, "it was all there"
    kept = names.kept_layers(later.settings.registry, TENANT)
    assert later.workshop.registry.tags(kept)

    def nothing_left() -> bool:
        retention.collect(later)
        marks = list(later.workshop.store.list(keys.kept_layers(TENANT)))
        return not left_of("aged", later) and not marks

    within(120, "all of it is gone", nothing_left, every=1)
    recorded.effects.update(process.effects)
