"""So much at once, and so much a second: counted exactly, by a clock that the test turns."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.door import Site, problem
from support.reviews import FakeReviews, account
from support.signing import signed, written
from support.world import World

from knative_lambda.deploy.cluster import EVENT
from knative_lambda.deploy.reviews import Identity, Right
from knative_lambda.handler.receive import rates
from knative_lambda.handler.receive.intake import BATCHED
from knative_lambda.handler.receive.rates import DEFAULT, Rates
from knative_lambda.handler.settings import BadSettings, Settings, read
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import TooMany

TENANTS = frozenset({"acme", "other"})
DATA = {"tenant": "acme", "name": "hello"}
NOW = "2026-01-01T00:00:00Z"
TWO = {"perSecond": 1, "burst": 2}
ALICE = account("acme", "alice")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def counted(clock: Clock, **settings: Any) -> Rates:
    return Rates(settings, TENANTS, clock)


def taken(counts: Rates, tries: int, tenant: str = "acme", operation: str = "build.start") -> int:
    """Return how many of so many tries are let in."""
    let_in = 0
    for _ in range(tries):
        try:
            counts.take(tenant, operation)
            let_in += 1
        except TooMany:
            pass
    return let_in


def test_a_burst_is_let_in_and_then_so_many_a_second(clock: Clock) -> None:
    counts = counted(clock, tenant={"perSecond": 2, "burst": 10})
    assert taken(counts, 25) == 10
    for seconds, more in ((0.49, 0), (0.01, 1), (1, 2), (3.25, 6), (0.25, 1), (3600, 10)):
        clock.now += seconds
        assert taken(counts, 25) == more, seconds


def test_it_is_told_after_how_many_seconds_there_is_room_again(clock: Clock) -> None:
    counts = counted(clock, operations={"build.start": {"perSecond": 0.4, "burst": 1}})
    counts.take("acme", "build.start")
    with pytest.raises(TooMany) as over:
        counts.take("acme", "build.start")
    assert over.value.retry_after == 3  # 2.5, rounded up
    clock.now += over.value.retry_after
    counts.take("acme", "build.start")


def test_one_tenants_burst_leaves_the_others_alone(clock: Clock) -> None:
    """What is over a tenant's own bucket takes nothing from the one of all."""
    counts = counted(clock, all={"perSecond": 1, "burst": 30}, tenant={"perSecond": 1, "burst": 10})
    assert taken(counts, 10_000, "acme") == 10
    assert taken(counts, 10_000, "other") == 10
    alone = counted(clock, all={"perSecond": 1, "burst": 30})
    assert (taken(alone, 10_000, "acme"), taken(alone, 10, "other")) == (30, 0), "without a tenant's own it would not"


def test_operations_are_counted_for_each_tenant_by_themselves(clock: Clock) -> None:
    counts = counted(clock, operations={"build.start": {"perSecond": 1, "burst": 3}})
    assert taken(counts, 9) == 3
    assert taken(counts, 9, operation="function.delete") == 9
    assert taken(counts, 9, "other") == 3


def test_all_together_are_bounded_too(clock: Clock) -> None:
    counts = counted(clock, all={"perSecond": 1, "burst": 12}, tenant={"perSecond": 1, "burst": 10})
    assert taken(counts, 20, "acme") + taken(counts, 20, "other") == 12


def test_strangers_share_one_bucket_and_fill_no_memory(clock: Clock) -> None:
    counts = counted(clock, **DEFAULT | {"tenant": {"perSecond": 1, "burst": 5}})
    assert sum(taken(counts, 1, f"stranger-{number}", "resendDeadLetters") for number in range(5000)) == 5
    assert taken(counts, 9, "acme") == 5
    assert len(counts._buckets) == 4  # all, the strangers', one operation of theirs, and acme's


def met(counts: Rates, tries: int, caller: str = "alice", events: int = 1) -> int:
    """Return how many requests of a caller are let in."""
    let_in = 0
    for _ in range(tries):
        with suppress(TooMany):
            counts.meet(caller, events)
            let_in += 1
    return let_in


def test_callers_are_counted_each_by_themselves(clock: Clock) -> None:
    counts = counted(clock, caller={"perSecond": 2, "burst": 10})
    assert (met(counts, 25), met(counts, 25, "bob")) == (10, 10)
    clock.now += 1
    assert (met(counts, 25), taken(counts, 25)) == (2, 25)


def test_a_batch_that_is_larger_than_a_burst_comes_in_and_who_sent_it_waits(clock: Clock) -> None:
    counts = counted(clock, caller={"perSecond": 2, "burst": 10})
    assert met(counts, 5, events=100) == 1
    with pytest.raises(TooMany) as over:
        counts.meet("alice", 1)
    assert over.value.retry_after == 46  # 91 tokens, rounded up
    clock.now += over.value.retry_after
    assert met(counts, 5) == 2


def test_callers_fill_no_memory_and_who_was_quiet_makes_room(clock: Clock) -> None:
    counts = counted(clock, caller={"perSecond": 1, "burst": 5})
    assert sum(met(counts, 1, f"caller-{number}") for number in range(rates.CALLERS)) == rates.CALLERS
    assert sum(met(counts, 1, f"late-{number}") for number in range(20)) == 5, "they share one"
    assert len(counts._callers) == rates.CALLERS + 1
    assert met(counts, 9, "caller-0") == 4, "who has one keeps it"
    clock.now += 4
    assert (met(counts, 9, "late"), len(counts._callers)) == (5, 3), "late, caller-0, and what is shared"
    assert met(counts, 9, "caller-0") == 4


def test_without_settings_nothing_is_bounded() -> None:
    assert taken(Rates(), 100_000) == met(Rates(), 100_000) == 100_000


def test_the_defaults_let_in_a_thousand_events_of_one_tenant_at_once(clock: Clock) -> None:
    counts = counted(clock, **Settings().rates)
    assert taken(counts, 1000) == met(counts, 1000) == 1000
    for _ in range(60):
        clock.now += 1
        assert taken(counts, 200) == 200


@pytest.mark.parametrize(
    ("settings", "why"),
    [
        ({"each": {}}, "each: is none of"),
        ({"all": {"perSecond": 1}}, "all: perSecond and burst"),
        ({"tenant": {"perSecond": 0, "burst": 1}}, "tenant: perSecond and burst"),
        ({"tenant": {"perSecond": 1, "burst": 0}}, "tenant: perSecond and burst"),
        ({"tenant": {"perSecond": "1", "burst": 1}}, "tenant: perSecond and burst"),
        ({"caller": {"perSecond": 1, "burst": 0}}, "caller: perSecond and burst"),
        ({"operations": []}, "operations: an object"),
        ({"operations": {"build.begin": {"perSecond": 1, "burst": 1}}}, "operations: build.begin is none of"),
        ({"operations": {"listFunctions": 7}}, "listFunctions: perSecond and burst"),
    ],
)
def test_wrong_rates_stop_the_start_and_say_why(settings: dict[str, Any], why: str) -> None:
    with pytest.raises(BadSettings) as faults:
        read({"KNATIVE_LAMBDA_RATES": json.dumps(settings)})
    assert f"KNATIVE_LAMBDA_RATES: {why}" in str(faults.value)


def test_what_is_left_out_is_not_bounded() -> None:
    assert rates.faults({}) == rates.faults(DEFAULT) == rates.faults({"all": None, "operations": None}) == []
    assert read({"KNATIVE_LAMBDA_RATES": "{}"}).rates == {}


def test_a_sender_over_a_rate_is_told_when_to_come_again_and_nothing_is_done(clock: Clock) -> None:
    site = Site(rates=counted(clock, tenant={"perSecond": 0.5, "burst": 2}))
    assert [site.send("function.delete", DATA).status_code for _ in range(3)] == [202, 202, 429]
    answer = site.send("function.delete", DATA)
    assert "more than 2 at once and 0.5 a second" in problem(answer, 429, "too-many")["detail"]
    assert answer.headers["Retry-After"] == "2"
    assert len(site.door.received) == 2
    clock.now += 2
    assert site.send("function.delete", DATA).status_code == 202


def test_events_of_a_batch_count_each(clock: Clock) -> None:
    site = Site(rates=counted(clock, tenant={"perSecond": 1, "burst": 2}))
    event = {"specversion": "1.0", "source": "/shop", "type": types.FUNCTION_DELETE, "data": DATA, "time": NOW}
    batch = json.dumps([{**event, "id": name} for name in "123"])
    problem(site.http.post("/", data=batch, headers={"Content-Type": BATCHED}), 429, "too-many")
    assert [event.id for event in site.door.received] == ["1", "2"]


def test_requests_for_the_records_count_too(clock: Clock) -> None:
    site = Site(rates=counted(clock, tenant={"perSecond": 1, "burst": 2}))
    assert [site.http.get("/v1/tenants/acme/functions").status_code for _ in range(3)] == [200, 200, 429]
    assert site.http.get("/v1/tenants/other/functions").status_code == 200
    assert [site.http.get(f"/health/{name}").status_code for name in ("live", "ready", "dependencies")] == [200] * 3


def test_a_look_at_a_function_and_its_builds_counts_once(clock: Clock) -> None:
    """It takes two rights, and it is one request."""
    site = Site(World(api=True, access_api=("token",)), counted(clock, **dict.fromkeys(("tenant", "caller"), TWO)))
    site.world.live()
    site.door.reviews = reviews = FakeReviews()
    for resource in ("functions", "builds"):
        reviews.allow(ALICE, "get", resource, "acme")
    headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
    path = "/v1/tenants/acme/functions/hello/events"
    assert [site.http.get(path, headers=headers).status_code for _ in range(3)] == [200, 200, 429]
    asked = [asked for asked in reviews.asked if isinstance(asked, Right)]
    assert [(right.resource, right.name) for right in asked] == [("functions", "hello"), ("builds", "")] * 2


def test_what_sources_report_is_let_in_whatever_a_tenant_sends(clock: Clock) -> None:
    """A report is sent once: one that is turned away would be made good by the next sweep only."""
    site = Site(rates=counted(clock, all={"perSecond": 1, "burst": 1}, tenant={"perSecond": 1, "burst": 1}))
    assert [site.send("function.delete", DATA).status_code for _ in range(3)] == [202, 429, 429]
    pod = {"apiVersion": "v1", "kind": "Pod", "namespace": "acme-builds", "name": "hello"}
    for kind, data in {types.PING: {}, types.REFERENCE_UPDATED: pod}.items():
        assert [site.send(kind, data).status_code for _ in range(5)] == [202] * 5, kind


@pytest.mark.parametrize(("third_party", "counts_as"), [("acme", "acme"), ("nobody", "other")])
def test_an_older_familys_event_counts_as_the_tenants_that_it_means(
    clock: Clock, third_party: str, counts_as: str
) -> None:
    counts = counted(clock, tenant={"perSecond": 1, "burst": 1})
    site = Site(World(legacy_tenant="other"), counts)
    data = {"third_party_id": third_party, "parser_id": "p"}
    assert [site.send(f"{types.NOTIFI}service.delete", data).status_code for _ in range(2)] == [202, 429]
    assert taken(counts, 5, counts_as) == 0


# who sends too much


def batch(*names: str) -> str:
    event = {"specversion": "1.0", "source": "/shop", "type": types.FUNCTION_DELETE, "time": NOW}
    return json.dumps([{**event, "id": f"{at}", "data": {**DATA, "name": name}} for at, name in enumerate(names)])


@pytest.mark.parametrize("may", [True, False])
def test_who_sends_too_much_costs_the_cluster_nothing_more(clock: Clock, *, may: bool) -> None:
    """Whether or not they may what they ask for; each event of a batch counts, since the cluster is asked of each."""
    site = Site(World(access_events=("token",)), counted(clock, caller={"perSecond": 1, "burst": 4}))
    site.door.reviews = reviews = FakeReviews()
    for verb in ("delete",) if may else ():
        reviews.allow(ALICE, verb, "functions", "acme")
    headers = {"Content-Type": BATCHED, "Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}

    def send(*names: str) -> tuple[int, int]:
        """Return what is answered, and how many rights were asked for."""
        reviews.asked.clear()
        answer = site.http.post("/", data=batch(*names), headers=headers)
        return answer.status_code, len([asked for asked in reviews.asked if isinstance(asked, Right)])

    let_in = (202, 3) if may else (403, 1)
    assert [send("one", "two", "three") for _ in range(4)] == [let_in, let_in, (429, 0), (429, 0)]
    clock.now += 3
    assert send("one", "two", "three") == let_in
    assert len(site.door.received) == (9 if may else 0)


def test_one_caller_is_not_in_anothers_way_and_neither_is_what_is_trusted(clock: Clock) -> None:
    site = Site(World(access_events=("oidc", "token")), counted(clock, caller={"perSecond": 1, "burst": 2}))
    site.door.reviews = reviews = FakeReviews()

    def sent(who: Identity) -> list[int]:
        reviews.allow(who, "delete", "functions", "acme")
        token = f"Bearer {reviews.give(who, 'knative-lambda')}"
        return [site.send("function.delete", DATA, Authorization=token).status_code for _ in range(3)]

    assert sent(ALICE) == sent(account("acme", "bob")) == [202, 202, 429]
    assert sent(account("knative-lambda", "trigger")) == [202] * 3, "it brings what others have sent"


def test_who_reads_too_much_costs_the_cluster_nothing_more(clock: Clock) -> None:
    site = Site(World(api=True, access_api=("token",)), counted(clock, caller={"perSecond": 1, "burst": 2}))
    site.door.reviews = reviews = FakeReviews()
    headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
    path = "/v1/tenants/acme/functions"
    assert [site.http.get(path, headers=headers).status_code for _ in range(5)] == [403, 403, 429, 429, 429]
    assert len([asked for asked in reviews.asked if isinstance(asked, Right)]) == 2


def test_a_sender_who_signs_too_much_leaves_no_objects(clock: Clock, tmp_path: Path) -> None:
    """What comes once is an Event of the cluster's: none is made of what is not let in, and that may come later."""
    key = b"k" * 32
    (tmp_path / "shop").write_text(json.dumps({"tenants": ["acme"], "secrets": [written(key)]}))
    world = World(access_events=("hmac",), access_keys=str(tmp_path))
    site = Site(world, counted(clock, caller={"perSecond": 1, "burst": 2}))
    site.door.reviews = FakeReviews()

    def send(identifier: str) -> int:
        body = batch("hello").encode()
        headers = signed(body, world.time.timestamp(), key, identifier=identifier)
        return site.http.post("/", data=body, headers=headers, content_type=BATCHED).status_code

    assert [send(f"m{number}") for number in range(9)] == [202, 202] + [429] * 7
    assert len(world.cluster.list(EVENT, world.settings.namespace)) == 2
    clock.now += 2
    assert (send("m8"), send("m1")) == (202, 401), "one was not taken yet, and one was"
