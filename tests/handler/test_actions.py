"""Actions under ``/v1``: each goes the way of the product's own event, where what is there allows it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.door import FrontDoor, Site, problem
from support.images import BASE
from support.world import DIGEST, World
from werkzeug.test import TestResponse

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler.acts import earlier
from knative_lambda.handler.acts.order import seen_by
from knative_lambda.handler.api.actions import ACTIONS
from knative_lambda.handler.api.deprecations import DEPRECATED, Deprecated
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.schemas import catalogue, types
from knative_lambda.schemas.errors import Unavailable

PATH = "/v1/tenants/acme/functions/hello"
TWO = {"inline": {"main.py": "def handle(event, context):\n    return 2\n"}}
SECOND = "sha256:" + "2" * 64


@pytest.fixture
def site() -> Site:
    return Site()


def act(site: Site, action: str, path: str = PATH, **body: Any) -> TestResponse:
    return site.http.post(f"{path}/{action}", json=body or None)


def done(answer: TestResponse, look: str = PATH) -> dict[str, Any]:
    """Return what was there when an action had been taken."""
    body: dict[str, Any] = answer.get_json()
    assert (answer.status_code, answer.headers.get("Location")) == (202, look), body
    return body


def two_versions(site: Site) -> tuple[str, str]:
    """Bring up a function, then its next version; return their Builds."""
    world = site.world
    world.live()
    first = world.build()["metadata"]["name"]
    world.start(source=TWO, env={"GREETING": "hi"})
    world.finish(digest=SECOND)
    world.knative()
    return first, world.build()["metadata"]["name"]


def test_a_start_is_the_event(site: Site) -> None:
    shown = done(act(site, "start", runtime="python", source=TWO))
    assert (shown["state"], shown["metadata"]["name"]) == ("Building", "hello")
    [event] = site.door.received
    assert (event.type, event.source, event.data["tenant"], event.data["name"]) == (
        types.BUILD_START,
        "/v1",
        "acme",
        "hello",
    )
    site.world.finish()
    site.world.knative()
    assert site.world.condition("Ready")[0] == "True"


def test_what_the_event_could_not_say_is_refused_with_every_fault(site: Site) -> None:
    body = {"runtime": "cobol", "source": TWO, "name": "other", "again": ""}
    faults = problem(act(site, "start", **body), 422, "refused")["faults"]
    assert {fault["where"] for fault in faults} >= {"/runtime", "/name"}
    for action in ("cancel", "retry", "rollback", "pause", "resume", "delete"):
        assert act(site, action, again="x").status_code == 422
        assert act(site, action, sequence="x").status_code == 422
    assert site.door.received == []


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 1000])
def test_a_body_that_is_no_json_is_told(site: Site, body: bytes) -> None:
    problem(site.http.post(f"{PATH}/start", data=body), 400, "bad-request")
    problem(site.http.post(f"{PATH}/start", data=b"[]"), 422, "refused")


def test_where_nothing_is_only_a_start_does_something(site: Site) -> None:
    for action in ("cancel", "retry", "rollback", "pause", "resume", "delete"):
        problem(act(site, action), 404, "not-found")
    problem(act(site, "cancel", "/v1/tenants/acme/builds/hello"), 404, "not-found")
    problem(act(site, "start", "/v1/tenants/nobody/functions/hello", runtime="python", source=TWO), 404, "not-found")


def test_what_cannot_be_done_now_says_why_and_what_can(site: Site) -> None:
    site.world.live()
    for action in ("cancel", "retry", "rollback", "resume"):
        told = problem(act(site, action), 409, "not-now")
        assert told["allowed_actions"] == ["start", "pause", "delete"]
        assert action in told["detail"]
    assert site.door.received == []


def test_what_is_being_built_is_cancelled_and_tried_again(site: Site) -> None:
    site.world.start()
    first = site.world.build()["metadata"]["name"]
    assert done(act(site, "cancel"))["state"] == "Failed"
    assert site.world.condition("Built")[:2] == ("False", "Cancelled")
    assert done(act(site, "retry"))["state"] == "Building"
    again = site.world.build()["metadata"]
    assert again["name"] != first
    path = f"/v1/tenants/acme/builds/{again['name']}"
    assert done(act(site, "cancel", path), path)["state"] == "Cancelled"
    problem(act(site, "cancel", path), 409, "not-now")


def test_a_failed_build_is_tried_again_of_the_same_source_and_base(site: Site) -> None:
    world = site.world
    world.start()
    failed = world.build()
    world.fail(Ended(1))
    world.registry.known["registry/python:1"] = "sha256:" + "e" * 64
    done(act(site, "retry"))
    assert world.build()["metadata"]["name"] != failed["metadata"]["name"]
    assert world.build()["spec"]["inputHash"] == failed["spec"]["inputHash"]
    world.finish()
    world.knative()
    assert world.condition("Ready")[0] == "True"


def test_a_base_that_is_gone_is_looked_up_anew_for_a_retry(site: Site) -> None:
    world = site.world
    world.start()
    world.fail(Ended(1, reason="BaseMissing"))
    world.registry.known["registry/python:1"] = "sha256:" + "e" * 64
    done(act(site, "retry"))
    assert world.build()["spec"]["base"].endswith("e" * 64)


def test_a_function_goes_back_to_what_was_ready_before_without_a_build(site: Site) -> None:
    """And forth again; its settings stay as they are."""
    world = site.world
    first, second = two_versions(site)
    built = world.builder.starts
    for build, digest in ((first, DIGEST), (second, SECOND), (first, DIGEST)):
        done(act(site, "rollback"))
        world.knative()
        state = world.function()["status"]
        assert (state["latestBuild"], state["latestReadyBuild"]) == (build, build)
        assert world.service_image().endswith(digest)
        assert world.condition("Ready")[0] == "True"
    assert world.builder.starts == built
    assert world.function()["spec"]["env"] == {"GREETING": "hi"}


def test_where_the_newest_failed_it_goes_back_to_what_runs(site: Site) -> None:
    world = site.world
    world.live()
    runs = world.build()["metadata"]["name"]
    world.start(source=TWO)
    world.fail(Ended(1))
    done(act(site, "rollback"))
    world.knative()
    assert world.function()["status"]["latestBuild"] == runs
    assert (world.condition("Built")[0], world.condition("Ready")[0]) == ("True", "True")


def test_it_goes_back_to_any_build_that_made_an_image_and_to_no_other(site: Site) -> None:
    world = site.world
    first, second = two_versions(site)
    world.start(source={"inline": {"main.py": "def handle(event, context):\n    return 3\n"}})
    failed = world.build()["metadata"]["name"]
    world.fail(Ended(1))
    world.live("other")
    others = world.build("other")["metadata"]["name"]
    for name in (failed, others, "never-was"):
        problem(act(site, "rollback", build=name), 409, "not-now")
    done(act(site, "rollback", build=first))
    world.knative()
    assert world.function()["status"]["latestReadyBuild"] == first
    done(act(site, "rollback", build=second))
    assert world.function()["status"]["latestBuild"] == second


def test_an_image_that_is_gone_is_built_again_of_the_source_of_then() -> None:
    world = World()
    site = Site(world)
    first, _ = two_versions(site)
    context = world.cluster.get(earlier.builds.BUILD, "acme", first)
    assert context is not None
    world.registry.delete("registry/acme/hello", DIGEST)
    done(act(site, "rollback"))
    assert world.build()["metadata"]["name"] != first
    assert world.build()["spec"]["inputHash"] == context["spec"]["inputHash"]


def test_dependencies_are_those_of_then(site: Site) -> None:
    """Of a function whose code is laid upon what is installed once: also where the image must be made again."""
    world = World(layers=True)
    site = Site(world)
    world.pusher.add("registry/python", BASE, DIGEST)
    wants = {"inline": {"main.py": "def handle(event, context):\n    return 1\n", "requirements.txt": "flask==3\n"}}
    world.start(source=wants)
    world.finish()
    world.knative()
    first = world.build()
    assert "dependencies" in first["spec"]
    world.start(source=TWO)
    world.knative()
    first = world.cluster.get(earlier.builds.BUILD, "acme", first["metadata"]["name"]) or {}
    digest = first["status"]["image"].rpartition("@")[2]
    world.registry.delete("registry/acme/hello", digest)
    done(act(site, "rollback", build=first["metadata"]["name"]))
    made = world.build()
    assert made["metadata"]["name"] != first["metadata"]["name"]
    assert made["spec"]["dependencies"] == first["spec"]["dependencies"]


def test_a_function_pauses_and_goes_on_with_the_newest_source(site: Site) -> None:
    """All else of it stays as it is, also what was retried or rolled back meanwhile: only a resume lets it go on."""
    world = site.world
    first, second = two_versions(site)
    spec, built = world.function()["spec"], world.builder.starts
    assert "resume" in done(act(site, "pause"))["allowed_actions"]
    assert world.function()["spec"] == {**spec, "paused": True}
    assert world.condition("Deployed")[:2] == ("True", "Paused")
    problem(act(site, "pause"), 409, "not-now")
    done(act(site, "rollback"))
    world.knative()
    assert world.condition("Deployed")[:2] == ("Unknown", "Paused")
    assert world.function()["status"]["latestReadyBuild"] == second
    assert "pause" in done(act(site, "resume"))["allowed_actions"]
    world.knative()
    assert world.function()["status"]["latestReadyBuild"] == first
    assert "paused" not in world.function()["spec"]
    assert world.builder.starts == built


@pytest.mark.parametrize("given", [{}, {"sequence": 8}])
def test_source_that_was_sent_before_a_pause_is_recorded_after_it_and_waits(site: Site, given: dict[str, Any]) -> None:
    """As a Broker delivers it that could not before: among the events it is the newest, and older than the pause."""
    world = site.world
    world.live(**({"sequence": 7} if given else {}))
    built, sent = world.builder.starts, world.time + timedelta(seconds=1)
    world.time += timedelta(seconds=10)
    done(act(site, "pause"))
    world.start(source=TWO, time=sent, **given)
    assert world.function()["spec"]["paused"] is True
    assert (world.condition("Built")[:2], world.builder.starts) == (("Unknown", "Paused"), built)
    done(act(site, "resume"))
    world.finish(digest=SECOND)
    world.knative()
    assert world.service_image().endswith(SECOND)


def test_source_that_was_sent_before_a_resume_does_not_pause_again_and_later_source_says_all(site: Site) -> None:
    world = site.world
    world.live()
    done(act(site, "pause"))
    sent = world.time + timedelta(seconds=1)
    world.time += timedelta(seconds=10)
    done(act(site, "resume"))
    world.start(source=TWO, time=sent, paused=True)
    assert "paused" not in world.function()["spec"]
    assert world.condition("Built")[1] == "Running"
    world.time += timedelta(seconds=10)
    world.start(source=TWO, paused=True)
    assert world.function()["spec"]["paused"] is True
    world.time += timedelta(seconds=10)
    world.start(source=TWO)
    assert "paused" not in world.function()["spec"]


def test_a_pause_has_no_place_among_the_events_of_a_function(site: Site) -> None:
    """So it takes no sequence, and leaves the next one to who counts them."""
    world = site.world
    world.live(sequence=7)
    seen = seen_by(world.function())
    for action in ("pause", "resume"):
        assert act(site, action, sequence=8).status_code == 422
        done(act(site, action))
        assert seen_by(world.function()) == seen


def test_a_pause_is_written_over_what_was_read(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """And comes to nothing new where a twin was faster."""
    world = site.world
    world.live()
    replace, raced = world.cluster.replace, []

    def race(*given: Any) -> Any:
        monkeypatch.setattr(world.cluster, "replace", replace)
        raced.append(done(act(site, "pause")))
        return replace(*given)

    monkeypatch.setattr(world.cluster, "replace", race)
    done(act(site, "pause"))
    assert raced
    assert world.function()["spec"]["paused"] is True


def test_a_pause_ends_what_is_being_built_and_a_resume_builds_it(site: Site) -> None:
    world = site.world
    world.start()
    first = world.build()["metadata"]["name"]
    assert done(act(site, "pause"))["state"] == "Paused"
    assert world.build()["status"]["phase"] == "Cancelled"
    assert done(act(site, "resume"))["state"] == "Building"
    assert world.build()["metadata"]["name"] != first
    world.finish()
    world.knative()
    assert world.condition("Ready")[0] == "True"


def test_what_nobody_could_take_is_paused_too(site: Site) -> None:
    """Such as a source that a person applied, which is not on record."""
    world = site.world
    world.live()
    function, strange = world.function(), {"context": {"hash": "sha256:" + "0" * 64}}
    world.cluster.replace(FUNCTION, {**function, "spec": {**function["spec"], "source": strange}})
    done(act(site, "pause"))
    assert world.function()["spec"]["paused"] is True
    done(act(site, "resume"))
    assert "paused" not in world.function()["spec"]


def test_a_newer_source_is_not_overwritten(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is gone back to is written over the version that was read, whoever writes between."""
    world = site.world
    first, _ = two_versions(site)
    replace, raced = world.cluster.replace, []

    def race(*given: Any) -> Any:
        if not raced:
            raced.append(True)
            monkeypatch.setattr(world.cluster, "replace", replace)
            world.start(source={"inline": {"main.py": "def handle(event, context):\n    return 3\n"}})
            monkeypatch.setattr(world.cluster, "replace", race)
        return replace(*given)

    monkeypatch.setattr(world.cluster, "replace", race)
    done(act(site, "rollback"))
    assert raced
    assert world.function()["status"]["latestBuild"] != first, "the start came later than the rollback"


def test_what_is_deleted_is_gone_and_older_events_do_not_bring_it_back(site: Site) -> None:
    site.world.live()
    done(act(site, "delete"))
    assert site.http.get(PATH).status_code == 404
    site.world.tell()
    assert site.world.told_types()[-1] == "function.deleted"


def test_an_action_comes_after_all_that_was_seen_whatever_the_senders_clock_said(site: Site) -> None:
    world = site.world
    world.start(time=world.time.replace(minute=world.time.minute + 4))
    seen = seen_by(world.function())
    assert done(act(site, "cancel"))["state"] == "Failed"
    now = seen_by(world.function())
    assert seen is not None
    assert now is not None
    assert now.rank > seen.rank


def test_an_action_comes_right_after_the_sequence_that_was_seen_and_takes_no_number(site: Site) -> None:
    """Or the next event of who counts them would be taken for one that was seen."""
    world = site.world
    world.start(sequence=7)
    assert done(act(site, "cancel"))["state"] == "Failed"
    world.start(sequence=7)
    assert world.condition("Built")[:2] == ("False", "Cancelled"), "it was sent before the cancel"
    assert done(act(site, "retry"))["state"] == "Building"
    assert done(act(site, "cancel"))["state"] == "Failed"
    assert done(act(site, "retry", sequence=8))["state"] == "Building"
    world.start(source=TWO, sequence=9)
    done(act(site, "delete"))
    world.start(source=TWO, sequence=9)
    assert world.functions() == [], "it was sent before the delete"
    world.start(source=TWO, sequence=10)
    assert world.functions() == ["hello"]


def test_a_start_says_its_place_itself(site: Site) -> None:
    site.world.start(sequence=7)
    faults = problem(act(site, "start", runtime="python", source=TWO), 422, "refused")["faults"]
    assert faults[0]["where"] == "/data/sequence"
    assert act(site, "start", runtime="python", source=TWO, follows=True).status_code == 422


def test_only_the_actions_may_name_a_source_that_is_on_record(site: Site) -> None:
    site.world.live()
    data = {"tenant": "acme", "name": "hello", "runtime": "python", "source": TWO, earlier.AGAIN: ""}
    assert site.send("build.start", data, id="9").status_code == 422


# --- what is about to go


def test_who_calls_what_is_about_to_go_is_told_when_and_what_to_call_instead(site: Site) -> None:
    site.world.start()
    day = datetime(2026, 1, 1, tzinfo=UTC)
    going = {"getFunction": Deprecated(day, day.replace(year=2027), "/v2")}
    client = create_app(FrontDoor(site.world), HttpSettings(deprecated=going)).test_client()
    answer = client.get(PATH)
    assert (answer.status_code, answer.headers["Deprecation"]) == (200, "@1767225600")
    assert answer.headers["Sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    assert answer.headers["Link"] == '</v2>; rel="successor-version"'
    assert "Deprecation" not in client.get(f"{PATH}/builds").headers
    gone = {"getFunction": Deprecated(day, day, "/v2", is_gone=True)}
    answer = create_app(FrontDoor(site.world), HttpSettings(deprecated=gone)).test_client().get(PATH)
    assert "/v2" in problem(answer, 410, "gone")["detail"]
    assert answer.headers["Link"] == '</v2>; rel="successor-version"'


def test_what_is_about_to_go_is_described_so() -> None:
    described = {
        method["operationId"]: method.get("deprecated", False)
        for methods in catalogue.openapi()["paths"].values()
        for method in methods.values()
    }
    assert {name for name, is_deprecated in described.items() if is_deprecated} == set(DEPRECATED)
    assert {action.operation for action in ACTIONS} < set(described)


def test_an_action_is_counted_and_logged_by_how_it_ended(caplog: pytest.LogCaptureFixture) -> None:
    """Or the share of what succeeded would not fall while a dependency is away."""
    counted: list[tuple[str, int]] = []
    site = Site(listeners=[lambda kind, status, _: counted.append((kind, status))])
    site.world.start()

    def away(_: Event) -> None:
        raise Unavailable("cluster", "gone")

    with caplog.at_level("INFO"), pytest.MonkeyPatch.context() as patched:
        patched.setattr(site.door, "receive", away)
        problem(act(site, "cancel"), 503, "unavailable")
        patched.undo()
        done(act(site, "cancel"))
    assert counted == [(types.BUILD_CANCEL, 503), (types.BUILD_CANCEL, 202)]
    lines = [vars(line)["fields"] for line in caplog.records if line.message in ("handled", "not handled")]
    assert [(line["tenant"], line["function"], line["status"]) for line in lines] == [
        ("acme", "hello", 503),
        ("acme", "hello", 202),
    ]


def test_the_line_of_a_build_that_ended_names_the_event_that_asked_for_it(caplog: pytest.LogCaptureFixture) -> None:
    """As the lines of events name theirs: by its source and its id."""
    site = Site()
    with caplog.at_level("INFO"):
        done(act(site, "start", runtime="python", source=TWO))
        site.world.finish()
    [handled] = [vars(line)["fields"] for line in caplog.records if line.message == "handled"]
    [ended] = [vars(line)["fields"] for line in caplog.records if line.message == "build ended"]
    assert ended["cause"] == f"{handled['event_source']} {handled['event_id']}"
    assert (ended["tenant"], ended["function"]) == (handled["tenant"], handled["function"])
