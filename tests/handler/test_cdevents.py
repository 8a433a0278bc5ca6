"""What is told in CDEvents: by their schemas, in their binding to CloudEvents, and as it was."""

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from support.world import DIGEST, World, versions

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import Object
from knative_lambda.handler.tell import cdevents
from knative_lambda.handler.tell.cdevents import OF_TYPE, VERSION
from knative_lambda.schemas import trace, types
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.redaction import learn

SCHEMAS = Path(__file__).parent / "cdevents"
SECOND, THIRD = ("sha256:" + letter * 64 for letter in "ef")
STRUCTURED = "application/cloudevents+json"


@pytest.fixture
def world() -> World:
    return World(cdevents=True)


def schema(kind: str) -> Any:
    """Return the schema of a type, for the version of it that is sent."""
    _, _, subject, predicate, version = kind.split(".", 4)
    assert version == OF_TYPE
    found = json.loads((SCHEMAS / f"{subject}{predicate}.json").read_text())
    known = found["properties"]["context"]["properties"]["type"]
    [older] = known["enum"]
    assert older.rsplit(".", 3)[0] == f"dev.cdevents.{subject}.{predicate}"
    known["enum"] = [kind]
    return found


def told(world: World) -> list[Object]:
    """Return the CDEvents that were told, each of them held against its schema and the binding.

    What has the same id is the same one again, as where an earlier build is found that serves.
    """
    found = {}
    for sent in world.told:
        headers, data = sent["headers"], sent["data"]
        if not headers["ce-type"].startswith("dev.cdevents."):
            continue
        jsonschema_rs.validator_for(schema(headers["ce-type"]), validate_formats=True).validate(data)
        context = data["context"]
        assert context["version"] == VERSION
        for attribute in ("id", "source", "type"):
            assert headers[f"ce-{attribute}"] == context[attribute]
        assert headers["ce-subject"] == data["subject"]["id"]
        assert headers["ce-time"][:23] == context["timestamp"][:23]
        assert headers["ce-datacontenttype"] == "application/json"
        assert sent["url"].endswith("/acme/default")
        found.setdefault(context["id"], data)
    return list(found.values())


def said(world: World) -> list[str]:
    return [each["context"]["type"].removeprefix("dev.cdevents.").removesuffix(f".{OF_TYPE}") for each in told(world)]


def test_a_life_is_told_in_order(world: World) -> None:
    world.live()
    first, second = versions("one", "two")
    world.start(source=first)
    world.finish(digest=SECOND)
    world.knative()
    world.start(source=second)
    world.fail(Ended(1, "user", "BuildFailed", "no such module"))
    world.start(source={"inline": {"main.py": "def handle(event, context):\n    return {}\n"}})
    world.knative()
    world.knative(ready="False", reason="Oops")
    world.knative()
    world.delete()
    built = ["build.finished", "artifact.packaged", "artifact.published"]
    assert said(world) == [
        *("build.started", *built, "service.deployed"),
        *("build.started", *built, "service.upgraded"),
        *("build.started", "build.finished"),
        *("service.rolledback", "service.published", "service.removed"),
    ]
    world.told.clear()
    world.tick()
    assert said(world) == []


def test_what_a_build_made_is_named_by_its_digest_and_so_is_what_is_deployed(world: World) -> None:
    world.live()
    events = {each["context"]["type"].split(".")[3]: each for each in told(world)}
    artifact = f"pkg:oci/hello@sha256%3A{DIGEST[7:]}?repository_url=registry/acme/hello"
    assert events["finished"]["subject"]["content"] == {"artifactId": artifact}
    assert events["published"]["subject"]["id"] == events["packaged"]["subject"]["id"] == artifact
    assert events["packaged"]["subject"]["content"]["change"]["id"] == world.build()["spec"]["inputHash"]
    assert events["deployed"]["subject"] == {
        "id": "acme/hello",
        "type": "service",
        "content": {"environment": {"id": "acme"}, "artifactId": artifact},
    }


def test_why_a_build_failed_is_in_the_custom_data(world: World) -> None:
    secret = learn("planted-in-a-message")
    world.start()
    world.fail(Ended(1, "user", "BuildFailed", f"no such module {secret}"))
    [*_, end] = told(world)
    assert end["subject"]["content"] == {}
    assert end["customData"]["reason"] == "BuildFailed"
    assert end["customData"]["message"] == "no such module ***"
    assert event_faults("build.failed", end["customData"]) == []


def test_a_build_that_waits_and_one_that_is_cancelled_are_told(world: World) -> None:
    limited = World(cdevents=True, builds_per_tenant=1)
    limited.start("first")
    limited.start("hello")
    limited.send(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello"})
    assert said(limited) == ["build.started", "build.queued", "build.finished"]


def test_nothing_is_told_so_unless_it_is_configured() -> None:
    world = World()
    world.live()
    assert said(world) == []
    assert list(world.store.list("notices/")) == []


def test_a_broker_that_is_away_is_told_all_of_it_later_in_order(world: World) -> None:
    world.broker = 503
    world.live()
    world.told.clear()
    world.broker = 202
    world.tick()
    assert said(world)[:2] == ["build.started", "build.finished"]
    assert said(world)[-1] == "service.deployed"
    assert list(world.store.list("notices/")) == []


def test_a_webhook_may_listen_to_cdevents_instead(tmp_path: Path) -> None:
    (tmp_path / "cd").write_text("whsec_" + "a2V5" * 8)
    hooked = {"cd": {"url": "https://cd.example/", "events": "cdevents"}}
    world = World(webhooks=hooked, webhook_keys=str(tmp_path))
    world.live()
    bodies = [json.loads(body) for _, _, body in world.hooks.got]
    for body in bodies:
        jsonschema_rs.validator_for(schema(body["type"]), validate_formats=True).validate(body["data"])
    assert bodies[0]["type"] == "dev.cdevents.build.started.0.2.0"
    assert said(world) == [], "the Broker is not told so for that"


def test_the_trace_goes_with_it() -> None:
    note = {"id": "u", "type": types.FUNCTION_DELETED, "data": {"tenant": "acme", "name": "hello"}}
    parent = f"00-{'a' * 32}-{'b' * 16}-01"
    with trace.within(parent):
        [event] = cdevents.told(note, "acme", "hello")
    assert event.get_extension(trace.HEADER) == parent


def test_a_package_url_names_repository_and_digest() -> None:
    assert cdevents.purl(f"host.example:5000/a/My-App@{DIGEST}") == (
        f"pkg:oci/my-app@sha256%3A{DIGEST[7:]}?repository_url=host.example%3A5000/a/My-App"
    )
