"""Builds are kept by number and by age; what a running version, or a newer Build, still needs stays."""

from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.leftovers import (
    DAY,
    HOUR,
    REPOSITORY,
    Delegate,
    everything,
    later,
    over,
    removes_nothing,
    running,
    stored,
    up,
)
from support.world import DIGEST, World, versions

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, REVISION, Kind, Object
from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Conflict, Unavailable


def versions_up(world: World, *texts: str, name: str = "hello") -> list[Object]:
    """Bring a function up in one version after the other; return their Builds, the oldest first."""
    made = []
    for text, source in zip(texts, versions(*texts), strict=True):
        up(world, name, image=text, source=source)
        made.append(world.build(name))
    return made


def rebuilt(world: World, times: int) -> list[Object]:
    """Bring a function up, and rebuild its source so often; return the Builds, the oldest first."""
    made = []
    for number in range(times + 1):
        up(world, image=str(number), **({"rebuild": True} if number else {}))
        made.append(world.build())
    return made


def name(build: Object) -> str:
    found: str = build["metadata"]["name"]
    return found


def left(world: World) -> set[str]:
    return {name(build) for build in world.builds()}


def tags(world: World) -> set[str]:
    return {tag.rpartition("-")[0] for tag in world.registry.tags(REPOSITORY)}


def collect(world: World, **ports: Any) -> None:
    """Collect at once, without the tick's sweep before it."""
    retention.collect(over(world, **ports))


def test_of_the_ended_builds_the_newest_are_kept_and_the_others_go_with_all_that_was_theirs() -> None:
    world = World(builds_kept=2)
    one, two, three, four = map(name, versions_up(world, "one", "two", "three", "four"))
    later(world, 2 * HOUR)
    assert left(world) == {three, four}
    assert tags(world) == {one, two, three, four}, "images have their day of grace"
    later(world, DAY)
    later(world, HOUR)
    assert tags(world) == {three, four}
    assert len(stored(world, "contexts")) == len(stored(world, "logs")) == 2
    later(world, HOUR)
    assert stored(world, "retired") == []
    assert world.condition("Ready")[0] == "True"


def test_a_registry_that_goes_on_listing_what_was_deleted_does_not_stop_it() -> None:
    """Their tags lead nowhere, and are not taken for those of a cluster that has lost its objects."""
    world = World(builds_kept=1)
    versions_up(world, *map(str, range(30)))
    listed = world.registry.tags(REPOSITORY)

    class Forgetful(Delegate):
        def tags(self, repository: str) -> list[str]:
            return sorted({*listed, *self.port.tags(repository)}) if repository == REPOSITORY else []

    for time in (2 * HOUR, DAY + HOUR, DAY + HOUR, DAY + HOUR):
        world.time += time
        collect(world, registry=Forgetful(world.registry))
    assert len(tags(world)) == 1
    one, _ = versions_up(world, "more", "and more")
    world.time += 2 * DAY
    collect(world, registry=Forgetful(world.registry))
    assert name(one) not in left(world)


def test_a_build_goes_by_its_age_however_few_there_are(world: World) -> None:
    one, two = map(name, versions_up(world, "one", "two"))
    later(world, 29 * DAY)
    assert left(world) == {one, two}
    later(world, 2 * DAY)
    assert left(world) == {two}, "the latest stays, however old it is"


def test_the_images_of_old_builds_go_though_the_function_is_built_anew_every_day() -> None:
    """It is never a day without anything of it being written."""
    world = World(builds_kept=2)
    for number in range(9):
        versions_up(world, str(number))
        later(world, 12 * HOUR)
    assert len(world.builds()) == 2
    assert len(tags(world)) <= 5
    assert len(stored(world, "contexts")) <= 5
    assert len(stored(world, "logs")) <= 5


def test_the_latest_build_and_the_latest_that_was_ready_stay_however_few_are_kept() -> None:
    world = World(builds_kept=0)
    versions_up(world, "one")
    ready = name(world.build())
    for source in versions("two", "three"):
        world.start(source=source)
        world.fail(Ended(1))
    latest = name(world.build())
    later(world, 90 * DAY)
    assert left(world) == {ready, latest}


def test_a_build_that_has_not_ended_stays() -> None:
    world = World(builds_kept=0)
    world.start()
    function = world.function()
    world.cluster.replace_status(FUNCTION, {**function, "status": {}})
    world.time += 90 * DAY
    collect(world)
    assert len(world.builds()) == 1


def test_a_build_that_has_only_just_ended_stays() -> None:
    """Its Job, its slot and its notifications may still be under way."""
    world = World(builds_kept=1)
    versions_up(world, "one", "two")
    collect(world)
    world.time += timedelta(minutes=59)
    collect(world)
    assert len(world.builds()) == 2
    world.time += timedelta(minutes=2)
    collect(world)
    assert len(world.builds()) == 1


@pytest.mark.parametrize("kind", [REVISION, KNATIVE_SERVICE])
@pytest.mark.parametrize("tenant", ["acme", "other"])
@pytest.mark.parametrize("by_digest", [True, False])
def test_a_build_whose_image_a_running_revision_names_stays_with_its_image(
    kind: Kind, tenant: str, *, by_digest: bool
) -> None:
    """Whoever's revision that is."""
    world = World(builds_kept=1)
    one, _, three = map(name, versions_up(world, "one", "two", "three"))
    image = f"{REPOSITORY}@{names.sha256('one')}" if by_digest else f"{REPOSITORY}:{one}-1"
    running(world, image, tenant, kind)
    for _ in range(3):
        later(world, 30 * DAY)
    assert left(world) == tags(world) == {one, three}
    world.cluster.delete(kind, tenant, "running")
    later(world, HOUR)
    assert left(world) == {three}


def test_an_image_that_two_builds_share_stays_while_one_of_them_is_used() -> None:
    world = World(builds_kept=1)
    one, two = versions("one", "two")
    up(world, image="shared", source=one)
    older = name(world.build())
    up(world, image="shared", source=two)
    newer = name(world.build())
    later(world, 2 * DAY)
    assert left(world) == {older, newer}, "the image of the older one is running"
    up(world, image="other", source=next(iter(versions("three"))))
    later(world, 2 * DAY)
    later(world, 2 * DAY)
    assert tags(world) == left(world) == {name(world.build())}


def test_an_image_stays_for_a_kept_build_when_another_one_that_shares_it_goes() -> None:
    """Removing it would take the other's tag along."""
    world = World(builds_kept=2)
    one, two, three = versions("one", "two", "three")
    up(world, image="shared", source=one)
    older = name(world.build())
    up(world, image="shared", source=two)
    newer = name(world.build())
    up(world, image="other", source=three)
    later(world, 2 * DAY)
    later(world, 2 * DAY)
    assert left(world) == {newer, name(world.build())}
    assert tags(world) == {older, newer, name(world.build())}


def test_a_build_that_comes_into_use_while_it_is_being_removed_stays() -> None:
    world = World(builds_kept=1)
    one, two = versions_up(world, "one", "two")

    class Back(Delegate):
        def get(self, kind: Kind, tenant: str, asked: str) -> Any:
            if kind == FUNCTION and name(world.build()) == name(two):
                world.start(source=next(iter(versions("one"))))
            return self.port.get(kind, tenant, asked)

    world.time += 2 * HOUR
    collect(world, cluster=Back(world.cluster))
    assert name(world.build()) == name(one)
    assert name(one) in left(world)


def test_a_build_that_changes_while_it_is_being_removed_stays() -> None:
    world = World(builds_kept=1)
    versions_up(world, "one", "two")

    class Changing(Delegate):
        def delete(self, *_: Any, **__: Any) -> None:
            raise Conflict("changed")

    world.time += 2 * HOUR
    collect(world, cluster=Changing(world.cluster))
    assert len(world.builds()) == 2
    collect(world)
    assert len(world.builds()) == 1


def test_source_that_comes_back_after_its_build_has_gone_is_built_again() -> None:
    """And the image that is made then stays, though the mark of the removal says that it may go."""
    world = World(builds_kept=1)
    versions_up(world, "one", "two")
    later(world, 2 * HOUR)
    versions_up(world, "one")
    for _ in range(3):
        later(world, 2 * DAY)
    assert world.condition("Ready")[0] == "True"
    assert name(world.build()) in tags(world)
    assert world.service_image() == f"{REPOSITORY}@{names.sha256('one')}"
    assert stored(world, "retired") == []


def test_the_image_of_a_removed_build_has_its_day_of_grace_however_old_it_is() -> None:
    world = World(builds_kept=1)
    one, two = map(name, versions_up(world, "one", "two"))
    later(world, 30 * DAY)
    for _ in range(23):
        later(world, HOUR)
        assert tags(world) == {one, two}
    later(world, 2 * HOUR)
    assert tags(world) == {two}


def test_an_image_stays_whose_source_comes_back_while_it_is_being_removed() -> None:
    """Nothing that was listed names it, and its grace is over: only that its source has just been put again."""
    world = World(builds_kept=1)
    versions_up(world, "one", "two")
    later(world, 2 * HOUR)
    world.time += 2 * DAY
    before = dict(world.registry.known)

    class Restarted(Delegate):
        def list(self, kind: Kind, tenant: str, *labels: Any) -> Any:
            if (kind, tenant) == (REVISION, "other"):
                world.start(source=next(iter(versions("one"))))
            return self.port.list(kind, tenant, *labels)

    collect(world, cluster=Restarted(world.cluster))
    assert world.registry.known == before


def test_rebuilds_of_one_source_are_kept_by_number_too_and_the_first_stays_for_the_names() -> None:
    world = World(builds_kept=2)
    made = [name(build) for build in rebuilt(world, 5)]
    later(world, 2 * HOUR)
    assert left(world) == {made[0], made[4], made[5]}


def test_a_chain_of_rebuilds_leads_on_past_those_that_were_removed() -> None:
    """Coming back to a source finds its newest image, as if all of its Builds were still there."""
    world = World(builds_kept=3)
    made = [name(build) for build in rebuilt(world, 5)]
    world.start(source=next(iter(versions("other"))))
    world.time += 2 * HOUR
    collect(world)
    assert left(world) == {made[0], *made[3:], name(world.build())}
    world.start()
    assert name(world.build()) == made[5]


def test_a_chain_of_which_nothing_is_used_goes_as_a_whole() -> None:
    world = World(builds_kept=1)
    rebuilt(world, 4)
    versions_up(world, "other")
    later(world, 2 * HOUR)
    assert left(world) == {name(world.build())}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["same", "rebuild", "fail", "other", "collect"]), max_size=14), st.integers(0, 3))
def test_whatever_was_removed_no_name_of_a_source_that_still_has_a_build_is_given_twice(
    steps: list[str], kept: int
) -> None:
    """A name that was used is the name of a Job, a tag and a log: a second Build would be taken for the first."""
    world = World(builds_kept=kept)
    given_to: dict[str, str] = {}
    for step in [*steps, "same", "rebuild"]:
        before = {build["spec"]["inputHash"] for build in world.builds()}
        if step == "collect":
            later(world, 2 * HOUR)
            continue
        world.start(source=next(iter(versions("x" if step == "other" else "y"))), rebuild=step in ("rebuild", "fail"))
        build = world.build()
        known = given_to.setdefault(name(build), build["metadata"]["uid"])
        assert known == build["metadata"]["uid"] or build["spec"]["inputHash"] not in before
        given_to[name(build)] = build["metadata"]["uid"]
        if build["status"]["phase"] == "Running":
            world.fail(Ended(1)) if step == "fail" else world.finish()
        world.time += HOUR


def test_builds_of_a_function_that_is_not_there_are_left_to_the_cluster(world: World) -> None:
    """They are its to remove, by their owner; and a Function that comes back is another one."""
    versions_up(world, "one")
    build = world.builds()[0]
    stranger = {**build, "metadata": {"name": "stranger", "namespace": "acme"}}
    stranger["spec"] = {**build["spec"], "functionUID": "gone"}
    stranger = world.cluster.create(BUILD, stranger)
    world.cluster.replace_status(BUILD, {**stranger, "status": {"phase": "Failed"}})
    world.time += 90 * DAY
    collect(world)
    assert "stranger" in left(world)


@pytest.mark.parametrize("kind", [FUNCTION, BUILD, KNATIVE_SERVICE, REVISION])
@pytest.mark.parametrize("tenant", ["acme", "other"])
def test_a_listing_that_fails_keeps_every_build(kind: Kind, tenant: str) -> None:
    class Broken(Delegate):
        def list(self, *asked: Any) -> Any:
            if asked == (kind, tenant):
                raise Unavailable("cluster", "gone")
            return self.port.list(*asked)

    world = World(builds_kept=1)
    versions_up(world, "one", "two")
    world.time += 2 * HOUR
    removes_nothing(world, cluster=Broken(world.cluster))


def test_where_too_much_is_unexplained_no_build_goes_either() -> None:
    world = World(builds_kept=1)
    versions_up(world, "one", "two")
    for number in range(30):
        world.store.put(f"logs/acme/hello/{number}", b"")
    world.time += 2 * DAY
    before = everything(world)
    collect(world)
    assert everything(world) == before


class Killed(BaseException):
    """The process ends here."""


class Mortal(Delegate):
    """A port of a process that is killed before a call, by its number; `calls` counts them over all ports."""

    def __init__(self, port: Any, calls: list[str], last: int) -> None:
        super().__init__(port)
        self.calls, self.last = calls, last

    def __getattr__(self, called: str) -> Any:
        method = getattr(self.port, called)

        def call(*args: Any, **kwargs: Any) -> Any:
            self.calls.append(called)
            if len(self.calls) == self.last:
                raise Killed
            return method(*args, **kwargs)

        return call


def days_of_work(killed_at: int = 0) -> tuple[list[str], Any]:
    """Have a chain of Builds and old versions collected for some days; return the calls, and what is left then.

    What is left is without the names, which are others in each world.
    """
    world = World(builds_kept=1)
    rebuilt(world, 3)
    versions_up(world, "one", "two")
    workshop, calls = world.product.workshop, list[str]()
    for time in (2 * HOUR, DAY + HOUR, DAY + HOUR):
        world.time += time
        ports = {port: Mortal(getattr(workshop, port), calls, killed_at) for port in ("cluster", "store", "registry")}
        with suppress(Killed):
            collect(world, **ports)
        collect(world)
    builds = sorted(build["status"]["image"] for build in world.builds())
    return calls, (builds, sorted(world.registry.known.values()), stored(world, "contexts"), len(stored(world)))


def test_killed_before_any_of_its_calls_the_next_hour_ends_where_an_undisturbed_one_does() -> None:
    calls, wanted = days_of_work()
    assert {"put", "replace_status", "delete"} <= {*calls}
    for number, call in enumerate(calls, start=1):
        assert days_of_work(number)[1] == wanted, f"killed before {call}, call {number}"


def test_a_slow_registry_makes_a_tick_no_longer_and_all_have_their_turn_in_some_hours(world: World) -> None:
    """A delivery has thirty seconds; what is not done in time is done in the hours that follow."""

    class Slow(Delegate):
        def tags(self, repository: str) -> Any:
            world.time += timedelta(seconds=1)
            return self.port.tags(repository)

        def delete(self, *asked: Any) -> None:
            world.time += timedelta(seconds=2)
            self.port.delete(*asked)

    for number in range(25):
        up(world, f"hello-{number}")
        world.delete(f"hello-{number}")
    world.time += 2 * DAY
    product, hours = over(world, registry=Slow(world.registry)), 0
    while stored(world, "contexts", "logs"):
        began = world.time
        retention.collect(product)
        assert world.time - began <= timedelta(seconds=20)
        world.time = began + HOUR
        hours += 1
        assert hours < 40
    assert not any("/acme/" in reference for reference in world.registry.known)
    assert DIGEST in world.registry.known.values()


def test_many_old_builds_go_in_several_ticks_too() -> None:
    world = World(builds_kept=1)
    versions_up(world, *map(str, range(12)))

    class Slow(Delegate):
        def delete(self, *asked: Any, **more: Any) -> None:
            world.time += timedelta(seconds=4)
            self.port.delete(*asked, **more)

    world.time += 2 * HOUR
    counts = []
    for _ in range(4):
        retention.collect(over(world, cluster=Slow(world.cluster)))
        counts.append(len(world.builds()))
        world.time += HOUR
    assert counts == [8, 4, 1, 1]
