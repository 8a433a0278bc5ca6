"""Functions with dependencies: a Job installs them once for a tenant, and all else is their code laid upon that."""

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.images import INSTALLED, check, files, sha256
from support.world import DIGEST, PYTHON, World, versions

from knative_lambda.builds.builder import Attempt, Ended
from knative_lambda.deploy.cluster import BUILD, LEASE, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Unavailable

LIST = {"requirements.txt": "inflection==0.5.1\n"}
ONE, TWO = ({"inline": {**source["inline"], **LIST}} for source in versions("one", "two"))
OTHER = {"inline": {**PYTHON, "requirements.txt": "inflection==0.5.0\n"}}
NODE = {"inline": {"index.js": "exports.handle = async () => 1\n", "package.json": '{"dependencies": {"nanoid": "5"}}'}}
PLACE = "registry/acme/dependencies.python"


@pytest.fixture
def world() -> World:
    return World(layers=True)


def job(world: World, name: str = "hello") -> Attempt:
    """Return what the Job of a function's Build was made for."""
    return world.builder.started[world.attempt(name)]


def steps(world: World, name: str = "hello") -> dict[str, tuple[str, str]]:
    return {said["type"]: (said["status"], said["reason"]) for said in world.build(name)["status"]["conditions"]}


def kept(world: World, place: str = PLACE) -> list[str]:
    """Return the tags of what was installed that are no attempt's."""
    return [tag for tag in world.registry.tags(place) if "-" not in tag]


def layers(world: World, name: str = "hello") -> list[str]:
    """Return the layers of what a Service runs, held against what OCI demands of an image."""
    repository, _, digest = world.service_image(name).partition("@")
    body = world.pusher.manifests[repository][digest].body
    check(body, world.pusher.blobs[repository].get)
    return [layer["digest"] for layer in json.loads(body)["layers"]]


def places(world: World) -> list[Object]:
    return [*world.cluster.list(LEASE, "acme-builds"), *world.cluster.list(LEASE, "knative-lambda")]


@pytest.mark.parametrize(("runtime", "source"), [("python", ONE), ("node", NODE)])
def test_a_job_installs_them_and_then_the_code_is_laid_upon_that(world: World, runtime: str, source: Any) -> None:
    world.start(runtime=runtime, source=source)
    made = job(world)
    assert (made.builder, made.recipe) == ("kaniko", "dependencies.Dockerfile")
    assert made.destination == f"registry/acme/dependencies.{runtime}:{world.attempt()}"
    assert made.build_args == {"BASE": f"registry/{runtime}@{DIGEST}"}
    assert world.condition("Deployed")[0] == "Unknown"
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert layers(world)[:-1] == [sha256(blob) for blob in INSTALLED.blobs[:-1]]
    assert world.builder.starts == 1
    assert world.told_types() == ["build.started", "build.complete"]


def test_its_steps_are_on_the_record_with_who_built_it_and_why(world: World) -> None:
    world.start(source=ONE)
    world.builder.logs[world.attempt()] = b"Successfully installed inflection-0.5.1\n"
    world.finish()
    build = world.build()
    assert steps(world) == {
        "ContextStored": ("True", "Stored"),
        "BuilderChosen": ("True", "Layer"),
        "Admitted": ("False", "Released"),
        "Started": ("True", "Running"),
        "DependenciesInstalled": ("True", "Built"),
        "Pushed": ("True", "Pushed"),
        "Succeeded": ("True", "Built"),
    }
    assert "installed once by a Job" in condition(build, "BuilderChosen")["message"]
    assert condition(build, "DependenciesInstalled")["message"] == f"{PLACE}@{INSTALLED.digest}"
    assert build["status"]["image"] == world.service_image()
    assert b"inflection" in (world.store.get(build["status"]["log"], limit=1000) or b"")
    assert not places(world)


def test_a_code_change_after_that_makes_no_job_and_takes_no_slot() -> None:
    world = World(layers=True, builds_at_once=1)
    world.start(source=ONE)
    world.finish()
    world.start("slow", builder="kaniko")
    world.start(source=TWO)
    assert world.condition("Built")[:2] == ("True", "Built")
    assert steps(world)["DependenciesInstalled"] == ("True", "Cached")
    assert steps(world)["Admitted"] == ("True", "NoSlotNeeded")
    repository, _, digest = world.service_image().partition("@")
    last = json.loads(world.pusher.manifests[repository][digest].body)["layers"][-1]["digest"]
    laid = {name: body for name, *_, body in files(world.pusher.blobs[repository][last])}
    assert laid["function/main.py"] == TWO["inline"]["main.py"].encode()
    assert world.builder.starts == 2, "the first one's, and the slow one's"


def test_another_function_of_the_tenant_with_the_same_lists_makes_no_job(world: World) -> None:
    world.start(source=ONE)
    world.finish()
    world.start("other", source=TWO)
    assert world.condition("Built", "other")[:2] == ("True", "Built")
    assert layers(world, "other")[:-1] == layers(world)[:-1]
    assert world.builder.starts == 1


def test_functions_that_come_at_once_with_the_same_lists_share_one_job(world: World) -> None:
    world.start(source=ONE)
    world.start("other", source=TWO)
    assert steps(world, "other")["Admitted"] == ("False", "Shared")
    world.finish()
    world.tick()
    assert world.condition("Built", "other")[:2] == ("True", "Built")
    assert steps(world, "other")["DependenciesInstalled"] == ("True", "Cached")
    assert world.builder.starts == 1
    assert not places(world)


def test_two_tenants_with_the_same_source_do_not_see_what_the_other_has_installed(world: World) -> None:
    """Each has a Job and a repository of its own: what the one can push to, the other never runs."""
    world.start(source=ONE)
    world.finish()
    world.start(tenant="other", source=ONE)
    [build] = world.builds("other")
    assert world.builder.starts == 2
    made = world.builder.started[f"{build['metadata']['name']}-1"]
    assert made.destination.startswith("registry/other/dependencies.python:")
    assert build["spec"]["dependencies"].startswith("registry/other/dependencies.python:")
    assert build["spec"]["dependencies"].partition(":")[2] == world.build()["spec"]["dependencies"].partition(":")[2]


@pytest.mark.parametrize("change", ["another list", "another base"])
def test_what_decides_about_them_has_them_installed_anew(world: World, change: str) -> None:
    world.start(source=ONE)
    world.finish()
    if change == "another base":
        world.registry.known["registry/python:1"] = "sha256:" + "e" * 64
    world.start(source=OTHER if change == "another list" else TWO)
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert len(kept(world)) == 2


@pytest.mark.parametrize(
    ("runtime", "source"),
    [
        ("python", {"inline": {**PYTHON, "requirements.txt": "# none yet\n"}}),
        ("node", {"inline": {"index.js": "", "package.json": '{"type": "module"}'}}),
    ],
)
def test_a_list_that_asks_for_nothing_is_code_alone(world: World, runtime: str, source: Any) -> None:
    world.start(runtime=runtime, source=source)
    assert world.builder.starts == 0
    assert "dependencies" not in world.build()["spec"]
    assert world.condition("Built")[:2] == ("True", "Built")


def test_kaniko_makes_everything_in_one_job_where_it_is_asked_for(world: World) -> None:
    world.start(source=ONE, builder="kaniko")
    assert "dependencies" not in world.build()["spec"]
    assert (job(world).recipe, job(world).destination) == ("Dockerfile", f"registry/acme/hello:{world.attempt()}")
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert kept(world) == []


def test_a_layer_that_is_asked_for_has_its_dependencies_installed_before(world: World) -> None:
    world.start(source=ONE, builder="layer")
    assert job(world).recipe == "dependencies.Dockerfile"
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_where_no_layers_are_laid_one_job_makes_it_all() -> None:
    world = World(layers=False)
    world.start(source=ONE)
    assert (world.build()["spec"]["builder"], job(world).recipe) == ("kaniko", "Dockerfile")


# --- a fresh build


def test_a_fresh_build_installs_anew_and_what_comes_after_is_laid_upon_that(world: World) -> None:
    """A list that pins no versions gets newer ones, and others get them too."""
    world.start(source=ONE)
    world.finish()
    world.start(source=ONE, rebuild=True)
    assert world.builder.starts == 2
    newer = "sha256:" + "7" * 64
    attempt = world.attempt()
    world.pusher.add(PLACE, INSTALLED, newer)
    world.registry.known[job(world).destination] = newer
    world.builder.ends[attempt] = Ended(0)
    world.report("Pod", "acme-builds", f"{attempt}-abcde")
    assert world.condition("Built")[:2] == ("True", "Built")
    assert condition(world.build(), "DependenciesInstalled")["message"] == f"{PLACE}@{newer}"
    [key] = kept(world)
    world.start(source=TWO)
    assert world.builder.starts == 2
    assert world.build()["spec"]["dependencies"] == f"{PLACE}:{key}"


def test_a_fresh_build_waits_for_nobody_who_began_before(world: World) -> None:
    world.start(source=ONE)
    world.start("other", source=ONE, rebuild=True)
    assert world.builder.starts == 2


# --- what fails


def test_what_cannot_be_installed_fails_the_build_with_the_package_managers_words(world: World) -> None:
    world.start(source=ONE)
    world.fail(Ended(1, "user", "", "exit code 1"), b"ERROR: No matching distribution found for inflection\n")
    assert world.condition("Built")[:2] == ("False", "BuildFailed")
    assert "No matching distribution" in world.condition("Built")[2]
    assert steps(world)["DependenciesInstalled"] == ("False", "BuildFailed")
    assert kept(world) == []
    assert not places(world)
    world.start("other", source=TWO)
    assert world.builder.starts == 2, "it is tried anew by whoever asks for the same"


def test_a_job_that_pushed_nothing_is_not_believed(world: World) -> None:
    world.start(source=ONE)
    world.fail(Ended(0))
    assert world.condition("Built")[:2] == ("False", "ImageMissing")
    assert kept(world) == []


def test_an_eviction_while_they_are_installed_is_tried_again(world: World) -> None:
    world.start(source=ONE)
    world.fail(Ended(1, "platform", "Evicted", "low on memory"))
    assert steps(world)["Retrying"] == ("True", "Evicted")
    world.time = world.time.replace(minute=world.time.minute + 1)
    world.tick()
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert not places(world)


@pytest.mark.parametrize("step", ["tag", "blob", "bring", "put"])
def test_a_registry_that_fails_once_they_are_installed_is_tried_again(world: World, step: str) -> None:
    """Without another Job where they can be found by what is inside; nothing half-pushed is deployed."""
    world.start(source=ONE)
    world.pusher.breaks[step] = Unavailable("registry", "broke off in the middle")
    world.finish()
    assert steps(world)["Retrying"] == ("True", "RegistryUnavailable")
    assert world.condition("Deployed")[0] == "Unknown"
    world.pusher.breaks.clear()
    world.time = world.time.replace(minute=world.time.minute + 1)
    world.tick()
    if step == "tag":
        world.finish()
    assert world.builder.starts == (2 if step == "tag" else 1)
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.build()["status"]["attempt"] == 2
    world.tick()
    assert not places(world)


def test_a_registry_that_does_not_answer_at_all_uses_up_no_attempt(world: World) -> None:
    world.start(source=ONE)
    world.pusher.breaks["manifest"] = Unavailable("registry", "did not answer")
    with pytest.raises(Unavailable):
        world.finish()
    assert world.build()["status"]["phase"] == "Running"
    world.pusher.breaks.clear()
    world.tick()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.build()["status"]["attempt"] == 1


def test_what_was_deleted_from_the_registry_is_installed_again(world: World) -> None:
    world.start(source=ONE)
    world.finish()
    world.registry.delete(PLACE, INSTALLED.digest)
    world.start(source=TWO)
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")


def test_what_goes_from_the_registry_just_as_it_is_found_is_installed_again(world: World) -> None:
    world.start(source=ONE)
    world.finish()
    world.pusher.manifests[PLACE].clear()
    world.start(source=TWO)
    assert steps(world)["Retrying"] == ("True", "BaseMissing")
    world.registry.delete(PLACE, INSTALLED.digest)
    world.time = world.time.replace(minute=world.time.minute + 1)
    world.tick()
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert not places(world)


def test_dependencies_of_which_a_part_is_gone_are_installed_once_more(world: World) -> None:
    """As when somebody has cleaned up in the registry by hand."""
    world.start(source=ONE)
    world.finish()
    [config] = [digest for digest in world.pusher.blobs[PLACE] if digest == sha256(INSTALLED.blobs[-1])]
    del world.pusher.blobs[PLACE][config]
    world.start(source=TWO)
    assert steps(world)["Retrying"] == ("True", "BaseRefused")
    world.time += timedelta(minutes=1)
    world.tick()
    assert world.builder.starts == 2
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert steps(world)["DependenciesInstalled"] == ("True", "Built")


# --- beside others


def test_what_has_waited_for_a_slot_needs_none_once_they_are_installed() -> None:
    world = World(layers=True, builds_at_once=1)
    world.start("slow", builder="kaniko")
    world.start(source=ONE)
    assert steps(world)["Admitted"] == ("False", "Waiting")
    place, tag = world.build()["spec"]["dependencies"].split(":")
    world.registry.known[f"{place}:{tag}"] = world.pusher.add(place, INSTALLED)
    world.finish("slow")
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.builder.starts == 1
    assert not places(world)


def test_those_that_wait_for_one_that_needs_no_job_any_more_are_looked_at_at_once() -> None:
    """What it was to install is there: nobody is to make that now, and whoever waited for it need not wait longer."""
    looks: list[str] = []
    world = World(layers=True, builds_at_once=1)
    later = replace(world.product.workshop, later=lambda _tenant, name, _moment: looks.append(name))
    world.product = replace(world.product, workshop=later)
    world.start("slow", builder="kaniko")
    world.start(source=ONE)
    world.start("other", source=TWO)
    assert [steps(world, name)["Admitted"][1] for name in ("hello", "other")] == ["Waiting", "Shared"]
    place, tag = world.build()["spec"]["dependencies"].split(":")
    world.registry.known[f"{place}:{tag}"] = world.pusher.add(place, INSTALLED)
    looks.clear()
    world.start(source=ONE, env={"A": "1"})
    assert world.condition("Built")[:2] == ("True", "Built")
    assert looks == ["other"]
    assert {lease["metadata"]["labels"][names.FUNCTION_LABEL] for lease in places(world)} == {"slow"}


def test_a_cancel_while_they_are_installed_ends_the_job(world: World) -> None:
    world.start(source=ONE)
    attempt = world.attempt()
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert world.build()["status"]["phase"] == "Cancelled"
    assert attempt not in world.builder.started
    assert not places(world)


def test_newer_code_while_they_are_installed_begins_anew(world: World) -> None:
    world.start(source=ONE)
    older = world.attempt()
    world.start(source=TWO)
    assert older not in world.builder.started
    assert [build["status"]["phase"] for build in world.cluster.list(BUILD, "acme")].count("Cancelled") == 1
    world.tick()
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
