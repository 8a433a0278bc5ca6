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
    outbox = Outbox(world.cluster, "http://broker", broker.post)
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
    world.start()
    Outbox(world.cluster, "http://broker", down.post).deliver("acme", "hello")
    assert world.outbox() == ["build.started"]
    Outbox(world.cluster, "http://broker", up.post).deliver("acme", "hello")
    assert up.got[0][1]["ce-id"] == down.got[0][1]["ce-id"]
    assert world.outbox() == []


def test_a_function_that_owes_something_is_said_so_again_by_the_sweep(world: World) -> None:
    world.live()
    world.owing.clear()
    world.tick()
    assert ("acme", "hello") in world.owing


def test_the_same_event_again_owes_nothing_more(world: World) -> None:
    world.live()
    owed = world.outbox()
    world.start()
    assert world.outbox() == owed


def test_the_thread_sends_what_is_due_and_stops_when_told(world: World) -> None:
    broker = Broker()
    outbox = Outbox(world.cluster, "http://broker", broker.post)
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
