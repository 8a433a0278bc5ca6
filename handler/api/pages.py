"""Lists in pages: what a list is asked for, which objects are on a page, and where the next begins.

Called by `records.py` (`Wanted.of`) and `read.py` (`read`). By name a page costs what is on it, however many there are:
the API server pages. By age it has no such order, so all heads are read for the first page, and what is on each; there
a page begins behind an object, not at a number, so that what is made meanwhile moves nothing.
"""

import base64
import json
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from knative_lambda.deploy.cluster import DEAD_LETTER, Cluster, Kind, Object
from knative_lambda.deploy.conditions import age, came
from knative_lambda.handler.api import states
from knative_lambda.schemas.errors import Fault, Refused

NEWEST = "-created"
SORTS = ("name", "created", NEWEST)
LIMIT, MOST = 100, 500
LOOKS = 10
"""Pages of the API server's that are looked through for one, where a filter leaves nothing of most of them."""
LOOKED_AT = 100
"""Objects that are read for one page in the order of their age."""
REMEMBERED = 10.0
"""Seconds that pages after a first one go by the order that was read for it."""
KEPT = 16
"""Orders that are remembered."""
PARAMETERS = ("state", "runtime", "labelSelector", "sort", "limit", "continue")


@dataclass(frozen=True)
class Wanted:
    """What a list is asked for."""

    labels: Mapping[str, str] = field(default_factory=dict)
    state: str = ""
    runtime: str = ""
    sort: str = "name"
    limit: int = LIMIT
    after: str = ""
    """What the page before has said; "" for the first."""

    @classmethod
    def of(cls, kind: Kind, query: Mapping[str, str], sort: str) -> "Wanted":
        """Return what a query string asks for, by default in this order; raise `Refused` with all that is wrong."""
        faults = [Fault(f"query/{name}", "is no parameter here") for name in query.keys() - set(PARAMETERS)]
        sort, state, limit = query.get("sort", sort), query.get("state", ""), query.get("limit", str(LIMIT))
        known = states.KNOWN[kind].states
        if sort not in SORTS:
            faults.append(Fault("query/sort", f"is none of {', '.join(SORTS)}"))
        if state and state not in known:
            faults.append(Fault("query/state", f"is none of {', '.join(known)}"))
        if not (limit.isascii() and limit.isdecimal() and len(limit) < 4 and 1 <= int(limit) <= MOST):  # noqa: PLR2004
            faults.append(Fault("query/limit", f"is no number from 1 to {MOST}"))
        labels = dict[str, str]()
        for term in filter(None, query.get("labelSelector", "").split(",")):
            name, equals, value = term.partition("=")
            if not equals or name.endswith("!"):
                faults.append(Fault("query/labelSelector", f"{term[:100]!r} is no <label>=<value>"))
            name, value = name.strip(), value.removeprefix("=").strip()
            if labels.setdefault(name, value) != value:
                faults.append(Fault("query/labelSelector", f"{name[:100]!r} can't be two things at once"))
        if faults:
            raise Refused(faults)
        return cls(labels, state, query.get("runtime", ""), sort, int(limit), query.get("continue", ""))

    def fits(self, kind: Kind, body: Object) -> bool:
        """Say whether an object is what is asked for, but for its labels."""
        if self.state and states.KNOWN[kind].state(body) != self.state:
            return False
        return not self.runtime or body["spec"].get("runtime") == self.runtime


@dataclass(frozen=True)
class Part:
    """A page as it is answered."""

    items: list[Object]
    after: str
    """What to ask for the next page with; "" where this is the last. There may be one after a page without items."""


@dataclass(frozen=True)
class Orders:
    """In which order by age a process has last seen things; any thread may ask."""

    clock: Callable[[], float] = time.monotonic
    _orders: OrderedDict[Hashable, tuple[float, list[list[str]]]] = field(default_factory=OrderedDict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def of(self, key: Hashable, look: Callable[[], list[list[str]]], *, anew: bool) -> list[list[str]]:
        """Return what `look` does, or has done just now, where it need not be `anew`."""
        with self._lock:
            at, order = self._orders.get(key, (0.0, None))
        if order is None or anew or self.clock() > at + REMEMBERED:
            order = look()
            with self._lock:
                self._orders[key] = self.clock(), order
                self._orders.move_to_end(key)
                while len(self._orders) > KEPT:
                    self._orders.popitem(last=False)
        return order


def read(kind: Kind, namespace: str, wanted: Wanted, cluster: Cluster, orders: Orders) -> Part:
    """Return a page; raise `Refused` for a place that no page has said."""
    place = _place(wanted)
    if wanted.sort == "name":
        return _by_name(kind, namespace, wanted, place, cluster)
    key = kind, namespace, tuple(sorted(wanted.labels.items()))
    order = orders.of(
        key,
        lambda: sorted(_age(kind, head) for head in cluster.heads(kind, namespace, wanted.labels)),
        anew=not wanted.after,
    )
    return _by_age(kind, namespace, wanted, place, order, cluster)


def _by_name(kind: Kind, namespace: str, wanted: Wanted, place: list[str], cluster: Cluster) -> Part:
    after = place[0] if place else ""
    for _ in range(LOOKS):
        page = cluster.page(kind, namespace, wanted.labels, most=wanted.limit, after=after)
        items, after = [body for body in page.items if wanted.fits(kind, body)], page.after
        if items or not after:
            break
    return Part(items, _token(wanted, after) if after else "")


def _by_age(  # noqa: PLR0913, PLR0917
    kind: Kind, namespace: str, wanted: Wanted, place: list[str], order: list[list[str]], cluster: Cluster
) -> Part:
    if wanted.sort == NEWEST:
        left = [age for age in reversed(order) if not place or age < place]
    else:
        left = [age for age in order if not place or age > place]
    items: list[Object] = []
    for looked, (_, name) in enumerate(left):
        if len(items) == wanted.limit or looked == LOOKED_AT:
            return Part(items, _token(wanted, *left[looked - 1]))
        body = cluster.get(kind, namespace, name)
        if body is not None and wanted.fits(kind, body):
            items.append(body)
    return Part(items, "")


def _age(kind: Kind, body: Object) -> list[str]:
    return [came(body) if kind == DEAD_LETTER else age(body), body["metadata"]["name"]]


def _token(wanted: Wanted, *place: str) -> str:
    return base64.urlsafe_b64encode(json.dumps([wanted.sort, *place]).encode()).decode().rstrip("=")


def _place(wanted: Wanted) -> list[str]:
    """Return the place that a token tells: of the API server's own in the order of names, an object's otherwise."""
    if not wanted.after:
        return []
    sort, place = "", list[str]()
    with suppress(ValueError, TypeError, RecursionError):
        sort, *place = json.loads(base64.urlsafe_b64decode(wanted.after + "=" * (-len(wanted.after) % 4)))
    sound = sort == wanted.sort and len(place) == (1 if sort == "name" else 2)
    if not sound or not all(isinstance(word, str) and word for word in place):
        raise Refused.because("query/continue", "no page of this list, in this order, has said that")
    return place
