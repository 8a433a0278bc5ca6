"""Medians, their spread, and ratios: what becomes of the values that were measured."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bench.plan import BY_KEY, Row

Values = Mapping[str, Mapping[int, float]]
"""What was measured, by the key of its row and the number of its round."""


@dataclass(frozen=True)
class Figure:
    """A median, with the least and the most."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> "Figure":
        """Return the figure of one value at least."""
        found = list(values)
        return cls(statistics.median(found), min(found), max(found))


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that so many percent of all do not exceed (nearest rank)."""
    ordered = sorted(values)
    rank = max(1, -(-len(ordered) * percent // 100))
    return ordered[int(rank) - 1]


def ratio(values: Values, key: str, other: str) -> Figure | None:
    """Return how many times the other row a row is; None where the two were never measured in the same round.

    What one round measures side by side met the same machine, so that it is the rounds' ratios that are looked at.
    """
    ours, theirs = values.get(key, {}), values.get(other, {})
    ratios = [ours[n] / theirs[n] for n in ours if theirs.get(n, 0) > 0]
    return Figure.of(ratios) if ratios else None


def verdict(values: Values, row: Row) -> bool | None:
    """Say whether a row's goal is met; None where it has none, or was not measured."""
    if row.goal is None or not values.get(row.key):
        return None
    if not row.goal.against:
        return row.goal.is_met(Figure.of(values[row.key].values()).median)
    found = ratio(values, row.key, row.goal.against)
    return None if found is None else row.goal.is_met(found.median)


def measured(values: Values) -> list[Row]:
    """Return the rows that have values, in the order of the plan."""
    return [row for key, row in BY_KEY.items() if values.get(key)]
