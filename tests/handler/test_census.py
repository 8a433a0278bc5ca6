"""The census: outcomes are counted from the records, so that no pod that dies takes a number with it."""

import re
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from support.world import World

from knative_lambda.builds import settle
from knative_lambda.builds.builder import Ended
from knative_lambda.handler.observe.census import Census
from knative_lambda.handler.observe.metrics_census import TENANTS, CensusMetrics
from knative_lambda.schemas import types


def shown(census: Census) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(CensusMetrics(census, "knative-lambda", "knative_lambda_"))
    return registry


def value(world: World, name: str, **labels: str) -> float | None:
    return shown(world.product.census).get_sample_value(f"knative_lambda_{name}", labels)


def another_pod(world: World) -> World:
    """Let another process sweep what this one has left: it shares the records and nothing else."""
    object.__setattr__(world.product, "census", Census())
    world.tick()
    return world


def test_nothing_is_shown_before_the_first_sweep() -> None:
    world = World()
    world.live()
    assert generate_latest(shown(world.product.census)) == b""
    world.tick()
    assert value(world, "builds", phase="Succeeded", reason="Built", builder="kaniko") == 1
    assert value(world, "functions", ready="True") == 1
    assert value(world, "census_time_seconds") == world.time.timestamp()


def test_each_end_is_counted_once_whatever_pods_have_died_since_and_however_often_it_is_looked_at() -> None:
    world = World()
    world.live("one")
    world.start("two")
    world.fail(Ended(1, "user", "BuildFailed", "a typing error"), name="two")
    world.start("three")
    world.fail(Ended(1, "ours", "PodRefused", "by the cluster"), name="three")
    for _ in range(3):
        another_pod(world)
        assert value(world, "builds_ended", phase="Succeeded", reason="Built", builder="kaniko", whose="") == 1
        failed = {"phase": "Failed", "builder": "kaniko"}
        assert value(world, "builds_ended", **failed, reason="BuildFailed", whose="user") == 1
        assert value(world, "builds_ended", **failed, reason="PodRefused", whose="platform") == 1
    world.time += timedelta(hours=1)
    another_pod(world)
    assert value(world, "builds_ended", phase="Succeeded", reason="Built", builder="kaniko", whose="") is None
    assert value(world, "builds", phase="Succeeded", reason="Built", builder="kaniko") == 1


def users() -> set[str]:
    """Return each reason that a builder gives for what it calls the user's failure."""
    sources = [path.read_text("utf-8") for path in Path(settle.__file__).parent.rglob("*.py")]
    found = {reason for source in sources for reason in re.findall(r'\("?user"?, "(\w+)"\)', source)}
    found |= {reason for source in sources for reason in re.findall(r'Ended\([^()]*"user", "(\w+)"', source)}
    return found | {"DependenciesFailed", settle.LATE}


@pytest.mark.parametrize("reason", sorted(users()))
def test_what_a_builder_calls_the_users_failure_pages_no_platform(reason: str) -> None:
    world = World()
    world.start()
    world.fail(Ended(1, "user", reason, "theirs"))
    world.tick()
    assert value(world, "builds_ended", phase="Failed", reason=reason, builder="kaniko", whose="user") == 1


def test_the_reasons_of_builders_are_found() -> None:
    assert {"SecretMissing", "BuildFailed", "RuntimeNotSupported", "SourceRefused", "NoOutput"} <= users()


def test_the_steps_of_a_build_took_what_its_record_says() -> None:
    world = World()
    world.start()
    world.time += timedelta(seconds=40)
    world.finish()
    world.knative()
    world.tick()
    labels = {"step": "build", "builder": "kaniko"}
    assert value(world, "build_seconds_gcount", **labels) == 1
    assert value(world, "build_seconds_gsum", **labels) == 41
    assert value(world, "build_seconds_bucket", **labels, le="30") == 0
    assert value(world, "build_seconds_bucket", **labels, le="60") == 1
    assert value(world, "function_ready_seconds_gsum") == 42


def test_a_function_that_is_deployed_anew_was_ready_before() -> None:
    """Its Ready goes by Unknown to True again: that is not the first time."""
    world = World()
    world.live()
    world.tick()
    assert value(world, "function_ready_seconds_gcount") == 1
    world.time += timedelta(minutes=10)
    world.live(source={"inline": {"main.py": "def handle(event, context):\n    return 2\n"}})
    world.tick()
    assert value(world, "functions", ready="True") == 1
    assert value(world, "function_ready_seconds_gcount") is None


def test_the_queue_is_as_deep_as_the_builds_that_wait_say() -> None:
    world = World(builds_per_tenant=1)
    for name in ("one", "two", "three"):
        world.start(name, env={"NAME": name})
    world.time += timedelta(seconds=60)
    world.tick()
    assert value(world, "builds_waiting", **{"for": "slot"}) == 2
    assert value(world, "builds_waiting_oldest_seconds") == 62


def test_an_outside_builder_names_no_reason_that_makes_a_series_of_its_own() -> None:
    world = World()
    world.start(builder="external")
    data: dict[str, Any] = {"tenant": "acme", "name": "hello", "build": world.build()["metadata"]["name"]}
    world.send(types.BUILD_FAILED, {**data, "reason": "WhateverTheyCallIt", "message": ""})
    world.tick()
    assert value(world, "builds", phase="Failed", reason="other", builder="external") == 1


def test_dead_letters_are_counted_where_they_lie() -> None:
    census = Census()
    census.letters("knative-lambda", 2)
    census.letters("acme", 3)
    census.letters("other", 1)
    assert census.dead_letters("knative-lambda") == {"product": 2, "functions": 4}


def test_a_flood_of_dead_letters_is_seen_though_no_more_of_them_are_kept() -> None:
    census = Census()
    census.letters("knative-lambda", 1000, lately=1000)
    census.letters("acme", 3, lately=1)
    assert census.dead_letters_lately("knative-lambda") == {"product": 1000, "functions": 1}
    census.done(World().time)
    assert shown(census).get_sample_value("knative_lambda_dead_letters_lately", {"of": "product"}) == 1000


def test_each_tenant_has_its_own_numbers_and_no_more_of_them_than_series_are_wanted() -> None:
    world = World()
    world.live("one")
    world.start("two")
    world.fail(Ended(1, "user", "BuildFailed", "a typing error"), name="two")
    world.tick()
    world.product.census.letters("acme", 2)
    assert value(world, "tenant_builds_ended", tenant="acme", phase="Succeeded", whose="") == 1
    assert value(world, "tenant_builds_ended", tenant="acme", phase="Failed", whose="user") == 1
    assert value(world, "tenant_functions", tenant="acme", ready="True") == 1
    assert value(world, "tenant_builds_waiting", tenant="acme") == 0
    assert value(world, "tenant_dead_letters", tenant="acme") == 2
    for number in range(TENANTS):
        world.product.census.functions(f"abc-{number}", [], world.time)
    assert value(world, "tenant_functions", tenant="abc-0", ready="True") == 0
    assert value(world, "tenant_functions", tenant="acme", ready="True") is None
    assert value(world, "functions", ready="True") == 1


@pytest.mark.parametrize(("known", "outcome"), [(False, "installed"), (True, "cached")])
def test_dependencies_that_were_there_are_told_from_those_that_were_installed(*, known: bool, outcome: str) -> None:
    world = World(layers=True)
    source = {"inline": {"main.py": "def handle(event, context):\n    return 1\n", "requirements.txt": "six==1.17.0\n"}}
    world.start(source=source)
    if known:
        world.push(world.build()["spec"]["dependencies"], "")
        world.start("second", source=source)
        world.tick()
    else:
        world.finish()
        world.tick()
    name = "second" if known else "hello"
    assert world.build(name)["status"]["phase"] == "Succeeded"
    others = {"cached", "installed", "failed"} - {outcome}
    assert value(world, "builds_dependencies", outcome=outcome)
    assert [value(world, "builds_dependencies", outcome=other) for other in others] == [0, 0]
