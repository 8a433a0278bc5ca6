"""Threads that all ask for the same thing: one does it, one after it does it again, and nobody else stands in line."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from knative_lambda.handler.once import Once


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
        release.set()
    assert began.acquire(blocking=False), "the one that waited acted too"
    assert not began.acquire(blocking=False), "and nobody else"


def test_what_fails_fails_for_the_one_who_acts_and_the_next_one_acts_anew() -> None:
    once, done = Once(), []
    with pytest.raises(ZeroDivisionError):
        once.do("thing", lambda: done.append(1 / 0))
    once.do("thing", lambda: done.append(2))
    assert done == [2]
