"""The table: what was measured, as Markdown, and which goals are met."""

from bench.figures import Figure, Values, measured, ratio, verdict
from bench.plan import BY_KEY, GROUPS, Goal, Row

TITLES = {
    "speed": "Source to first answer",
    "at_once": "Many at once",
    "cold": "From zero",
    "acks": "Acknowledged",
    "growth": "Functions present",
}
DIGITS = {"s": 2, "ms": 1, "/s": 1, "MiB": 0, "share": 2}
HEAD = "| what | measured | least to most | × | of | goal | met |\n|---|---|---|---|---|---|---|"
WORDS = {True: "yes", False: "**no**", None: ""}


def render(values: Values) -> str:
    """Return one table with a line for every row that was measured, and the sum of the goals below it."""
    rows = measured(values)
    lines = [HEAD]
    for group in GROUPS:
        mine = [row for row in rows if row.group == group]
        if mine:
            lines.append(f"| **{TITLES[group]}** | | | | | | |")
        lines += [_line(values, row) for row in mine]
    return "\n".join([*lines, "", _sum(values, rows)])


def _line(values: Values, row: Row) -> str:
    figure, times = Figure.of(values[row.key].values()), ratio(values, row.key, row.floor)
    spread = f"{number(figure.least, row.unit)} to {number(figure.most, row.unit)}"
    ratios = "" if times is None else f"{times.median:.2f} ({times.least:.2f} to {times.most:.2f})"
    of = "" if times is None else short(BY_KEY[row.floor])
    met = WORDS[verdict(values, row)]
    cells = (row.text, f"{number(figure.median, row.unit)} {row.unit}", spread, ratios, of, goal(row), met)
    return f"| {' | '.join(cells)} |"


def _sum(values: Values, rows: list[Row]) -> str:
    verdicts = [(row, verdict(values, row)) for row in rows]
    missed = [row.text for row, met in verdicts if met is False]
    met = sum(found is True for _, found in verdicts)
    told = f"Goals met: {met} of {met + len(missed)}."
    return f"{told} Not met: {'; '.join(missed)}." if missed else told


def number(value: float, unit: str) -> str:
    """Return a value as it is read: no more digits than it is worth."""
    return f"{value:,.{DIGITS.get(unit, 0)}f}"


def short(row: Row) -> str:
    """Return what a ratio is to, in a word or two."""
    if row.text.startswith("floor:"):
        return "floor"
    if row.group == "growth":
        return f"at {int(row.key.rpartition('_')[2]):,}"
    return row.text.partition(",")[0].partition(":")[0]


def goal(row: Row) -> str:
    """Return a row's goal as it is read."""
    if row.goal is None:
        return ""
    sign = "<" if row.goal.below else "≥" if row.goal.at_least else "≤"
    if row.goal.against:
        return f"{sign} {_multiple(row.goal)}{short(BY_KEY[row.goal.against])}"
    return f"{sign} {row.goal.limit:g} {row.unit}"


def _multiple(found: Goal) -> str:
    return f"{found.limit:g} × " if found.limit != 1 else ""
