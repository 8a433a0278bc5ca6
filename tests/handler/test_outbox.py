"""Notifications: sent after the answer, each at least once with the same id, crossed out once the Broker took it."""

import json
from datetime import timedelta
from typing import Any

import pytest
from support.world import World

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import FUNCTION, Kind, Object
from knative_lambda.handler import status
from knative_lambda.handler.tell.outbox import Outbox
from knative_lambda.handler.tell.telling import message
from knative_lambda.schemas import types
from knative_lambda.schemas.catalogue import event_faults, resource_faults
from knative_lambda.schemas.errors import Temporary, Unavailable
from knative_lambda.schemas.types import TYPES
from knative_lambda.storage import keys


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
    outbox.stop(timeout=60)
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


def test_a_start_that_is_told_late_says_the_same_as_one_that_is_told_in_time(world: World) -> None:
    """It has its id by the Build alone: who gets it twice must not get two stories."""
    world.start()
    [early] = [sent["data"] for sent in world.told if sent["headers"]["ce-type"] == types.BUILD_STARTED]
    world.fail(Ended(1, "platform", "Evicted"))
    world.time += timedelta(minutes=1)
    world.tick()
    build = world.build()
    assert build["status"]["attempt"] == 2
    [late] = [note for note in status.build_notes(build, {"status": "Unknown"}) if note["type"] == types.BUILD_STARTED]
    assert late["data"] == early


def outbox_of(world: World, broker: Broker, **ports: Any) -> Outbox:
    return Outbox(ports.get("cluster", world.cluster), world.store, "http://broker", broker.post)


def test_many_that_wait_are_all_kept_and_nothing_new_begins_until_they_are_told(world: World) -> None:
    """A Broker that is away for long costs no notification: new source waits, what is running goes on."""
    world.broker = 503
    sources = [{"inline": {"main.py": f"def handle(event, context): return {number}\n"}} for number in range(100)]

    def send_all() -> None:
        for source in sources:
            world.start(source=source)

    with pytest.raises(Temporary, match="the Broker of acme has not taken"):
        send_all()
    owed = [note["id"] for note in world.function()["status"]["outbox"]]
    assert len(owed) == len(set(owed)) >= status.OUTBOX_FULL
    assert resource_faults("Function", world.function()) == []
    assert all(record.phase(build) == "Cancelled" for build in world.builds())

    world.broker = 202
    world.told.clear()
    with pytest.raises(Temporary):
        world.tick()
    world.tell()
    assert [sent["headers"]["ce-id"] for sent in world.told] == owed
    world.tick()
    world.finish()
    assert world.told_types()[-2:] == ["build.started", "build.complete"]
    told = {sent["headers"]["ce-id"] for sent in world.told}
    cancelled = [build["metadata"]["uid"] for build in world.builds() if record.phase(build) == "Cancelled"]
    assert {f"{uid}.{types.BUILD_CANCELLED}" for uid in cancelled} <= told


def test_a_running_build_ends_and_frees_its_place_however_many_notifications_wait(world: World) -> None:
    world.broker = 503
    world.start()
    function = world.function()
    note = {"type": types.FUNCTION_READY, "data": {"tenant": "acme", "name": "hello", "uid": "u", "url": "http://x"}}
    waiting = [{**note, "id": f"n-{number}"} for number in range(status.OUTBOX_FULL)]
    world.cluster.replace_status(FUNCTION, {**function, "status": {**function["status"], "outbox": waiting}})
    world.finish()
    assert record.phase(world.build()) == "Succeeded"
    assert world.outbox()[-1] == "build.complete"
    assert len(world.outbox()) == status.OUTBOX_FULL + 1


def test_settings_alone_wait_too_when_many_notifications_do(world: World) -> None:
    """Each generation owes that it is ready, under an id of its own."""
    world.live()
    world.broker = 503

    def change_often() -> None:
        for number in range(100):
            world.start(env={"A": str(number)})
            world.knative(ready="Unknown")
            world.knative()

    with pytest.raises(Temporary, match="the Broker of acme has not taken"):
        change_often()
    assert len(world.outbox()) == status.OUTBOX_FULL


def test_what_a_function_owed_is_told_after_it_was_deleted_in_its_order(world: World) -> None:
    world.live()
    world.broker = 503
    world.start(env={"A": "1"})
    world.knative(ready="False", reason="Oops")
    assert world.outbox() == ["function.failed"]
    world.delete()
    world.told.clear()
    world.broker = 202
    world.tick()
    world.tick()
    assert world.told_types() == ["function.failed", "function.deleted"]


def test_an_older_function_of_the_name_is_bidden_farewell_before_the_newer_is_told_of(world: World) -> None:
    world.live()
    world.broker = 503
    world.delete()
    world.start()
    world.told.clear()
    world.broker = 202
    world.tick()
    assert world.told_types() == ["function.deleted", "build.started"]


def test_a_writer_in_between_costs_no_second_sending(world: World) -> None:
    """What was sent is crossed out from what stands there now; what came in between is kept."""
    world.broker = 0
    world.start()

    class Busy:
        """Lets somebody else write just before a status is written, once."""

        written = False

        def __getattr__(self, name: str) -> Any:
            return getattr(world.cluster, name)

        def replace_status(self, kind: Kind, body: Object) -> Object:
            if not self.written:
                self.written = True
                world.finish()
            return world.cluster.replace_status(kind, body)

    broker = Broker()
    outbox_of(world, broker, cluster=Busy()).deliver("acme", "hello")
    assert broker.types == ["build.started"]
    assert world.outbox() == ["build.complete"]


def test_what_is_no_notification_keeps_nothing_waiting(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever may write a Function's status can put anything there."""
    world.broker = 0
    world.start()
    function = world.function()
    owed = [{"id": "x", "type": "made.up", "data": {}}, *function["status"]["outbox"]]
    world.cluster.replace_status(FUNCTION, {**function, "status": {**function["status"], "outbox": owed}})
    broker = Broker()
    assert outbox_of(world, broker).deliver("acme", "hello") == 0
    assert broker.types == ["build.started"]
    assert "a notification of acme/hello is none" in caplog.text
    assert world.outbox() == []


def test_a_bug_with_one_function_does_not_end_the_thread(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.broker = 0
    world.start()
    world.store.put(keys.farewell("acme", "broken", "u"), b"no JSON")
    broker = Broker()
    outbox = outbox_of(world, broker)
    outbox.owes("acme", "broken")
    outbox.owes("acme", "hello")
    outbox.start()
    outbox.stop(timeout=60)
    assert "cannot be sent" in caplog.text
    assert broker.types == ["build.started"]


def test_one_tenants_broken_broker_keeps_no_other_waiting(world: World) -> None:
    """It is asked once; its other Functions wait, and every other tenant has its turn."""
    world.broker = 0
    for name in ("a", "b", "c"):
        world.start(name)
    world.start("d", tenant="other")

    class Mixed(Broker):
        def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
            super().post(url, headers, body)
            return 503 if "/acme/" in url else 202

    broker = Mixed()
    outbox = outbox_of(world, broker)
    for name in ("a", "b", "c"):
        outbox.owes("acme", name)
    outbox.owes("other", "d")
    outbox.start()
    outbox.stop(timeout=60)
    assert [url for url, _, _ in broker.got] == ["http://broker/acme/default", "http://broker/other/default"]


def test_a_slow_broker_has_its_turn_and_no_more(world: World) -> None:
    """What it took is crossed out, the rest comes when the others have had theirs."""
    world.broker = 0
    world.live()
    now = [100.0]

    class Slow(Broker):
        def post(self, url: str, headers: dict[str, str], body: bytes) -> int:
            now[0] += 2.9
            return super().post(url, headers, body)

    broker = Slow()
    outbox = Outbox(world.cluster, world.store, "http://broker", broker.post, clock=lambda: now[0])
    assert outbox.deliver("acme", "hello") > 0
    assert world.outbox() == ["function.ready"]
    assert outbox.deliver("acme", "hello") == 0
    assert broker.types == ["build.started", "build.complete", "function.ready"]


def test_a_refused_notification_is_told_in_the_log_and_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[str, str]] = []
    world.broker = 0
    world.start()
    listeners = [lambda kind, outcome: heard.append((kind, outcome))]
    for status_code in (503, 404, 422):
        outbox = Outbox(world.cluster, world.store, "http://broker", Broker(status_code).post, listeners)
        outbox.deliver("acme", "hello")
    assert heard == [(types.BUILD_STARTED, outcome) for outcome in ("later", "later", "refused")]
    assert "build.started of acme/hello: refused: answered 422" in caplog.text
    assert world.outbox() == []


def test_what_waits_for_the_broker_alone_is_sent_although_the_registry_is_down(world: World) -> None:
    """The sweep says what is owed before it does anything else with a Function."""
    world.broker = 503
    world.start()

    def down(_: str) -> None:
        raise Unavailable("registry", "it is down")

    world.finish()
    world.start(source={"inline": {"main.py": "def handle(event, context): return 2\n"}})
    world.builder.ends[world.attempt()] = Ended(0)
    world.broker = 202
    world.told.clear()
    world.registry.digest = down  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        world.tick()
    world.tell()
    assert world.told_types() == ["build.started", "build.complete", "build.started"]


def test_a_new_version_by_settings_alone_is_told_under_an_id_of_its_own(world: World) -> None:
    world.live()
    world.start(env={"A": "1"})
    world.knative(ready="Unknown")
    world.knative()
    ids = [sent["headers"]["ce-id"] for sent in world.told if sent["headers"]["ce-type"].endswith("function.ready")]
    assert len(ids) == len(set(ids)) == 2
