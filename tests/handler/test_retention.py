"""What nobody needs any more goes with the first tick of an hour after its day of grace, and nothing else does."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.leftovers import (
    DAY,
    HOUR,
    REPOSITORY,
    Delegate,
    context,
    everything,
    forgotten,
    later,
    over,
    removes_nothing,
    running,
    stored,
    up,
)
from support.world import World, versions

from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, NAMESPACE, REVISION, Kind
from knative_lambda.handler.acts import order
from knative_lambda.handler.upkeep import retention
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused, Unavailable


def test_a_deleted_functions_image_context_and_log_go_after_a_day(world: World) -> None:
    image = up(world)
    assert stored(world, "contexts", "logs") != []
    world.delete()
    later(world)
    assert [key.rpartition("/")[0] for key in stored(world)] == ["tombstones/acme/hello"]
    assert image not in world.registry.known


def test_within_a_day_nothing_goes(world: World) -> None:
    up(world)
    world.delete()
    before = everything(world)
    for _ in range(23):
        later(world, HOUR)
        assert everything(world) == before


def test_what_is_old_has_its_day_too_once_its_function_was_deleted(world: World) -> None:
    """The age that counts is that of the newest thing of a function, its delete among them."""
    up(world)
    world.time += 30 * DAY
    world.delete()
    later(world, HOUR)
    assert stored(world, "contexts")
    assert world.registry.tags(REPOSITORY)
    later(world)
    assert not stored(world, "contexts")


def test_what_a_function_or_one_of_its_builds_names_stays(world: World) -> None:
    one, two = versions("one", "two")
    up(world, source=one)
    up(world, image="two", source=two)
    before = everything(world)
    later(world, 29 * DAY)
    assert everything(world) == before


def test_a_function_that_was_deleted_by_hand_is_collected_like_any_other(world: World) -> None:
    """Nothing tells of it but that it is gone."""
    up(world)
    world.cluster.delete(FUNCTION, "acme", "hello")
    later(world)
    assert stored(world) == []
    assert world.registry.tags(REPOSITORY) == []


def test_what_a_removed_build_has_left_goes_while_its_function_runs_on(world: World) -> None:
    one, two = versions("one", "two")
    old = up(world, source=one)
    gone = world.build()["metadata"]["name"]
    new = up(world, image="two", source=two)
    world.cluster.delete(BUILD, "acme", gone)
    world.broker = 0
    function = world.function()
    note = {"id": "x", "type": types.BUILD_COMPLETE, "data": {"image": f"{REPOSITORY}@{names.sha256('one')}"}}
    world.cluster.replace_status(FUNCTION, {**function, "status": {**function["status"], "outbox": [note]}})
    later(world)
    assert old in world.registry.known, "a notification that is still to be sent names it"
    world.broker = 202
    world.tick()
    later(world, HOUR)
    assert (old in world.registry.known, new in world.registry.known) == (False, True)
    assert len(stored(world, "contexts")) == len(stored(world, "logs")) == 1


def test_the_log_of_every_attempt_of_a_build_stays_with_it(world: World) -> None:
    up(world)
    build = world.build()["metadata"]["name"]
    for attempt in ("2", "12"):
        world.store.put(f"logs/acme/hello/{build}-{attempt}.log", b"")
    world.store.put(f"logs/acme/hello/{build}0-1.log", b"another's")
    later(world)
    assert [key.rpartition("-")[2] for key in stored(world, "logs")] == ["1.log", "12.log", "2.log"]


def test_the_mark_of_a_deletion_stays_for_seven_days(world: World) -> None:
    event = world.start()
    world.delete()
    later(world, 6 * DAY)
    world.send(event.type, event.data, id=event.id, time=event.time)
    assert world.functions() == []
    later(world)
    assert stored(world) == []


def test_any_number_of_marks_of_deletions_may_go_since_their_age_alone_decides(world: World) -> None:
    for number in range(30):
        world.delete(f"hello-{number}")
    later(world, 8 * DAY)
    assert stored(world) == []


def test_the_mark_of_a_deletion_outlives_its_function(world: World) -> None:
    """Where the delete was cut off after its mark, the mark is all that is left of it."""
    up(world)
    world.store.put("tombstones/acme/hello/1.json", b"{}")
    later(world, 30 * DAY)
    assert stored(world, "tombstones") == ["tombstones/acme/hello/1.json"]


@pytest.mark.parametrize("kind", [REVISION, KNATIVE_SERVICE])
@pytest.mark.parametrize("tenant", ["acme", "other"])
def test_an_image_that_still_runs_stays_and_with_it_the_way_to_find_it(world: World, kind: Kind, tenant: str) -> None:
    image = up(world)
    world.delete()
    running(world, f"{REPOSITORY}@{names.sha256('one')}", tenant, kind)
    later(world, 30 * DAY)
    assert image in world.registry.known
    assert stored(world, "contexts", "logs") == stored(world, "contexts") != []
    world.cluster.delete(kind, tenant, "running")
    later(world, HOUR)
    assert image not in world.registry.known
    assert stored(world, "contexts") == []


@pytest.mark.parametrize("by_digest", [True, False])
def test_an_image_that_another_tenants_function_names_stays(world: World, *, by_digest: bool) -> None:
    """Taken over by hand: an event is not let to name it."""
    image = up(world)
    world.delete()
    named = f"{REPOSITORY}@{names.sha256('one')}" if by_digest else image
    spec = {"template": {"spec": {"containers": [{"image": named}]}}}
    meta = {"name": "borrower", "namespace": "other"}
    world.cluster.create(
        KNATIVE_SERVICE, {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "metadata": meta, "spec": spec}
    )
    later(world, 30 * DAY)
    assert image in world.registry.known


def test_an_image_that_a_build_names_stays(world: World) -> None:
    """Before its Function says so: the two are written one after the other."""
    image = up(world)
    world.delete()
    world.start("theirs", tenant="other")
    [build] = world.builds("other")
    status = {"phase": "Succeeded", "image": f"{REPOSITORY}@{names.sha256('one')}"}
    world.cluster.replace_status(BUILD, {**build, "status": status})
    world.time += 30 * DAY
    retention.collect(world.product)
    assert image in world.registry.known


def test_an_image_stays_while_one_of_its_tags_is_needed(world: World) -> None:
    """Deleting an image takes all of its tags with it, also the one that a Build names and that of somebody else."""
    one, two = versions("one", "two")
    old = up(world, source=one)
    gone = world.build()["metadata"]["name"]
    up(world, image="one", source=two)
    world.cluster.delete(BUILD, "acme", gone)
    later(world, 30 * DAY)
    assert old in world.registry.known


def test_tags_that_are_no_attempts_of_ours_stay_with_their_images(world: World) -> None:
    up(world)
    world.registry.known |= {f"{REPOSITORY}:stable": names.sha256("one"), f"{REPOSITORY}:mine": names.sha256("mine")}
    up(world, image="two", source=next(iter(versions("two"))))
    world.delete()
    later(world)
    assert sorted(tag for tag in world.registry.tags(REPOSITORY) if "-" not in tag) == ["mine", "stable"]
    assert names.sha256("two") not in world.registry.known.values()


def test_nothing_of_a_function_goes_while_it_is_being_built(world: World) -> None:
    """What is being pushed may be an image that is there already: equal sources may give equal images."""
    world = World(build_deadline=90 * 24 * 3600)
    old = up(world)
    world.delete()
    world.start()
    later(world, 2 * DAY)
    assert old in world.registry.known
    world.finish(digest=names.sha256("two"))
    later(world)
    assert old not in world.registry.known


@pytest.mark.parametrize("built", [True, False])
def test_what_a_start_comes_back_to_stays_though_nothing_named_it_a_moment_ago(world: World, *, built: bool) -> None:
    """The source goes to the store before the Function is written: old objects that are used again are young again."""
    if built:
        up(world)
    else:
        world.start()
    world.delete()
    world.time += 30 * DAY
    before = stored(world, "contexts"), dict(world.registry.known)

    class Restarted(Delegate):
        def list(self, kind: Kind, tenant: str, *labels: Any) -> Any:
            if (kind, tenant) == (REVISION, "other"):  # the last thing that is listed
                world.start()
            return world.cluster.list(kind, tenant, *labels)

    retention.collect(over(world, cluster=Restarted(world.cluster)))
    assert (stored(world, "contexts"), dict(world.registry.known)) == before


def test_a_young_context_is_not_written_again(world: World) -> None:
    world.start()
    [first] = world.store.list("contexts/")
    world.time += 11 * HOUR
    world.start()
    assert list(world.store.list("contexts/")) == [first]


@pytest.mark.parametrize("prefix", ["contexts/acme/", "contexts/other/", "logs/acme/", "tombstones/acme/"])
def test_a_list_of_the_store_that_breaks_off_removes_nothing(world: World, prefix: str) -> None:
    class Broken(Delegate):
        def list(self, asked: str, **more: Any) -> Iterator[Any]:
            for found in self.port.list(asked, **more):
                yield found
                if asked == prefix:
                    raise Unavailable("store", "gone")

    forgotten(world)
    removes_nothing(world, store=Broken(world.store))


@pytest.mark.parametrize("kind", [FUNCTION, BUILD, KNATIVE_SERVICE, REVISION])
@pytest.mark.parametrize("tenant", ["acme", "other"])
def test_a_list_of_the_cluster_that_fails_removes_nothing(world: World, kind: Kind, tenant: str) -> None:
    """Also another tenant's: its objects may name these images."""

    class Broken(Delegate):
        def list(self, *asked: Any) -> Any:
            if asked == (kind, tenant):
                raise Unavailable("cluster", "gone")
            return self.port.list(*asked)

    forgotten(world)
    removes_nothing(world, cluster=Broken(world.cluster))


@pytest.mark.parametrize("question", ["tags", "digest"])
def test_an_answer_of_the_registry_that_fails_removes_nothing(world: World, question: str) -> None:
    def fail(asked: str) -> None:
        if "hello-2" in asked:
            raise Unavailable("registry", "gone")

    class Broken(Delegate):
        def tags(self, repository: str) -> Any:
            return fail(repository) if question == "tags" and "hello-2" in repository else self.port.tags(repository)

        def digest(self, reference: str) -> Any:
            return fail(reference) if question == "digest" and "hello-2" in reference else self.port.digest(reference)

    forgotten(world)
    removes_nothing(world, registry=Broken(world.registry))


@pytest.mark.parametrize("error", [Unavailable("registry", "gone"), Refused.because("/image", "405")])
def test_an_image_that_the_registry_does_not_let_go_keeps_its_context(world: World, error: Exception) -> None:
    """Everything else goes, and a later hour finds the image by it."""

    class Broken(Delegate):
        def delete(self, repository: str, _: str) -> None:
            if repository == REPOSITORY:
                raise error

    forgotten(world)
    retention.collect(over(world, registry=Broken(world.registry)))
    assert [key.split("/")[1:3] for key in stored(world, "contexts", "logs")] == [
        ["acme", "hello"],
        ["other", "theirs"],
    ]
    later(world, HOUR)
    assert [key.split("/")[1] for key in stored(world, "contexts")] == ["other"]
    assert world.registry.tags(REPOSITORY) == []


def test_a_tag_that_leads_to_no_image_any_more_holds_nothing(world: World) -> None:
    """Some registries go on listing the tags of what was deleted."""

    class Forgetful(Delegate):
        def digest(self, _: str) -> None:
            pass

    forgotten(world)
    retention.collect(over(world, registry=Forgetful(world.registry)))
    assert [key.split("/")[1] for key in stored(world, "contexts")] == ["other"]


@pytest.mark.parametrize("sort", ["contexts", "logs"])
def test_more_than_twenty_and_a_tenth_of_a_sort_that_nothing_explains_stops_it_for_the_tenant(
    world: World, caplog: pytest.LogCaptureFixture, sort: str
) -> None:
    """It looks like a cluster that has lost its objects. Nothing of the tenant goes then; others have their turn."""
    for tenant, count in (("acme", 21), ("other", 20)):
        for number in range(count):
            world.store.put(f"{sort}/{tenant}/hello/{number}", b"")
    for one in ("contexts", "logs", "tombstones"):
        world.store.put(f"{one}/acme/bystander/{'deleted-1.json' if one == 'tombstones' else '1'}", b"")
    later(world, 8 * DAY)
    assert len(stored(world)) == 21 + 3
    assert f"acme: nothing is removed: nothing names or explains 21 of 22 {sort}" in caplog.text


def many_images(world: World) -> None:
    image = up(world)
    world.registry.known |= {f"{image[:-1]}{number}": names.sha256(number) for number in range(2, 22)}


def test_more_than_twenty_and_a_tenth_of_the_images_that_nothing_explains_stops_it_too(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    many_images(world)
    world.cluster.delete(FUNCTION, "acme", "hello")
    world.time += DAY
    before = everything(world)
    later(world, HOUR)
    assert everything(world) == before
    assert "acme: nothing is removed: nothing names or explains 21 of 21 images" in caplog.text


def test_any_number_of_images_goes_with_a_function_that_was_deleted(world: World) -> None:
    many_images(world)
    world.delete()
    later(world)
    assert world.registry.tags(REPOSITORY) == []


def many_functions(world: World) -> list[str]:
    functions = [f"hello-{number}" for number in range(30)]
    for name in functions:
        up(world, name, image=name)
    return functions


def test_any_number_of_functions_may_be_deleted_in_a_day_since_each_delete_leaves_a_mark(world: World) -> None:
    for name in many_functions(world):
        world.delete(name)
    later(world)
    assert stored(world, "contexts", "logs") == []
    assert not any("/acme/" in reference for reference in world.registry.known)


def test_functions_that_vanished_are_explained_by_a_delete_that_comes_afterwards(world: World) -> None:
    """What a person does who has removed many with kubectl, and finds that nothing is collected any more."""
    functions = many_functions(world)
    for name in functions:
        world.cluster.delete(FUNCTION, "acme", name)
    before = everything(world)
    later(world, 2 * DAY)
    assert everything(world) == before
    for name in functions:
        world.delete(name)
    later(world)
    assert stored(world, "contexts", "logs") == []


def test_the_delete_of_an_earlier_function_explains_nothing_about_a_later_one_of_its_name(world: World) -> None:
    """A cluster that has lost its objects may have had functions that were deleted and came back a week ago."""
    functions = many_functions(world)
    for name in functions:
        world.delete(name)
    for name, source in zip(functions, versions(*functions), strict=True):
        up(world, name, image=f"{name} again", source=source)
        world.cluster.delete(FUNCTION, "acme", name)
    before = everything(world)
    later(world)
    assert everything(world) == before


def test_the_mark_of_a_deletion_stays_as_long_as_it_explains_something(world: World) -> None:
    class Broken(Delegate):
        def delete(self, *_: Any) -> None:
            raise Unavailable("registry", "gone")

    product = world.product
    for name in many_functions(world):
        world.delete(name)
    world.product = over(world, registry=Broken(world.registry))
    later(world, 30 * DAY)
    assert len(stored(world, "tombstones")) == 30
    world.product = product
    later(world, HOUR)
    assert stored(world) == []


@pytest.mark.parametrize(("unnamed", "left"), [(30, 271), (31, 301)])
def test_a_tenth_may_go_however_much_that_is(world: World, unnamed: int, left: int) -> None:
    world.start()
    for number in range(300):
        world.store.put(context(str(number)), b"")
    function = world.function()
    said = json.dumps([names.sha256(str(number)) for number in range(unnamed, 300)])
    meta = {**function["metadata"], "annotations": {**function["metadata"]["annotations"], "said": said}}
    world.cluster.replace(FUNCTION, {**function, "metadata": meta})
    later(world)
    assert len(stored(world, "contexts")) == left


def test_a_namespace_that_is_no_tenants_is_left_alone(world: World) -> None:
    """Its objects cannot be read, which does not say that there are none."""
    forgotten(world)
    before = everything(world)
    namespace = world.cluster.get(NAMESPACE, "", "acme")
    assert namespace is not None
    world.cluster.replace(NAMESPACE, {**namespace, "metadata": {**namespace["metadata"], "labels": {}}})
    later(world, HOUR)
    assert everything(world) == before


@pytest.mark.parametrize(("minute", "collects"), [(0, True), (4, True), (5, False), (59, False)])
def test_it_is_the_ticks_time_that_says_whether_it_is_due(world: World, minute: int, *, collects: bool) -> None:
    """A tick that comes late, or again, is still the tick that it was."""
    forgotten(world)
    before = everything(world)
    moment = world.time.replace(minute=minute)
    world.time = moment.replace(minute=30)
    world.send(types.PING, {}, time=moment)
    assert (everything(world) != before) is collects


@pytest.mark.parametrize(("minute", "collects"), [(1, True), (30, False)])
def test_a_tick_without_a_time_is_of_now(world: World, minute: int, *, collects: bool) -> None:
    forgotten(world)
    before = everything(world)
    world.time = world.time.replace(minute=minute)
    world.send(types.PING, {}, time=None)
    assert (everything(world) != before) is collects


def test_what_cannot_be_collected_does_not_fail_the_tick(world: World) -> None:
    class Broken(Delegate):
        def tags(self, *_: Any, **__: Any) -> Any:
            raise Unavailable("registry", "gone")

    up(world)
    world.product = over(world, registry=Broken(world.registry))
    later(world)


def test_a_delete_that_was_cut_off_is_finished_before_its_mark_is_looked_at(world: World) -> None:
    """Functions are swept first: a week after the mark was written nothing of either is left."""
    event = world.start()
    newer = replace(event, type=types.FUNCTION_DELETE, time=world.time + timedelta(seconds=1))
    order.leave(world.store, "acme", "hello", order.Mark(order.key_of(newer, world.time)))
    later(world, 8 * DAY)
    assert (world.functions(), stored(world, "tombstones")) == ([], [])
