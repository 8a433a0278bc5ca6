"""The page under ``/ui``: what it shows, to whom, and that nothing of what strangers wrote becomes a part of it."""

import base64
import html
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import pytest
from flask.testing import FlaskClient
from support.door import FrontDoor
from support.reviews import FakeReviews, account
from support.world import World
from werkzeug.test import TestResponse

from knative_lambda.builds.builder import Ended
from knative_lambda.client.command import main
from knative_lambda.deploy.cluster import DEAD_LETTER, FUNCTION
from knative_lambda.handler.audit.trail import Trail
from knative_lambda.handler.page import text
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.receive.porter import Porter
from knative_lambda.handler.receive.rates import Rates
from knative_lambda.handler.settings import BadSettings, read

NASTY = '<script>alert(1)</script>\x1b[31m red\x1b[0m \u202egnp.exe\u202c & "quoted" {{ 1234 * 4321 }}'
ALICE = account("acme", "alice")
LETTER = "dl-0123456789abcdef0123456789abcdef"
ASKED = [
    ("/ui/acme", "list", "functions"),
    ("/ui/acme", "list", "builds"),
    ("/ui/acme", "list", "deadletters"),
    ("/ui/acme/functions", "list", "functions"),
    ("/ui/acme/functions/hello", "get", "functions"),
    ("/ui/acme/builds", "list", "builds"),
    ("/ui/acme/builds/{build}", "get", "builds"),
    ("/ui/acme/builds/{build}/log", "get", "builds"),
    ("/ui/acme/builds/{build}/events", "get", "builds"),
    ("/ui/acme/deadletters", "list", "deadletters"),
    ("/ui/acme/deadletters/" + LETTER, "get", "deadletters"),
]
"""Paths, and by which right any of them is seen."""


@dataclass
class Looked:
    """A product with a page, looked at by whoever the headers say."""

    world: World = field(default_factory=World)
    reviews: FakeReviews | None = None
    porter: Porter | None = None
    is_on: bool = True

    def __post_init__(self) -> None:
        door = FrontDoor(self.world, reviews=self.reviews)
        self.app = create_app(door, HttpSettings(page=self.is_on), porter=self.porter)
        self.http: FlaskClient = self.app.test_client()

    def get(self, path: str, headers: dict[str, str] | None = None) -> TestResponse:
        return self.http.get(path, headers=headers or {})

    def body(self, path: str, status: int = 200) -> str:
        answer = self.get(path)
        assert answer.status_code == status, answer.text
        return answer.text


class Noted(Trail):
    """An audit trail that goes nowhere else."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def add(self, record: Any) -> None:
        self.records.append(dict(record))


def words(body: str) -> str:
    """Return what is read on a page."""
    return " ".join(
        html.unescape(re.sub(r"<[^>]*>", " ", body.partition('<main id="main"')[2].partition("</main>")[0])).split()
    )


def letter(world: World, namespace: str = "acme", **said: Any) -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "demo.order", "data": {"cart": 7}}
    spec = {"reason": "Refused", "message": "no", "code": 422, "event": event, "count": 3, **said}
    meta = {"namespace": namespace, "name": LETTER}
    world.cluster.create(
        DEAD_LETTER,
        {"apiVersion": DEAD_LETTER.api_version, "kind": DEAD_LETTER.kind, "metadata": meta, "spec": spec},
    )


@pytest.fixture
def at() -> Looked:
    return Looked()


@pytest.fixture
def full(at: Looked) -> Looked:
    """Return a product where there is one of each."""
    at.world.live()
    at.world.start("broken", source={"inline": {"main.py": "x = 1\n"}})
    at.world.fail(Ended(1, "user", "BuildFailed", "no such package"), b"step 1\nno such package\n", "broken")
    letter(at.world)
    return at


# --- what is shown


def test_an_overview_has_each_thing_with_its_state_in_a_word_and_why_it_is_so(full: Looked) -> None:
    seen = words(full.body("/ui/acme"))
    assert "hello Ready python" in seen
    assert "broken BuildFailed: step 1 no such package Failed python" in seen
    assert "demo.order no Kept" in seen


def test_a_function_has_its_steps_its_builds_and_what_may_be_done(full: Looked) -> None:
    seen = words(full.body("/ui/acme/functions/broken"))
    assert "Built No BuildFailed step 1 no such package" in seen
    assert f"{full.world.build('broken')['metadata']['name']}"[:-16] in seen
    assert "retry knative-lambda retry broken -n acme" in seen
    assert "cancel" not in seen


def test_a_build_has_its_log_and_the_rest_of_it_comes_by_events(at: Looked) -> None:
    """What the page has is not told again, and nothing between the page and the first question is lost."""
    at.world.start()
    name = at.world.build()["metadata"]["name"]
    at.world.builder.logs[at.world.attempt()] = b"one\ntwo\nthr"
    body = at.body(f"/ui/acme/builds/{name}")
    assert re.findall("<div>(.*)</div>\n", body.partition('id="log"')[2].partition("</section>")[0]) == ["one", "two"]
    [events] = re.findall('data-events="([^"]*)"', body)
    at.world.builder.logs[at.world.attempt()] += b"ee\n"
    told = at.body("/ui/acme/builds/" + events.partition("/builds/")[2])
    assert re.findall('"line": "([^"]*)"', told) == ["three"]


def test_a_build_that_has_ended_has_nothing_to_come(full: Looked) -> None:
    name = full.world.build("broken")["metadata"]["name"]
    body = full.body(f"/ui/acme/builds/{name}")
    assert "no such package" in body
    assert "data-events" not in body
    answer = full.get(f"/ui/acme/builds/{name}/log")
    assert (answer.text, answer.content_type) == ("step 1\nno such package\n", "text/plain; charset=utf-8")


def test_of_a_long_log_the_end_is_shown_and_it_says_so(at: Looked) -> None:
    at.world.start()
    at.world.builder.logs[at.world.attempt()] = b"".join(b"line %d\n" % number for number in range(2500))
    body = at.body(f"/ui/acme/builds/{at.world.build()['metadata']['name']}")
    assert "The first 500 lines are left out." in body
    assert "<div>line 499</div>" not in body
    assert "<div>line 500</div>" in body


def test_a_dead_letter_has_its_event_whole(full: Looked) -> None:
    seen = words(full.body(f"/ui/acme/deadletters/{LETTER}"))
    assert "Reason Refused (422) Came 3 times" in seen
    assert "type demo.order" in seen
    assert '"cart": 7' in seen
    assert f"knative-lambda deadletters -n acme resend {LETTER}" in seen


def test_the_product_itself_has_dead_letters_alone(at: Looked) -> None:
    letter(at.world, "knative-lambda")
    body = at.body("/ui/knative-lambda")
    assert "demo.order" in body
    assert "/functions" not in body
    assert "/functions" not in at.body("/ui/knative-lambda/deadletters")


def test_tenants_are_listed_and_the_product_with_them(at: Looked) -> None:
    links = re.findall('<li><a href="([^"]*)"', at.body("/ui"))
    assert links == ["ui/acme", "ui/other", "ui/knative-lambda"]


def test_thousands_of_functions_are_on_many_pages_each_on_one(at: Looked) -> None:
    for number in range(130):
        body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind}
        spec = {"runtime": "python", "source": {"image": "registry/acme/x:1"}}
        at.world.cluster.create(
            FUNCTION, {**body, "metadata": {"name": f"f{number:03}", "namespace": "acme"}, "spec": spec}
        )
    assert ">All functions</a>" in at.body("/ui/acme")
    assert [len(page) for page in walked(at)] == [50, 50, 30]
    assert sorted(name for page in walked(at) for name in page) == [f"f{number:03}" for number in range(130)]
    assert "None among those" not in at.body("/ui/acme/functions?state=Pending")
    assert at.get("/ui/acme/functions?state=Wrong").status_code == 422


def walked(at: Looked) -> Iterator[list[str]]:
    """Yield the names on each page, as the links lead on."""
    query = ""
    while True:
        body = at.body(f"/ui/acme/functions{query}")
        yield re.findall('<tr id="functions-([^"]*)"', body)
        found = re.search('rel="next" href="[^"?]*([^"]*)"', body)
        if found is None:
            return
        query = html.unescape(found[1])


def test_each_command_that_is_shown_is_one(full: Looked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read by the command itself, which would refuse an option or a word that it does not know."""
    monkeypatch.chdir(tmp_path)
    full.world.start("third", source={"inline": {"main.py": "y = 1\n"}})
    for name in full.world.functions():
        (tmp_path / name).mkdir()
    paths = [f"/ui/acme/functions/{name}" for name in full.world.functions()]
    paths += [f"/ui/acme/builds/{build['metadata']['name']}" for build in full.world.builds()]
    paths.append(f"/ui/acme/deadletters/{LETTER}")
    shown = {found for path in paths for found in re.findall('data-copy="([^"]*)"', full.body(path))}
    assert {command.split()[1] for command in shown} == {"deploy", "cancel", "retry", "pause", "delete", "deadletters"}
    for command in shown:
        _parse(main, shlex.split(html.unescape(command))[1:])


def _parse(command: click.Command, arguments: list[str], parent: click.Context | None = None) -> None:
    context = command.make_context(command.name, arguments, parent)
    if isinstance(command, click.Group):
        name, chosen, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        assert name
        assert chosen
        _parse(chosen, rest, context)


# --- strangers' text


def test_nothing_that_a_stranger_wrote_becomes_a_part_of_the_page(at: Looked) -> None:
    at.world.start("broken", source={"inline": {"main.py": "x = 1\n"}}, id="e", env={})
    at.world.fail(Ended(1, "user", "BuildFailed", NASTY), NASTY.encode() + b"\n50%\r100%\r\n", "broken")
    event = {"specversion": "1.0", "id": NASTY, "source": NASTY, "type": NASTY, NASTY: NASTY, "data": NASTY}
    letter(at.world, event=event, message=NASTY, trigger=NASTY)
    build = at.world.build("broken")["metadata"]["name"]
    paths = ["/ui/acme", "/ui/acme/functions/broken", f"/ui/acme/builds/{build}", f"/ui/acme/deadletters/{LETTER}"]
    for path in [*paths, "/ui/%3Cscript%3Ealert(1)%3C/script%3E", "/ui/acme/functions?state=%3Cscript%3E"]:
        body = at.get(path).text
        assert "<script>" not in body
        assert not re.search("[\x1b\u202e\u202c]", body)
        assert "5332114" not in body
    log = at.body(f"/ui/acme/builds/{build}").partition('id="log"')[2]
    assert (
        "&lt;script&gt;alert(1)&lt;/script&gt; red \\u202egnp.exe\\u202c &amp; &#34;quoted&#34; {{ 1234 * 4321 }}"
        in log
    )
    assert "<div>100%</div>" in log


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("\x1b[1;31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("a\x1b(Bb", "ab"),
        ("a\x00b\x08c", "a\\u0000b\\u0008c"),
        ("abc\u202edef", "abc\\u202edef"),
        ("zero\u200bwidth", "zero\\u200bwidth"),
        ("10%\r20%\r", "20%"),
        ("\u05e9\u05dc\u05d5\u05dd\tok", "\u05e9\u05dc\u05d5\u05dd\tok"),
    ],
)
def test_what_would_colour_hide_or_turn_a_line_is_gone_or_spelt_out(said: str, shown: str) -> None:
    assert text.line(said) == shown


# --- who may look


def test_a_page_is_refused_without_the_right_and_seen_with_it(full: Looked) -> None:
    build = full.world.build()["metadata"]["name"]
    for path, verb, resource in ASKED:
        reviews = FakeReviews()
        at = Looked(full.world, reviews)
        headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
        address = path.format(build=build)
        assert at.get(address).status_code == 401
        assert at.get(address, headers).status_code == 403
        assert at.get(address.replace("acme", "nobody"), headers).status_code == 403
        reviews.allow(ALICE, verb, resource, "acme")
        assert at.get(address, headers).status_code in (200, 204), (path, at.get(address, headers).text)


def test_an_overview_shows_what_one_may_see_and_of_the_rest_not_whether_it_is_there(full: Looked) -> None:
    reviews = FakeReviews()
    at = Looked(full.world, reviews)
    headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
    reviews.allow(ALICE, "list", "functions", "acme")
    seen = words(at.get("/ui/acme", headers).text)
    assert "hello Ready" in seen
    assert seen.endswith("Builds You may not see these. Dead letters You may not see these.")


def test_who_may_not_see_all_tenants_says_which_they_mean(at: Looked) -> None:
    reviews = FakeReviews()
    at = Looked(at.world, reviews)
    headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
    assert "acme" not in at.get("/ui", headers).text
    assert at.get("/ui?tenant=acme", headers).headers["Location"] == "ui/acme"
    assert at.get("/ui?tenant=//elsewhere.test", headers).headers["Location"] == "ui/-"
    reviews.allow(ALICE, "list", "functions", "")
    assert "acme" in at.get("/ui", headers).text


def password(token: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"me:{token}".encode()).decode()}


def test_a_browsers_password_is_a_token(full: Looked) -> None:
    reviews = FakeReviews()
    at = Looked(full.world, reviews)
    token = reviews.give(ALICE, "knative-lambda")
    reviews.allow(ALICE, "list", "functions", "acme")
    stranger = at.get("/ui/acme/functions")
    assert stranger.headers["WWW-Authenticate"].startswith("Basic ")
    assert at.get("/ui/acme/functions", password(token)).status_code == 200
    for wrong in (password("guess"), password(""), password("ünknown"), {"Authorization": "Basic !"}):
        assert at.get("/ui/acme/functions", wrong).status_code == 401


def test_a_password_that_a_browser_sends_by_itself_opens_nothing_else(full: Looked) -> None:
    """Whatever page has the browser ask for it: what changes something takes no password, and reads are not let out."""
    reviews = FakeReviews()
    at = Looked(full.world, reviews)
    token = reviews.give(ALICE, "knative-lambda")
    for verb in ("list", "get", "update", "delete", "create"):
        reviews.allow(ALICE, verb, "functions", "acme")
    path = "/v1/tenants/acme/functions/hello/delete"
    assert at.http.post(path, headers=password(token)).status_code == 401
    assert at.get("/v1/tenants/acme/functions", password(token)).status_code == 401
    answer = at.get("/ui/acme/functions", password(token) | {"Origin": "https://elsewhere.test"})
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert at.http.post(path, headers={"Authorization": f"Bearer {token}"}).status_code == 202


def test_nothing_can_be_changed_under_ui(full: Looked) -> None:
    rules = [rule for rule in full.app.url_map.iter_rules() if rule.rule.startswith("/ui")]
    assert len(rules) >= len(ASKED)
    assert {method for rule in rules for method in rule.methods or ()} == {"GET", "HEAD"}
    assert full.http.post("/ui/acme/functions/hello").status_code == 405


def test_who_is_turned_away_is_noted_and_who_comes_too_often_waits(at: Looked) -> None:
    reviews, noted = FakeReviews(), Noted()
    porter = Porter(Rates({"tenant": {"perSecond": 0.001, "burst": 2}}, {"acme"}), noted)
    at = Looked(at.world, reviews, porter)
    headers = {"Authorization": f"Bearer {reviews.give(ALICE, 'knative-lambda')}"}
    assert at.get("/ui/acme/functions", headers).status_code == 403
    reviews.allow(ALICE, "list", "functions", "acme")
    assert [at.get("/ui/acme/functions", headers).status_code for _ in range(3)] == [200, 200, 429]
    assert [(each["operation"], each["tenant"], each["status"]) for each in noted.records] == [
        ("page", "acme", 403),
        ("page", "acme", 429),
    ]


# --- the answers


def test_no_answer_lets_anything_in_from_elsewhere_or_itself_be_framed_or_kept(full: Looked) -> None:
    build = full.world.build()["metadata"]["name"]
    for path in ("/ui", "/ui/", "/ui/nobody", "/ui/a/b/c", *(path.format(build=build) for path, _, _ in ASKED)):
        answer = full.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_every_link_is_relative_so_that_a_proxy_may_have_the_page_below_a_path_of_its_own(full: Looked) -> None:
    build = full.world.build()["metadata"]["name"]
    for path in ("/ui", "/ui/", "/ui/nobody/x/y", *(path.format(build=build) for path, _, _ in ASKED)):
        links = re.findall('(?:href|src|action|data-events)="([^"]*)"', full.get(path).text)
        assert [link for link in links if link.startswith("/")] == []
        for link in links:
            if link.startswith(".") and "/_/" in link:
                assert full.http.get(_from(path, link)).status_code == 200, (path, link)


def _from(path: str, link: str) -> str:
    ups = link.count("../")
    return "/".join(path.split("/")[: -ups - 1]) + "/" + link.replace("../", "")


def test_files_are_kept_by_browsers_until_they_are_others(at: Looked) -> None:
    [link] = re.findall('src="ui/(_/page[^"]*)"', at.body("/ui"))
    assert "immutable" in at.get(f"/ui/{link}").headers["Cache-Control"]
    assert at.get("/ui/_/page.js").headers["Cache-Control"] == "no-store"
    assert at.get("/ui/_/../paths.py").status_code == 404


def test_there_is_no_page_unless_it_is_asked_for() -> None:
    at = Looked(is_on=False)
    assert at.get("/ui").status_code == 404
    assert at.get("/v1/tenants/acme/functions").status_code == 200


def test_a_page_of_records_that_are_not_served_is_a_wrong_setting() -> None:
    with pytest.raises(BadSettings, match="KNATIVE_LAMBDA_API: is not true"):
        read({"KNATIVE_LAMBDA_PAGE": "true"})
    assert read({"KNATIVE_LAMBDA_PAGE": "true", "KNATIVE_LAMBDA_API": "true"}).page
