"""Builds that have had their time go: those over the number that is kept of a function, and those over the age.

Called by `retention` with what it has listed. A Build never goes that has not ended, that its Function points to, or
whose image anything may run; nor does the first of its input while a later one of that input is there.

Builds of one input are a chain, each named after the one that it replaced (`builds.py`). Where one is taken out, the
one before it remembers it first (`status.heir`): the chain leads on to those behind, and no name is given again.
"""

import logging
from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.product import Product
from knative_lambda.schemas.errors import Conflict
from knative_lambda.storage import keys

SETTLED = timedelta(hours=1)
"""What ended more recently is left alone: its notifications may still be under way."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Past:
    """As much of a Build as says whether it may go."""

    name: str
    uid: str
    function: str
    function_uid: str
    input: str
    context: str
    replaces: str
    """The UID that it is named after; "" for the first of its input."""
    lineage: str
    """The UID that the next of its input is named after."""
    ended: datetime | None
    """None as long as anything of it runs, or holds a slot."""
    digest: str
    """Of its image, or ""."""

    @classmethod
    def of(cls, build: Object) -> "Past":
        """Return as much of a Build."""
        meta, spec = build["metadata"], build["spec"]
        end = condition(build, "Succeeded").get("lastTransitionTime", meta["creationTimestamp"])
        return cls(
            name=meta["name"],
            uid=meta["uid"],
            function=spec["function"],
            function_uid=spec["functionUID"],
            input=spec["inputHash"],
            context=spec["context"],
            replaces=spec.get("rebuild", ""),
            lineage=record.lineage(build),
            ended=datetime.fromisoformat(end) if record.is_over(build) else None,
            digest=record.image_of(build).rpartition("@")[2],
        )


def points_to(function: Object | None) -> set[str]:
    """Return the names of the Builds that a Function needs."""
    state = function.get("status", {}) if function else {}
    return {name for name in (state.get("latestBuild"), state.get("latestReadyBuild")) if name}


def over(builds: Iterable[Past], used: AbstractSet[str], running: AbstractSet[str], product: Product) -> list[Past]:
    """Return what is over the number or the age of one function's Builds, and not in use; the oldest first.

    `used` are the names of those that the Function points to; `running` holds whatever may be run: digests, and names
    of Builds whose attempts are run by their tags.
    """
    now, settings = product.now(), product.settings
    oldest = now - timedelta(days=settings.builds_max_age)
    ended = sorted((one.ended, one.name, one) for one in builds if one.ended is not None)
    surplus = len(ended) - settings.builds_kept
    return [
        one
        for place, (end, _, one) in enumerate(ended)
        if (place < surplus or end < oldest)
        and end < now - SETTLED
        and one.name not in used
        and running.isdisjoint((one.digest, one.name))
    ]


def expire(tenant: str, builds: list[Past], going: list[Past], product: Product, is_late: Callable[[], bool]) -> int:
    """Remove these of one Function's Builds, until it is late; return how many went.

    The first of an input goes after the later ones, and only if they are all gone.
    """
    left = {one.uid: one for one in builds}
    for one in sorted(going, key=lambda past: past.replaces == ""):
        if is_late():
            break
        others = [other for other in left.values() if other.input == one.input and other.uid != one.uid]
        if one.replaces == "" and others:
            continue
        before = next((other for other in others if one.replaces in (other.uid, other.lineage)), None)
        if _remove(tenant, one, before, product):
            del left[one.uid]
            if before is not None:
                left[before.uid] = replace(before, lineage=one.lineage)
    return len(builds) - len(left)


def _remove(tenant: str, one: Past, before: Past | None, product: Product) -> bool:
    """Say why its things may go, lead the chain past it, then delete it; every step may run again."""
    function = product.cluster.get(FUNCTION, tenant, one.function)
    build = product.cluster.get(BUILD, tenant, one.name)
    if function is None or one.name in points_to(function) or build is None or build["metadata"]["uid"] != one.uid:
        return False
    digest_hex = one.context.removeprefix("sha256:")
    product.workshop.store.put(keys.retired(tenant, one.function, one.name, digest_hex), b"")
    try:
        if before is not None and not _bequeath(tenant, before.name, one, product):
            return False
        product.cluster.delete(BUILD, tenant, one.name, uid=one.uid, version=build["metadata"]["resourceVersion"])
    except Conflict:
        log.info("%s/%s changes: it stays for now", tenant, one.name)
        return False
    return True


def _bequeath(tenant: str, name: str, one: Past, product: Product) -> bool:
    """Let the Build before one remember it; say whether it does."""
    build = product.cluster.get(BUILD, tenant, name)
    if build is None or record.lineage(build) not in (one.replaces, one.lineage):
        return False
    if record.lineage(build) != one.lineage:
        product.cluster.replace_status(BUILD, {**build, "status": {**build.get("status", {}), "heir": one.lineage}})
    return True
