"""Every row that is measured, what it is compared with, and the goals: the one place that knows them.

A key is `<group>.<what>`; the parts that measure yield values under these keys, everything else reads this table.
"""

from collections.abc import Iterable
from dataclasses import dataclass

AT_ONCE = (1, 5, 20)
SIZES = (1, 100, 1000, 5000)
FLAT = 1.5
"""A cost at 5,000 records is called flat up to so many times of the same at one."""


@dataclass(frozen=True)
class Goal:
    """At most, or at least, so much: of the value itself, or of its ratio to another row."""

    limit: float
    against: str = ""
    """The row whose multiple it is; none: the value itself, in the row's unit."""
    at_least: bool = False
    below: bool = False
    """Whether the limit itself is too much: to be faster than something."""

    def is_met(self, value: float) -> bool:
        """Say whether a median, or the ratio of medians, is as it should be."""
        if self.below:
            return value < self.limit
        return value >= self.limit if self.at_least else value <= self.limit


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    text: str
    unit: str = "s"
    floor: str = ""
    """The row that its ratio is to."""
    goal: Goal | None = None
    needs: tuple[str, ...] = ()
    """Rows that are measured before it in the same round: a change needs something to change."""

    @property
    def group(self) -> str:
        """The part of the run that measures it."""
        return self.key.partition(".")[0]


SPEED = (
    Row("speed.floor_new", "floor: append a layer, apply a new Service"),
    Row("speed.floor_change", "floor: append a layer, apply the same Service", needs=("speed.floor_new",)),
    Row("speed.hand_code", "by hand: Kaniko Job of code alone, new Service", floor="speed.floor_new"),
    Row("speed.hand_dependencies", "by hand: Kaniko Job with a dependency, new Service", floor="speed.floor_new"),
    Row("speed.func", "func deploy, host builder, a change of Go code", floor="speed.floor_change"),
    Row("speed.first", "first build, code alone", floor="speed.floor_new"),
    Row(
        "speed.change",
        "code change",
        floor="speed.floor_change",
        goal=Goal(1.25, "speed.floor_change"),
        needs=("speed.first",),
    ),
    Row("speed.api_read", "floor: one object read from the API server", "ms", needs=("speed.first",)),
    Row(
        "speed.unchanged",
        "same source again, until it is acknowledged",
        "ms",
        floor="speed.api_read",
        goal=Goal(10, "speed.api_read"),
        needs=("speed.first",),
    ),
    Row(
        "speed.unchanged_jobs",
        "same source again: Builds and Jobs made",
        "made",
        goal=Goal(0),
        needs=("speed.unchanged",),
    ),
    Row(
        "speed.first_dependencies",
        "first build, with a dependency",
        floor="speed.floor_new",
        goal=Goal(1, "speed.hand_dependencies", below=True),
    ),
    Row(
        "speed.dependency_change",
        "dependency change",
        floor="speed.floor_change",
        needs=("speed.first_dependencies",),
    ),
    Row("speed.dockerfile", "first build of a Dockerfile", floor="speed.floor_new"),
)


def _at_once() -> Iterable[Row]:
    goals = {1: Goal(1.25, "at_once.floor_1"), 20: Goal(1.5, "at_once.floor_20")}
    for n in AT_ONCE:
        many = f"{n} at once" if n > 1 else "1 alone"
        yield Row(f"at_once.floor_{n}", f"floor: changed Services, {many}, until all answer")
        yield Row(
            f"at_once.ours_{n}", f"code changes, {many}, until all answer", "s", f"at_once.floor_{n}", goals.get(n)
        )


COLD = (
    Row("cold.nothing", "floor: from zero to the answer of a function that imports nothing"),
    Row(
        "cold.receiver",
        "receiver from zero to a build.start's 2xx, its Build there to read",
        floor="cold.nothing",
        goal=Goal(1.5, "cold.nothing"),
    ),
    Row("cold.memory_start", "memory of the receiver's processes, after start", "MiB", goal=Goal(70)),
    Row("cold.memory_1000", "memory of the receiver's processes, after 1,000 events", "MiB", goal=Goal(120)),
)

SIDES = (("jobsink", "JobSink"), ("ours", "build.start"))


def _acks() -> Iterable[Row]:
    for side, name in SIDES:
        rate = Goal(100, at_least=True) if side == "ours" else None
        floor = "acks.jobsink_" if side == "ours" else ""
        yield Row(
            f"acks.{side}_rate", f"{name}, 10 at once, each a Job: acknowledged", "/s", floor and f"{floor}rate", rate
        )
        for percent in (50, 95, 99):
            goal = Goal(100) if side == "ours" and percent == 99 else None
            key, text = f"p{percent}", f"{name}, 10 at once, each a Job: p{percent}"
            yield Row(f"acks.{side}_{key}", text, "ms", floor and f"{floor}{key}", goal)
        yield Row(f"acks.{side}_jobs", f"{name}: Jobs there a moment after, of the events", "share")


COSTS = (
    ("event", "build.start of the same source", "ms"),
    ("change", "build.start of new code, its image pushed", "ms"),
    ("page", "list, the first page of 500", "ms"),
    ("list", "list, all pages", "ms"),
    ("sweep", "sweep", "ms"),
    ("requests", "sweep, requests to the API server", "requests"),
)


def _growth() -> Iterable[Row]:
    for cost, text, unit in COSTS:
        base = 1000 if cost == "page" else 1
        for size in SIZES:
            last = size == SIZES[-1]
            floor = f"growth.{cost}_{base}" if size > base else ""
            goal = None
            if last and cost in ("event", "change", "page"):
                goal = Goal(FLAT, floor)
            elif last and cost == "requests":
                goal = Goal(size / 25)  # pages of 500, of several kinds: far from one request for each
            needs = (f"growth.sweep_{size}",) if cost == "requests" else ()
            yield Row(f"growth.{cost}_{size}", f"{text}, {size:,} functions there", unit, floor, goal, needs)


ROWS: tuple[Row, ...] = (*SPEED, *_at_once(), *COLD, *_acks(), *_growth())
GROUPS = tuple(dict.fromkeys(row.group for row in ROWS))
BY_KEY = {row.key: row for row in ROWS}


def choose(only: str) -> frozenset[str]:
    """Return the keys of the rows that these words choose, with all that they are compared with or need.

    Words are groups or beginnings of keys, with commas between them; none chooses every row. Raises `ValueError` for a
    word that chooses nothing.
    """
    words = [word.strip() for word in only.split(",") if word.strip()]
    chosen = {row.key for row in ROWS} if not words else set()
    for word in words:
        found = {row.key for row in ROWS if row.key.startswith(word)}
        if not found:
            raise ValueError(f"no row begins with {word}; the groups are {', '.join(GROUPS)}")
        chosen |= found
    todo = list(chosen)
    while todo:
        row = BY_KEY[todo.pop()]
        more = {*row.needs, row.floor, row.goal.against if row.goal else ""} - {""} - chosen
        chosen |= more
        todo += more
    return frozenset(chosen)
