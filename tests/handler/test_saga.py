"""The steps of a build on its record: what was done, what was taken back, what is tried again and for how long."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from support.world import DIGEST, World

from knative_lambda.builds import ends, record, settle
from knative_lambda.builds.builder import Ended
from knative_lambda.builds.record import Patience
from knative_lambda.deploy.cluster import BUILD, LEASE
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.later import Later
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Conflict, Unavailable

EVICTED = Ended(1, "platform", "Evicted", "the node was low on memory")
STEPS = ("ContextStored", "Admitted", "Started", "Retrying", "Pushed", "Succeeded")


@pytest.fixture
def world() -> World:
    return World(build_deadline=600)


def steps(world: World) -> dict[str, tuple[str, str]]:
    build = world.build()
    return {step: (said["status"], said["reason"]) for step in STEPS if (said := condition(build, step))["reason"]}


def test_each_step_is_on_the_record_with_its_evidence(world: World) -> None:
    world.start()
    assert steps(world) == {
        "ContextStored": ("True", "Stored"),
        "Admitted": ("True", "SlotTaken"),
        "Started": ("True", "Running"),
        "Succeeded": ("Unknown", "Running"),
    }
    assert world.store.get(condition(world.build(), "ContextStored")["message"], limit=10_000)
    assert condition(world.build(), "Started")["message"] == world.attempt()
    world.finish()
    assert steps(world) == {
        "ContextStored": ("True", "Stored"),
        "Admitted": ("False", "Released"),
        "Started": ("True", "Running"),
        "Pushed": ("True", "Pushed"),
        "Succeeded": ("True", "Built"),
    }
    assert condition(world.build(), "Pushed")["message"] == f"registry/acme/hello@{DIGEST}"
    assert all(said["lastTransitionTime"] for said in world.build()["status"]["conditions"])


def test_what_a_cancel_took_back_is_on_the_record(world: World) -> None:
    world.start()
    event = world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert steps(world) == {
        "ContextStored": ("True", "Stored"),
        "Admitted": ("False", "Released"),
        "Started": ("False", "Stopped"),
        "Succeeded": ("False", "Cancelled"),
    }
    assert event.id in condition(world.build(), "Succeeded")["message"], "it says who asked for it"


def test_a_platforms_failure_is_not_tried_again_before_its_pause_is_over(world: World) -> None:
    world.start()
    world.fail(EVICTED)
    assert steps(world)["Retrying"] == ("True", "Evicted")
    moment = record.due(world.build(), Patience())
    assert moment is not None
    assert timedelta(seconds=5) <= moment - world.time <= timedelta(seconds=15), "ten seconds, more or less by half"
    world.tick()
    assert world.builder.starts == 1
    world.time = moment
    world.tick()
    assert world.builder.starts == 2
    assert steps(world)["Retrying"] == ("False", "Begun")


@pytest.mark.parametrize("reason", ["ContextNotFetched", "RegistryRefused"])
def test_what_new_credentials_may_mend_is_tried_again_once_they_have_had_time_to_arrive(
    world: World, reason: str
) -> None:
    """So that a key or a password exchanged in the middle of a build does not use up its attempts."""
    world.start()
    world.fail(Ended(1, "platform", reason, "x"))
    moment = record.due(world.build(), Patience())
    assert moment is not None
    assert moment - world.time >= timedelta(seconds=60)


def test_pauses_double_and_differ_between_builds(world: World) -> None:
    drawn = []
    for name in ("a", "b", "c"):
        world.start(name)
        world.fail(EVICTED, name=name)
        build = world.build(name)
        failed = datetime.fromisoformat(condition(build, "Retrying")["lastTransitionTime"])
        second = {**build, "status": {**build["status"], "attempt": 2}}
        first = record.due(build, Patience(pause=1000))
        later = record.due(second, Patience(pause=1000))
        assert first is not None
        assert later is not None
        assert timedelta(seconds=500) <= first - failed <= timedelta(seconds=1500)
        assert timedelta(seconds=1000) <= later - failed <= timedelta(seconds=3000)
        drawn.append(first - failed)
    assert len(set(drawn)) == 3


def test_a_retry_is_remembered_by_the_process_that_saw_the_failure(world: World) -> None:
    asked = []
    world.start()
    object.__setattr__(world.product.workshop, "later", lambda *due: asked.append(due))
    world.fail(EVICTED)
    assert asked[-1] == ("acme", "hello", record.due(world.build(), Patience()))


def test_one_deadline_covers_all_attempts(world: World) -> None:
    world.start()
    assert world.builder.started[world.attempt()].seconds == 600
    world.time += timedelta(seconds=200)
    world.fail(EVICTED)
    world.time += timedelta(seconds=100)
    world.tick()
    began = datetime.fromisoformat(world.build()["status"]["startTime"])
    assert world.builder.started[world.attempt()].seconds == 600 - (world.time - began).total_seconds()


def test_a_build_whose_time_is_over_is_not_tried_again(world: World) -> None:
    world.start()
    world.fail(EVICTED)
    world.time += timedelta(seconds=700)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "DeadlineExceeded")
    assert "Evicted" in world.condition("Built")[2] or "low on memory" in world.condition("Built")[2]
    assert world.builder.starts == 1


def test_an_attempt_that_its_builder_does_not_end_is_ended_after_the_deadline(world: World) -> None:
    world.start()
    attempt = world.attempt()
    world.time += timedelta(seconds=700)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "DeadlineExceeded")
    assert attempt not in world.builder.started
    assert not world.cluster.list(LEASE, "acme-builds")


def test_the_time_that_a_build_waits_for_its_slot_is_not_counted() -> None:
    world = World(build_deadline=600, builds_at_once=1)
    world.start("first")
    world.start()
    world.time += timedelta(seconds=550)
    world.finish("first")
    assert world.builder.started[world.attempt()].seconds == 600


def test_the_next_attempt_waits_until_nothing_of_the_last_one_runs(world: World) -> None:
    """A Pod that could not begin was given up, and may begin all the same."""
    world.start()
    attempt = world.attempt()
    world.builder.lingering.add(attempt)
    world.fail(Ended(1, "platform", "ImagePullBackOff", "no such image"))
    assert attempt not in world.builder.started, "it was stopped"
    world.time += timedelta(minutes=5)
    world.tick()
    assert world.builder.starts == 1
    assert world.cluster.list(LEASE, "acme-builds"), "its slot is still taken"
    world.builder.lingering.clear()
    world.tick()
    assert world.builder.starts == 2


def test_a_build_that_was_ended_while_its_job_was_being_made_leaves_no_job(world: World) -> None:
    """The cancel came between the record of the attempt and the end of its start."""
    start = world.builder.start

    def cancelled_meanwhile(attempt: settle.Attempt) -> None:
        start(attempt)
        world.builder.start = start  # type: ignore[method-assign]
        world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
        start(attempt)

    world.builder.start = cancelled_meanwhile  # type: ignore[method-assign]
    world.start()
    assert world.builder.started == {}
    assert world.build()["status"]["phase"] == "Cancelled"


def test_an_older_cancel_that_meets_the_build_of_newer_source_late_does_not_end_it_for_good(world: World) -> None:
    """It read the Function before the newer event wrote it, and the Build after."""
    world.start()
    ends.cancel(world.build(), "Cancelled", "asked for by an older event", world.product.workshop, world.time)
    world.tick()
    assert world.build()["status"]["phase"] == "Running"
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_cancel_beside_the_restart_of_a_lost_attempt_leaves_no_job(world: World) -> None:
    """Somebody had deleted its Job: the start made it anew while a twin cancelled the Build."""
    world.start()
    world.builder.started.clear()
    start, done = world.builder.start, list[int]()

    def cancelled_meanwhile(attempt: settle.Attempt) -> None:
        if not done:
            done.append(1)
            world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
        start(attempt)

    world.builder.start = cancelled_meanwhile  # type: ignore[method-assign]
    world.report("Job", "acme-builds", world.attempt())
    assert world.builder.started == {}
    assert world.build()["status"]["phase"] == "Cancelled"


def test_a_lost_attempt_is_not_begun_again_beside_its_pod(world: World) -> None:
    """Deleting a Job by hand leaves its Pod running for as long as its grace period."""
    world.start()
    attempt = world.attempt()
    world.builder.started.clear()
    world.builder.lingering.add(attempt)
    world.tick()
    assert world.builder.starts == 1
    world.builder.lingering.clear()
    world.tick()
    assert world.builder.starts == 2


def test_a_pod_that_never_goes_does_not_keep_its_build_for_ever(world: World) -> None:
    """Its node is lost: the build ends at its deadline, and the slot stays taken for as long as something may run."""
    world.start()
    world.builder.lingering.add(world.attempt())
    world.fail(Ended(1, "platform", "NodeLost", "the node is gone"))
    world.time += timedelta(seconds=700)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "DeadlineExceeded")
    assert world.cluster.list(LEASE, "acme-builds")
    world.builder.lingering.clear()
    world.tick()
    assert not world.cluster.list(LEASE, "acme-builds")


def test_a_build_from_outside_is_not_waited_for_without_end(world: World) -> None:
    world.start(builder="external")
    world.time += timedelta(days=2)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "DeadlineExceeded")


def test_nothing_is_half_made_when_the_record_cannot_be_written(world: World) -> None:
    replace = world.cluster.replace_status

    def away(kind: object, body: object) -> object:
        if kind == BUILD:
            raise Unavailable("cluster", "away")
        return replace(kind, body)  # type: ignore[arg-type]

    world.cluster.replace_status = away  # type: ignore[method-assign,assignment]
    with pytest.raises(Unavailable):
        world.start()
    assert world.builder.starts == 0
    world.cluster.replace_status = replace  # type: ignore[method-assign]
    world.tick()
    assert world.builder.starts == 1
    assert len(world.cluster.list(LEASE, "acme-builds")) == 1


def test_a_look_is_taken_when_its_moment_has_come_and_a_failed_one_does_not_end_the_others() -> None:
    looked, done = [], threading.Event()

    def look(tenant: str, name: str) -> None:
        looked.append(name)
        if name == "second":
            raise Conflict("a twin was faster")
        if name == "third":
            done.set()

    later, now = Later(look), datetime.now(UTC)
    later.at("acme", "third", now + timedelta(milliseconds=1000))
    later.at("acme", "first", now - timedelta(seconds=1))
    later.at("acme", "second", now + timedelta(milliseconds=500))
    later.at("acme", "never", now + timedelta(hours=1))
    assert done.wait(60)
    assert looked == ["first", "second", "third"]
