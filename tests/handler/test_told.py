"""Every Build that began and ended is told of, whatever comes between its own record and its Function's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.faults import Killed
from support.world import World, versions

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Kind, Object
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary, Unavailable

ONE, TWO, THREE = versions("one", "two", "three")
THEIRS = Ended(1, "user", "BuildFailed", "no")


def on_write(world: World, of: Callable[[Kind, Object], bool], do: Callable[[], Any], *, after: bool) -> None:
    """Do something before or after the first status of this sort is written."""
    write, left = world.cluster.replace_status, [True]

    def written(kind: Kind, body: Object) -> Object:
        meant = left[0] and of(kind, body)
        if meant:
            left[0] = False
        if meant and not after:
            do()
        done = write(kind, body)
        if meant and after:
            do()
        return done

    world.cluster.replace_status = written  # type: ignore[method-assign]


def ends(kind: Kind, body: Object) -> bool:
    return kind == BUILD and record.phase(body) in record.TERMINAL


def begins(kind: Kind, body: Object) -> bool:
    return kind == BUILD and record.phase(body) == "Running"


def functions(kind: Kind, _: Object) -> bool:
    return kind == FUNCTION


def die() -> None:
    raise Killed


def away() -> None:
    raise Unavailable("cluster", "503")


def rest(world: World) -> list[str]:
    """Let the clock tick; return what was told, each notification once."""
    for _ in range(3):
        world.tick()
    ids = dict.fromkeys(sent["headers"]["ce-id"] for sent in world.told)
    return [of_id.rpartition(types.PREFIX)[2] for of_id in ids]


def test_a_failure_is_told_although_the_handler_died_and_newer_source_came(world: World) -> None:
    world.start(source=ONE)
    on_write(world, ends, die, after=True)
    with pytest.raises(Killed):
        world.fail(THEIRS)
    world.start(source=TWO)
    assert rest(world) == ["build.started", "build.failed", "build.started"]


def test_a_success_is_told_although_newer_source_came_before_the_functions_status(world: World) -> None:
    world.start(source=ONE)
    on_write(world, ends, lambda: world.start(source=TWO), after=True)
    world.finish()
    assert rest(world) == ["build.started", "build.complete", "build.started"]


def test_a_failure_is_told_although_the_api_server_was_away_for_the_functions_status(world: World) -> None:
    world.start(source=ONE)
    on_write(world, functions, away, after=False)
    with pytest.raises(Temporary):
        world.fail(THEIRS)
    world.start(source=TWO)
    assert rest(world) == ["build.started", "build.failed", "build.started"]


@pytest.mark.parametrize("end", ["complete", "failed", "cancelled"])
def test_that_a_build_began_is_told_before_its_end_although_the_handler_died_at_its_start(
    world: World, end: str
) -> None:
    on_write(world, begins, die, after=True)
    with pytest.raises(Killed):
        world.start(source=ONE)
    if end == "complete":
        world.finish()
    elif end == "failed":
        world.fail(THEIRS)
    else:
        world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert rest(world)[:2] == ["build.started", f"build.{end}"]


def test_that_a_build_began_is_told_before_it_is_superseded(world: World) -> None:
    on_write(world, begins, die, after=True)
    with pytest.raises(Killed):
        world.start(source=ONE)
    world.start(source=TWO)
    assert rest(world) == ["build.started", "build.cancelled", "build.started"]


def test_that_a_build_began_is_told_once_however_often_it_is_tried(world: World) -> None:
    world.start(source=ONE)
    world.fail(Ended(1, "platform", "Evicted", ""))
    world.time = record.due(world.build(), world.product.workshop.patience) or world.time
    world.tick()
    world.finish()
    rest(world)
    assert world.told_types() == ["build.started", "build.complete"]


def test_a_build_that_is_ended_as_its_source_is_replaced_by_one_that_cannot_be_taken_is_told_of(world: World) -> None:
    world.start(source=ONE)
    function = world.function()
    spec = {**function["spec"], "source": {"object": "memory://world/elsewhere"}}
    world.cluster.replace(FUNCTION, {**function, "spec": spec})
    world.report("Function", "acme", "hello")
    assert world.condition("Built")[1] == "SourceRefused"
    assert [told for told in rest(world) if told.startswith("build.")] == ["build.started", "build.cancelled"]
    world.start(source=TWO)
    rest(world)
    assert [told for told in world.told_types() if told.startswith("build.")] == [
        "build.started",
        "build.cancelled",
        "build.started",
    ]


def test_going_back_to_an_older_source_does_not_tell_that_its_build_begins(world: World) -> None:
    world.live(source=ONE)
    world.start(source=TWO)
    world.finish(digest="sha256:" + "e" * 64)
    world.start(source=ONE)
    rest(world)
    assert world.told_types().count("build.started") == 2


def left_alone(world: World) -> Object:
    """Leave a Build that runs and that nobody points to: whoever made it was late."""
    world.start(source=ONE)
    old = world.build()
    world.start(source=TWO)
    lost = world.cluster.get(BUILD, "acme", old["metadata"]["name"])
    assert lost is not None
    running = world.cluster.replace_status(BUILD, {**lost, "status": old["status"]})
    world.told.clear()
    return running


def test_a_build_that_nobody_points_to_is_told_to_have_been_cancelled(world: World) -> None:
    left_alone(world)
    world.tick()
    assert world.told_types() == ["build.started", "build.cancelled"]
    rest(world)
    assert len(world.told) == 2


@pytest.mark.parametrize("kind", [BUILD, FUNCTION])
@pytest.mark.parametrize("write", range(3))
def test_a_build_that_nobody_points_to_is_told_of_wherever_the_handler_dies(
    world: World, kind: Kind, write: int
) -> None:
    left_alone(world)
    met = []

    def meant(of: Kind, _: Object) -> bool:
        met.append(of)
        return of == kind and met.count(kind) == write + 1

    on_write(world, meant, die, after=True)
    try:
        world.tick()
    except Killed:
        world.owing.clear()
    assert rest(world) == ["build.started", "build.cancelled"]


def test_a_build_that_runs_when_its_function_is_deleted_is_told_to_have_been_cancelled(world: World) -> None:
    world.start()
    build = world.build()
    world.delete()
    assert rest(world) == ["build.started", "build.cancelled", "function.deleted"]
    [told] = [sent for sent in world.told if sent["headers"]["ce-type"] == types.BUILD_CANCELLED]
    assert (told["data"]["build"], told["data"]["reason"]) == (build["metadata"]["name"], "FunctionDeleted")


def test_a_build_that_ended_untold_before_its_function_was_deleted_is_told_of(world: World) -> None:
    world.start()
    on_write(world, ends, die, after=True)
    with pytest.raises(Killed):
        world.fail(THEIRS)
    world.delete()
    assert rest(world) == ["build.started", "build.failed", "function.deleted"]


def test_a_build_that_had_ended_is_not_told_of_again_when_its_function_is_deleted(world: World) -> None:
    world.live()
    world.delete()
    assert world.told_types() == ["build.started", "build.complete", "function.ready", "function.deleted"]


def test_each_turn_between_ready_and_failed_has_an_id_of_its_own(world: World) -> None:
    """A subscriber that drops what it has seen would be left with the wrong state."""
    world.live()
    for ready in ("False", "True", "False", "True"):
        world.knative(ready=ready, reason="" if ready == "True" else "Crash")
    turns = [sent for sent in world.told if "function." in sent["headers"]["ce-type"]]
    assert [sent["headers"]["ce-type"].rpartition(".")[2] for sent in turns] == [
        "ready",
        "failed",
        "ready",
        "failed",
        "ready",
    ]
    assert len({sent["headers"]["ce-id"] for sent in turns}) == 5


def test_turns_within_one_second_have_ids_of_their_own(world: World) -> None:
    world.live()
    now = world.time
    world.product = replace(world.product, now=lambda: now)
    for ready in ("False", "True", "False"):
        world.knative(ready=ready, reason="Crash")
    turns = [sent["headers"]["ce-id"] for sent in world.told if "function." in sent["headers"]["ce-type"]]
    assert len(turns) == len(set(turns)) == 4


def test_a_turn_that_is_told_again_keeps_its_id(world: World) -> None:
    world.broker = 503
    world.live()
    world.tick()
    world.broker = 202
    world.tick()
    assert len({s["headers"]["ce-id"] for s in world.told if s["headers"]["ce-type"] == types.FUNCTION_READY}) == 1
    assert [s["answer"] for s in world.told if s["headers"]["ce-type"] == types.FUNCTION_READY][-1] == 202
