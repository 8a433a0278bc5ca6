"""What nobody needs any more goes: old Builds, images, contexts, logs, the marks of deletions. By mark and sweep.

Called by `sweep` after the Functions have been swept. It keeps no state, not even when it ran last: it is due at the
ticks of an hour's first five minutes, which is one tick with the schedule that the chart has. It works for seconds, in
an order that is another one each hour, and what is left has the next.

    what is there (store, tags) ─► what is named (Functions, Builds, Services, Revisions) ─► images ─► the rest; Builds

The order is the safety: what is named after it was listed is seen, and what is put before anything names it is young
(`prepare.put_context`). A listing that fails ends it all before anything has gone. A function's images go before its
contexts, because the contexts say which repositories there are. In doubt a thing stays: there is another hour.

A deletion leaves a mark, and so does a Build that has had its time (`expiry`): they explain why nothing names what is
left behind. Much that nothing names and nothing explains is a cluster that has lost its objects: nothing goes then.
"""

import logging
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial

from knative_lambda.builds.images import referrers
from knative_lambda.builds.images.registry import Registry
from knative_lambda.handler.product import Product
from knative_lambda.handler.upkeep import cached, expiry, installed, inventory
from knative_lambda.handler.upkeep.inventory import (
    Marks,
    Named,
    There,
    build_of,
    context_of,
    file_of,
    function_of,
    retired_context,
)
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store, Stored

DUE = 5
"""Minutes of an hour in which a tick collects."""
ASKING = timedelta(seconds=5)
"""How long repositories are asked for their tags; a delivery has 30 seconds, and the sweep comes before."""
WORKING = timedelta(seconds=15)
"""How long a tick collects, in all."""
GRACE = timedelta(hours=24)
"""What is younger is left alone."""
TOMBSTONE_KEPT = timedelta(days=7)
"""How long a late older start does not bring a deleted function back."""
FEW = 20
"""As many things of a sort may go unexplained whatever their share is."""
SHARE = 10
"""No more than this part of a sort (a tenth) goes unexplained."""

IsLate = Callable[[], bool]
log = logging.getLogger(__name__)


def is_due(moment: datetime) -> bool:
    """Say whether a tick of this moment collects."""
    return moment.minute < DUE


def collect(product: Product) -> None:
    """Remove what nothing names in any tenant; what fails is logged, and the next hour finds what it left."""
    began = product.now()
    try:
        tenants = _in_turn([tenant for tenant in product.settings.tenants if product.is_tenant(tenant)], began)
        there = [found for tenant in tenants for found in _alone(tenant, product, partial(_there, tenant, product))]
        _ask(there, began, product)
        named = Named()
        marks = {tenant: inventory.marks(tenant, named, product.cluster) for tenant in tenants}
        for found in there:
            is_late = partial(_is_over, began + WORKING, product)
            act = partial(_collect_all, found, marks[found.tenant], named, product, is_late)
            _alone(found.tenant, product, act)
    except ProductError as error:
        log.warning("what nobody needs any more stays for now: %s", error)


def _there(tenant: str, product: Product) -> list[There]:
    return [There.of(tenant, product.workshop.store)]


def _alone(tenant: str, product: Product, act: Callable[[], list[There] | None]) -> list[There]:
    """Do something for a tenant, and return what it finds: nothing where its own store, or registry, is away."""
    try:
        return act() or []
    except ProductError as error:
        if not product.is_theirs(error, tenant):
            raise
        log.warning("%s: what nobody needs any more stays for now: %s", tenant, error)
        return []


def _collect_all(there: There, marks: Marks, named: Named, product: Product, is_late: IsLate) -> None:
    """Remove what may go of one tenant, unless too much of it is unexplained."""
    if not _is_suspicious(there, marks, product):
        _collect(there, marks, named, product, is_late)
        installed.collect(there.tenant, marks, product, is_late)
        cached.collect(there.tenant, product, is_late)


def _is_over(end: datetime, product: Product) -> bool:
    return product.now() >= end


def _in_turn(words: Iterable[str], now: datetime) -> list[str]:
    """Return words in this hour's order, so that none is always the last when time is short."""
    return sorted(words, key=lambda word: names.sha256(f"{now:%Y-%m-%dT%H} {word}"))


def _ask(there: Iterable[There], began: datetime, product: Product) -> None:
    """Ask the repositories of functions for their tags, as many as there is time for."""
    places = {f"{found.tenant}/{function}": (found, function) for found in there for function in found.functions}
    for place in _in_turn(places, began):
        if product.now() >= began + ASKING:
            log.warning("not all of the %d repositories could be asked for their tags in time", len(places))
            return
        found, function = places[place]
        _alone(found.tenant, product, partial(_tags, found, function, product))


def _tags(found: There, function: str, product: Product) -> None:
    tags = product.workshop.registry.tags(_repository(found.tenant, function, product))
    found.tags[function] = [tag for tag in tags if not referrers.TAG.fullmatch(tag)]  # these go with their images


def _is_suspicious(there: There, marks: Marks, product: Product) -> bool:
    """Say whether too much of a tenant is named by nothing, and nothing explains it."""
    ripe = _ripe(there, marks, product).items()
    contexts, logs = _contexts(there, marks, product), _logs(there, marks, product)
    unknown = sum(not there.explains_tag(function, tag) for function, tags in ripe for tag in tags)
    for sort, lost, of in (
        ("images", unknown, sum(map(len, there.tags.values()))),
        ("contexts", sum(not there.explains_context(one) for one in contexts), len(there.contexts)),
        ("logs", sum(not there.explains_log(one) for one in logs), len(there.logs)),
    ):
        if lost > max(FEW, of / SHARE):
            log.warning("%s: nothing is removed: nothing names or explains %d of %d %s", there.tenant, lost, of, sort)
            return True
    return False


def _collect(there: There, marks: Marks, named: Named, product: Product, is_late: IsLate) -> None:
    """Remove what may go of one tenant, as much as there is time for."""
    now, store = product.now(), product.workshop.store
    images = _images_left(there, marks, named, product, is_late)
    found_by = {function_of(one) for one in there.contexts if context_of(one) in marks.contexts}
    lost = [
        one
        for one in _contexts(there, marks, product)
        if (place := function_of(one)) in images and (place in found_by or not images[place])
    ]
    contexts = _left(there.contexts, _removed(lost, store, now - GRACE, is_late))
    logs = _left(there.logs, _removed(_logs(there, marks, product), store, now - GRACE, is_late))
    spent = _spent(there, marks, contexts, logs)
    retirements = _left(there.retirements, _removed(_before(now - GRACE, spent), store, now - GRACE, is_late))
    rest = {function_of(one) for one in (*contexts, *logs, *retirements)} | marks.functions
    buried = [one for one in _before(now - TOMBSTONE_KEPT, there.tombstones) if function_of(one) not in rest]
    _removed(buried, store, now - TOMBSTONE_KEPT, is_late)
    _expire(there.tenant, marks, named, product, is_late)


def _spent(there: There, marks: Marks, contexts: list[Stored], logs: list[Stored]) -> list[Stored]:
    """Return the marks of removed Builds that explain nothing which is left; or whose Build is there again."""
    lost = {context_of(one) for one in contexts} - marks.contexts
    listed = {build_of(tag) for tags in there.tags.values() for tag in tags}  # some registries list what was deleted
    talking = listed | {build_of(file_of(one)) for one in logs}
    return [
        one
        for build, one in there.retired.items()
        if build in marks.builds
        or (function_of(one) in there.tags and build not in talking and retired_context(one) not in lost)
    ]


def _expire(tenant: str, marks: Marks, named: Named, product: Product, is_late: IsLate) -> None:
    """Remove the Builds that have had their time, of every Function that is there."""
    running = named.running
    for uid, used in marks.used.items():
        builds = marks.past.get(uid, [])
        going = expiry.over(builds, used, running, product)
        if going and not is_late():
            gone = expiry.expire(tenant, builds, going, product, is_late)
            log.info("%s: %d of %d Builds of %s had had their time", tenant, gone, len(builds), going[0].function)


def _contexts(there: There, marks: Marks, product: Product) -> list[Stored]:
    """Return the contexts that nothing names, and that have had their grace."""
    return [one for one in _before(product.now() - GRACE, there.contexts) if context_of(one) not in marks.contexts]


def _logs(there: There, marks: Marks, product: Product) -> list[Stored]:
    """Return the logs whose Build is gone, and that have had their grace."""
    return [one for one in _before(product.now() - GRACE, there.logs) if build_of(file_of(one)) not in marks.builds]


def _ripe(there: There, marks: Marks, product: Product) -> dict[str, set[str]]:
    """Return the tags whose Build is gone, and that have had their grace, by function."""
    before = product.now() - GRACE
    young = {context_of(one) for one in there.contexts if one.modified >= before}
    ripe = {}
    for function, tags in there.tags.items():
        orphans = marks.orphans(tags) if function not in marks.building else set()
        is_quiet = there.last_written[function] < before
        ripe[function] = orphans if is_quiet else {tag for tag in orphans if _has_aged(there, tag, before, young)}
    return ripe


def _has_aged(there: There, tag: str, before: datetime, young: set[tuple[str, str]]) -> bool:
    """Say whether a Build had had its time long ago, and nobody has come back to its source."""
    retired = there.retired.get(build_of(tag))
    return retired is not None and retired.modified < before and retired_context(retired) not in young


def _images_left(there: There, marks: Marks, named: Named, product: Product, is_late: IsLate) -> dict[str, set[str]]:
    """Remove the images of tags whose Build is gone; return the tags of such that still lead to one, by function."""
    registry, store, before = product.workshop.registry, product.workshop.store, product.now() - GRACE
    left = {function: marks.orphans(tags) for function, tags in there.tags.items()}
    ripe = _ripe(there, marks, product)
    repositories = {function: _repository(there.tenant, function, product) for function, tags in ripe.items() if tags}
    images = {
        one: inventory.digests(place, there.tags[one], registry) for one, place in repositories.items() if not is_late()
    }
    everything = named.run | named.built
    for function, found in images.items():
        again = store.list(f"{keys.contexts(there.tenant)}{function}/")
        young = {context_of(one) for one in again if one.modified >= before}  # a start has come back since the listing
        going = ripe[function] - everything
        going = {tag for tag in going if not young or _has_aged(there, tag, before, young)}
        kept = everything | {digest for tag, digest in found.items() if tag not in going}
        gone = {*found.values()} - kept
        try:
            stays = kept | _papers(repositories[function], {*found.values()} & kept, registry) if gone else kept
            for digest in gone:
                referrers.remove(repositories[function], digest, stays, registry)
        except ProductError as error:
            log.warning("%s: images stay for now: %s", repositories[function], error)
            continue
        left[function] = {tag for tag in left[function] if found.get(tag) in kept}
    return left


def _papers(repository: str, images: Iterable[str], registry: Registry) -> set[str]:
    """Return what refers to images that stay: a build of the function may have listed it with one that goes."""
    return {paper for digest in images for paper in referrers.papers(repository, digest, registry)}


def _removed(going: Iterable[Stored], store: Store, before: datetime, is_late: IsLate) -> set[str]:
    """Remove what was written before a moment, and not again since it was listed, the oldest first; return its keys."""
    gone = set()
    for listed in sorted(going, key=lambda one: one.modified):
        if is_late():
            break
        stored = store.stat(listed.key)
        if stored is not None and stored.modified < before:
            store.delete(stored.key)
            gone.add(stored.key)
    return gone


def _left(listed: Iterable[Stored], gone: set[str]) -> list[Stored]:
    return [one for one in listed if one.key not in gone]


def _repository(tenant: str, function: str, product: Product) -> str:
    return names.repository(product.settings.registry_of(tenant), tenant, function)


def _before(moment: datetime, listed: Iterable[Stored]) -> list[Stored]:
    return [stored for stored in listed if stored.modified < moment]
