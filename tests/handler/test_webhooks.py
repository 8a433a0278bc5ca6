"""Webhooks: each event signed, in its function's order, at least once; one that is away holds up nothing else."""

import base64
import json
import re
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from support.certificates import Authority, https
from support.listener import Verify, listening, verifier
from support.ports import free_port
from support.world import Hooks, World

from knative_lambda.builds.builder import Ended
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler.settings import BadSettings, read
from knative_lambda.handler.tell import hooks
from knative_lambda.handler.tell.courier import LONGEST, PAUSE, Courier, Send
from knative_lambda.handler.tell.hooks import HttpHook
from knative_lambda.handler.tell.notices import KEPT, Fate, Notices, Owed
from knative_lambda.handler.tell.targets import Target
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Temporary, Unavailable
from knative_lambda.schemas.redaction import learn
from knative_lambda.storage import keys
from knative_lambda.storage.memory import MemoryStore

OLD, NEW = ("whsec_" + base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
CI, ACME = "https://ci.example/hook", "https://acme.example/hook"
LOCAL = Reach.of(["127.0.0.0/8"])
LIFE = ["build.started", "build.complete", "function.ready"]


@pytest.fixture
def port() -> int:
    return free_port()


class Real(Hooks):
    """Those of this machine are posted to; others answer as the test says."""

    def __init__(self) -> None:
        super().__init__()
        self.http = HttpHook(LOCAL)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        post = self.http.post if urlsplit(url).hostname == "127.0.0.1" else super().post
        return post(url, headers, body)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("ci", "acme"):
        (tmp_path / name).write_text(f"{OLD}\n")
    return tmp_path


def world_of(folder: Path, ci: str = CI, **given: Any) -> World:
    hooked = {"ci": {"url": ci}, "acme": {"url": ACME, "tenants": ["acme"]}}
    return World(webhooks=hooked, webhook_keys=str(folder), **given)


@pytest.fixture
def world(folder: Path) -> World:
    return world_of(folder)


@pytest.fixture
def verify() -> Verify:
    return verifier()


def owed(world: World) -> list[str]:
    return [stored.key for stored in world.store.list("notices/")]


def test_one_that_is_down_fails_is_slow_and_heals_is_told_all_in_order(folder: Path, port: int) -> None:
    """Meanwhile the Broker, the build and the other webhook go their way."""
    world = world_of(folder, f"http://127.0.0.1:{port}/hook")
    world.hooks = real = Real()
    world.start()
    with listening(port) as server:
        server.code = 500
        world.finish()
        server.go_on.clear()
        real.http = HttpHook(LOCAL, timeout=0.2)
        world.knative()
        server.go_on.set()
        assert {*server.types} == {"build.started"}, "nothing overtakes what is not told yet"
        assert world.told_types() == LIFE
        assert world.hooks.types(ACME) == LIFE
        assert world.outbox() == []
        failed = {headers["webhook-id"] for headers, _ in server.got}
    real.http = HttpHook(LOCAL)
    with listening(port) as server:  # another one: what was sent to the first may still come to it
        world.tick()
        assert server.types == LIFE
        assert {server.got[0][0]["webhook-id"]} == failed, "the same event has the same id"
        assert owed(world) == []
        assert world.hooks.fates.count(("ci", "later")) >= len(LIFE)
        world.tick()
        assert server.types == LIFE, "nothing is told twice"


def test_the_documented_code_verifies_what_comes_and_nothing_else(folder: Path, port: int, verify: Verify) -> None:
    signed = hooks.signed("msg_1", datetime.now(UTC), b"{}", hooks.secrets(folder, "ci"))
    with listening(port) as server:
        assert HttpHook(LOCAL).post(f"http://127.0.0.1:{port}/", signed, b"{}") == 204
    [(headers, body)] = server.got
    verify(headers, body, OLD)
    for wrong in (
        (headers, body + b" ", OLD),
        (headers, body, NEW),
        ({**headers, "webhook-id": "msg_2"}, body, OLD),
        ({**headers, "webhook-timestamp": "1"}, body, OLD),
    ):
        with pytest.raises(ValueError, match=r"too old|nobody"):
            verify(*wrong)


def test_what_is_told_is_the_brokers_event_whole_in_the_body_that_is_signed(world: World) -> None:
    world.live()
    brokers = {sent["headers"]["ce-id"]: sent for sent in world.told}
    for _, headers, body in world.hooks.got:
        event = json.loads(body)
        sent = brokers[event["id"]]
        assert event["data"] == sent["data"]
        assert {f"ce-{key}" for key in event} - {"ce-data", "ce-datacontenttype"} <= sent["headers"].keys()
        assert re.fullmatch(r"msg_[0-9a-f]{32}", headers["webhook-id"]), "a full stop would part what is signed"
        assert headers["content-type"] == "application/cloudevents+json"


def test_a_rotated_secret_is_read_anew_and_both_sign_meanwhile(folder: Path, verify: Verify) -> None:
    def sign() -> dict[str, str]:
        return hooks.signed("msg_1", datetime.now(UTC), b"{}", hooks.secrets(folder, "ci"))

    verify(sign(), b"{}", OLD)
    (folder / "ci").write_text(f"{NEW}\n{OLD}\n")
    verify(sign(), b"{}", OLD)
    verify(sign(), b"{}", NEW)
    (folder / "ci").write_text(NEW)
    with pytest.raises(ValueError, match="nobody"):
        verify(sign(), b"{}", OLD)


@pytest.mark.parametrize("text", ["", "whsec_c2hvcnQ=", "hush-hush", "whsec_no base64"])
def test_one_without_a_secret_of_use_waits_until_there_is_one(
    folder: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "ci").write_text(text)
    world = world_of(folder)
    world.live()
    assert world.hooks.types(CI) == []
    assert world.hooks.types(ACME) == LIFE
    assert "its key" in caplog.text
    assert "hush-hush" not in caplog.text
    (folder / "ci").write_text(OLD)
    world.tick()
    assert world.hooks.types(CI) == LIFE


def test_no_redirect_is_followed(port: int) -> None:
    with listening(port) as server:
        server.code = 307
        assert HttpHook(LOCAL).post(f"http://127.0.0.1:{port}/", {}, b"{}") == 307
        assert len(server.got) == 1


def test_one_of_no_public_address_is_not_reached_unless_that_is_allowed(port: int) -> None:
    url = f"http://127.0.0.1:{port}/"
    with listening(port) as server:
        for reach in (Reach.of([]), Reach.of(["127.0.0.0/8"], blocked=["127.0.0.1/32"])):
            with pytest.raises(Temporary, match="not public"):
                HttpHook(reach).post(url, {}, b"{}")
        assert server.got == []
        assert HttpHook(Reach.of(["127.0.0.1"])).post(url, {}, b"{}") == 204
        named = Reach(hosts=(), resolve=lambda _: ["127.0.0.1"])
        with pytest.raises(Temporary, match=r"127\.0\.0\.1 is not public"):
            HttpHook(named).post(f"http://rebound.example:{port}/", {}, b"{}")
        assert len(server.got) == 1


def test_the_products_own_registry_is_no_webhook_by_that(folder: Path) -> None:
    """Its host may be reached for images, wherever it is; what listens there is not for events."""
    settings = world_of(folder, registry="10.0.0.9:5000/x").settings
    assert settings.reach.refusal("10.0.0.9:5000") == ""
    assert "not public" in settings.hooks_reach.refusal("10.0.0.9:5000")


def test_who_it_is_must_be_shown_by_a_certificate_of_an_authority_that_is_trusted(tmp_path: Path) -> None:
    authority = Authority.made(tmp_path / "authority")
    folder = authority.folder("server")
    with https(folder) as host:
        assert HttpHook(LOCAL, folder).post(f"https://{host}/", {}, b"{}") == 200
        with pytest.raises(Temporary, match="SSLError"):
            HttpHook(LOCAL).post(f"https://{host}/", {}, b"{}")


def test_a_refusal_for_ever_is_dropped_and_counted_and_the_next_is_told(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.hooks.answers[CI] = 422
    world.live()
    assert world.hooks.types(CI) == LIFE
    assert owed(world) == []
    assert [fate for name, fate in world.hooks.fates if name == "ci"] == ["refused"] * 3
    assert "for ci: refused" in caplog.text


@pytest.mark.parametrize("code", [0, 301, 401, 403, 404, 408, 409, 429, 500, 503])
def test_what_may_heal_is_offered_again(world: World, code: int) -> None:
    world.hooks.answers[CI] = code
    world.start()
    assert len(owed(world)) == 1
    world.hooks.answers.clear()
    world.tick()
    assert world.hooks.types(CI) == ["build.started", "build.started"]
    assert owed(world) == []


def test_what_had_its_time_is_given_up_named_and_counted(world: World, caplog: pytest.LogCaptureFixture) -> None:
    world.hooks.answers[CI] = 0
    world.live()
    world.time += timedelta(seconds=world.settings.webhook_age + 60)
    world.tick()
    assert owed(world) == []
    assert world.hooks.fates.count(("ci", "lost")) == 3
    assert "ci is not told of notices/acme/ci/hello/" in caplog.text


def test_of_a_function_the_newest_wait_up_to_a_number() -> None:
    store, told = MemoryStore(), list[tuple[str, str]]()
    made = Notices(store, [Target("ci", CI)], lambda: datetime.now(UTC), listeners=[lambda *fate: told.append(fate)])
    for number in range(KEPT + 2):
        moment = int(datetime.now(UTC).timestamp() * 1000) + number
        store.put(keys.notice("acme", "ci", "hello", f"{moment:015d}-{number:04d}"), b"{}")
    left = made.owed(Target("ci", CI), "acme", "hello")
    assert (len(left), left[0].digest) == (KEPT, "0002")
    assert told == [("ci", "lost")] * 2


def test_one_of_a_tenant_is_told_of_no_other(world: World) -> None:
    world.start("hello", tenant="other")
    assert world.hooks.types(CI) == ["build.started"]
    assert world.hooks.types(ACME) == []
    world.start("hello", tenant="acme")
    assert world.hooks.types(ACME) == ["build.started"]


def test_a_broker_that_is_away_keeps_no_webhook_waiting_and_makes_nothing_come_twice(world: World) -> None:
    world.broker = 503
    world.live()
    world.tick()
    assert world.outbox() == LIFE
    assert all(note["handed"] for note in world.function()["status"]["outbox"])
    assert world.hooks.types(CI) == world.hooks.types(ACME) == LIFE
    world.delete()
    world.tick()
    assert world.hooks.types(CI) == [*LIFE, "function.deleted"]
    world.broker = 202
    world.told.clear()
    world.tick()
    assert world.told_types() == [*LIFE, "function.deleted"]
    assert world.hooks.types(CI) == [*LIFE, "function.deleted"]


def test_what_is_owed_of_a_function_that_is_gone_is_told_once_it_can_be(world: World) -> None:
    world.live()
    world.hooks.answers[CI] = 500
    world.delete()
    assert world.cluster.get(FUNCTION, "acme", "hello") is None
    world.hooks.answers.clear()
    world.tick()
    assert world.hooks.types(CI)[-1] == "function.deleted"
    assert owed(world) == []


def test_what_two_processes_handed_over_at_once_is_told_once(world: World) -> None:
    world.hooks.answers[CI] = 0
    world.start()
    [key] = owed(world)
    body = world.store.get(key, limit=1 << 20)
    assert body is not None
    place, _, name = key.rpartition("/")
    moment, _, rest = name.partition("-")
    world.store.put(f"{place}/{int(moment) + 1:015d}-{rest}", body)
    world.hooks.answers.clear()
    world.hooks.got.clear()
    world.tick()
    assert world.hooks.types(CI) == ["build.started"]
    assert owed(world) == []


def test_what_is_owed_to_one_that_is_configured_no_more_goes_with_the_next_sweep(world: World) -> None:
    world.hooks.answers[CI] = 0
    world.start()
    world.store.put(keys.notice("acme", "former", "hello", "000000000000001-x"), b"{}")
    world.tick()
    assert [key.split("/")[2] for key in owed(world)] == ["ci"]


def test_where_the_store_is_away_nothing_is_crossed_out_that_a_webhook_would_miss(world: World) -> None:
    class Away(MemoryStore):
        def put(self, key: str, _: bytes) -> None:
            raise Unavailable("store", key)

    world.broker = 0
    world.start()
    function = world.function()
    [note] = function["status"]["outbox"]
    fresh = {**function["status"], "outbox": [{**note, "id": "another"} | {"handed": False}]}
    world.cluster.replace_status(FUNCTION, {**function, "status": fresh})
    world.broker = 202
    with pytest.raises(Unavailable):
        world.senders(world.cluster, Away(), world._post, world.hooks).outbox.deliver("acme", "hello")
    assert world.outbox() == ["build.started"]
    world.tick()
    assert world.outbox() == []
    assert [json.loads(body)["id"] for url, _, body in world.hooks.got if url == CI][-1] == "another"


def test_no_secret_is_told(world: World, folder: Path) -> None:
    """Whatever a build says of itself: values that were read, and what looks like one."""
    planted = learn("planted-password-9f3A"), "planted-userinfo-9f3A", "eyJhbGciOiJI.eyJwbGFudGVkIjoi.cGxhbnRlZA"
    world.start()
    words = f"cannot pull https://me:{planted[1]}@host/x with {planted[0]} and {planted[2]}; signs with {OLD}"
    world.fail(Ended(1, "user", "BuildFailed", words), words.encode())
    said = b"".join(body for _, _, body in world.hooks.got).decode()
    assert "build.failed" in said
    assert "cannot pull https://" in said, "it is this that was told"
    for secret in (*planted, OLD, OLD.removeprefix("whsec_")):
        assert secret not in said
        assert secret not in "".join(str(headers) for _, headers, _ in world.hooks.got)


class Bench:
    """Couriers over a store, each with a thread, as a process has them."""

    def __init__(self, *names: str) -> None:
        self.targets = [Target(name, f"https://{name}.example/") for name in names]
        self.notices = Notices(MemoryStore(), self.targets, lambda: datetime.now(UTC))
        self.got: list[tuple[str, str]] = []
        self.changed = threading.Condition()

    def hand_over(self, *functions: str) -> None:
        for name in functions:
            data = {"tenant": "acme", "name": name, "uid": "u"}
            note = {"id": f"u-{name}", "type": types.FUNCTION_DELETED, "data": data}
            self.notices.hand_over([note], "acme", name)

    def courier(self, name: str, send: Send, clock: Callable[[], float] = lambda: 0.0) -> Courier:
        [target] = [each for each in self.targets if each.name == name]
        return Courier(target, self.notices, send, clock=clock)

    def taking(self, name: str) -> Send:
        def send(_: str, entry: Owed, __: bytes) -> Fate:
            with self.changed:
                self.got.append((name, entry.key.split("/")[3]))
                self.changed.notify_all()
            return "sent"

        return send


def test_one_that_hangs_keeps_no_other_waiting() -> None:
    bench, hangs, go_on = Bench("dead", "well"), threading.Event(), threading.Event()
    bench.hand_over("a", "b")

    def hang(*_: object) -> Fate:
        hangs.set()
        go_on.wait()
        return "sent"

    couriers = [bench.courier("dead", hang), bench.courier("well", bench.taking("well"))]
    for each in couriers:
        each.start()
        for name in ("a", "b"):
            each.owes("acme", name)
    assert hangs.wait(60)
    with bench.changed:
        assert bench.changed.wait_for(lambda: bench.got == [("well", "a"), ("well", "b")], 60)
    go_on.set()
    for each in couriers:
        each.close()
        each.join(60)
    assert list(bench.notices.store.list("notices/")) == []


def test_an_event_that_is_never_taken_keeps_only_those_of_its_function_waiting() -> None:
    """The webhook is left alone for a while after each; then another function has its turn."""
    bench, now = Bench("ci"), [0.0]
    bench.hand_over("poison", "well")
    well = bench.taking("ci")

    def send(tenant: str, entry: Owed, body: bytes) -> Fate:
        return "later" if "/poison/" in entry.key else well(tenant, entry, body)

    made = bench.courier("ci", send, lambda: now[0])
    assert made.deliver("acme", "poison") == PAUSE
    assert made.deliver("acme", "poison") == 2 * PAUSE
    assert max(made.deliver("acme", "poison") for _ in range(12)) == LONGEST
    assert made.deliver("acme", "well") == 0
    assert made.deliver("acme", "poison") == PAUSE, "it answers: that ends the row"
    assert bench.got == [("ci", "well")]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"CI": {"url": CI}}, "is no name"),
        ({"broker.cdevents": {"url": CI}}, "is no name"),
        ({"ci": CI}, "an object with an url"),
        ({"ci": {}}, "an object with an url"),
        ({"ci": {"url": "ftp://ci.example/"}}, "the url is none"),
        # pragma: allowlist nextline secret
        ({"ci": {"url": "https://me:hush@ci.example/"}}, "the url is none"),
        ({"ci": {"url": "https://ci.example/#x"}}, "the url is none"),
        ({"ci": {"url": "https://ci.example:port/"}}, "the url is none"),
        ({"ci": {"url": "https://ci.example/\nx"}}, "the url is none"),
        ({"ci": {"url": CI, "tenants": "acme"}}, "tenants is a list"),
        ({"ci": {"url": CI, "events": "all"}}, "events is one of cloudevents, cdevents"),
        ({"ci": {"url": CI, "secret": OLD}}, "secret is not known"),
    ],
)
def test_what_cannot_be_a_webhook_stops_the_start(given: dict[str, Any], fault: str) -> None:
    environment = {"KNATIVE_LAMBDA_WEBHOOKS": json.dumps(given), "KNATIVE_LAMBDA_WEBHOOK_KEYS": "/keys"}
    with pytest.raises(BadSettings, match=fault) as told:
        read(environment)
    assert "hush" not in str(told.value)
    fine = {**environment, "KNATIVE_LAMBDA_WEBHOOKS": json.dumps({"ci": {"url": CI, "tenants": ["acme"]}})}
    assert read(fine).webhooks == {"ci": {"url": CI, "tenants": ["acme"]}}


def test_webhooks_need_secrets() -> None:
    with pytest.raises(BadSettings, match="WEBHOOK_KEYS: is not set"):
        read({"KNATIVE_LAMBDA_WEBHOOKS": json.dumps({"ci": {"url": CI}})})
