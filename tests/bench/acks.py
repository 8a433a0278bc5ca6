"""How fast build.start events are acknowledged, each making its record and its Job, beside JobSink making its Jobs.

A closed loop of ten senders: each sends the next event when the last was acknowledged. No Pod runs meanwhile, on either
side, so that what is measured is the acknowledging.
"""

import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from bench.calls import Line, NoAnswer
from bench.figures import percentile
from bench.jobsink import JobSink
from bench.place import BUILDS, HAND, TENANT, Place, code, fresh
from bench.rounds import Chosen, Measured, attempt

from knative_lambda.deploy.cluster import JOB
from knative_lambda.schemas import types

SENDERS = 10
MOST, SECONDS = 300, 10.0
"""A side's turn ends after so many events, or seconds."""

Open = Callable[[], Line]
Send = Callable[[Line, str], tuple[int, bytes]]


def acks(place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
    """Yield every row of the group, round by round."""
    wanted = {key.split(".")[1].partition("_")[0] for key in chosen if key.startswith("acks.")}
    with place.warm():
        try:
            with place.no_pods(BUILDS, HAND), JobSink(place) as sink:
                sides = {
                    "jobsink": (sink.line, sink.send, HAND),
                    "ours": (place.receiver, _start, BUILDS),
                }
                for number in range(1, runs + 1):
                    for side, (line, send, namespace) in sides.items():
                        if side in wanted:
                            step = partial(_turn, place, side, line, send, namespace)
                            yield from attempt(place, number, f"acks.{side}_rate", step)
                            _settle(place)
        finally:
            place.clear()


def _turn(place: Place, side: str, line: Open, send: Send, namespace: str) -> dict[str, float]:
    before = len(place.cluster.heads(JOB, namespace))
    took, seconds = flood(line, send)
    time.sleep(1)
    jobs = len(place.cluster.heads(JOB, namespace)) - before
    place.say(f"{len(took)} events in {seconds:.1f} s, {jobs} Jobs")
    values = {f"p{percent}": percentile(took, percent) * 1000 for percent in (50, 95, 99)}
    values |= {"rate": len(took) / seconds, "jobs": jobs / len(took)}
    return {f"acks.{side}_{key}": value for key, value in values.items()}


def flood(line: Open, send: Send, most: int = MOST, seconds: float = SECONDS) -> tuple[list[float], float]:
    """Send until there were so many, or so long; return the seconds that each took, and all together.

    Raises `NoAnswer` for one that is not acknowledged with a 2xx.
    """
    start = time.monotonic()

    def sender(number: int) -> list[float]:
        took = []
        with line() as mine:
            for n in range(number, most, SENDERS):
                began = time.monotonic()
                if began > start + seconds:
                    break
                status, body = send(mine, f"ack-{fresh()}-{n}")
                if not 200 <= status < 300:
                    raise NoAnswer(f"answered {status}: {body[:200]!r}")
                took.append(time.monotonic() - began)
        return took

    with ThreadPoolExecutor(SENDERS) as threads:
        all_took = [one for took in threads.map(sender, range(SENDERS)) for one in took]
    return all_took, time.monotonic() - start


def _start(line: Line, name: str) -> tuple[int, bytes]:
    files = {"main.py": code(name)}
    data = {"tenant": TENANT, "name": name, "runtime": "python", "source": {"inline": files}, "builder": "kaniko"}
    return line.post("/", types.BUILD_START, data)


def _settle(place: Place) -> None:
    """Take away what a turn has made, and let what that brings about pass."""
    place.clear()
    time.sleep(5)
