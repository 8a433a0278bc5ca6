"""The way of one build, over fakes: what a sender, and a reader of `Function.status`, would notice."""

from datetime import timedelta
from typing import Any

import pytest
from support.world import DIGEST, World, versions

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler.converge import converge
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused, Unavailable

OTHER_DIGEST = "sha256:" + "e" * 64

OTHER = "sha256:" + "e" * 64


def test_a_source_becomes_a_function_that_answers(world: World) -> None:
    world.start(triggers=[{"type": "demo.hello", "source": "/shop"}])
    assert world.condition("Built")[:2] == ("Unknown", "Running")
    world.finish()
    assert world.condition("Built")[:2] == ("True", "Built")
    assert world.condition("Deployed")[0] == "True"
    assert world.condition("Ready")[0] == "Unknown"
    world.knative()
    status = world.function()["status"]
    assert world.condition("Ready")[0] == "True"
    assert status["image"] == f"registry/acme/hello@{DIGEST}" == world.service_image()
    assert status["url"] == "http://hello"
    assert status["latestBuild"] == status["latestReadyBuild"]
    assert world.cluster.get(SERVICE_ACCOUNT, "acme", "hello")
    assert [trigger["spec"]["filter"]["attributes"] for trigger in world.triggers()] == [
        {"type": "demo.hello", "source": "/shop"}
    ]


def test_the_function_holds_no_source_but_a_reference(world: World) -> None:
    world.start()
    function = world.function()
    assert list(function["spec"]["source"]) == ["context"]
    assert "def handle" not in str(function)
    digest = function["spec"]["source"]["context"]["hash"].removeprefix("sha256:")
    assert world.store.get(f"contexts/acme/hello/{digest}.tar.gz", limit=10_000)


def test_the_same_event_again_makes_no_second_build(world: World) -> None:
    event = world.start()
    for _ in range(3):
        world.send(event.type, event.data, id=event.id, time=event.time)
    assert len(world.builds()) == world.builder.starts == 1


def test_the_same_source_again_writes_only_the_order(world: World) -> None:
    world.live()
    before = world.function()
    world.start()
    after = world.function()
    assert world.builder.starts == 1
    assert after["status"] == before["status"]
    assert after["metadata"]["generation"] == before["metadata"]["generation"]
    assert after["metadata"]["annotations"] != before["metadata"]["annotations"]


@pytest.mark.parametrize("kind", [KNATIVE_SERVICE, SERVICE_ACCOUNT, BUILD], ids=lambda kind: kind.kind)
def test_the_same_source_again_brings_back_what_was_deleted(world: World, kind: Kind) -> None:
    """Whether anything is missing is looked at by the event itself, which otherwise ends there."""
    world.live()
    name = "hello" if kind is not BUILD else world.build()["metadata"]["name"]
    world.cluster.delete(kind, "acme", name)
    world.start()
    assert world.cluster.get(kind, "acme", name)


def test_the_same_source_again_puts_right_what_was_changed_by_hand(world: World) -> None:
    world.live()
    service = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    assert service is not None
    service["spec"]["template"]["spec"]["containers"][0]["image"] = "registry/of/somebody:else"
    world.cluster.replace(KNATIVE_SERVICE, service)
    world.start()
    assert world.service_image() == f"registry/acme/hello@{DIGEST}"


def test_the_same_source_again_says_that_what_ran_is_broken(world: World) -> None:
    """Its report was lost: the Function still says that it is ready."""
    world.live()
    service = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    assert service is not None
    told = [{"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "it does not start"}]
    world.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": {**service["status"], "conditions": told}})
    world.start()
    assert world.condition("Ready")[:2] == ("False", "RevisionFailed")


def test_what_did_not_come_up_is_started_anew_when_it_is_sent_again(world: World) -> None:
    """A Secret that was missing may be there: nothing is built for it, and what is told is not of the start before."""
    world.start()
    world.finish()
    world.knative(ready="False", reason="SecretMissing", message="there is no Secret db in acme")
    failed, made = template(world), world.builds()
    world.start()
    assert template(world) != failed
    assert world.condition("Ready")[:2] == ("Unknown", "Deploying")
    again = template(world)
    world.start()
    assert template(world) == again, "it is under way"
    world.knative()
    before = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    world.start()
    assert world.cluster.get(KNATIVE_SERVICE, "acme", "hello") == before, "it has come up"
    assert world.condition("Ready")[0] == "True"
    assert [each["metadata"]["name"] for each in world.builds()] == [each["metadata"]["name"] for each in made]


def test_an_event_that_comes_twice_starts_nothing_twice(world: World) -> None:
    world.start()
    world.finish()
    world.knative(ready="False", reason="SecretMissing")
    sent = world.start()
    world.knative(ready="False", reason="SecretMissing")
    before = template(world)
    world.time += timedelta(minutes=1)
    world.start(id=sent.id, time=sent.time)
    assert template(world) == before
    world.start()
    assert template(world) != before


def test_however_often_it_is_sent_it_is_started_anew_once_a_minute_at_most(world: World) -> None:
    """Else each of them would be another Revision; a restart in a person's own words counts for none."""
    world.start()
    world.finish()
    made = set()
    for _ in range(6):
        world.knative(ready="False", reason="ExitCode1")
        world.start()
        made.add(template(world)["metadata"]["annotations"][names.RESTART_ANNOTATION])
    assert len(made) == 1
    world.time += timedelta(minutes=1)
    world.knative(ready="False", reason="ExitCode1")
    world.start()
    assert template(world)["metadata"]["annotations"][names.RESTART_ANNOTATION] not in made


def test_a_restart_that_is_taken_out_of_the_record_starts_nothing_anew(world: World) -> None:
    """Of the same with another `restart` there is another version."""
    world.start()
    world.finish()
    written(world, restart="please")
    world.knative()
    before = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    written(world)
    assert world.cluster.get(KNATIVE_SERVICE, "acme", "hello") == before
    assert world.condition("Ready")[0] == "True"
    written(world, restart="once more")
    assert template(world)["metadata"]["annotations"][names.RESTART_ANNOTATION] == "once more"


def written(world: World, **restart: str) -> None:
    """Write the Function's record, with this `restart` or none, as `kubectl replace` does."""
    function = world.function()
    spec = {field: value for field, value in function["spec"].items() if field != "restart"}
    world.cluster.replace(FUNCTION, {**function, "spec": {**spec, **restart}})
    converge("acme", "hello", world.product)


def test_the_same_source_again_sends_what_is_owed(world: World) -> None:
    world.broker = 503
    world.live()
    world.broker = 202
    world.start()
    assert world.outbox() == []


def test_a_new_version_replaces_the_old_once_it_is_built(world: World) -> None:
    one, two = versions("one", "two")
    world.live(source=one)
    world.start(source=two)
    assert world.service_image().endswith(DIGEST), "the old version runs while the new one is built"
    world.finish(digest=OTHER)
    assert world.service_image().endswith(OTHER)
    assert len(world.builds()) == 2


def test_newer_source_supersedes_a_build_that_runs(world: World) -> None:
    one, two = versions("one", "two")
    world.start(source=one)
    first, attempt = world.build(), world.attempt()
    world.start(source=two)
    old = world.cluster.get(BUILD, "acme", first["metadata"]["name"])
    assert old is not None
    assert old["status"]["phase"] == "Cancelled"
    assert condition(old, "Succeeded")["reason"] == "Superseded"
    assert "/tests e-" in condition(old, "Succeeded")["message"], "it says which event replaced it"
    assert attempt not in world.builder.started, "its Job is gone"
    world.report("Pod", "acme-builds", f"{attempt}-late")
    assert world.builder.starts == 2, "a late report of the old build starts nothing"


def test_a_failed_build_says_why_and_the_old_version_keeps_answering(world: World) -> None:
    one, two = versions("one", "two")
    world.live(source=one)
    world.start(source=two)
    world.fail(Ended(1, "user", "BuildFailed", "exit code 1"), b"first line\nERROR: no such package\n")
    state, reason, message = world.condition("Built")
    assert (state, reason) == ("False", "BuildFailed")
    assert "ERROR: no such package" in message
    assert world.condition("Ready")[0] == "True"
    assert world.service_image().endswith(DIGEST)
    assert (
        world.store.get(f"logs/acme/hello/{world.attempt()}.log", limit=1000) == b"first line\nERROR: no such package\n"
    )


def test_a_users_failure_is_tried_again_only_for_a_new_event(world: World) -> None:
    event = world.start()
    world.fail(Ended(1, "user", "BuildFailed"))
    world.send(event.type, event.data, id=event.id, time=event.time)
    world.tick()
    assert world.builder.starts == 1
    failed = world.build()["metadata"]["uid"]
    world.start()
    assert world.builder.starts == 2
    assert world.build()["spec"]["rebuild"] == failed


def test_a_platforms_failure_is_tried_again_three_times_at_most(world: World) -> None:
    world.start()
    for _ in range(3):
        assert world.condition("Built")[0] == "Unknown"
        world.fail(Ended(1, "platform", "Evicted", "the node was low on memory"))
        world.time += timedelta(minutes=5)
        world.tick()
    assert world.condition("Built")[:2] == ("False", "Evicted")
    assert world.builder.starts == 3
    assert [past["number"] for past in world.build()["status"]["attempts"]] == [1, 2]


def test_an_exit_code_of_zero_proves_nothing_when_the_registry_knows_no_image(world: World) -> None:
    world.start()
    world.fail(Ended(0))
    assert world.condition("Built")[:2] == ("False", "ImageMissing")


def test_a_build_whose_job_was_deleted_after_its_push_has_succeeded(world: World) -> None:
    world.start()
    attempt = world.attempt()
    world.builder.started.clear()
    world.registry.known[f"registry/acme/hello:{attempt}"] = DIGEST
    world.tick()
    assert world.condition("Built")[0] == "True"


def test_a_build_whose_job_was_deleted_is_started_again(world: World) -> None:
    world.start()
    world.builder.started.clear()
    world.tick()
    assert world.builder.starts == 2
    assert world.build()["status"]["attempt"] == 1


def test_a_rebuild_makes_a_fresh_image_of_the_same_input(world: World) -> None:
    world.live()
    event = world.start(rebuild=True)
    world.send(event.type, event.data, id=event.id, time=event.time)
    assert world.builder.starts == 2
    world.finish(digest=OTHER)
    assert world.service_image().endswith(OTHER)
    world.start()
    assert world.service_image().endswith(OTHER), "the same source without a rebuild keeps the newest image"
    assert world.builder.starts == 2


def test_a_base_image_whose_tag_moved_rebuilds_nothing_by_itself(world: World) -> None:
    world.live()
    world.registry.known["registry/python:1"] = OTHER
    world.start()
    assert world.builder.starts == 1
    (two,) = versions("two")
    world.start(source=two)
    assert world.build()["spec"]["base"] == f"registry/python@{OTHER}", "new source takes the base as it is now"


def test_a_ready_image_is_deployed_without_a_build(world: World) -> None:
    image = f"elsewhere.test/any/thing@{DIGEST}"
    world.start(source={"image": image})
    assert world.builds() == []
    assert world.service_image() == image
    assert world.condition("Built")[:2] == ("True", "ImageGiven")


def test_triggers_that_are_no_longer_wanted_go_and_those_of_a_person_stay(world: World) -> None:
    world.live(triggers=[{"type": "a"}, {"type": "b"}])
    made = {**world.triggers()[0], "metadata": {"name": "by-hand", "namespace": "acme", "labels": {}}}
    world.cluster.create(TRIGGER, made)
    world.start(triggers=[{"type": "b"}])
    assert [trigger["spec"]["filter"]["attributes"]["type"] for trigger in world.triggers()] == ["b"]
    assert world.cluster.get(TRIGGER, "acme", "by-hand")


def test_a_knative_service_that_a_person_made_is_left_alone(world: World) -> None:
    theirs = {"apiVersion": "serving.knative.dev/v1", "kind": "Service", "spec": {"template": {}}}
    world.cluster.create(KNATIVE_SERVICE, {**theirs, "metadata": {"name": "hello", "namespace": "acme"}})
    world.start()
    world.finish()
    state, reason, message = world.condition("Deployed")
    assert (state, reason) == ("False", "NameTaken")
    assert "not this function's" in message


def template(world: World) -> Any:
    service = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    assert service is not None
    return service["spec"]["template"]


def test_knatives_own_reason_is_told(world: World) -> None:
    world.start()
    world.finish()
    world.knative(ready="False", reason="RevisionFailed", message="container failed to start")
    assert world.condition("Ready") == ("False", "RevisionFailed", "container failed to start")
    assert world.told_types()[-1] == "function.failed"


def test_a_function_applied_by_hand_converges_like_one_sent_as_an_event(world: World) -> None:
    spec = {"runtime": "python", "source": {"inline": {"main.py": "def handle(event, context): ...\n"}}}
    meta = {"name": "hello", "namespace": "acme"}
    world.cluster.create(
        FUNCTION, {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
    )
    world.report("Function", "acme", "hello")
    world.finish()
    world.knative()
    assert world.condition("Ready")[0] == "True"
    assert world.function()["spec"] == spec, "what the person wrote stays as it is"


def test_a_function_applied_by_hand_with_a_bad_source_says_so_in_its_status(world: World) -> None:
    spec = {"runtime": "python", "source": {"inline": {"../main.py": ""}}}
    meta = {"name": "hello", "namespace": "acme"}
    world.cluster.create(
        FUNCTION, {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
    )
    world.report("Function", "acme", "hello")
    assert world.condition("Built")[:2] == ("False", "SourceRefused")


def test_what_the_handler_did_not_finish_the_sweep_finishes(world: World) -> None:
    """The store goes away between the record and the rest; nothing but the clock brings the function on."""
    world.start()
    attempt = world.attempt()
    world.registry.known[f"registry/acme/hello:{attempt}"] = DIGEST
    world.builder.ends[attempt] = Ended(0)
    world.tick()
    assert world.condition("Built")[0] == "True"


def test_one_tenants_functions_are_not_anothers(world: World) -> None:
    world.start()
    world.start(tenant="other")
    assert {build["spec"]["destination"] for tenant in ("acme", "other") for build in world.builds(tenant)} == {
        "registry/acme/hello",
        "registry/other/hello",
    }
    assert world.builder.starts == 2


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"tenant": "nobody"}, "/data/tenant"),
        ({"builder": "layer"}, "/data/builder"),
        ({"source": {"git": {"url": "https://example.test/x"}}}, "/data/source/git"),
        ({"source": {"object": "uploads/other/x.tar.gz"}}, "/data/source/object"),
        ({"source": {"object": "contexts/acme/hello/x.tar.gz"}}, "/data/source/object"),
        ({"source": {"object": "uploads/acme/../other/x"}}, "/data/source/object"),
        ({"source": {"object": "global/parser/x"}}, "/data/source/object"),
        ({"source": {"object": "https://example.test/x"}}, "/data/source/object"),
        ({"source": {"object": "uploads/acme/missing.tar.gz"}}, "/data/source/object"),
        ({"entrypoint": "other.handle"}, "/data/entrypoint"),
        ({"runtime": "dockerfile"}, "/data/source"),
        ({"scale": {"min": 3, "max": 2}}, "/data/scale/min"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, "/data/resources/requests/cpu"),
    ],
)
def test_what_cannot_be_built_is_refused_before_anything_is_stored(
    world: World, fields: dict[str, Any], where: str
) -> None:
    with pytest.raises(Refused) as refused:
        world.start(**fields)
    assert [fault.where for fault in refused.value.faults] == [where]
    assert world.functions() == []
    assert list(world.store.list("contexts/")) == []


IDS = {"third_party_id": "other", "parser_id": "mine"}
SCRIPT = b"exports.handle = async () => 1\n"


@pytest.mark.parametrize("said", [{}, {"source": {"object": "global/parser/mine"}}])
def test_a_start_of_the_older_family_is_built_of_what_lies_in_the_store_for_its_parser(
    world: World, said: dict[str, Any]
) -> None:
    world.store.put("global/parser/mine", SCRIPT)
    world.send(types.NOTIFI + "build.start", {**IDS, **said})
    assert len(world.builds("other")) == 1


@pytest.mark.parametrize("parser", ["mine", "no key"])
@pytest.mark.parametrize("object_", ["secret", "mine-too", "mine/too", ""])
def test_what_lies_there_for_another_parser_is_not_read(world: World, parser: str, object_: str) -> None:
    """It may be another tenant's: who sends an event says freely what it names."""
    key = f"global/parser/{object_}"
    if object_:
        world.store.put(key, SCRIPT)
    with pytest.raises(Refused) as refused:
        world.send(types.NOTIFI + "build.start", {**IDS, "parser_id": parser, "source": {"object": key}})
    assert [fault.where for fault in refused.value.faults] == ["/data/source/object"]
    assert list(world.store.list("contexts/other/")) == []


def test_a_runtime_without_a_base_image_is_refused() -> None:
    """An installation need not build Go functions; who builds them elsewhere, or has an image, needs no base."""
    world = World(go_base="")
    source = {"inline": {"handle.go": "package function"}}
    with pytest.raises(Refused, match="builds no functions of runtime go"):
        world.start(runtime="go", source=source)
    world.start(runtime="go", source=source, builder="external")
    world.start(name="ready", runtime="go", source={"image": "registry.test/ready:1"})


def test_a_go_function_is_compiled_by_a_job_upon_its_base(world: World) -> None:
    world.start(runtime="go", source={"inline": {"handle.go": "package function"}}, builder="auto")
    [build] = world.builds()
    assert (build["spec"]["builder"], build["spec"]["base"]) == ("kaniko", f"registry/go@{DIGEST}")


def test_a_missing_base_image_is_temporary_and_nothing_is_half_made(world: World) -> None:
    del world.registry.known["registry/python:1"]
    with pytest.raises(Unavailable, match="no base image"):
        world.start()
    assert world.functions() == []


def test_an_object_in_the_store_is_a_source(world: World) -> None:
    world.store.put("uploads/acme/hello.py", b"def handle(event, context): ...\n")
    world.start(source={"object": "memory://world/uploads/acme/hello.py"})
    by_url = world.function()["spec"]["source"]
    world.start(source={"inline": {"main.py": "def handle(event, context): ...\n"}})
    assert world.function()["spec"]["source"] == by_url, "equal sources have equal hashes, however they came"


def test_cancelling_stops_the_build_and_leaves_what_runs(world: World) -> None:
    one, two = versions("one", "two")
    world.live(source=one)
    world.start(source=two)
    attempt = world.attempt()
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert world.condition("Built")[:2] == ("False", "Cancelled")
    assert attempt not in world.builder.started
    assert world.condition("Ready")[0] == "True"
    world.tick()
    assert world.builder.starts == 2, "nothing starts it again"
    world.start(source=two)
    assert world.builder.starts == 3, "but a newer event does"


def test_an_outside_builder_says_the_outcome_and_the_registry_must_know_the_image(world: World) -> None:
    world.start(builder="external")
    assert world.builder.starts == 0
    build = world.build()["metadata"]["name"]
    complete = {"tenant": "acme", "name": "hello", "build": build, "image": "registry/acme/hello:mine"}
    with pytest.raises(Refused, match="does not know"):
        world.send(types.BUILD_COMPLETE, complete)
    world.registry.known["registry/acme/hello:mine"] = OTHER
    world.send(types.BUILD_COMPLETE, complete)
    assert world.service_image() == f"registry/acme/hello@{OTHER}"
    world.start(builder="external", rebuild=True)
    stolen = {**complete, "build": world.build()["metadata"]["name"], "image": "registry/other/hello:mine"}
    with pytest.raises(Refused, match="lies in"):
        world.send(types.BUILD_COMPLETE, stolen)


def test_an_external_build_says_what_it_waits_for_and_a_misspelt_name_is_told(world: World) -> None:
    world.start(builder="external")
    assert condition(world.build(), "Succeeded")["reason"] == "Queued"
    assert "build.complete" in condition(world.build(), "Succeeded")["message"]
    said = {"tenant": "acme", "name": "hello", "build": "hello-typo", "image": "registry/acme/hello:1"}
    with pytest.raises(Refused, match="no Build hello-typo"):
        world.send(types.BUILD_COMPLETE, said)


@pytest.mark.parametrize("kind", ["build.complete", "build.failed", "build.timeout"])
@pytest.mark.parametrize("dated", [True, False])
def test_the_late_result_of_a_superseded_build_changes_nothing_though_it_names_none(
    world: World, kind: str, *, dated: bool
) -> None:
    """The older family need not say which Build it means."""
    one, two = versions("one", "two")
    world.start(builder="external", source=one)
    before = world.time
    world.start(builder="external", source=two)
    world.registry.known["registry/acme/hello:first"] = OTHER
    said = {"third_party_id": "acme", "parser_id": "hello", "image": "registry/acme/hello:first"}
    if kind != "build.complete":
        said.pop("image")
    world.send(types.NOTIFI + kind, said, time=before if dated else None)
    assert [record.phase(build) for build in world.builds()].count("Queued") == 1
    assert record.phase(world.build()) == "Queued"
    world.send(types.NOTIFI + kind, said)
    assert record.phase(world.build()) == ("Succeeded" if kind == "build.complete" else "Failed")


def test_a_result_without_a_time_is_taken_where_it_can_mean_but_one_build(world: World) -> None:
    world.start(builder="external")
    world.start("other", builder="external")
    said = {"third_party_id": "acme", "parser_id": "hello"}
    world.send(types.NOTIFI + "build.failed", said, time=None)
    assert (record.phase(world.build()), record.phase(world.build("other"))) == ("Failed", "Queued")


def test_a_word_from_outside_changes_nothing_for_a_build_of_ours(world: World) -> None:
    world.start()
    build = world.build()["metadata"]["name"]
    world.send(types.BUILD_FAILED, {"tenant": "acme", "name": "hello", "build": build, "reason": "Forged"})
    assert world.build()["status"]["phase"] == "Running"


@pytest.mark.parametrize("length", [1, 36, 37, 40, 63])
def test_a_pods_report_finds_its_function_however_long_its_name_is(world: World, length: int) -> None:
    """The API server cuts what a Job's Pod is named after at 58 characters."""
    name = "f" * length
    world.start(name)
    attempt = world.attempt(name)
    world.registry.known[f"registry/acme/{name}:{attempt}"] = DIGEST
    world.builder.ends[attempt] = Ended(0)
    world.report("Pod", "acme-builds", f"{attempt}-"[:58] + "abcde")
    assert world.condition("Built", name)[0] == "True"


def test_a_trigger_that_somebody_deleted_comes_back(world: World) -> None:
    world.live(triggers=[{"type": "a"}])
    for hint in (lambda name: world.report("Trigger", "acme", name), lambda _: world.tick()):
        [trigger] = world.triggers()
        world.cluster.delete(TRIGGER, "acme", trigger["metadata"]["name"])
        hint(trigger["metadata"]["name"])
        assert len(world.triggers()) == 1


@pytest.mark.parametrize("lost", ["deleted", "failed"])
def test_a_service_that_changed_while_no_report_came_is_noticed_by_the_sweep(world: World, lost: str) -> None:
    world.live()
    if lost == "deleted":
        world.cluster.delete(KNATIVE_SERVICE, "acme", "hello")
    else:
        service = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
        assert service is not None
        service["status"]["conditions"] = [{"type": "Ready", "status": "False", "reason": "Gone", "message": "x"}]
        world.cluster.replace_status(KNATIVE_SERVICE, service)
    world.tick()
    assert world.condition("Ready")[0] != "True"
    assert world.cluster.get(KNATIVE_SERVICE, "acme", "hello")


def test_a_source_that_was_taken_but_not_begun_is_not_begun_by_its_cancellation(world: World) -> None:
    world.start()
    function = world.function()
    world.cluster.delete(BUILD, "acme", function["status"]["latestBuild"])
    world.builder.started.clear()
    world.cluster.replace_status(FUNCTION, {**function, "status": {}})
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert world.builder.started == {}
    assert world.condition("Built")[:2] == ("False", "Cancelled")


def test_an_older_cancel_stops_nothing(world: World) -> None:
    early = world.time
    world.start()
    world.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"}, time=early)
    assert world.build()["status"]["phase"] == "Running"


def test_a_job_that_the_cluster_refuses_ends_the_build_with_the_clusters_words(world: World) -> None:
    def refuse(_: object) -> None:
        raise Refused.because("cluster", "violates PodSecurity")

    world.builder.start = refuse  # type: ignore[method-assign]
    world.start()
    assert world.condition("Built")[:2] == ("False", "Refused")
    assert "PodSecurity" in world.condition("Built")[2]


def test_a_refused_pods_job_does_not_go_on_trying_once_the_build_has_failed(world: World) -> None:
    world.start()
    attempt = world.attempt()
    world.fail(Ended(1, "ours", "PodRefused", "violates PodSecurity"))
    assert world.condition("Built")[:2] == ("False", "PodRefused")
    assert attempt not in world.builder.started


def test_a_service_that_was_refused_once_is_applied_by_the_sweep_once_it_is_taken(world: World) -> None:
    """Also while the version before is ready, and answers."""
    one, two = versions("one", "two")
    world.live(source=one)
    real = world.cluster.apply
    world.cluster.apply = refuse  # type: ignore[method-assign]
    world.start(source=two)
    world.finish(digest=OTHER_DIGEST)
    assert world.condition("Deployed")[:2] == ("False", "Refused")
    assert world.condition("Ready")[0] == "True"
    world.cluster.apply = real  # type: ignore[method-assign]
    world.tick()
    assert world.condition("Deployed")[0] == "True"
    assert world.service_image().endswith(OTHER_DIGEST)


def refuse(_kind: Kind, _body: Object) -> Object:
    raise Refused.because("/spec", "an admission policy says no")


def test_one_tenants_trouble_does_not_keep_the_sweep_from_the_others(world: World) -> None:
    world.start(tenant="other")
    world.start()
    function = world.function()
    function["metadata"]["annotations"]["knative-lambda.dev/event"] = '{"sequence": "x"}'
    world.cluster.replace(FUNCTION, function)
    world.store.put("tombstones/acme/hello/broken.json", b"{")
    world.builder.started.clear()
    world.tick()
    assert len(world.builder.started) == 2, "both lost attempts were begun again"


def test_an_image_of_another_tenant_is_not_run(world: World) -> None:
    with pytest.raises(Refused, match="of this registry"):
        world.start(source={"image": f"registry/other/secret@{DIGEST}"})
    world.start(source={"image": f"registry/acme/mine@{DIGEST}"})
    assert world.service_image() == f"registry/acme/mine@{DIGEST}"


def test_dollars_in_an_environment_value_arrive_as_they_were_sent(world: World) -> None:
    world.live(env={"PASSWORD": "pa$$word$(LAMBDA_TENANT)"})
    service = world.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    assert service is not None
    env = service["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "PASSWORD", "value": "pa$$$$word$$(LAMBDA_TENANT)"} in env, "as Kubernetes wants it written"
