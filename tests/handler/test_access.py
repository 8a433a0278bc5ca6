"""Who may do what, at the door: each way of saying who one is, each thing asked for, each denial and its twin."""

import json
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from support.reviews import FakeReviews, account
from support.site import Site
from werkzeug.test import TestResponse

from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.deploy.reviews import Identity, Right
from knative_lambda.handler.access import guesses, modes, recent
from knative_lambda.handler.access.caller import Caller
from knative_lambda.handler.access.entrance import Entrance
from knative_lambda.handler.access.guesses import Guesses
from knative_lambda.handler.access.operations import Operation
from knative_lambda.handler.access.recent import Recent
from knative_lambda.schemas import catalogue, types
from knative_lambda.schemas.errors import Forbidden, TooMany

AUDIENCE = "knative-lambda"
ALICE, BOB = account("acme", "alice"), account("other", "bob")
TRIGGER = account("knative-lambda", "build-start-oidc")
COMMANDS: dict[str, tuple[dict[str, Any], tuple[str, ...], str]] = {
    types.BUILD_START: ({}, ("create", "update"), "functions"),
    types.BUILD_CANCEL: ({}, ("update",), "functions"),
    types.FUNCTION_DELETE: ({}, ("delete",), "functions"),
    types.BUILD_COMPLETE: ({"build": "hello-1", "image": f"r.test/x@sha256:{'0' * 64}"}, ("update",), "builds"),
    types.BUILD_FAILED: ({"build": "hello-1", "reason": "BuildFailed"}, ("update",), "builds"),
}
"""By type, what more an event says, and what is needed for it."""
ROUTES = [
    ("get", "/v1/tenants/{}/functions", "list", "functions"),
    ("get", "/v1/tenants/{}/functions/hello", "get", "functions"),
    ("get", "/v1/tenants/{}/functions/hello/builds", "list", "builds"),
    ("post", "/v1/tenants/{}/functions/hello/start", "create,update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/cancel", "update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/retry", "update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/rollback", "update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/pause", "update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/resume", "update", "functions"),
    ("post", "/v1/tenants/{}/functions/hello/delete", "delete", "functions"),
    ("post", "/v1/tenants/{}/builds/hello/cancel", "update", "functions"),
    ("get", "/v1/tenants/{}/functions/hello/events", "get", "functions"),
    ("get", "/v1/tenants/{}/builds/hello/events", "get", "builds"),
    ("get", "/v1/tenants/{}/builds", "list", "builds"),
    ("get", "/v1/tenants/{}/builds/hello", "get", "builds"),
    ("get", "/v1/tenants/{}/builds/hello/log", "get", "builds"),
    ("get", "/v1/tenants/{}/deadletters", "list", "deadletters"),
    ("get", "/v1/tenants/{}/deadletters/hello", "get", "deadletters"),
    ("post", "/v1/tenants/{}/deadletters/hello/resend", "patch", "deadletters"),
    ("post", "/v1/tenants/{}/deadletters/resend", "patch", "deadletters"),
]
each_command = pytest.mark.parametrize("kind", COMMANDS)
each_route = pytest.mark.parametrize(("method", "path", "verb", "resource"), ROUTES)


@dataclass
class House:
    """The product behind its door, on a cluster that knows a few people."""

    site: Site
    reviews: FakeReviews = field(default_factory=FakeReviews)

    def __post_init__(self) -> None:
        # what is taken away counts at once here; `test_what_the_cluster_said…` is about the rest
        self.client = self.site.http(access=modes.entrances(self.site.product, self.reviews))

    def token(self, who: Identity, audience: str = AUDIENCE) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.reviews.give(who, audience)}"}

    def allow(self, who: Identity, *verbs: str, of: str = "functions", at: str = "acme") -> None:
        for verb in verbs:
            self.reviews.allow(who, verb, of, at)

    def send(self, kind: str = types.BUILD_START, headers: dict[str, str] | None = None, **data: Any) -> TestResponse:
        """Send an event in structured mode."""
        body = json.dumps(self.site.event(kind, **COMMANDS.get(kind, ({},))[0], **data))
        return self.client.post(
            "/events", data=body, headers=headers or {}, content_type="application/cloudevents+json"
        )

    @property
    def functions(self) -> int:
        return len(self.site.cluster.list(FUNCTION, "acme") + self.site.cluster.list(FUNCTION, "other"))


def house(*events: str, **settings: Any) -> House:
    return House(Site(access_events=events, **settings))


def told(answer: TestResponse) -> dict[str, Any]:
    """Return what a problem says, but for the id of the request."""
    body: dict[str, Any] = answer.get_json(force=True)
    del body["correlation_id"]
    return body


# --- who one is


def test_where_nobody_is_asked_everybody_is_let_in() -> None:
    assert house("none").send().status_code == 202


@pytest.mark.parametrize("mode", ["token", "oidc"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": ""},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer nobody.gave.this"},
        {"Authorization": "Basic YTpi"},
        {"Authorization": "Bearer a b"},
        {"Authorization": f"Bearer {'a' * 20000}"},
        {"Authorization": "Bearer a\u00e9"},
    ],
)
def test_who_does_not_say_who_they_are_is_told_how_and_no_more(mode: str, headers: dict[str, str]) -> None:
    at = house(mode)
    answer = at.send(headers=headers)
    assert (answer.status_code, answer.content_type) == (401, "application/problem+json")
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="knative-lambda"'
    assert told(answer) == {
        "type": "https://knative-lambda.dev/problems/unauthenticated",
        "title": "Say who you are",
        "status": 401,
        "detail": "It is not known here who asks.",
        "faults": [],
    }
    assert at.functions == 0


@pytest.mark.parametrize(("mode", "who"), [("token", ALICE), ("oidc", TRIGGER)])
@pytest.mark.parametrize("audience", ["https://kubernetes.default.svc", "another", ""])
def test_a_token_for_somebody_else_is_none(mode: str, who: Identity, audience: str) -> None:
    at = house(mode)
    at.allow(who, "create", "update")
    assert at.send(headers=at.token(who, audience)).status_code == 401
    assert at.send(headers=at.token(who)).status_code == 202


def test_a_token_that_has_ended_is_none() -> None:
    """It was one until then; what the cluster said a moment ago goes with its time."""
    at = house("token")
    at.allow(ALICE, "create", "update")
    token = at.token(ALICE)
    assert at.send(headers=token).status_code == 202
    at.reviews.tokens.clear()
    fresh = House(at.site, at.reviews)
    assert fresh.send(headers=token).status_code == 401


def test_a_stranger_is_turned_away_before_anything_of_theirs_is_read() -> None:
    at = house("token")
    stranger = at.client.post("/events", data=b"{", content_type="application/cloudevents+json")
    assert stranger.status_code == 401
    known = at.client.post("/events", data=b"{", content_type="application/cloudevents+json", headers=at.token(ALICE))
    assert known.status_code == 400


def test_a_cluster_that_does_not_answer_is_no_denial() -> None:
    """It is asked again, since the event comes again: whoever sent it may be who they say."""
    at = house("token")
    token = at.token(ALICE)
    at.reviews.is_away = True
    answer = at.send(headers=token)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    at.reviews.is_away = False
    at.allow(ALICE, "create", "update")
    assert at.send(headers=token).status_code == 202


# --- what the product's own Brokers bring


@each_command
def test_what_a_broker_of_the_products_own_brings_is_trusted(kind: str) -> None:
    """Who may put it there is said by the Broker's EventPolicy; the same from anybody else is not."""
    at = house("oidc")
    assert at.send(kind, at.token(TRIGGER)).status_code in (202, 422)
    assert at.send(kind, at.token(ALICE)).status_code == 401


@pytest.mark.parametrize("kind", [types.PING, types.RESOURCE_UPDATED])
def test_a_hint_is_taken_of_who_is_trusted_alone(kind: str) -> None:
    at = house("oidc", "token")
    at.allow(ALICE, "create", "update", "delete", "list", "get")
    data = {"kind": "Function", "namespace": "acme", "name": "hello"} if kind != types.PING else {}
    event = {**at.site.event(kind), "data": data}

    def send(who: Identity) -> int:
        media = "application/cloudevents+json"
        answer = at.client.post("/", data=json.dumps(event), headers=at.token(who), content_type=media)
        return answer.status_code

    assert (send(ALICE), send(TRIGGER)) == (403, 202)


@pytest.mark.parametrize("name", ["knative-lambda-2", "knative", "x:knative-lambda"])
def test_a_namespace_that_is_called_alike_is_not_the_products(name: str) -> None:
    at = house("oidc")
    assert at.send(headers=at.token(account(name, "receiver"))).status_code == 401


# --- what one may


@each_command
def test_an_event_needs_the_rights_that_kubectl_would(kind: str) -> None:
    """All of them, in the tenant that it names, and no others."""
    _, verbs, resource = COMMANDS[kind]
    at = house("token")
    token = at.token(ALICE)
    for other in {"create", "update", "delete", "get", "list", "patch"} - {*verbs}:
        at.allow(ALICE, other, of=resource)
    at.allow(ALICE, *verbs, of=resource, at="other")
    at.allow(ALICE, *verbs, of="deadletters")
    assert at.send(kind, token).status_code == 403
    for verb in verbs:
        assert House(at.site, at.reviews).send(kind, token).status_code == 403
        at.allow(ALICE, verb, of=resource)
    assert House(at.site, at.reviews).send(kind, token).status_code in (202, 422), "the use case's own answer"


@each_command
def test_the_cluster_is_asked_about_the_very_object(kind: str) -> None:
    """A Role may be for some names alone (`resourceNames`): of functions, or, for what builders report, of builds."""
    _, verbs, resource = COMMANDS[kind]
    at = house("token")
    at.send(kind, at.token(ALICE))
    at.allow(ALICE, *verbs, of=resource)
    House(at.site, at.reviews).send(kind, at.token(ALICE))
    rights = {right for right in at.reviews.asked if isinstance(right, Right)}
    assert rights == {Right(verb, resource, "acme", "hello-1" if resource == "builds" else "hello") for verb in verbs}


@each_command
def test_nobody_learns_whether_a_tenant_or_a_function_of_others_is_there(kind: str) -> None:
    at = house("token")
    at.site.start("there", tenant="acme")
    at.allow(BOB, "create", "update", "delete", at="other")
    answers = [
        at.send(kind, at.token(BOB), tenant=tenant, name=name)
        for tenant, name in (
            ("acme", "there"),
            ("acme", "not-there"),
            ("no-such-tenant", "hello"),
            ("kube-system", "x"),
        )
    ]
    assert [answer.status_code for answer in answers] == [403] * 4
    assert [told(answer) for answer in answers] == [told(answers[0])] * 4
    assert told(answers[0])["faults"] == []
    assert "acme" not in answers[0].get_data(as_text=True)


def test_of_a_batch_all_is_done_or_nothing() -> None:
    at = house("token")
    at.allow(ALICE, "create", "update")
    token = at.token(ALICE)

    def send(*tenants: str) -> int:
        batch = json.dumps([at.site.event(tenant=tenant) for tenant in tenants])
        media = "application/cloudevents-batch+json"
        return at.client.post("/", data=batch, headers=token, content_type=media).status_code

    assert (send("acme", "other"), at.functions) == (403, 0)
    assert (send("acme", "acme"), at.functions) == (202, 1)


@pytest.mark.parametrize(
    ("third_party", "needed", "status"),
    [("other", "other", 202), ("nobody", "acme", 202), ("Nobody", "acme", 202)],
)
def test_an_older_familys_event_needs_the_right_where_its_function_is(
    third_party: str, needed: str, status: int
) -> None:
    """In the tenant of that name, or in the one for senders without one."""
    kind = types.NOTIFI + "build.start"
    data = {"third_party_id": third_party, "parser_id": "p", "tenant": None, "name": None, "runtime": "python"}
    data["source"] = {"inline": {"main.py": "def handle(event, context): pass\n"}}
    at = house("token")
    token = at.token(ALICE)
    assert at.send(kind, token, **data).status_code == 403
    at.allow(ALICE, "create", "update", at=needed)
    assert House(at.site, at.reviews).send(kind, token, **data).status_code == status


@pytest.mark.parametrize("legacy", ["", "acme"])
def test_nor_by_an_older_familys_event_does_anybody_learn_of_others_who_may_not_act_for_senders_without_one(
    legacy: str,
) -> None:
    """Whoever may act there sees which ids do not lead there; nobody else sees anything, and without it nobody."""
    at = house("token")
    at.site.product.settings.__dict__["legacy_tenant"] = legacy
    at.allow(BOB, "delete", at="other")
    answers = [
        at.send(
            types.NOTIFI + "service.delete", at.token(BOB), third_party_id=name, parser_id="p", tenant=None, name=None
        )
        for name in ("acme", "nobody", "kube-system", "No-Label")
    ]
    assert [(answer.status_code, told(answer)) for answer in answers] == [(403, told(answers[0]))] * 4


def test_a_right_is_asked_for_once_in_a_request() -> None:
    reviews = FakeReviews()
    reviews.allow(ALICE, "update", "functions", "acme")
    entrance, granted = Entrance((), reviews), set[Right]()
    caller = Caller(ALICE.name, "token", ALICE)
    for _ in range(3):
        entrance.require(caller, Operation(("update",), "functions", "acme", "hello"), granted)
        with pytest.raises(Forbidden):
            entrance.require(caller, Operation(("update",), "functions", "other", "hello"), granted)
    assert [right.namespace for right in reviews.asked if isinstance(right, Right)] == ["acme"] + ["other"] * 3


def test_that_there_is_no_tenant_for_an_older_familys_event_is_told_to_who_may_act_everywhere() -> None:
    kind, data = types.NOTIFI + "service.delete", {"third_party_id": "nobody", "parser_id": "p"}
    at = house("token")
    at.site.product.settings.__dict__["legacy_tenant"] = ""
    everything = {**data, "tenant": None, "name": None}
    assert at.send(kind, at.token(ALICE), **everything).status_code == 403
    at.allow(BOB, "delete", at="")
    assert at.send(kind, at.token(BOB), **everything).status_code == 422


# --- the records


def records(*api: str) -> House:
    return House(Site(access_api=api))


@each_route
def test_each_path_of_the_records_asks_who_and_whether_they_may(
    method: str, path: str, verb: str, resource: str
) -> None:
    at = records("token")

    def ask(headers: dict[str, str], tenant: str = "acme") -> TestResponse:
        return House(at.site, at.reviews).client.open(path.format(tenant), method=method, headers=headers)

    nobody, token = ask({}), at.token(ALICE)
    assert (nobody.status_code, nobody.headers["WWW-Authenticate"]) == (401, 'Bearer realm="knative-lambda"')
    assert ask({"Authorization": "Bearer wrong"}).status_code == 401
    assert ask(at.token(ALICE, "another")).status_code == 401
    needed = verb.split(",")
    if path.endswith("functions/hello/events"):  # which tells of its builds, too
        at.allow(ALICE, "get", of="builds")
    for other in {"get", "list", "update", "create", "delete"} - {needed[0]}:
        at.allow(ALICE, other, of=resource)
    at.allow(ALICE, *needed, of=resource, at="other")
    refused = [ask(token), ask(token, "no-such-tenant"), ask(token, "kube-system")]
    assert [answer.status_code for answer in refused] == [403] * 3
    assert [told(answer) for answer in refused] == [told(refused[0])] * 3
    at.allow(ALICE, *needed, of=resource)
    assert ask(token).status_code in (200, 202, 404, 422), "what is there, that it is not, or what a start lacks"


def test_a_function_is_watched_by_who_may_see_its_builds_too() -> None:
    at = records("token")
    at.site.start("hello", tenant="acme")
    at.allow(ALICE, "get")

    def watch() -> int:
        client = House(at.site, at.reviews).client
        return client.get("/v1/tenants/acme/functions/hello/events", headers=at.token(ALICE)).status_code

    assert watch() == 403
    at.allow(ALICE, "get", of="builds")
    assert watch() == 200


def test_every_path_of_the_records_is_told_above() -> None:
    described = {(method, path) for path, methods in catalogue.openapi()["paths"].items() for method in methods}
    assert {(method, path.format("{tenant}").replace("hello", "{name}")) for method, path, *_ in ROUTES} == described


def test_a_list_has_what_is_the_tenants_and_no_more() -> None:
    at = records("token")
    at.site.start("mine", tenant="acme")
    at.site.start("theirs", tenant="other")
    at.allow(ALICE, "list")
    answer = at.client.get("/v1/tenants/acme/functions", headers=at.token(ALICE))
    assert [item["metadata"]["name"] for item in answer.get_json()["items"]] == ["mine"]
    assert at.client.get("/v1/tenants/other/functions", headers=at.token(ALICE)).status_code == 403


def test_names_that_are_none_are_asked_about_nowhere_else() -> None:
    at = records("none")
    for name in ("..", "Hello", "a%2Fb"):
        assert at.client.get(f"/v1/tenants/{name}/functions").status_code == 404


def test_health_is_nobodys_secret() -> None:
    at = house("token", access_api=("token",))
    for path in ("live", "ready", "dependencies"):
        assert at.client.get(f"/health/{path}").status_code == 200


# --- what the cluster said a moment ago


class Seconds:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_what_the_cluster_said_counts_for_some_seconds_both_yes_and_no() -> None:
    reviews, clock = FakeReviews(), Seconds()
    kept = Recent(reviews, clock)
    token, right = reviews.give(ALICE, AUDIENCE), Right("get", "functions", "acme")
    assert (kept.who(token, AUDIENCE), kept.who("wrong", AUDIENCE), kept.may(ALICE, right)) == (ALICE, None, False)
    reviews.tokens.clear()
    reviews.allow(ALICE, "get", "functions", "acme")
    clock.now += recent.SECONDS - 1
    asked = len(reviews.asked)
    assert (kept.who(token, AUDIENCE), kept.may(ALICE, right), len(reviews.asked)) == (ALICE, False, asked)
    clock.now += 2
    assert (kept.who(token, AUDIENCE), kept.may(ALICE, right)) == (None, True)


def test_one_answer_is_nobody_elses() -> None:
    reviews = FakeReviews()
    kept = Recent(reviews, Seconds())
    token, right = reviews.give(ALICE, AUDIENCE), Right("get", "functions", "acme")
    reviews.allow(ALICE, "get", "functions", "acme")
    assert kept.who(token, AUDIENCE) == ALICE
    assert kept.who(token, "another") is None
    assert kept.may(ALICE, right)
    assert not kept.may(BOB, right)
    assert not kept.may(ALICE, Right("get", "functions", "other"))


@pytest.mark.parametrize("changed", [{"groups": ()}, {"uid": "new"}, {"extra": (("scopes.test/a", ("b",)),)}])
def test_an_answer_is_for_all_that_the_cluster_knows_of_somebody(changed: dict[str, Any]) -> None:
    """Who has left a group has its rights no more; an account that was made again by an old name is another one."""
    asked: list[Identity] = []

    class Exact(FakeReviews):
        def may(self, identity: Identity, right: Right) -> bool:
            asked.append(identity)
            return identity == ALICE

    kept, right = Recent(Exact(), Seconds()), Right("get", "functions", "acme")
    other = replace(ALICE, **changed)
    assert [kept.may(who, right) for who in (ALICE, other, ALICE, other)] == [True, False, True, False]
    assert asked == [ALICE, other], "each once"


def test_guesses_of_strangers_fill_no_memory() -> None:
    kept = Recent(FakeReviews(), Seconds())
    for number in range(recent.MOST + 10):
        kept.who(f"guess-{number}", AUDIENCE)
    assert len(kept._kept) == recent.MOST


def test_no_token_is_kept() -> None:
    reviews = FakeReviews()
    kept = Recent(reviews, Seconds())
    token = reviews.give(ALICE, AUDIENCE)
    kept.who(token, AUDIENCE)
    assert token not in repr(kept._kept)


# --- strangers who guess


def test_who_guesses_tokens_is_told_to_come_again_and_who_is_known_does_not_notice() -> None:
    reviews, clock = FakeReviews(), Seconds()
    asked = Guesses(reviews, clock)
    token = reviews.give(ALICE, AUDIENCE)
    assert asked.who(token, AUDIENCE) == ALICE
    assert [asked.who(f"guess-{number}", AUDIENCE) for number in range(guesses.RATE.burst - 1)] == [None] * 99
    with pytest.raises(TooMany) as met:
        asked.who("one guess more", AUDIENCE)
    assert met.value.retry_after == 1
    assert len(reviews.asked) == guesses.RATE.burst
    assert asked.who(token, AUDIENCE) == ALICE
    with pytest.raises(TooMany):
        asked.who(token, "another")
    clock.now += 1
    assert [asked.who(f"late-{number}", AUDIENCE) for number in range(int(guesses.RATE.per_second))] == [None] * 20
    with pytest.raises(TooMany):
        asked.who("one more", AUDIENCE)


def test_a_token_that_ended_is_a_strangers_again() -> None:
    reviews, clock = FakeReviews(), Seconds()
    asked = Guesses(reviews, clock)
    token = reviews.give(ALICE, AUDIENCE)
    assert asked.who(token, AUDIENCE) == ALICE
    reviews.tokens.clear()
    assert [asked.who(token, AUDIENCE) for _ in range(guesses.RATE.burst)] == [None] * 100
    with pytest.raises(TooMany):
        asked.who(token, AUDIENCE)


def test_good_tokens_fill_no_memory_and_are_kept_by_their_hashes_alone() -> None:
    reviews, clock = FakeReviews(), Seconds()
    asked = Guesses(reviews, clock)
    for _ in range(guesses.MOST + 10):
        clock.now += 1
        token = reviews.give(ALICE, AUDIENCE)
        asked.who(token, AUDIENCE)
    assert len(asked._good) == guesses.MOST
    assert token not in repr(asked._good)


def test_guesses_at_the_door_are_answered_429_and_the_same_one_again_is_not_asked_about() -> None:
    at = house("token")
    wrong = {"Authorization": "Bearer wrong"}
    assert [at.send(headers=wrong).status_code for _ in range(guesses.RATE.burst + 1)] == [401] * 101
    assert len(at.reviews.asked) == 1
    answers = (at.send(headers={"Authorization": f"Bearer wrong-{n}"}) for n in range(100 * guesses.RATE.burst))
    first = next(answer for answer in answers if answer.status_code != 401)
    assert (first.status_code, first.headers["Retry-After"]) == (429, "1")
