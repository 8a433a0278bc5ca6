"""Threads that all ask for the same thing: one does it, one after it does it again, and nobody else stands in line."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from support.world import World

from knative_lambda.deploy.cluster import FUNCTION, LEASE, Kind
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler.converge import bring_forward, converge
from knative_lambda.handler.events import Event
from knative_lambda.handler.once import Once
from knative_lambda.handler.router import handle
from knative_lambda.handler.upkeep import queue
from knative_lambda.schemas import types


def test_whoever_asks_while_one_acts_is_served_by_one_more_act() -> None:
    once, began, release = Once(), threading.Semaphore(0), threading.Event()

    def act() -> None:
        began.release()
        release.wait()

    with ThreadPoolExecutor(10) as threads:
        first = threads.submit(once.do, "thing", act)
        began.acquire()
        others = [threads.submit(once.do, "thing", act) for _ in range(9)]
        while sum(other.done() for other in others) < 8:
            pass
        assert not first.done()
        once.do("another thing", lambda: None)  # waits for nobody
        release.set()
    assert began.acquire(blocking=False), "the one that waited acted too"
    assert not began.acquire(blocking=False), "and nobody else"


def test_what_fails_fails_for_the_one_who_acts_and_the_next_one_acts_anew() -> None:
    once, done = Once(), []
    with pytest.raises(ZeroDivisionError):
        once.do("thing", lambda: done.append(1 / 0))
    once.do("thing", lambda: done.append(2))
    assert done == [2]


def test_what_was_done_is_forgotten() -> None:
    """Names come from events, and anybody may send some: nothing is kept of them."""
    once = Once()
    for name in range(1000):
        once.do(name, lambda: None)
    assert not once._turns


class Slow:
    """A cluster whose first read of a kind waits until it is let go."""

    def __init__(self, below: MemoryCluster, method: str, kind: Kind) -> None:
        self._below, self._slow = below, (method, kind)
        self.began, self.release = threading.Event(), threading.Event()
        self.reads = 0

    def __getattr__(self, method: str) -> Any:
        found = getattr(self._below, method)

        def called(kind: Kind, *args: Any, **kwargs: Any) -> Any:
            if (method, kind) == self._slow:
                self.reads += 1
                self.began.set()
                self.release.wait()
            return found(kind, *args, **kwargs)

        return called


def _report(kind: str, namespace: str, name: str) -> Event:
    return Event(
        id="r", source="/tests", type=types.RESOURCE_UPDATED, data={"kind": kind, "namespace": namespace, "name": name}
    )


@pytest.mark.parametrize("what", ["converge", "report", "admit"])
def test_ten_hints_of_one_thing_are_followed_twice_at_most(world: World, what: str) -> None:
    world.live()
    method, kind = ("list", LEASE) if what == "admit" else ("get", FUNCTION)
    slow = Slow(world.cluster, method, kind)
    product = replace(world.product, workshop=replace(world.product.workshop, cluster=slow))
    slots = replace(product.workshop.slots, cluster=slow)
    product = replace(product, workshop=replace(product.workshop, slots=slots))

    def hint() -> None:
        if what == "converge":
            converge("acme", "hello", product)
        elif what == "report":
            handle(_report("Function", "acme", "hello"), product)
        else:
            queue.admit(product, bring_forward)

    slow.release.set()
    hint()
    alone, slow.reads = slow.reads, 0
    slow.began.clear()
    slow.release.clear()
    with ThreadPoolExecutor(10) as threads:
        hints: list[Future[None]] = [threads.submit(hint)]
        slow.began.wait()
        hints += [threads.submit(hint) for _ in range(9)]
        while sum(each.done() for each in hints) < 8:
            pass
        slow.release.set()
    assert all(each.exception() is None for each in hints)
    assert slow.reads == 2 * alone
