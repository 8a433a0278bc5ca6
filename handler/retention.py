"""What nobody needs any more goes: images, build contexts, logs, the marks of deletions. By mark and sweep.

Called by `sweep` after the Functions have been swept. It keeps no state, not even when it ran last: it is due at the
ticks of an hour's first five minutes, which is one tick with the schedule that the chart has.

    what is there (store, tags) ─► what is named (Functions, Builds, Services, Revisions) ─► images ─► the rest

The order is the safety: what is named after it was listed is seen, and what is put before anything names it is young
(`prepare.put_context`). A listing that fails ends it all before anything has gone. A function's images go before its
contexts, because the contexts say which repositories there are. In doubt a thing stays: there is another hour.
"""

import json
import logging
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from knative_lambda.builds import settle
from knative_lambda.builds.registry import Registry
from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, REVISION, Object
from knative_lambda.handler.product import Product
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store, Stored

DUE = 5
"""Minutes of an hour in which a tick collects."""
GRACE = timedelta(hours=24)
"""What is younger is left alone."""
TOMBSTONE_KEPT = timedelta(days=7)
"""How long a late older start does not bring a deleted function back."""
FEW = 20
"""As many things of a sort may go whatever their share is."""
SHARE = 10
"""No more than this part of a sort (a tenth): what looks like more may be a cluster that has lost its objects."""

_ATTEMPT = re.compile(r"([a-z0-9-]+-[a-z2-7]{16})-[0-9]+")
"""The tag of an attempt, or the name of its log: the Build's name and a number. Other tags are not ours to remove."""
_MENTIONED = re.compile(rf"sha256:[0-9a-f]{{64}}|(?<=:){_ATTEMPT.pattern}")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class There:
    """What there is of a tenant; tags by function."""

    tenant: str
    contexts: list[Stored]
    logs: list[Stored]
    tombstones: list[Stored]
    tags: dict[str, list[str]]

    def last_written(self, function: str) -> datetime:
        """Return when something of a function (that has a context) was put into the store last."""
        everything = (*self.contexts, *self.logs, *self.tombstones)
        return max(stored.modified for stored in everything if _function(stored) == function)


@dataclass(frozen=True)
class Marks:
    """What a tenant's objects name."""

    functions: set[str] = field(default_factory=set)
    contexts: set[tuple[str, str]] = field(default_factory=set)
    """Function and hash."""
    builds: set[str] = field(default_factory=set)
    building: set[str] = field(default_factory=set)
    """Functions with a Build that has not ended: it may push what is there already, under another tag."""


def is_due(moment: datetime) -> bool:
    """Say whether a tick of this moment collects."""
    return moment.minute < DUE


def collect(product: Product) -> None:
    """Remove what nothing names in any tenant; what fails is logged, and the next hour finds what it left."""
    try:
        tenants = [tenant for tenant in product.settings.tenants if product.is_tenant(tenant)]
        there = [_there(tenant, product) for tenant in tenants]
        named: set[str] = set()
        marks = [_marks(tenant, named, product) for tenant in tenants]
        for found, marked in zip(there, marks, strict=True):
            _collect(found, marked, named, product)
    except ProductError as error:
        log.warning("what nobody needs any more stays for now: %s", error)


def _there(tenant: str, product: Product) -> There:
    store, registry = product.workshop.store, product.workshop.registry
    contexts, logs = list(store.list(keys.contexts(tenant))), list(store.list(keys.logs(tenant)))
    functions = sorted({_function(stored) for stored in contexts})
    tags = {function: registry.tags(_repository(tenant, function, product)) for function in functions}
    return There(tenant, contexts, logs, list(store.list(keys.tombstones(tenant))), tags)


def _marks(tenant: str, named: set[str], product: Product) -> Marks:
    """Return a tenant's marks; add the images that its objects mention, which may be another tenant's, to `named`."""
    marks = Marks()
    for function in product.cluster.list(FUNCTION, tenant):
        name, mentioned = function["metadata"]["name"], _mentioned(function)
        marks.functions.add(name)
        marks.contexts.update((name, word) for word in mentioned)
        named |= mentioned
    for build in product.cluster.list(BUILD, tenant):
        marks.builds.add(build["metadata"]["name"])
        marks.contexts.add((build["spec"]["function"], build["spec"]["context"]))
        named |= _mentioned(build)
        if settle.phase(build) not in settle.TERMINAL:
            marks.building.add(build["spec"]["function"])
    for kind in (KNATIVE_SERVICE, REVISION):
        named.update(*map(_mentioned, product.cluster.list(kind, tenant)))
    return marks


def _collect(there: There, marks: Marks, named: set[str], product: Product) -> None:
    """Remove what may go of one tenant, or nothing where it looks like too much."""
    now, store = product.now(), product.workshop.store
    orphans = {function: found for function, tags in there.tags.items() if (found := _orphans(tags, marks))}
    quiet = [one for one in orphans if one not in marks.building and there.last_written(one) < now - GRACE]
    contexts = [one for one in _before(now - GRACE, there.contexts) if _context(one) not in marks.contexts]
    logs = [one for one in _before(now - GRACE, there.logs) if _build(_file(one)) not in marks.builds]
    for sort, going, of in (
        ("images", sum(len(orphans[one]) for one in quiet), sum(map(len, there.tags.values()))),
        ("contexts", len(contexts), len(there.contexts)),
        ("logs", len(logs), len(there.logs)),
    ):
        if going > max(FEW, of / SHARE):
            log.warning("%s: nothing is removed: nothing names %d of %d %s", there.tenant, going, of, sort)
            return
    left = orphans.keys() - _images_removed(there, {one: orphans[one] for one in quiet}, named, product)
    _remove((one for one in contexts if _function(one) not in left), now - GRACE, store)
    _remove(logs, now - GRACE, store)
    buried = _before(now - TOMBSTONE_KEPT, there.tombstones)
    _remove((one for one in buried if _function(one) not in marks.functions), now - TOMBSTONE_KEPT, store)


def _images_removed(there: There, orphans: dict[str, set[str]], named: set[str], product: Product) -> set[str]:
    """Remove the images of tags whose Build is gone; return the functions that have none of them left."""
    registry, removed = product.workshop.registry, set()
    repositories = {function: _repository(there.tenant, function, product) for function in orphans}
    images = {one: _digests(repository, there.tags[one], registry) for one, repository in repositories.items()}
    for function, repository in repositories.items():
        unused = orphans[function] - named
        kept = named | {digest for tag, digest in images[function].items() if tag not in unused}
        again = product.workshop.store.list(f"{keys.contexts(there.tenant)}{function}/")
        if any(stored.modified >= product.now() - GRACE for stored in again):  # it has come back since it was listed
            continue
        try:
            for digest in {*images[function].values()} - kept:
                registry.delete(repository, digest)
        except ProductError as error:
            log.warning("%s: images stay for now: %s", repository, error)
            continue
        if kept.isdisjoint(digest for tag, digest in images[function].items() if tag in orphans[function]):
            removed.add(function)
    return removed


def _remove(going: Iterable[Stored], before: datetime, store: Store) -> None:
    """Remove what was written before a moment, and not again since it was listed."""
    for listed in going:
        stored = store.stat(listed.key)
        if stored is not None and stored.modified < before:
            store.delete(stored.key)


def _repository(tenant: str, function: str, product: Product) -> str:
    return names.repository(product.settings.registry, tenant, function)


def _digests(repository: str, tags: Iterable[str], registry: Registry) -> dict[str, str]:
    """Return what each tag names; one that names nothing any more, though it is listed, is left out."""
    found = ((tag, registry.digest(f"{repository}:{tag}")) for tag in tags)
    return {tag: digest for tag, digest in found if digest is not None}


def _mentioned(body: Object) -> set[str]:
    """Return the digests, and the tags of attempts, that stand anywhere in an object."""
    return {found[0] for found in _MENTIONED.finditer(json.dumps(body))}


def _orphans(tags: Iterable[str], marks: Marks) -> set[str]:
    return {tag for tag in tags if _ATTEMPT.fullmatch(tag) and _build(tag) not in marks.builds}


def _build(attempt: str) -> str:
    return attempt.rpartition("-")[0]


def _function(stored: Stored) -> str:
    return stored.key.split("/")[2].removesuffix(".json")


def _context(stored: Stored) -> tuple[str, str]:
    return _function(stored), "sha256:" + _file(stored).removesuffix(".tar.gz")


def _file(stored: Stored) -> str:
    return stored.key.rpartition("/")[2]


def _before(moment: datetime, listed: Iterable[Stored]) -> list[Stored]:
    return [stored for stored in listed if stored.modified < moment]
