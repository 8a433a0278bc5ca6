"""The parts of a run in their order, and what becomes of one that fails: the others still have their turn."""

import contextlib
import subprocess
from collections.abc import Generator, Mapping
from typing import Protocol

from bench.acks import acks
from bench.at_once import at_once
from bench.calls import NoAnswer
from bench.cold import cold
from bench.growth import growth
from bench.place import Place
from bench.plan import BY_KEY
from bench.rounds import Chosen, Measured
from bench.speed import speed
from bench.table import TITLES

from knative_lambda.schemas.errors import ProductError


class Part(Protocol):
    """Measures the rows of one group."""

    def __call__(self, place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
        """Yield what was measured; take away what it made when it is closed, however that comes."""


PARTS: Mapping[str, Part] = {"speed": speed, "at_once": at_once, "cold": cold, "acks": acks, "growth": growth}
"""By the group of the plan, in the order in which they are measured."""


def measure(
    parts: Mapping[str, Part], place: Place, runs: int, chosen: Chosen, values: dict[str, dict[int, float]]
) -> None:
    """Put what is measured of the chosen rows into `values`, by the key of the row and the number of the round.

    Whoever stops it finds there what was measured until then.
    """
    for group, part in parts.items():
        mine = frozenset(key for key in chosen if BY_KEY[key].group == group)
        if not mine:
            continue
        place.say(f"==> {TITLES[group]}")
        try:
            with contextlib.closing(part(place, runs, mine)) as found:
                for one in found:
                    values.setdefault(one.key, {})[one.round] = one.value
        except (NoAnswer, ProductError, subprocess.CalledProcessError) as error:
            place.say(f"{TITLES[group]} goes no further: {error}")
        place.until_clear()
