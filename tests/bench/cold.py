"""From zero: the receiver beside a function that imports nothing; and what the receiver's processes weigh.

Both are Knative Services with the same request for CPU, asked by their routes.
"""

import json
import os
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from bench.calls import NoAnswer, until_answer
from bench.floor import floor
from bench.place import PRODUCT, TENANT, Place, code, fresh, kubectl, within
from bench.rounds import Chosen, Measured, attempt
from support import machine

from knative_lambda.deploy.cluster import BUILD
from knative_lambda.schemas import names, types

EVENTS, AT_ONCE = 1000, 4
"""Events after which the receiver is weighed again, and how many at once: no more than one pod takes."""
REST = 2.0
"""Seconds after a start, for what it brings about beside its first answer."""
RECEIVER = ("receiver", PRODUCT)
MIB = 1024 * 1024
WINDOW = "15s"
"""As the receiver's: how long a Service stays up after its last event."""


def cold(place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
    """Yield every row of the group, round by round."""
    name = f"nothing-{fresh()}"
    try:
        with soon_at_zero():
            bring = partial(floor, os.environ["REGISTRY"], os.environ["PYTHON_RUNTIME"], name, "one", window=WINDOW)
            place.first_answer(name, "one", bring)
            for number in range(1, runs + 1):
                wait_for_zero(place, (name, TENANT), RECEIVER)
                yield from attempt(place, number, "cold.nothing", partial(nothing, place, name))
                time.sleep(REST)
                wait_for_zero(place, RECEIVER)
                start = f"cold-{fresh()}"
                yield from attempt(place, number, "cold.receiver", partial(receiver, place, start))
                time.sleep(REST)  # what starts beside the first answer is there too
                yield from attempt(place, number, "cold.memory_start", partial(weight, place))
                if "cold.memory_1000" in chosen:
                    yield from attempt(place, number, "cold.memory_1000", partial(weight_after, place, start))
    finally:
        place.clear()


def nothing(place: Place, name: str) -> float:
    """Return the seconds until the function answers."""
    start = time.monotonic()
    with place.line(name) as line:
        until_answer(line, "one")
    return time.monotonic() - start


def receiver(place: Place, name: str) -> float:
    """Return the seconds until a build.start is acknowledged and its Build can be read."""
    start = time.monotonic()
    with place.receiver() as line:
        status, body = line.post("/", types.BUILD_START, _data(name))
    if status != 202:
        raise NoAnswer(f"the receiver answers {status}: {body[:200]!r}")
    within(10, "the Build can be read", lambda: place.cluster.list(BUILD, TENANT, {names.FUNCTION_LABEL: name}), 0.01)
    return time.monotonic() - start


def weight(place: Place) -> float:
    """Return the MiB that the heaviest of the receiver's pods holds, all its processes together."""
    pods = machine.receivers(place.cluster).values()
    if not pods:
        raise NoAnswer("no receiver runs here to be weighed")
    return max(map(machine.weight, pods)) / MIB


def weight_after(place: Place, name: str) -> float:
    """Return the same after a thousand events: one source, sent again and again."""

    def send(number: int) -> None:
        with place.receiver() as line:
            for _ in range(number):
                if line.post("/", types.BUILD_START, _data(name))[0] != 202:
                    raise NoAnswer("the receiver did not acknowledge")

    place.say(f"{EVENTS} events, {AT_ONCE} at once")
    with ThreadPoolExecutor(AT_ONCE) as threads:
        list(threads.map(send, [EVENTS // AT_ONCE] * AT_ONCE))
    return weight(place)


def wait_for_zero(place: Place, *services: tuple[str, str]) -> None:
    """Wait until none of these runs, by name and namespace."""
    place.say("waiting until nothing runs")
    within(180, "they are at zero", lambda: all(place.at_zero(*each) for each in services), 0.5)


def _data(name: str) -> dict[str, object]:
    return {"tenant": TENANT, "name": name, "runtime": "python", "source": {"inline": {"main.py": code("one")}}}


@contextmanager
def soon_at_zero() -> Iterator[None]:
    """Let Knative take the last Pod of a Service away sooner: no other time is changed by it."""
    place = ("configmap", "config-autoscaler", "-n", "knative-serving")
    key = "scale-to-zero-grace-period"
    before = json.loads(kubectl("get", *place, "-o", "json"))["data"].get(key)
    try:
        kubectl("patch", *place, "--type=merge", "-p", json.dumps({"data": {key: "6s"}}))
        yield
    finally:
        kubectl("patch", *place, "--type=merge", "-p", json.dumps({"data": {key: before}}))
