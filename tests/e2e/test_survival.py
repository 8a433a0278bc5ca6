"""What a real cluster does to the product: the same thing a hundred times, the wrong order, no reports, no store."""

import contextlib
import random
import subprocess
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3
from support import audit, machine
from support.audit import Audit
from support.live import TENANT, Live, within

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, JOB, POD, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types

BUILDS = names.builds_namespace(TENANT)
PRODUCT = "knative-lambda"
SOURCE = Kind("sources.knative.dev", "v1", "ApiServerSource", "apiserversources")
METRICS = 9464


@pytest.fixture
def log() -> Audit:
    """Return the API server's audit log from now on."""
    return Audit(datetime.now(UTC))


def greeting(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": f"def handle(event, context):\n    return {{'version': {version!r}}}\n"}}


def jobs_of(log: Audit, function: str) -> list[audit.Job]:
    return [job for job in log.jobs(BUILDS) if job.build.rpartition("-")[0] == function]


def test_the_same_event_a_hundred_times_at_once_makes_one_job(live: Live, log: Audit) -> None:
    data = {"tenant": TENANT, "name": "hundred", "runtime": "python", "source": greeting("one"), "builder": "kaniko"}
    same = {"id": str(uuid.uuid4()), "time": datetime.now(UTC).isoformat()}
    with ThreadPoolExecutor(20) as threads:
        list(threads.map(lambda _: live.command(types.BUILD_START, data, **same), range(100)))
    live.ready("hundred")
    live.receiver_at_zero()
    assert len(jobs_of(log, "hundred")) == 1
    assert [request.name for request in log.made("functions", [TENANT])] == ["hundred"]
    live.delete("hundred")


def test_starts_and_deletes_in_any_order_end_in_what_the_newest_says(live: Live, log: Audit) -> None:
    """The events of two functions, all at once and shuffled: the last word of one is a start, of the other a delete."""
    run = uuid.uuid4().hex[:6]  # what was deleted in an earlier run is remembered
    stays, goes = f"stays-{run}", f"goes-{run}"
    events: list[tuple[str, dict[str, Any]]] = []
    for name, last in ((stays, types.BUILD_START), (goes, types.FUNCTION_DELETE)):
        kinds = [types.BUILD_START, types.BUILD_START, types.FUNCTION_DELETE, types.BUILD_START, last]
        for sequence, kind in enumerate(kinds, start=1):
            data = {"tenant": TENANT, "name": name, "sequence": sequence}
            if kind == types.BUILD_START:
                trigger = {"triggers": [{"type": f"e2e.{name}"}]}
                data |= {"runtime": "python", "source": greeting(f"version {sequence}"), "builder": "kaniko", **trigger}
            events.append((kind, data))
    random.shuffle(events)
    with ThreadPoolExecutor(len(events)) as threads:
        list(threads.map(lambda event: live.command(*event), events))
    within(180, "the last version is built", lambda: live.condition(stays, "Built").get("status") == "True", every=1)
    live.answer(stays, {}, {"version": "version 5"}.__eq__)
    within(120, "nothing is left of the deleted one", lambda: not live.left_of(goes), every=1)
    live.receiver_at_zero()
    assert not live.left_of(goes)
    assert not audit.doubled(jobs_of(log, stays) + jobs_of(log, goes), set())
    live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": stays, "sequence": 6})
    within(120, "nothing is left of the other", lambda: not live.left_of(stays), every=1)
    live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": stays, "sequence": 7})  # the mark before it goes


def test_newer_source_and_a_cancel_each_end_what_is_being_built(live: Live, log: Audit) -> None:
    """Both records stay, with who and why; what ran is stopped, and the version that was built goes on answering."""

    def latest() -> str:
        function = live.function("changes") or {}
        return str(function.get("status", {}).get("latestBuild", ""))

    def begun(other_than: str = "") -> str:
        """Return the latest Build once its own Pod runs."""
        name = latest()
        pods = live.cluster.list(POD, BUILDS, {names.BUILD_LABEL: name}) if name != other_than else []
        return name if any(pod["status"].get("phase") == "Running" for pod in pods) else ""

    def pods_of(build: str) -> list[Object]:
        return live.cluster.list(POD, BUILDS, {names.BUILD_LABEL: build})

    by = {what: str(uuid.uuid4()) for what in ("two", "cancel")}
    live.start("changes", runtime="dockerfile", source=live.slow(300))
    first = within(60, "the first is being built", begun)
    two = {"tenant": TENANT, "name": "changes", "runtime": "python", "source": greeting("two")}
    two |= {"builder": "kaniko", "triggers": [{"type": "e2e.changes"}]}
    live.command(types.BUILD_START, two, id=by["two"])
    live.ready("changes")
    second = latest()
    live.start("changes", runtime="dockerfile", source=live.slow(300))
    third = within(60, "the third is being built", lambda: begun(other_than=second))
    live.command(types.BUILD_CANCEL, {"tenant": TENANT, "name": "changes"}, id=by["cancel"])
    for build in (first, third):
        within(90, f"nothing of {build} runs any more", lambda build=build: not pods_of(build), every=1)
    live.answer("changes", {}, {"version": "two"}.__eq__)
    builds = live.cluster.list(BUILD, TENANT, {names.FUNCTION_LABEL: "changes"})
    ends = {build["metadata"]["name"]: condition(build, "Succeeded") for build in builds}
    assert {name: end["reason"] for name, end in ends.items()} == {
        first: "Superseded",
        second: "Built",
        third: "Cancelled",
    }
    assert by["two"] in ends[first]["message"]
    assert by["cancel"] in ends[third]["message"]
    assert len(jobs_of(log, "changes")) == 3
    live.delete("changes")


def test_a_poison_event_costs_one_delivery(live: Live) -> None:
    """What the receiver refuses is not brought to it again, and ends as a dead letter that says how often it came."""
    poison = str(uuid.uuid4())
    live.command(types.BUILD_START, {"tenant": TENANT, "name": "poison", "runtime": "cobol"}, id=poison)

    def letter() -> Object | None:
        found = live.cluster.list(DEAD_LETTER, PRODUCT)
        return next((each for each in found if each["spec"]["event"].get("id") == poison), None)

    answered = within(60, "it is answered", lambda: live.handled(poison))
    kept = within(60, "the event is kept", letter)
    assert kept["spec"]["code"] == 422
    assert kept["spec"].get("count", 1) == 1
    assert answered == [422]
    assert live.handled(poison) in ([422], []), "the one who has answered it may be gone"


def test_an_event_that_a_function_fails_at_ends_as_a_letter_is_told_and_is_sent_again(live: Live) -> None:
    """The Trigger tries again, in vain; whoever subscribes hears of it. Once it is mended, a label is enough."""
    failed = str(uuid.uuid4())
    unless = f"    if event.id == {failed!r}:\n        raise ValueError('not this one')\n"
    head, tail = "def handle(event, context):\n", "    return {'id': event.id}\n"
    live.start("fails-at", runtime="python", source={"inline": {"main.py": head + unless + tail}})
    broken = live.ready("fails-at")
    live.answer("fails-at", {}, lambda data: data["id"] != failed)  # its Trigger brings events by now
    live.post(TENANT, "e2e.fails-at", {}, id=failed)

    def letters() -> list[Object]:
        found = live.cluster.list(DEAD_LETTER, TENANT)
        return [each for each in found if each["spec"]["event"].get("id") == failed]

    [letter] = within(240, "the event is kept", letters, every=1)
    assert letter["spec"]["code"] == 500
    within(60, "it is told", lambda: live.told(types.FUNCTION_ERROR), every=1)

    live.start("fails-at", runtime="python", source={"inline": {"main.py": head + tail}})
    live.ready("fails-at", image_other_than=broken)
    name = letter["metadata"]["name"]
    assert {"id": failed} not in live.collector.replies("fails-at")
    label = ["kubectl", "label", "deadletter", "-n", TENANT, name, f"{names.RESEND_LABEL}=true"]
    subprocess.run(label, check=True, capture_output=True)
    within(60, "it is answered now", lambda: {"id": failed} in live.collector.replies("fails-at"), every=1)
    within(60, "the letter is gone", lambda: live.cluster.get(DEAD_LETTER, TENANT, name) is None, every=1)
    live.delete("fails-at")


def test_an_open_breaker_is_told_and_closes_by_itself(live: Live) -> None:
    """The store goes away and comes back: metrics and readiness say so while it is away, and the event is not lost."""
    with machine.without("s3"):
        live.start("patient", runtime="python", source=greeting("one"))
        within(60, "an open breaker is told", lambda: "open" in breakers(live, "store"))
        within(30, "readiness names it", lambda: "store" in degraded(live))
    live.ready("patient", seconds=240)
    within(60, "the breaker is closed", lambda: breakers(live, "store") in ({"closed"}, set()))
    live.delete("patient")


def breakers(live: Live, dependency: str) -> set[str]:
    """Return the states of a dependency's breaker that the receivers tell just now."""
    found = set()
    for address in live.receivers():
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            text = live.http.request("GET", f"http://{address}:{METRICS}/metrics").data.decode()
            for line in text.splitlines():
                if line.startswith("knative_lambda_breaker_state{") and line.endswith(" 1.0"):
                    labels = dict(part.split("=") for part in line.partition("{")[2].partition("}")[0].split(","))
                    if labels["dependency"] == f'"{dependency}"':
                        found.add(labels["state"].strip('"'))
    return found


def degraded(live: Live) -> list[str]:
    """Return the dependencies that a receiver, which is ready all the same, calls broken."""
    for address in live.receivers():
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            answer = live.http.request("GET", f"http://{address}:8080/health/ready")
            if answer.status == 200 and (broken := list(answer.json()["degraded"])):
                return broken
    return []


@pytest.fixture
def unreported(live: Live) -> Iterator[None]:
    """Take the sources away, so that no change is reported to anybody; bring them back in the end."""
    sources = live.cluster.list(SOURCE, PRODUCT)
    assert sources
    for source in sources:
        live.cluster.delete(SOURCE, PRODUCT, source["metadata"]["name"])
    yield
    for source in sources:
        meta = {key: source["metadata"][key] for key in ("name", "namespace", "labels", "annotations")}
        live.cluster.create(SOURCE, {**source, "metadata": meta})
    for source in sources:
        place = (SOURCE, PRODUCT, source["metadata"]["name"])
        within(120, "the source is ready", lambda place=place: live.is_ready(*place), every=1)


def ttl_passed(live: Live, job: Object) -> None:
    """Let a Job be removed as one whose time has passed."""
    name = job["metadata"]["name"]
    within(
        60,
        "its build has ended",
        lambda: condition(live.cluster.get(JOB, BUILDS, name) or {}, "Complete")["status"] == "True",
    )
    patch = [
        "kubectl",
        "patch",
        "job",
        "-n",
        BUILDS,
        name,
        "--type=merge",
        "-p",
        '{"spec":{"ttlSecondsAfterFinished":0}}',
    ]
    subprocess.run(patch, check=True, capture_output=True)
    within(60, "it is removed", lambda: live.cluster.get(JOB, BUILDS, name) is None)


def job_deleted(live: Live, job: Object) -> None:
    live.cluster.delete(JOB, BUILDS, job["metadata"]["name"])


def pod_deleted(live: Live, job: Object) -> None:
    [pod] = live.cluster.list(POD, BUILDS, {"batch.kubernetes.io/job-name": job["metadata"]["name"]})
    live.cluster.delete(POD, BUILDS, pod["metadata"]["name"])


DEEDS: dict[str, tuple[Callable[[Live, Object], None], int]] = {
    "unreported": (lambda _live, _job: None, 1),
    "no-pod": (pod_deleted, 2),
    "no-job": (job_deleted, 2),
    "no-time": (ttl_passed, 1),
}
"""What is done to each function's build while nobody reports, and how many Jobs it then takes."""


@pytest.mark.usefixtures("unreported")
def test_builds_that_nobody_reports_are_settled_once_by_the_sweep(live: Live, log: Audit) -> None:
    """The receivers go while the builds run, and no source tells that anything has ended."""
    for name in DEEDS:
        live.start(name, runtime="dockerfile", source=live.slow(15))
    jobs = {name: within(60, f"{name} is being built", lambda name=name: running(live, name)) for name in DEEDS}
    for pod in live.cluster.list(POD, PRODUCT, {"serving.knative.dev/service": "receiver"}):
        live.cluster.delete(POD, PRODUCT, pod["metadata"]["name"])
    for name, (deed, _) in DEEDS.items():
        deed(live, jobs[name])

    def all_built() -> bool:
        live.tick()
        return all(live.condition(name, "Built")["status"] == "True" for name in DEEDS)

    within(240, "all are built", all_built, every=5)
    assert {name: len(jobs_of(log, name)) for name in DEEDS} == {name: jobs for name, (_, jobs) in DEEDS.items()}
    assert not audit.doubled(jobs_of(log, "unreported") + jobs_of(log, "no-time"), set())
    for name in DEEDS:
        live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": name})
    within(120, "nothing is left", lambda: not [left for name in DEEDS for left in live.left_of(name)], every=1)


def running(live: Live, function: str) -> Object | None:
    """Return the Job of a function's build once its Pod runs."""
    labels = {names.FUNCTION_LABEL: function}
    pods = [pod for pod in live.cluster.list(POD, BUILDS, labels) if pod["status"].get("phase") == "Running"]
    return live.cluster.list(JOB, BUILDS, labels)[0] if pods else None
