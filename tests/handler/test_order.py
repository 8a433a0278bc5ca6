"""The newest event decides, in whatever order they come, and the newest one seen is always on record."""

from datetime import timedelta
from typing import Any

import pytest
from support.estate import Estate
from support.stories import applied, build_of, cancel, cut_off, delete, live, sent, start, tick
from support.world import World, versions

from knative_lambda.builds import record
from knative_lambda.deploy.cluster import BUILD, JOB, LEASE
from knative_lambda.handler.acts import order
from knative_lambda.handler.events import Event
from knative_lambda.schemas import types


@pytest.fixture
def estate() -> Estate:
    return Estate()


def newest(world: World) -> str:
    found = order.seen_by(world.function())
    assert found is not None
    return found.id


def marks(world: World) -> list[str]:
    return [stored.key.split("/")[3].partition("-")[0] for stored in world.store.list("tombstones/acme/hello/")]


def stop(world: World, **given: Any) -> Event:
    data = {"tenant": "acme", "name": "hello", **given.pop("data", {})}
    return world.send(types.BUILD_CANCEL, data, **given)


def outcome(world: World) -> tuple[str, str]:
    return record.phase(world.build()), world.condition("Built")[2]


def test_an_older_start_that_comes_after_a_cancel_begins_nothing(world: World) -> None:
    """The cancel found no function: its mark says that it was there."""
    early = world.time
    stop(world)
    world.start(time=early)
    assert (world.functions(), world.builds(), world.builder.starts) == ([], [], 0)
    assert marks(world) == ["cancelled"]
    world.start()
    assert world.builder.starts == 1, "a newer start is not held up"


def test_a_cancel_that_was_cut_off_after_its_record_is_finished_by_the_sweep(estate: Estate) -> None:
    sent(start())(estate)
    cut_off(cancel(), "cluster.replace Function")(estate)
    estate.deliver(tick(estate))
    assert outcome(estate) == ("Cancelled", "asked for by event /tests cancel")
    assert estate.cluster.list(JOB, "acme-builds") == []


def test_a_cancel_that_found_no_function_stops_the_one_that_was_made_beside_it(estate: Estate) -> None:
    """An older start created it between the cancel's look and its mark, and both handlers died."""
    sent(start())(estate)
    beside = order.key_of(cancel()(estate), estate.time)
    order.leave(estate.store, "acme", "hello", order.Mark(beside))
    estate.deliver(tick(estate))
    assert outcome(estate) == ("Cancelled", "asked for by event /tests cancel")


def test_a_cancel_never_removes_what_runs(estate: Estate) -> None:
    live(start())(estate)
    order.leave(estate.store, "acme", "hello", order.Mark(order.key_of(cancel()(estate), estate.time)))
    estate.rest()
    assert (estate.functions(), estate.condition("Ready")[0]) == (["hello"], "True")


def test_a_cancel_with_the_key_of_the_start_only_converges(world: World) -> None:
    world.start(sequence=7)
    stop(world, data={"sequence": 7})
    assert outcome(world)[0] == "Running"


def test_a_delete_with_the_key_of_the_start_only_converges(world: World) -> None:
    world.start(sequence=7)
    world.delete(data={"sequence": 7})
    assert world.functions() == ["hello"]


def test_a_cancel_where_nothing_is_built_is_on_record_all_the_same(world: World) -> None:
    one, two = versions("one", "two")
    world.live(source=one)
    between = world.time + timedelta(seconds=1)
    world.time = between
    event = stop(world)
    world.start(source=two, time=between)
    assert newest(world) == event.id
    assert world.builder.starts == 1


def test_a_cancel_of_an_older_build_by_its_name_leaves_the_newer_one(world: World) -> None:
    one, two = versions("one", "two")
    world.start(source=one)
    old = world.build()["metadata"]["name"]
    world.start(source=two)
    event = stop(world, data={"build": old})
    assert (outcome(world)[0], newest(world)) == ("Running", event.id)


@pytest.mark.parametrize(
    "newer", [{"entrypoint": "main.other"}, {"rebuild": True}], ids=["another entrypoint", "a rebuild"]
)
def test_a_cancel_by_name_leaves_the_newer_build_of_the_same_files(world: World, newer: dict[str, Any]) -> None:
    source = {"inline": {"main.py": "def handle(event, context): return 1\n\n\nother = handle\n"}}
    world.start(source=source)
    old = world.build()["metadata"]["name"]
    if "rebuild" in newer:
        world.finish()
    world.start(source=source, **newer)
    assert world.build()["metadata"]["name"] != old
    stop(world, data={"build": old})
    assert outcome(world)[0] == "Running"


def test_a_cancelled_build_is_built_for_a_newer_event_with_the_same_source(world: World) -> None:
    world.start()
    stop(world)
    world.start()
    assert (outcome(world)[0], world.builder.starts) == ("Running", 2)


def test_an_older_build_says_which_event_has_replaced_or_cancelled_it(world: World) -> None:
    one, two = versions("one", "two")
    world.start(source=one)
    old = world.build()["metadata"]["name"]
    world.start(source=two, id="second")
    stop(world, id="third")
    said = {}
    for build in world.builds():
        [end] = [told for told in build["status"]["conditions"] if told["type"] == "Succeeded"]
        said[build["metadata"]["name"] == old] = (end["reason"], end["message"])
    assert said[True][0] == "Superseded"
    assert said[True][1].endswith("by /tests second")
    assert said[False] == ("Cancelled", "asked for by event /tests third")


def test_a_delete_of_what_a_person_applied_is_finished_by_the_sweep(estate: Estate) -> None:
    """The Function has seen no event: the mark knows it by its UID."""
    applied()(estate)
    estate.rest()
    cut_off(delete, "store.put tombstones")(estate)
    estate.rest()
    assert (estate.functions(), estate.cluster.list(JOB, "acme-builds")) == ([], [])


def test_what_a_person_applied_after_a_delete_stays_when_that_is_delivered_again(estate: Estate) -> None:
    live(start())(estate)
    event = delete(estate)
    estate.deliver(event)
    applied()(estate)
    estate.deliver(event)
    estate.rest()
    assert estate.functions() == ["hello"]


def test_a_cancel_older_than_a_delete_does_not_stop_what_a_person_applied_since(estate: Estate) -> None:
    early = cancel()(estate)
    live(start(), delete)(estate)
    applied()(estate)
    estate.deliver(estate.reported("Function", "acme", "hello"))
    estate.deliver(early)
    assert outcome(estate)[0] == "Running"


def test_of_two_marks_that_are_left_at_once_the_newer_one_counts(world: World) -> None:
    """Each looked before the other wrote; the older one wrote last."""
    early = world.time
    between = early + timedelta(seconds=1)
    event = world.delete()
    late = order.key_of(event, world.time)
    for when in (world.time, early):
        key = order.Key(None, when.isoformat(timespec="microseconds"), "x", "/x", types.FUNCTION_DELETE)
        order.leave(world.store, "acme", "hello", order.Mark(key))
    world.start(time=between)
    assert world.functions() == []
    found = order.mark(world.store, "acme", "hello")
    assert found is not None
    assert found.key.time == late.time


def test_a_newer_mark_takes_the_place_of_older_ones(world: World) -> None:
    stop(world)
    world.delete()
    stop(world)
    assert marks(world) == ["cancelled"]


def test_a_sequence_after_a_mark_with_a_time_does_not_trouble_the_sweep(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """The function's events have a sequence now: what has but a time is older, and no error."""
    world.delete()
    world.start(sequence=1)
    world.tick()
    assert "cannot be swept" not in caplog.text
    assert world.functions() == ["hello"]


def test_the_job_of_a_superseded_build_is_stopped_when_the_event_comes_again(estate: Estate) -> None:
    """The record of its end was written, and the pod died before the Job was deleted."""
    sent(start())(estate)
    event = start("two")(estate)
    cut_off(lambda _: event, "cluster.replace_status Build")(estate)
    old = build_of(estate)["metadata"]["name"]
    estate.deliver(event)
    assert f"{old}-1" not in [job["metadata"]["name"] for job in estate.cluster.list(JOB, "acme-builds")]


def test_a_build_says_that_it_was_started_also_where_its_handler_died_then(estate: Estate) -> None:
    cut_off(start(), "cluster.create Job")(estate)
    estate.rest()
    [step] = [told for told in build_of(estate)["status"]["conditions"] if told["type"] == "Started"]
    assert (step["status"], step["reason"]) == ("True", "Running")


@pytest.mark.parametrize("after", ["cluster.create Lease", "cluster.delete Lease", "builder.start"])
def test_a_build_that_got_a_slot_and_was_not_begun_is_begun_by_the_sweep(after: str) -> None:
    """It has a ticket and a slot: it does not wait for its turn any more, so nobody else would come."""
    estate = Estate(builds_per_tenant=1)
    sent(start(), start("other", name="other"))(estate)
    estate.end_builds()
    cut_off(tick, after)(estate)
    estate.rest(told=False)
    assert [record.phase(build) for build in estate.cluster.list(BUILD, "acme")] == ["Succeeded", "Succeeded"]
    assert estate.cluster.list(LEASE, "acme-builds") == estate.cluster.list(LEASE, "knative-lambda") == []
