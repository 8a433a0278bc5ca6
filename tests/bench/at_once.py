"""Many code changes at the same moment, until every one answers: the floor's, and the product's."""

import os
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from time import monotonic

from bench.floor import floor
from bench.place import Place, code, fresh
from bench.plan import AT_ONCE
from bench.rounds import Chosen, Measured, attempt

Put = Callable[[str, str], None]
"""Brings a version of a function: its name, the version."""


def at_once(place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
    """Yield every row of the group, round by round; the functions are made once and changed again and again."""
    registry, base = os.environ["REGISTRY"], os.environ["PYTHON_RUNTIME"]

    def ours(name: str, version: str) -> None:
        place.start(name, runtime="python", source={"inline": {"main.py": code(version)}})

    sides: dict[str, Put] = {"floor": partial(floor, registry, base), "ours": ours}
    numbers = [n for n in AT_ONCE if f"at_once.ours_{n}" in chosen or f"at_once.floor_{n}" in chosen]
    word = fresh()
    with place.warm():
        try:
            for side, put in sides.items():
                place.say(f"{max(numbers)} functions to be changed: {side}")
                for start in range(0, max(numbers), 5):
                    names = [f"{side}-{word}-{n}" for n in range(start, min(start + 5, max(numbers)))]
                    until_all(place, names, put)
            for number in range(1, runs + 1):
                for n in numbers:
                    for side, put in sides.items():
                        key = f"at_once.{side}_{n}"
                        names = [f"{side}-{word}-{each}" for each in range(n)]
                        if key in chosen:
                            yield from attempt(place, number, key, partial(until_all, place, names, put))
        finally:
            place.clear()


def until_all(place: Place, names: list[str], put: Put) -> float:
    """Bring a new version of each of these functions at once; return the seconds until the last of them answers."""
    version = fresh()
    start = monotonic()
    with ThreadPoolExecutor(len(names)) as threads:
        waits = [threads.submit(place.first_answer, name, version, partial(put, name, version)) for name in names]
        for wait in waits:
            wait.result()
    return monotonic() - start
