"""The plan has every row that is asked for, and the parts measure what it says."""

import inspect

import pytest
from bench import acks, at_once, cold, growth, speed
from bench.measure import PARTS
from bench.plan import AT_ONCE, BY_KEY, GROUPS, ROWS, SIZES, choose

ASKED = (
    "speed.floor_new",
    "speed.hand_code",
    "speed.func",
    "speed.unchanged",
    "speed.change",
    "speed.dependency_change",
    "speed.first",
    "speed.first_dependencies",
    "speed.dockerfile",
    *(f"at_once.{side}_{n}" for side in ("floor", "ours") for n in (1, 5, 20)),
    "cold.nothing",
    "cold.receiver",
    "cold.memory_start",
    "cold.memory_1000",
    *(f"acks.{side}_{what}" for side in ("ours", "jobsink") for what in ("rate", "p50", "p95", "p99")),
    *(f"growth.{cost}_{n}" for cost in ("event", "list", "sweep", "requests") for n in (1, 100, 1000, 5000)),
)


def test_every_row_that_was_asked_for_is_planned() -> None:
    assert [key for key in ASKED if key not in BY_KEY] == []


def test_keys_are_of_one_row_each_and_all_that_a_row_names_is_there() -> None:
    assert len(BY_KEY) == len(ROWS)
    named = {name for row in ROWS for name in (row.floor, row.goal.against if row.goal else "", *row.needs)}
    assert named - {""} <= BY_KEY.keys()


def test_each_group_has_the_part_that_measures_it() -> None:
    assert tuple(PARTS) == GROUPS


@pytest.mark.parametrize(
    ("part", "keys"),
    [
        (speed, {row.key for row in ROWS if row.group == "speed"}),
        (cold, {row.key for row in ROWS if row.group == "cold"}),
    ],
    ids=["speed", "cold"],
)
def test_a_part_names_every_row_of_its_group(part: object, keys: set[str]) -> None:
    """A row that is planned and never measured would be missed only in the end of a long run."""
    source = inspect.getsource(part)  # type: ignore[arg-type]
    assert [key for key in keys if f'"{key}"' not in source] == []


def test_the_parts_that_count_make_the_keys_of_the_plan() -> None:
    assert {f"at_once.{side}_{n}" for side in ("floor", "ours") for n in AT_ONCE} <= BY_KEY.keys()
    assert at_once.AT_ONCE is AT_ONCE
    costs = {cost for cost, _, _ in growth.COSTS}
    assert {f"growth.{cost}_{n}" for cost in costs for n in SIZES} <= BY_KEY.keys()
    assert acks.MOST >= 10 * acks.SENDERS, "a percentile of a handful is none"


def test_nothing_chosen_is_everything() -> None:
    assert choose("") == BY_KEY.keys()


def test_a_choice_brings_what_it_is_compared_with_and_what_it_changes() -> None:
    assert choose("speed.change") == {"speed.change", "speed.first", "speed.floor_change", "speed.floor_new"}


def test_what_one_step_measures_beside_another_row_brings_that_row() -> None:
    assert "growth.sweep_5000" in choose("growth.requests_5000")
    assert "speed.unchanged" in choose("speed.unchanged_jobs")


def test_a_choice_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="no row begins with velocity"):
        choose("speed,velocity")
