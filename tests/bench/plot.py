"""The pictures: what was measured, each readable at a glance, as PNG and SVG. Matplotlib is imported here alone."""

import math
import statistics
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from bench.figures import Figure, Values, measured, ratio, verdict
from bench.plan import AT_ONCE, BY_KEY, COSTS, FLAT, SIZES, Row
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

OURS, OTHERS, GOAL, GOOD, BAD = "#1f6fb4", "#8a8a8a", "#d9822b", "#2e8b57", "#c0392b"
STYLE = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlesize": 12,
    "svg.hashsalt": "bench",
    "figure.constrained_layout.use": True,
}
TICKS = tuple(n * 10.0**power for power in range(-3, 6) for n in (1, 2, 5))
LINE_HEIGHT = 0.06
"""Of a line of text, as a share of its axes."""
SPEED = {
    "speed.hand_code": "by hand, Kaniko",
    "speed.hand_dependencies": "by hand, Kaniko,\nwith a dependency",
    "speed.func": "func deploy (Go)",
    "speed.change": "code change",
    "speed.first": "first build",
    "speed.dependency_change": "dependency change",
    "speed.first_dependencies": "first build,\nwith a dependency",
    "speed.dockerfile": "Dockerfile",
}
GOALS = {
    "speed.change": "code change",
    "speed.unchanged": "same source again",
    "speed.first_dependencies": "first build, with a dependency",
    "at_once.ours_1": "1 code change",
    "at_once.ours_20": "20 code changes at once",
    "cold.receiver": "receiver from zero",
    "cold.memory_start": "memory after start",
    "cold.memory_1000": "memory after 1,000 events",
    "acks.ours_rate": "events acknowledged per second",
    "acks.ours_p99": "p99 of acknowledging",
    "growth.event_5000": "event, 5,000 functions there",
    "growth.change_5000": "new code, 5,000 functions there",
    "growth.page_5000": "page of a list, 5,000 functions there",
    "growth.requests_5000": "requests of a sweep, 5,000 there",
}


def draw(values: Values, out: Path) -> list[tuple[str, str]]:
    """Draw what there are values for; return for each picture its file, without the end, and what it shows."""
    pictures: tuple[tuple[str, str, Callable[[Values], Picture | None]], ...] = (
        ("goals", "What is measured, as a multiple of its goal", goals),
        ("speed", "Source to first answer, as multiples of the floor", speed),
        ("at_once", "1, 5 and 20 code changes at once, beside the floor", at_once),
        ("acks", "Events acknowledged, beside Knative's JobSink", acks),
        ("growth", "What an event, a list and a sweep cost as functions come to be", growth),
    )
    drawn = []
    with mpl.rc_context(STYLE):
        for name, what, picture in pictures:
            found = picture(values)
            if found is None:
                continue
            for kind, metadata in (("png", {"Software": None}), ("svg", {"Date": None})):
                found.savefig(out / f"{name}.{kind}", dpi=150, metadata=metadata)
            plt.close(found)
            drawn.append((name, what))
    return drawn


def goals(values: Values) -> Picture | None:
    """Draw every goal that was measured: how far the median is from it."""
    rows = [row for row in measured(values) if verdict(values, row) is not None and row.key in GOALS]
    if not rows:
        return None
    picture, axes = plt.subplots(figsize=(9, 1.6 + 0.36 * len(rows)))
    for y, row in enumerate(reversed(rows)):
        share = of_goal(values, row)
        colour = GOOD if verdict(values, row) else BAD
        axes.plot([1, share.median], [y, y], color=colour, linewidth=1.2, zorder=2)
        _point(axes, share, y, colour)
        _beside(axes, max(share.most, 1), y, f"{share.median:.2f}", colour)
    axes.axvline(1, color=GOAL, linewidth=1.5, zorder=1)
    axes.set_yticks(range(len(rows)), [GOALS[row.key] for row in reversed(rows)])
    axes.set_title("Goals: left of the line is met (median, least to most)")
    axes.set_xlabel("multiple of the goal")
    _ratios(axes, axes.set_xscale, axes.xaxis)
    axes.margins(x=0.12)
    return picture


def of_goal(values: Values, row: Row) -> Figure:
    """Return a row as multiples of its goal, turned round where more is better; one line is met for all."""
    if row.goal is None:
        raise ValueError(row.key)
    if row.goal.against:
        found = ratio(values, row.key, row.goal.against) or Figure(0, 0, 0)
    else:
        found = Figure.of(values[row.key].values())
    limit = row.goal.limit
    if row.goal.at_least:
        return Figure(limit / found.median, limit / found.most, limit / found.least)
    return Figure(found.median / limit, found.least / limit, found.most / limit)


def speed(values: Values) -> Picture | None:
    """Draw the ratios to the floor, and the goals."""
    rows = [(key, text) for key, text in SPEED.items() if ratio(values, key, BY_KEY[key].floor)]
    if not rows:
        return None
    picture, axes = plt.subplots(figsize=(9, 1.6 + 0.5 * len(rows)))
    labelled = False
    for y, (key, _) in enumerate(reversed(rows)):
        row = BY_KEY[key]
        found = ratio(values, key, row.floor)
        if found is None:
            continue
        colour = OTHERS if "hand" in key or "func" in key else OURS
        axes.barh(y, found.median, height=0.5, color=colour, alpha=0.35, zorder=1)
        _point(axes, found, y, colour)
        seconds = statistics.median(values[key].values())
        limit = _limit(values, row)
        _beside(axes, max(found.most, limit or 0), y, f"{found.median:.2f} ×   {seconds:.1f} s")
        if limit is not None:
            label = None if labelled else "goal: no further than this"
            axes.plot([limit, limit], [y - 0.36, y + 0.36], color=GOAL, linewidth=3, label=label, zorder=4)
            labelled = True
    axes.axvline(
        1, color="black", linewidth=1, linestyle="--", zorder=3, label="the floor: crane append, kubectl apply"
    )
    axes.set_yticks(range(len(rows)), [text for _, text in reversed(rows)])
    axes.set_xlim(0, axes.get_xlim()[1] * 1.18)
    axes.set_xlabel("multiple of the floor (median of the rounds, least to most)")
    axes.set_title("Source to first answer")
    axes.legend(
        loc="lower center", bbox_to_anchor=(0.5, -0.02 - 1.05 / (1.6 + 0.5 * len(rows))), ncols=2, frameon=False
    )
    return picture


def _limit(values: Values, row: Row) -> float | None:
    """Return where a row's goal lies on the axis of its floor."""
    if row.goal is None:
        return None
    if row.goal.against == row.floor:
        return row.goal.limit
    found = ratio(values, row.goal.against, row.floor)
    return found and found.median * row.goal.limit


def at_once(values: Values) -> Picture | None:
    """Draw seconds over how many at once, of the floor and of the product, with the goals."""
    numbers = [n for n in AT_ONCE if values.get(f"at_once.ours_{n}") and values.get(f"at_once.floor_{n}")]
    if not numbers:
        return None
    picture, axes = plt.subplots(figsize=(8, 4.2))
    for side, colour, shift, name in (("floor", OTHERS, -0.17, "floor"), ("ours", OURS, 0.17, "product")):
        for x, n in enumerate(numbers):
            found = Figure.of(values[f"at_once.{side}_{n}"].values())
            label = name if x == 0 else None
            axes.bar(x + shift, found.median, width=0.3, color=colour, alpha=0.45, label=label)
            spread = [[found.median - found.least], [found.most - found.median]]
            axes.errorbar(x + shift, found.median, spread, color=colour, fmt="o", capsize=4)
    labelled = False
    top = max(max(values[f"at_once.{side}_{n}"].values()) for n in numbers for side in ("floor", "ours"))
    for x, n in enumerate(numbers):
        row = BY_KEY[f"at_once.ours_{n}"]
        times = ratio(values, row.key, row.floor)
        highest = max(values[row.key].values())
        if row.goal:
            level = row.goal.limit * statistics.median(values[row.floor].values())
            label = None if labelled else "goal"
            axes.plot([x + 0.0, x + 0.34], [level, level], color=GOAL, linewidth=3, label=label)
            labelled, highest = True, max(highest, level)
        if times:
            axes.annotate(
                f"{times.median:.2f} ×", (x + 0.17, highest + 0.03 * top), ha="center", va="bottom", color=OURS
            )
    axes.set_xticks(range(len(numbers)), [f"{n} at once" if n > 1 else "1" for n in numbers])
    axes.set_ylim(0, top * 1.25)
    axes.set_ylabel("seconds until all answer")
    axes.set_title("Code changes at once (median, least to most; × the floor)")
    axes.legend(loc="upper left", frameon=False)
    return picture


def acks(values: Values) -> Picture | None:
    """Draw rate and latency of both sides, with the goals."""
    sides = [
        (side, name) for side, name in (("jobsink", "JobSink"), ("ours", "product")) if values.get(f"acks.{side}_rate")
    ]
    if not sides:
        return None
    picture, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for y, (side, _) in enumerate(sides):
        found = Figure.of(values[f"acks.{side}_rate"].values())
        colour = OURS if side == "ours" else OTHERS
        left.barh(y, found.median, height=0.45, color=colour, alpha=0.35)
        _point(left, found, y, colour)
        _beside(left, found.most, y, f"{found.median:.3g}/s")
    left.axvline(100, color=GOAL, linewidth=2, label="goal: at least")
    left.set_yticks(range(len(sides)), [name for _, name in sides])
    left.set_title("Acknowledged per second")
    left.set_xlabel("events per second, 10 at once")
    _ratios(left, left.set_xscale, left.xaxis)
    left.set_xlim(1, 1000)
    left.legend(loc="lower center", bbox_to_anchor=(0.5, -0.36), frameon=False)
    lines = [(side, name, f"p{percent}") for side, name in sides for percent in (99, 95, 50)]
    for y, (side, _, key) in enumerate(lines):
        found = Figure.of(values[f"acks.{side}_{key}"].values())
        _point(right, found, y, OURS if side == "ours" else OTHERS)
        _beside(right, found.most, y, f"{found.median:,.0f} ms")
    mine = [y for y, (side, _, _) in enumerate(lines) if side == "ours"]
    if mine:
        right.plot([100, 100], [mine[0] - 0.4, mine[0] + 0.4], color=GOAL, linewidth=3, label="goal of p99: at most")
        right.legend(loc="lower center", bbox_to_anchor=(0.5, -0.36), frameon=False)
    right.set_yticks(range(len(lines)), [f"{name}, {key}" for _, name, key in lines])
    right.set_title("Until the acknowledgement")
    right.set_xlabel("milliseconds, 10 at once")
    _ratios(right, right.set_xscale, right.xaxis)
    right.margins(x=0.25)
    return picture


def growth(values: Values) -> Picture | None:
    """Draw each cost over the number of functions, as multiples of what it is with few."""
    lines = {cost: [n for n in SIZES if values.get(f"growth.{cost}_{n}")] for cost, _, _ in COSTS}
    if not any(len(sizes) > 1 for sizes in lines.values()):
        return None
    names = {
        "event": "event, same source",
        "change": "event, new code",
        "page": "list, a page (× at 1,000)",
        "list": "list, all pages",
        "sweep": "sweep, time",
        "requests": "sweep, requests",
    }
    colours = ("#1f6fb4", "#7fb3d9", "#2e8b57", "#9acd7f", "#8e44ad", "#c39bd3")
    picture, axes = plt.subplots(figsize=(9, 4.8))
    ends = []
    for (cost, sizes), colour in zip(lines.items(), colours, strict=True):
        kept = [n for n in sizes if cost != "page" or n >= 1000]
        if len(kept) < 2:
            continue
        base = f"growth.{cost}_{kept[0]}"
        found = [ratio(values, f"growth.{cost}_{n}", base) or Figure(1, 1, 1) for n in kept]
        spread = [[one.median - one.least for one in found], [one.most - one.median for one in found]]
        axes.errorbar(kept, [one.median for one in found], spread, color=colour, marker="o", capsize=3)
        unit = BY_KEY[base].unit
        last = statistics.median(values[f"growth.{cost}_{kept[-1]}"].values())
        shown = f"{last:,.0f}" if unit == "requests" else f"{last:,.0f} ms"
        ends.append((found[-1].median, f"{names[cost]}: {shown}", colour))
    axes.axhline(FLAT, color=GOAL, linewidth=1.5, linestyle="--")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(SIZES))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
    _ratios(axes, axes.set_yscale, axes.yaxis)
    axes.set_xlim(0.8, 6000)
    _label_ends(axes, [*ends, (FLAT, f"goal of events and pages: {FLAT:g} ×", GOAL)])
    axes.set_xlabel("functions there, as records")
    axes.set_ylabel("multiple of the cost with one")
    axes.set_title("Growth")
    return picture


def _label_ends(axes: Axes, ends: list[tuple[float, str, str]]) -> None:
    """Write each line's name at its end, moved as little as keeps it from the next."""
    low, high = axes.get_ylim()
    places = [math.log(value / low) / math.log(high / low) for value, _, _ in sorted(ends)]
    for _ in range(200):
        for lower in range(len(places) - 1):
            overlap = LINE_HEIGHT - (places[lower + 1] - places[lower])
            if overlap > 0:
                places[lower] -= overlap / 2
                places[lower + 1] += overlap / 2
    for place, (_, text, colour) in zip(places, sorted(ends), strict=True):
        axes.annotate(text, (1.01, place), xycoords="axes fraction", va="center", color=colour, annotation_clip=False)


def _point(axes: Axes, found: Figure, y: float, colour: str) -> None:
    spread = [[found.median - found.least], [found.most - found.median]]
    axes.errorbar(found.median, y, xerr=spread, color=colour, fmt="o", capsize=4, zorder=5)


def _beside(axes: Axes, x: float, y: float, text: str, colour: str = "black") -> None:
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}
    axes.annotate(text, (x, y), xytext=(9, 0), textcoords="offset points", va="center", color=colour, bbox=box)


def _ratios(axes: Axes, scale: Callable[[str], None], axis: object) -> None:
    """Give an axis the logarithm, with plain numbers on it."""
    scale("log")
    axis.set_major_locator(FixedLocator(TICKS))  # type: ignore[attr-defined]
    axis.set_minor_locator(NullLocator())  # type: ignore[attr-defined]
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
