"""Notifications: sent after the answer, each at least once with the same id, crossed out once the Broker took it."""

import json

from support.world import World

from knative_lambda.handler.outbox import Outbox, message
from knative_lambda.schemas import types
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.types import TYPES


class Broker:
    def __init__(self, status: int = 202) -> None:
        self.status = status
        self.got: list[tuple[str, dict[str, str], bytes]] = []

    def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        self.got.append((url, headers, body))
        return self.status

    @property
    def types(self) -> list[str]:
        return [headers["ce-type"].removeprefix(types.PREFIX) for _, headers, _ in self.got]


def test_a_life_is_told_in_order_and_every_notification_follows_its_schema(world: World) -> None:
    broker = Broker()
    outbox = Outbox(world.cluster, world.store, "http://broker", broker.post)
    world.broker = 0
    world.start()
    outbox.deliver("acme", "hello")
    world.finish()
    outbox.deliver("acme", "hello")
    world.knative()
    outbox.deliver("acme", "hello")
    assert broker.types == ["build.started", "build.complete", "function.ready"]
    assert {url for url, _, _ in broker.got} == {"http://broker/acme/default"}
    for _, headers, body in broker.got:
        assert event_faults(TYPES[headers["ce-type"]].schema, json.loads(body)) == []
        assert headers["ce-dataschema"].endswith(f"{headers['ce-type'].removeprefix(types.PREFIX)}.json")
    assert world.outbox() == []


def test_what_the_broker_did_not_take_is_sent_again_with_the_same_id(world: World) -> None:
    down, up = Broker(503), Broker()
    world.broker = 503
    world.start()
    Outbox(world.cluster, world.store, "http://broker", down.post).deliver("acme", "hello")
    assert world.outbox() == ["build.started"]
    Outbox(world.cluster, world.store, "http://broker", up.post).deliver("acme", "hello")
    assert up.got[0][1]["ce-id"] == down.got[0][1]["ce-id"]
    assert world.outbox() == []


def test_a_function_that_owes_something_is_said_so_again_by_the_sweep(world: World) -> None:
    world.broker = 0
    world.live()
    world.broker = 202
    world.told.clear()
    world.tick()
    assert world.told_types() == ["build.started", "build.complete", "function.ready"]


def test_the_same_event_again_owes_nothing_more(world: World) -> None:
    world.live()
    told = world.told_types()
    world.start()
    assert world.told_types() == told


def test_the_thread_sends_what_is_due_and_stops_when_told(world: World) -> None:
    broker = Broker()
    outbox = Outbox(world.cluster, world.store, "http://broker", broker.post)
    world.broker = 0
    world.start()
    outbox.start()
    outbox.owes("acme", "hello")
    outbox.owes("acme", "never-there")
    outbox.stop(timeout=10)
    assert broker.types == ["build.started"]


def test_a_failed_build_is_told_with_its_reason() -> None:
    note = {"id": "u.x", "type": types.BUILD_FAILED, "data": {"tenant": "a", "name": "b", "build": "c", "reason": "R"}}
    headers, body = message(note, "a", "b")
    assert (headers["ce-id"], headers["ce-subject"], json.loads(body)["reason"]) == ("u.x", "c", "R")


def test_a_notification_that_the_broker_will_never_take_does_not_keep_the_others_waiting(world: World) -> None:
    world.broker = 400
    world.live()
    assert world.outbox() == []
    assert world.told_types() == ["build.started", "build.complete", "function.ready"]


def test_a_deleted_function_is_told_once_also_when_the_broker_was_down(world: World) -> None:
    world.live()
    world.broker = 0
    world.delete()
    world.told.clear()
    world.broker = 202
    world.tick()
    world.tick()
    assert world.told_types() == ["function.deleted"]


def test_a_superseded_build_is_told_to_have_been_cancelled(world: World) -> None:
    world.start()
    world.start(source={"inline": {"main.py": "def handle(event, context): return 2\n"}})
    assert world.told_types() == ["build.started", "build.cancelled", "build.started"]
    assert world.told[1]["data"]["reason"] == "Superseded"


def test_a_new_version_by_settings_alone_is_told_under_an_id_of_its_own(world: World) -> None:
    world.live()
    world.start(env={"A": "1"})
    world.knative(ready="Unknown")
    world.knative()
    ids = [sent["headers"]["ce-id"] for sent in world.told if sent["headers"]["ce-type"].endswith("function.ready")]
    assert len(ids) == len(set(ids)) == 2
