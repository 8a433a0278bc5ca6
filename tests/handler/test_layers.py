"""Functions of code alone: one event from source to Service, without a Job; and when it is a Job after all, why."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.images import BASE, RUNS, check, files
from support.world import DIGEST, PYTHON, World, versions

from knative_lambda.builds import layered
from knative_lambda.deploy.cluster import BUILD, FUNCTION, LEASE, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import NotLetIn, Refused, Temporary, Unavailable, Untrusted
from knative_lambda.schemas.names import INPUT_ANNOTATION

ONE, TWO = versions("one", "two")
NODE = {"inline": {"index.js": "exports.handle = async () => 1\n"}}
HERE = "registry/acme/hello"


@pytest.fixture
def world() -> World:
    return World(layers=True)


def image(world: World) -> Object:
    """Return the config of what the Service runs, held against what OCI demands of an image."""
    repository, _, digest = world.service_image().partition("@")
    manifest = world.pusher.manifests[repository][digest]
    return check(manifest.body, world.pusher.blobs[repository].get)


def code(world: World) -> dict[str, bytes]:
    """Return the files of the last layer of what the Service runs."""
    repository, _, digest = world.service_image().partition("@")
    last = json.loads(world.pusher.manifests[repository][digest].body)["layers"][-1]
    return {name: body for name, *_, body in files(world.pusher.blobs[repository][last["digest"]])}


def chosen(world: World) -> tuple[str, str]:
    return world.build()["spec"]["builder"], condition(world.build(), "BuilderChosen")["message"]


def steps(world: World) -> dict[str, tuple[str, str]]:
    return {said["type"]: (said["status"], said["reason"]) for said in world.build()["status"]["conditions"]}


@pytest.mark.parametrize(("runtime", "source", "file"), [("python", ONE, "main.py"), ("node", NODE, "index.js")])
def test_one_event_leads_to_the_service_and_no_job_is_made(world: World, runtime: str, source: Any, file: str) -> None:
    world.start(runtime=runtime, source=source)
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.condition("Deployed")[:2] == ("True", "Applied")
    assert world.builder.starts == 0
    assert code(world)[f"function/{file}"] == source["inline"][file].encode()
    assert image(world)["config"]["Entrypoint"] == RUNS["Entrypoint"]
    assert world.told_types() == ["build.started", "build.complete"]
    world.knative()
    assert world.condition("Ready")[0] == "True"


def test_its_steps_are_on_the_record_with_who_built_it_and_why(world: World) -> None:
    world.start()
    assert steps(world) == {
        "ContextStored": ("True", "Stored"),
        "BuilderChosen": ("True", "Layer"),
        "Admitted": ("True", "NoSlotNeeded"),
        "Started": ("True", "Running"),
        "Pushed": ("True", "Pushed"),
        "Succeeded": ("True", "Built"),
    }
    assert "code alone" in chosen(world)[1]
    assert world.build()["status"]["image"] == world.service_image()
    assert image(world)["config"]["Labels"]["knative-lambda.dev/input-hash"] == world.build()["spec"]["inputHash"]


def test_a_code_change_sends_its_code_and_nothing_that_is_there(world: World) -> None:
    world.start(source=ONE)
    world.pusher.sent.clear()
    world.start(source=TWO)
    assert code(world)["function/main.py"] == TWO["inline"]["main.py"].encode()
    assert len(world.pusher.sent) == 2, "one layer, and the config"
    assert world.builder.starts == 0


def test_it_takes_no_slot_and_waits_for_none(world: World) -> None:
    """Slots are for Jobs: all of them may be taken."""
    full = World(layers=True, builds_at_once=1)
    full.start("slow", builder="kaniko")
    full.start()
    assert full.condition("Built")[:2] == ("True", "Built")
    held = full.cluster.list(LEASE, "acme-builds") + full.cluster.list(LEASE, "knative-lambda")
    assert {lease["metadata"]["labels"]["knative-lambda.dev/function"] for lease in held} == {"slow"}


def test_the_same_source_again_asks_the_registry_nothing_more_than_before(world: World) -> None:
    world.start()
    before = world.function()
    world.pusher.breaks = dict.fromkeys(("manifest", "blob", "bring", "put", "tag"), AssertionError("it was asked"))
    world.start()
    assert world.function()["status"] == before["status"]
    assert len(world.builds()) == 1


def test_a_fresh_build_of_the_same_input_is_the_same_image(world: World) -> None:
    world.start()
    before = world.service_image()
    world.start(rebuild=True)
    assert len(world.builds()) == 2
    assert world.service_image() == before


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"runtime": "dockerfile", "source": {"inline": {"Dockerfile": "FROM scratch\n"}}}, "Dockerfile"),
        ({"source": {"inline": {**PYTHON, ".wh.main.py": ""}}}, "removal"),
        ({"builder": "kaniko"}, "asked for"),
    ],
)
def test_what_takes_a_job_gets_one_and_the_build_says_why(world: World, data: Any, why: str) -> None:
    world.start(**data)
    builder, said = chosen(world)
    assert builder == "kaniko"
    assert why in said
    assert world.builder.starts == 1
    assert steps(world)["BuilderChosen"] == ("True", "Kaniko")


def test_a_large_source_takes_a_job() -> None:
    world = World(layers=True, layer_limit=0)
    world.start()
    assert chosen(world)[0] == "kaniko"
    assert "packed" in chosen(world)[1]


def test_where_the_installation_lays_no_layers_all_is_built_in_jobs_and_says_so() -> None:
    world = World(layers=False)
    world.start()
    assert chosen(world) == ("kaniko", "this installation lays no layers")
    with pytest.raises(Refused, match="lays no layers"):
        world.start("other", builder="layer")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"source": {"inline": {**PYTHON, ".wh.main.py": ""}}}, "removal"),
        ({"runtime": "dockerfile", "source": {"inline": {"Dockerfile": "FROM scratch\n"}}}, "dockerfile"),
    ],
)
def test_a_layer_that_cannot_be_is_refused_with_the_reason(world: World, data: Any, why: str) -> None:
    with pytest.raises(Refused, match=why) as refused:
        world.start(builder="layer", **data)
    assert [fault.where for fault in refused.value.faults] == ["/data/builder"]
    assert world.functions() == []


def test_a_layer_that_is_asked_for_says_so(world: World) -> None:
    world.start(builder="layer")
    assert chosen(world) == ("layer", "it was asked for")


def test_another_builder_for_the_same_source_is_another_build(world: World) -> None:
    world.start()
    world.start(builder="kaniko")
    assert world.builder.starts == 1
    world.start()
    assert len(world.builds()) == 2
    assert world.build()["spec"]["builder"] == "layer"


# --- what was there before


def forget(world: World, name: str = "hello") -> None:
    """Let a Function's record be as a version without layers has written it."""
    function = world.function(name)
    annotations = function["metadata"]["annotations"]
    inputs = json.loads(annotations[INPUT_ANNOTATION])
    del inputs["auto"]
    annotations[INPUT_ANNOTATION] = json.dumps(inputs)
    world.cluster.replace(FUNCTION, function)


def test_an_upgrade_rebuilds_nothing_by_itself(world: World) -> None:
    """Neither by a tick, nor by the same source again; new source is a layer."""
    world.live(builder="kaniko", source=ONE)
    function = world.function()
    world.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], "builder": "auto"}})
    forget(world)
    before = world.build()
    world.report("Service", "acme", "hello")
    world.tick()
    world.start(source=ONE)
    assert world.builder.starts == 1
    assert (world.build(), len(world.builds())) == (before, 1)
    world.start(source=TWO)
    assert world.build()["spec"]["builder"] == "layer"
    assert world.builder.starts == 1


def test_a_layer_of_a_source_that_nobody_has_looked_at_is_refused_and_taken_once_it_comes_again(world: World) -> None:
    """A person asks for it on a Function of an earlier version: nothing says whether it takes dependencies."""
    world.live(builder="kaniko", source=ONE)
    forget(world)
    before, function = world.service_image(), world.function()
    world.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], "builder": "layer"}})
    world.report("Function", "acme", "hello")
    assert world.condition("Built")[:2] == ("False", "SourceRefused")
    assert "send it again" in world.condition("Built")[2]
    assert world.service_image() == before
    world.start(source=ONE, builder="layer")
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_person_is_told_why_a_layer_cannot_be(world: World) -> None:
    spec = {"runtime": "python", "builder": "layer", "source": {"inline": {**PYTHON, ".wh.main.py": ""}}}
    meta = {"name": "hello", "namespace": "acme"}
    body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind, "metadata": meta, "spec": spec}
    world.cluster.apply(FUNCTION, body)
    world.report("Function", "acme", "hello")
    assert world.condition("Built")[:2] == ("False", "SourceRefused")
    assert "removal" in world.condition("Built")[2]
    assert world.builds() == []


def test_a_person_who_asks_for_a_fresh_build_gets_the_builder_that_the_source_had(world: World) -> None:
    world.start()
    function = world.function()
    world.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], "rebuild": "please"}})
    world.report("Function", "acme", "hello")
    assert [build["spec"]["builder"] for build in world.builds()] == ["layer", "layer"]
    assert world.builder.starts == 0


# --- what fails


@pytest.mark.parametrize("step", ["blob", "bring", "put", "tag"])
def test_a_registry_that_fails_in_the_middle_is_tried_again_and_nothing_half_pushed_is_deployed(
    world: World, step: str
) -> None:
    world.pusher.breaks[step] = Unavailable("registry", "broke off in the middle")
    world.start()
    assert steps(world)["Retrying"] == ("True", "RegistryUnavailable")
    assert "broke off" in condition(world.build(), "Retrying")["message"]
    assert world.condition("Deployed")[0] == "Unknown"
    assert f"{HERE}:{world.attempt()}" not in world.registry.known
    world.pusher.breaks.clear()
    world.time = world.time.replace(minute=world.time.minute + 1)
    world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.build()["status"]["attempt"] == 2


def test_a_registry_that_goes_on_failing_fails_the_build_with_the_cause(world: World) -> None:
    world.pusher.breaks["put"] = Unavailable("registry", "answered 507: no space left")
    world.start()
    for _ in range(3):
        world.time = world.time.replace(minute=world.time.minute + 2)
        world.tick()
    assert world.condition("Built")[:2] == ("False", "RegistryUnavailable")
    assert "no space left" in world.condition("Built")[2]
    assert world.build()["status"]["attempt"] == 3


def test_a_registry_that_does_not_answer_at_all_is_an_outage_as_for_any_event(world: World) -> None:
    """No attempt is used up: the event comes again until it is over."""
    world.pusher.breaks["manifest"] = Unavailable("registry", "did not answer")
    with pytest.raises(Unavailable):
        world.start()
    assert "status" not in world.build()
    world.pusher.breaks.clear()
    world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.build()["status"]["attempt"] == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refused.because("/registry", "answered 413: the blob is too large"), "RegistryRefused"),
    ],
)
@pytest.mark.parametrize("step", ["manifest", "put"])
def test_a_registry_that_says_no_ends_the_build_with_the_cause_and_is_not_asked_again(
    world: World, step: str, error: Exception, reason: str
) -> None:
    world.pusher.breaks[step] = error
    world.start()
    assert world.condition("Built")[:2] == ("False", reason)
    assert world.condition("Built")[2] in str(error)
    world.pusher.breaks.clear()
    world.tick()
    assert world.condition("Built")[:2] == ("False", reason)
    world.start()
    assert world.condition("Built")[:2] == ("True", "Built"), "a new event tries again"


@pytest.mark.parametrize("mended", [True, False])
@pytest.mark.parametrize(("error", "reason"), [(NotLetIn, "RegistryRefused"), (Untrusted, "RegistryUntrusted")])
@pytest.mark.parametrize("step", ["manifest", "put"])
def test_a_registry_that_does_not_know_us_is_asked_again_while_new_credentials_may_come_and_no_longer(
    world: World, step: str, error: type[Unavailable], reason: str, *, mended: bool
) -> None:
    world.pusher.breaks[step] = error("registry", "answered 401")
    world.start()
    assert condition(world.build(), "RegistryAnswers")["reason"] == reason
    for _ in range(2):
        world.time += timedelta(seconds=60)
        world.tick()
        assert world.condition("Built")[0] == "Unknown"
    if not mended:
        world.time += timedelta(seconds=60)
        world.tick()
        assert world.condition("Built")[:2] == ("False", reason)
        assert "answered 401" in world.condition("Built")[2]
    world.pusher.breaks.clear()
    world.start() if not mended else world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_context_that_is_gone_is_told(world: World) -> None:
    world.pusher.breaks["manifest"] = Unavailable("registry", "away")
    with pytest.raises(Unavailable):
        world.start()
    for stored in list(world.store.list("contexts/")):
        world.store.delete(stored.key)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "ContextMissing")


def test_a_base_that_is_gone_is_told(world: World) -> None:
    world.pusher.manifests["registry/python"].clear()
    world.start()
    assert world.condition("Built")[:2] == ("False", "BaseMissing")
    assert f"registry/python@{DIGEST}" in world.condition("Built")[2]


def test_a_base_of_which_a_part_is_gone_is_told(world: World) -> None:
    world.pusher.blobs["registry/python"].clear()
    world.start()
    assert world.condition("Built")[:2] == ("False", "BaseRefused")


def test_an_image_that_is_gone_is_made_again_by_a_fresh_build(world: World) -> None:
    world.start()
    digest = world.service_image().partition("@")[2]
    world.registry.delete(HERE, digest)
    world.start(rebuild=True)
    assert digest in world.registry.known.values()


# --- beside others


def test_more_than_two_at_once_wait_and_then_come_again(world: World) -> None:
    builder = layered.Layered(world.store, world.registry, world.pusher, wait=0.0)
    object.__setattr__(world.product.workshop.builder, "layers", builder)
    builder._free.acquire()
    builder._free.acquire()
    with pytest.raises(Temporary, match="too many builds"):
        world.start()
    builder._free.release()
    world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_build_that_takes_too_long_is_given_up_before_its_event_is_and_goes_on_with_the_next(world: World) -> None:
    """The Trigger waits for thirty seconds. A machine that is busy fails nobody's build."""
    clock = iter(range(0, 1000, 4))
    builder = layered.Layered(world.store, world.registry, world.pusher, clock=lambda: float(next(clock)))
    object.__setattr__(world.product.workshop.builder, "layers", builder)
    with pytest.raises(Temporary, match="more than 10 seconds"):
        world.start()
    assert steps(world)["Started"] == ("Unknown", "Delayed")
    assert "attempt" not in world.build()["status"], "no attempt is used up"
    object.__setattr__(world.product.workshop.builder, "layers", replace(builder, clock=lambda: 0.0))
    world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_build_that_always_takes_too_long_has_an_end(world: World) -> None:
    world.pusher.breaks["bring"] = Temporary("a layer took more than 10 seconds")
    with pytest.raises(Temporary):
        world.start()
    world.time += timedelta(minutes=20)
    with pytest.raises(Temporary):
        world.tick()
    assert world.condition("Built")[0] == "Unknown"
    world.time += timedelta(minutes=11)
    world.tick()
    assert world.condition("Built")[:2] == ("False", "DeadlineExceeded")
    assert "a layer took more than" in world.condition("Built")[2]


def test_the_same_source_heals_also_where_the_base_it_was_laid_upon_is_gone(world: World) -> None:
    """The runtime's base has moved since; image and older base were removed from the registry."""
    world.start()
    world.registry.delete(HERE, world.service_image().partition("@")[2])
    moved = "sha256:" + "9" * 64
    world.pusher.manifests["registry/python"].clear()
    world.registry.known["registry/python:1"] = moved
    world.pusher.add("registry/python", BASE, moved)
    world.start()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.build()["spec"]["base"] == f"registry/python@{moved}"


def test_so_does_source_whose_build_has_found_no_base(world: World) -> None:
    world.pusher.manifests["registry/python"].clear()
    world.start()
    assert world.condition("Built")[:2] == ("False", "BaseMissing")
    moved = "sha256:" + "9" * 64
    world.registry.known["registry/python:1"] = moved
    world.pusher.add("registry/python", BASE, moved)
    world.start()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_a_cancel_beside_a_layer_build_wins_and_nothing_is_deployed(world: World) -> None:
    tag = world.pusher.tag

    def cancelled_meanwhile(*args: Any) -> None:
        tag(*args)
        world.pusher.tag = tag  # type: ignore[method-assign]
        world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})

    world.pusher.tag = cancelled_meanwhile  # type: ignore[method-assign]
    world.start()
    assert world.build()["status"]["phase"] == "Cancelled"
    assert world.condition("Deployed")[0] == "Unknown"


def test_newer_code_ends_the_job_of_the_older_one(world: World) -> None:
    world.start(source=ONE, builder="kaniko")
    older = world.attempt()
    world.start(source=TWO)
    assert older not in world.builder.started
    assert code(world)["function/main.py"] == TWO["inline"]["main.py"].encode()
    assert [build["status"]["phase"] for build in world.cluster.list(BUILD, "acme")].count("Cancelled") == 1
    assert not world.cluster.list(LEASE, "acme-builds")
