"""Source to first answer: the floor, by hand, `func` and the product, one after the other in every round."""

import contextlib
import os
import time
from collections.abc import Callable, Generator
from functools import partial
from statistics import median

from bench.by_hand import ByHand
from bench.calls import Line
from bench.floor import floor
from bench.func import Func
from bench.index import MODULE, Index
from bench.place import BUILDS, TENANT, Place, code, fresh
from bench.rounds import Chosen, Measured, attempt

from knative_lambda.deploy.cluster import BUILD, FUNCTION, JOB
from knative_lambda.schemas import types

ASKED = 20
"""How often what takes milliseconds is asked in a round."""
IMPORT = f"import {MODULE}\n\n\n"


def speed(place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
    """Yield every row of the group, round by round."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(place.warm())
        index = stack.enter_context(Index())
        hand = stack.enter_context(contextlib.closing(ByHand()))
        stack.callback(place.clear)
        func = _func(place, stack) if "speed.func" in chosen else None
        for number in range(1, runs + 1):
            steps = _Round(place, hand, index, func).steps()
            for key, step in steps.items():
                if key in chosen:
                    yield from attempt(place, number, key, step)
            place.clear()
            place.until_clear(30)


def _func(place: Place, stack: contextlib.ExitStack) -> Func | None:
    program = os.environ.get("FUNC", "")
    if not program:
        place.say("func is not measured: FUNC=path names the program")
        return None
    func = stack.enter_context(contextlib.closing(Func(program, "func-go")))
    place.first_answer("func-go", "first", partial(func.put, "first"))
    return func


class _Round:
    """One round: functions of names that were never used, so that nothing of the round before helps."""

    def __init__(self, place: Place, hand: ByHand, index: Index, func: Func | None) -> None:
        self.place, self.hand, self.index, self.func = place, hand, index, func
        self.word = fresh()
        self.base = os.environ["PYTHON_RUNTIME"]
        self.files: dict[str, str] = {}
        """The source that the function of code alone has now."""

    def steps(self) -> dict[str, Callable[[], float | dict[str, float] | None]]:
        """Return what is measured, in its order, by the key of its row."""
        return {
            "speed.floor_new": partial(self.floor, "one"),
            "speed.floor_change": partial(self.floor, "two"),
            "speed.hand_code": partial(self.by_hand, "hand", self.dockerfile()),
            "speed.hand_dependencies": self.by_hand_with_dependency,
            "speed.func": self.with_func,
            "speed.first": partial(self.ours, "one"),
            "speed.change": partial(self.ours, "two"),
            "speed.api_read": self.api_read,
            "speed.unchanged": self.unchanged,
            "speed.first_dependencies": partial(self.with_dependency, "one"),
            "speed.dependency_change": partial(self.with_dependency, "two"),
            "speed.dockerfile": self.from_dockerfile,
        }

    def floor(self, version: str) -> float:
        name = f"floor-{self.word}"
        return self.place.first_answer(name, version, partial(floor, os.environ["REGISTRY"], self.base, name, version))

    def by_hand(self, kind: str, files: dict[str, str]) -> float:
        name = f"{kind}-{self.word}"
        return self.place.first_answer(name, "one", partial(self.hand.put, name, files))

    def by_hand_with_dependency(self) -> float:
        install = "python3 -m pip install --no-cache-dir --disable-pip-version-check --no-input --target /dependencies"
        dockerfile = (
            f"FROM {self.base}\nUSER 0:0\nCOPY function/requirements.txt /dependencies/\n"
            f"RUN {install} --requirement /dependencies/requirements.txt\nUSER 65532:65532\nCOPY function/ /function/\n"
        )
        files = {
            "Dockerfile": dockerfile,
            "function/main.py": code("one", IMPORT),
            "function/requirements.txt": self.index.requirements(),
        }
        return self.by_hand("handdep", files)

    def with_func(self) -> float | None:
        version = f"v{self.word}"
        func = self.func
        return func and self.place.first_answer("func-go", version, partial(func.put, version))

    def ours(self, version: str) -> float:
        self.files = {"main.py": code(version)}
        return self._start(f"ours-{self.word}", version, runtime="python", source={"inline": self.files})

    def with_dependency(self, version: str) -> float:
        files = {"main.py": code(version, IMPORT), "requirements.txt": self.index.requirements()}
        return self._start(f"oursdep-{self.word}", version, runtime="python", source={"inline": files})

    def from_dockerfile(self) -> float:
        source = {"inline": self.dockerfile()}
        return self._start(f"oursdocker-{self.word}", "one", runtime="dockerfile", source=source)

    def dockerfile(self) -> dict[str, str]:
        """Return code alone with the Dockerfile that a person would write for it."""
        return {"Dockerfile": f"FROM {self.base}\nCOPY function/ /function/\n", "function/main.py": code("one")}

    def _start(self, name: str, version: str, **data: object) -> float:
        return self.place.first_answer(name, version, partial(self.place.start, name, **data))

    def api_read(self) -> float:
        """Return the milliseconds of reading the Function from the API server."""
        return median(_milliseconds(partial(self.place.cluster.get, FUNCTION, TENANT, f"ours-{self.word}")))

    def unchanged(self) -> dict[str, float]:
        """Return the milliseconds until the same source is acknowledged, and how many Builds and Jobs came of it."""
        name = f"ours-{self.word}"
        data = {"tenant": TENANT, "name": name, "runtime": "python", "source": {"inline": self.files}}
        before = self.made()
        with self.place.receiver() as line:
            took = median(_milliseconds(partial(_acknowledge, line, data)))
        return {"speed.unchanged": took, "speed.unchanged_jobs": self.made() - before}

    def made(self) -> int:
        """Return how many Builds and Jobs there are."""
        return len(self.place.cluster.heads(BUILD, TENANT)) + len(self.place.cluster.heads(JOB, BUILDS))


def _milliseconds(what: Callable[[], object]) -> list[float]:
    found = []
    for _ in range(ASKED):
        start = time.perf_counter()
        what()
        found.append((time.perf_counter() - start) * 1000)
    return found


def _acknowledge(line: Line, data: object) -> None:
    status, body = line.post("/", types.BUILD_START, data)
    if status != 202:
        raise RuntimeError(f"the receiver answers {status}: {body[:200]!r}")
