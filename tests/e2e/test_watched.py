"""A hundred watchers of a build on the real cluster, its receiver killed meanwhile: each line once, and no slower."""

import os
import time
import uuid
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import pytest
from support.callers import PRODUCT, Receiver, forget, inside, introduce, kubectl, token
from support.live import TENANT, Live, within

from knative_lambda.builds.jobs.diagnosis import EXECUTOR
from knative_lambda.client import stream
from knative_lambda.client.http import Answer, Http
from knative_lambda.deploy.cluster import BUILD, POD
from knative_lambda.schemas import names

WATCHERS, LINES = 100, 60
SLOWER = 15
"""Seconds that a watched build may take longer than one that nobody watches, on a machine that others use as well.

Most of what both take is sleep, so that a multiple of it would say nothing.
"""


@pytest.fixture(autouse=True)
def people(live: Live) -> Iterator[None]:
    introduce(live)
    yield
    forget(live)


def talkative(live: Live, name: str) -> dict[str, Any]:
    """Start a function whose build says a line every half second, and return its Build."""
    counting = f"for n in $(seq 1 {LINES}); do echo line-$n-of-{name}; sleep 0.5; done # {uuid.uuid4()}"
    dockerfile = f"FROM {os.environ['PYTHON_BASE']}\nRUN {counting}\nCMD python3 -m http.server 8080\n"
    live.start(name, runtime="dockerfile", source={"inline": {"Dockerfile": dockerfile}})
    [build] = within(60, "there is a Build", lambda: live.builds(name))
    return dict(build)


def seconds_of_the_pod(live: Live, build: str) -> float:
    """Return how long Kaniko ran for a Build."""
    [pod] = live.cluster.list(POD, names.builds_namespace(TENANT), {names.BUILD_LABEL: build})
    [ended] = [one["state"]["terminated"] for one in pod["status"]["containerStatuses"]]
    began, until = (datetime.fromisoformat(ended[key]) for key in ("startedAt", "finishedAt"))
    return (until - began).total_seconds()


@dataclass(frozen=True)
class ByItsHost(Http):
    """HTTP as the client speaks it, to a receiver that is known by a host of its own."""

    host: Mapping[str, str] = field(default_factory=dict)

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        return super().ask(method, path, query, body, {**(headers or {}), **self.host})


@dataclass
class Watched:
    """What the client's own stream has told."""

    lines: list[str] = field(default_factory=list)
    states: list[str] = field(default_factory=list)


def watch(receiver: Receiver, build: str, who: dict[str, str]) -> Watched:
    """Watch a Build until all is told, as `logs -f` does."""
    http = ByItsHost(receiver.url, authorization=lambda: who["authorization"], host=receiver.host)
    found = Watched()
    for each in stream.watch(http, f"/v1/tenants/{TENANT}/builds/{build}/events", time.sleep):
        if each.kind == "log":
            found.lines.append(each.data["line"])
        elif each.kind == "build":
            found.states.append(each.data["state"])
    return found


@pytest.mark.long
def test_each_watcher_gets_every_line_once_and_the_build_takes_no_longer(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    alone = talkative(live, "unwatched")["metadata"]["name"]
    within(240, "it is built", lambda: _is_built(live, alone))
    usual = seconds_of_the_pod(live, alone)
    build = talkative(live, "watched")["metadata"]["name"]
    who = token("e2e-alice")
    with ThreadPoolExecutor(WATCHERS) as pool:
        watchers = [pool.submit(watch, inside(live, "receiver"), build, who) for _ in range(WATCHERS)]
        within(120, "the build says something", lambda: _log(live, build).count("line-") > LINES // 6)
        selector = "serving.knative.dev/service=receiver"
        killed = kubectl("delete", "pod", "-n", PRODUCT, "-l", selector, "--grace-period=0", "--force", "--wait=false")
        assert "deleted" in killed.stdout, killed.stderr
        found = [result(watcher) for watcher in watchers]
    watched = seconds_of_the_pod(live, build)
    answer = inside(live, "receiver").ask("GET", f"/v1/tenants/{TENANT}/builds/{build}/log", who)
    lines = answer.body.decode().splitlines()
    said = [line for line in lines if line.startswith("line-")]
    assert said == [f"line-{number}-of-watched" for number in range(1, LINES + 1)]
    assert [watcher.lines == lines for watcher in found] == [True] * WATCHERS
    assert {watcher.states[-1] for watcher in found} == {"Succeeded"}
    with capsys.disabled():
        print(f"\nKaniko ran for {usual:.0f} s alone, {watched:.0f} s with {WATCHERS} watchers")  # noqa: T201 - a measure
    assert watched <= usual + SLOWER
    for name in ("watched", "unwatched"):
        live.delete(name)


def result(watcher: "Future[Watched]") -> Watched:
    return watcher.result(timeout=360)


def _is_built(live: Live, build: str) -> bool:
    found = live.cluster.get(BUILD, TENANT, build) or {}
    return found.get("status", {}).get("phase") == "Succeeded"


def _log(live: Live, build: str) -> str:
    """Return what a build's Pod has said until now."""
    for pod in live.cluster.list(POD, names.builds_namespace(TENANT), {names.BUILD_LABEL: build}):
        name = pod["metadata"]["name"]
        found = live.cluster.pod_log(names.builds_namespace(TENANT), name, EXECUTOR, limit=100_000)
        return (found or b"").decode()
    return ""
