"""What the parts of a run yield, and how one that fails keeps the others from nothing."""

import time
from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from bench.calls import NoAnswer
from bench.plan import BY_KEY
from bench.table import number

from knative_lambda.schemas.errors import ProductError

Chosen = frozenset[str]
"""The keys of the rows that are wanted."""


class Measured(NamedTuple):
    """One value of one row, in its unit."""

    key: str
    round: int
    value: float


class Voice(Protocol):
    """Tells whoever waits what happens."""

    def say(self, text: str) -> None:
        """Tell a line."""


def attempt(
    voice: Voice, round_number: int, key: str, step: Callable[[], float | dict[str, float] | None]
) -> Iterator[Measured]:
    """Take a step of a round and yield what it measured: one value of its row, or of several; none where it failed."""
    start = time.monotonic()
    try:
        found = step()
    except (NoAnswer, ProductError) as error:
        voice.say(f"round {round_number}, {BY_KEY[key].text}: failed after {time.monotonic() - start:.0f} s: {error}")
        return
    values = found if isinstance(found, dict) else {} if found is None else {key: found}
    for each, value in values.items():
        row = BY_KEY[each]
        voice.say(f"round {round_number}, {row.text}: {number(value, row.unit)} {row.unit}")
        yield Measured(each, round_number, value)
