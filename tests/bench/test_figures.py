"""Medians, spreads, ratios and verdicts, and the table that they are told in."""

import pytest
from bench import page, table
from bench.figures import Figure, percentile, ratio, verdict
from bench.plan import BY_KEY


def rounds(*values: float) -> dict[int, float]:
    return dict(enumerate(values, 1))


def test_a_figure_is_the_median_with_the_least_and_the_most() -> None:
    assert Figure.of([3, 1, 8]) == Figure(3, 1, 8)


@pytest.mark.parametrize(("percent", "value"), [(50, 50), (95, 95), (99, 99), (100, 100)])
def test_a_percentile_is_the_value_that_so_many_do_not_exceed(percent: float, value: float) -> None:
    assert percentile(list(range(100, 0, -1)), percent) == value


def test_the_percentile_of_one_is_that_one() -> None:
    assert percentile([7], 99) == 7


def test_a_ratio_is_taken_round_by_round() -> None:
    """The second round met a busy machine: both sides did, and their ratio tells nothing of it."""
    values = {"speed.change": rounds(2, 40), "speed.floor_change": rounds(1, 20)}
    assert ratio(values, "speed.change", "speed.floor_change") == Figure(2, 2, 2)


def test_a_round_in_which_one_side_failed_makes_no_ratio() -> None:
    values = {"speed.change": {1: 2.0, 3: 9.0}, "speed.floor_change": {1: 1.0, 2: 5.0, 3: 3.0}}
    assert ratio(values, "speed.change", "speed.floor_change") == Figure(2.5, 2, 3)
    assert (
        ratio({"speed.change": {1: 2.0}, "speed.floor_change": {2: 1.0}}, "speed.change", "speed.floor_change") is None
    )


@pytest.mark.parametrize(
    ("key", "values", "is_met"),
    [
        ("speed.change", {"speed.change": rounds(1.25), "speed.floor_change": rounds(1)}, True),
        ("speed.change", {"speed.change": rounds(1.26), "speed.floor_change": rounds(1)}, False),
        ("speed.change", {"speed.change": rounds(1.26)}, None),
        ("speed.first", {"speed.first": rounds(1)}, None),
        (
            "speed.first_dependencies",
            {"speed.first_dependencies": rounds(5), "speed.hand_dependencies": rounds(5)},
            False,
        ),
        (
            "speed.first_dependencies",
            {"speed.first_dependencies": rounds(4), "speed.hand_dependencies": rounds(5)},
            True,
        ),
        ("acks.ours_rate", {"acks.ours_rate": rounds(99)}, False),
        ("acks.ours_rate", {"acks.ours_rate": rounds(101)}, True),
        ("cold.memory_start", {"cold.memory_start": rounds(70)}, True),
    ],
)
def test_a_goal_is_met_or_not_or_not_to_be_told(key: str, values: dict[str, dict[int, float]], is_met: object) -> None:
    assert verdict(values, BY_KEY[key]) is is_met


def test_the_table_tells_each_row_and_the_goals() -> None:
    values = {
        "speed.floor_new": rounds(2, 2.2, 2.1),
        "speed.floor_change": rounds(2, 2.5, 2),
        "speed.change": rounds(3, 2.5, 2.4),
    }
    lines = table.render(values).splitlines()
    assert "| code change | 2.50 s | 2.40 to 3.00 | 1.20 (1.00 to 1.50) | floor | ≤ 1.25 × floor | yes |" in lines
    assert lines[-1] == "Goals met: 1 of 1."


def test_the_table_names_what_is_not_met() -> None:
    assert table.render({"acks.ours_rate": rounds(50)}).endswith(
        "Not met: build.start, 10 at once, each a Job: acknowledged."
    )


def test_the_run_writes_between_the_marks_and_nowhere_else() -> None:
    before = f"# Page\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\n## By hand\n"
    assert page.replaced(before, "new") == before.replace("old", "new")
    assert page.replaced("no marks", "new") == "no marks"
