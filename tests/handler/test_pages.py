"""Lists under ``/v1``: in pages, filtered, in an order; each thing with its state and what may be done; 304."""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from support.door import Site, problem
from support.world import World
from werkzeug.test import TestResponse

from knative_lambda.builds.builder import Ended
from knative_lambda.deploy.cluster import BUILD, FUNCTION, Object, Page
from knative_lambda.handler.api import pages
from knative_lambda.schemas import names

PATH = "/v1/tenants/acme/functions"


def ask(site: Site, path: str = PATH, headers: Mapping[str, str] | None = None, **query: str) -> TestResponse:
    return site.http.get(path, query_string=query, headers=dict(headers or {}))


def listed(site: Site, path: str = PATH, **query: str) -> list[str]:
    """Return the names on one page."""
    answer = ask(site, path, **query)
    assert answer.status_code == 200, answer.get_json()
    return [item["metadata"]["name"] for item in answer.get_json()["items"]]


def walked(site: Site, path: str = PATH, **query: str) -> Iterator[list[str]]:
    """Yield the names on each page, from the first to the last."""
    while True:
        body: dict[str, Any] = ask(site, path, **query).get_json()
        yield [item["metadata"]["name"] for item in body["items"]]
        if not body["metadata"]["continue"]:
            return
        query["continue"] = body["metadata"]["continue"]


def put(world: World, name: str, labels: Mapping[str, str] | None = None, runtime: str = "python") -> Object:
    """Make a Function that nobody has looked at, a second younger than the one before."""
    world.time += timedelta(seconds=1)
    spec = {"runtime": runtime, "source": {"image": "registry/acme/x:1"}}
    meta = {"name": name, "namespace": "acme", "labels": dict(labels or {})}
    body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind, "metadata": meta, "spec": spec}
    return world.cluster.create(FUNCTION, body)


@pytest.fixture
def site() -> Site:
    return Site()


# --- pages


@pytest.mark.parametrize(("sort", "expected"), [("name", "abcdefg"), ("created", "gfedcba"), ("-created", "abcdefg")])
def test_each_thing_is_on_one_page_in_the_order_that_is_asked_for(site: Site, sort: str, expected: str) -> None:
    for name in "gfedcba":
        put(site.world, name)
    pages = list(walked(site, sort=sort, limit="3"))
    assert ["".join(page) for page in pages] == [expected[:3], expected[3:6], expected[6:]]


def test_builds_of_one_second_are_in_the_order_in_which_they_came(site: Site) -> None:
    """The times that Kubernetes keeps are in whole seconds, and several builds are made in one."""
    made = []
    for number in range(6):
        site.world.time -= timedelta(milliseconds=990)
        site.world.start(source={"inline": {"main.py": f"number = {number}\n"}})
        made.append(site.world.build()["metadata"]["name"])
    assert len({build["metadata"]["creationTimestamp"] for build in site.world.builds()}) == 1
    assert listed(site, "/v1/tenants/acme/builds", sort="created") == made
    assert listed(site, "/v1/tenants/acme/functions/hello/builds") == made[::-1]


def test_builds_of_other_seconds_are_in_the_order_of_the_cluster_whatever_clock_wrote_the_finer_time(
    site: Site,
) -> None:
    """Another receiver's clock may be ahead; and a Build of an earlier version says whole seconds alone."""
    made = []
    for number, came in enumerate(["2026-02-01T00:00:00.000001Z", None, "2025-12-01T00:00:00.000001Z"]):
        site.world.start(source={"inline": {"main.py": f"number = {number}\n"}})
        build = site.world.build()
        notes = {key: value for key, value in build["metadata"]["annotations"].items() if key != names.CAME_ANNOTATION}
        if came:
            notes[names.CAME_ANNOTATION] = came
        site.world.cluster.replace(BUILD, {**build, "metadata": {**build["metadata"], "annotations": notes}})
        made.append(build["metadata"]["name"])
    assert listed(site, "/v1/tenants/acme/builds", sort="created") == made


@pytest.mark.parametrize("sort", pages.SORTS)
def test_what_comes_and_goes_meanwhile_moves_nothing_else(site: Site, sort: str) -> None:
    for name in ("b", "d", "f", "h"):
        put(site.world, name)
    steps = walked(site, sort=sort, limit="2")
    first = next(steps)
    site.world.cluster.delete(FUNCTION, "acme", first[0])
    put(site.world, "a")
    rest = [name for page in steps for name in page if name != "a"]
    assert sorted(first + rest) == ["b", "d", "f", "h"]


def test_a_page_costs_the_same_however_many_there_are(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server is asked once, for no more than the page has."""
    asked: list[int] = []
    page = site.world.cluster.page

    def counted(*given: Any, most: int, **more: Any) -> Any:
        asked.append(most)
        return page(*given, most=most, **more)

    monkeypatch.setattr(site.world.cluster, "page", counted)
    monkeypatch.setattr(site.world.cluster, "list", None)
    monkeypatch.setattr(site.world.cluster, "heads", None)
    for number in range(250):
        put(site.world, f"f-{number:04}")
    assert len(listed(site)) == pages.LIMIT
    assert asked == [pages.LIMIT]
    assert ask(site, sort="created").status_code == 500, "the control is one: this order does ask for all"


@pytest.mark.parametrize("kind", ["functions", "builds", "deadletters"])
def test_no_list_of_a_tenant_looks_through_all_unless_it_is_asked_for(
    site: Site, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    site.world.live()
    heads = site.world.cluster.heads
    monkeypatch.setattr(site.world.cluster, "heads", None)
    assert ask(site, f"/v1/tenants/acme/{kind}").status_code == 200
    assert ask(site, f"/v1/tenants/acme/{kind}", sort="-created").status_code == 500, "the control is one"
    looked: list[Any] = []
    monkeypatch.setattr(site.world.cluster, "heads", lambda *given: looked.append(given) or heads(*given))  # type: ignore[func-returns-value]
    assert len(listed(site, f"{PATH}/hello/builds")) == 1
    assert looked == [(BUILD, "acme", {names.FUNCTION_LABEL: "hello"})], (
        "of a function's own few, its newest comes first"
    )


def test_a_page_that_a_filter_empties_looks_on_but_not_for_ever(site: Site) -> None:
    for number in range(40):
        put(site.world, f"f-{number:04}", runtime="go" if number == 35 else "python")
    steps = list(walked(site, runtime="go", limit="1"))
    assert [name for page in steps for name in page] == ["f-0035"]
    assert len(steps) == 5, "ten at a time are looked through"


@pytest.mark.parametrize("sort", pages.SORTS)
@pytest.mark.parametrize(
    "token", ["x", "W10", "WyJuYW1lIl0", "WyJuYW1lIiwxXQ", "W" * 5000, "é", "WyJuYW1lIiwiTm8gUGxhY2UiXQ"]
)
def test_a_place_that_no_page_has_said_is_refused(site: Site, sort: str, token: str) -> None:
    problem(ask(site, sort=sort, **{"continue": token}), 422, "refused")


def test_the_place_of_one_order_is_none_in_another(site: Site) -> None:
    for name in "abc":
        put(site.world, name)
    place = ask(site, sort="created", limit="1").get_json()["metadata"]["continue"]
    assert listed(site, sort="created", **{"continue": place}) == ["b", "c"]
    problem(ask(site, sort="name", **{"continue": place}), 422, "refused")


# --- filters


def test_a_list_is_of_what_bears_the_labels(site: Site) -> None:
    put(site.world, "a", {"team": "shop", "tier": "1"})
    put(site.world, "b", {"team": "shop"})
    put(site.world, "c", {"team": "till"})
    for sort in pages.SORTS:
        assert sorted(listed(site, labelSelector="team=shop", sort=sort)) == ["a", "b"]
        assert listed(site, labelSelector="team==shop, tier=1", sort=sort) == ["a"]


def test_a_list_is_of_one_state_and_of_one_runtime(site: Site) -> None:
    world = site.world
    world.live("runs")
    world.start("builds", runtime="node", source={"inline": {"index.js": "exports.handle = () => 1\n"}})
    world.start("failed")
    world.fail(Ended(1), name="failed")
    assert listed(site, state="Ready") == ["runs"]
    assert listed(site, state="Building") == listed(site, runtime="node") == ["builds"]
    assert listed(site, state="Failed") == ["failed"]
    assert listed(site, state="Failed", runtime="node") == []


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ({"state": "Sleepy"}, "query/state"),
        ({"sort": "size"}, "query/sort"),
        ({"limit": "0"}, "query/limit"),
        ({"limit": "501"}, "query/limit"),
        ({"limit": "٣"}, "query/limit"),
        ({"labelSelector": "team"}, "query/labelSelector"),
        ({"labelSelector": "team!=x"}, "query/labelSelector"),
        ({"labelSelector": "team=x,team=y"}, "query/labelSelector"),
        ({"sate": "Ready"}, "query/sate"),
    ],
)
def test_what_cannot_be_asked_for_is_named(site: Site, query: dict[str, str], where: str) -> None:
    assert [fault["where"] for fault in problem(ask(site, **query), 422, "refused")["faults"]] == [where]


def test_the_builds_of_a_function_are_its_own_the_newest_first(site: Site) -> None:
    world = site.world
    world.start("other")
    for text in ("one", "two"):
        world.start("hello", source={"inline": {"main.py": f"def handle(event, context):\n    return '{text}'\n"}})
        world.finish("hello")
    newest = world.function("hello")["status"]["latestBuild"]
    mine = listed(site, f"{PATH}/hello/builds")
    assert mine[0] == newest
    assert len(mine) == 2
    assert len(listed(site, "/v1/tenants/acme/builds")) == 3
    assert listed(site, "/v1/tenants/acme/builds", state="Succeeded") == mine
    assert listed(site, "/v1/tenants/acme/builds", labelSelector=f"{names.FUNCTION_LABEL}=hello") == mine


def test_no_selector_shows_the_builds_of_another_function(site: Site) -> None:
    site.world.start("other")
    site.world.start("hello")
    path = f"{PATH}/hello/builds"
    assert listed(site, path, labelSelector=f"{names.FUNCTION_LABEL}=other") == listed(site, path)
    assert len(listed(site, path)) == 1


def test_of_a_function_that_is_not_there_no_builds_are_listed(site: Site) -> None:
    problem(ask(site, f"{PATH}/typo/builds"), 404, "not-found")
    put(site.world, "new")
    assert listed(site, f"{PATH}/new/builds") == []
    site.world.start()
    assert listed(site, f"{PATH}/hello/builds", state="Failed") == []


def test_of_many_builds_a_page_reads_so_many_and_the_next_goes_on(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "LOOKED_AT", 3)
    for number in range(8):
        put(site.world, f"f-{number}", runtime="go" if number == 7 else "python")
    found = list(walked(site, sort="created", runtime="go"))
    assert found == [[], [], ["f-7"]]


def test_of_the_products_own_namespace_nothing_but_its_dead_letters_is_shown(site: Site) -> None:
    for plural in ("functions", "builds"):
        problem(ask(site, f"/v1/tenants/knative-lambda/{plural}"), 404, "not-found")
    assert listed(site, "/v1/tenants/knative-lambda/deadletters") == []


@pytest.mark.parametrize("sort", ["created", "-created"])
def test_whoever_reads_on_by_age_has_the_order_read_once(monkeypatch: pytest.MonkeyPatch, sort: str) -> None:
    """A first page is of now; those after it go by what it saw, for a while."""
    site, now, read = Site(), [0.0], list[Any]()
    cluster = site.world.cluster
    for number in range(9):
        put(site.world, f"f-{number}")
    heads = cluster.heads
    monkeypatch.setattr(cluster, "heads", lambda *given: read.append(given) or heads(*given))  # type: ignore[func-returns-value]
    orders = pages.Orders(lambda: now[0])

    def page(after: str, **labels: str) -> pages.Part:
        return pages.read(FUNCTION, "acme", pages.Wanted(labels, sort=sort, limit=2, after=after), cluster, orders)

    part = page("")
    names_seen = [item["metadata"]["name"] for item in part.items]
    while part.after:
        last, part = part.after, page(part.after)
        names_seen += [item["metadata"]["name"] for item in part.items]
    assert sorted(names_seen) == [f"f-{number}" for number in range(9)]
    assert len(read) == 1
    page("")
    seen = len(read)
    assert seen == 2, "a first page is of now"
    page(last)
    assert len(read) == seen
    page(last, team="another")
    assert len(read) == seen + 1, "of other labels it is another order"
    now[0] += pages.REMEMBERED + 1
    page(last)
    assert len(read) == seen + 2, "it is no order for ever"


# --- what may be done


def shown(site: Site, path: str) -> tuple[str, list[str]]:
    body = ask(site, path).get_json()
    return body["state"], body["allowed_actions"]


def test_what_may_be_done_follows_from_what_a_function_is(site: Site) -> None:
    world, path = site.world, f"{PATH}/hello"
    put(world, "new")
    assert shown(site, f"{PATH}/new") == ("Pending", ["start", "cancel", "pause", "delete"])
    world.start()
    build = f"/v1/tenants/acme/builds/{world.build()['metadata']['name']}"
    assert shown(site, path) == ("Building", ["start", "cancel", "pause", "delete"])
    assert shown(site, build) == ("Running", ["cancel"])
    world.finish()
    assert shown(site, path) == ("Deploying", ["start", "pause", "delete"])
    world.knative(ready="False", reason="Crashes")
    assert shown(site, path) == ("NotReady", ["start", "pause", "delete"])
    world.knative()
    assert shown(site, path) == ("Ready", ["start", "pause", "delete"])
    assert shown(site, build) == ("Succeeded", [])
    world.start(source={"inline": {"main.py": "def handle(event, context): 2\n"}})
    world.fail(Ended(1))
    assert shown(site, path) == ("Failed", ["start", "retry", "rollback", "pause", "delete"])
    world.start(source={"inline": {"main.py": "def handle(event, context): 3\n"}}, paused=True)
    assert shown(site, path) == ("Paused", ["start", "rollback", "resume", "delete"])


def test_what_was_ready_before_is_remembered_and_kept(site: Site) -> None:
    world = site.world
    world.live()
    first = world.function()["status"]["latestBuild"]
    world.live(source={"inline": {"main.py": "def handle(event, context): 2\n"}})
    assert world.function()["status"]["previousReadyBuild"] == first
    assert shown(site, f"{PATH}/hello") == ("Ready", ["start", "rollback", "pause", "delete"])


# --- 304


@pytest.mark.parametrize("path", [PATH, f"{PATH}/hello", f"{PATH}/hello/builds", "/v1/tenants/acme/builds"])
def test_who_knows_it_already_is_told_so_until_it_changes(site: Site, path: str) -> None:
    site.world.start()
    first = ask(site, path)
    tag = first.headers["ETag"]
    site.world.time += timedelta(days=1)
    again = ask(site, path, {"If-None-Match": tag})
    assert (again.status_code, again.data, again.headers["ETag"]) == (304, b"", tag)
    assert ask(site, path, {"If-None-Match": '"another"'}).data == first.data
    site.world.finish()
    changed = ask(site, path, {"If-None-Match": tag})
    assert changed.status_code == 200
    assert changed.headers["ETag"] != tag


def test_a_page_that_others_follow_now_is_another(site: Site) -> None:
    put(site.world, "a")
    tag = ask(site, limit="1").headers["ETag"]
    put(site.world, "b")
    assert ask(site, headers={"If-None-Match": tag}, limit="1").status_code == 200


def test_a_page_after_which_another_place_follows_is_another(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """The API server's places go out of date: an old page would lead nowhere."""
    for name in "abc":
        put(site.world, name)
    tag = ask(site, limit="1").headers["ETag"]
    assert ask(site, headers={"If-None-Match": tag}, limit="1").status_code == 304
    page = site.world.cluster.page

    def moved(*given: Any, **more: Any) -> Page:
        found = page(*given, **more)
        return Page(found.items, f"{found.after}-later")

    monkeypatch.setattr(site.world.cluster, "page", moved)
    assert ask(site, headers={"If-None-Match": tag}, limit="1").status_code == 200


def test_another_object_of_that_name_is_another(site: Site) -> None:
    world = site.world
    tags = set()
    for _ in range(2):
        put(world, "a")
        tags.add(ask(site, f"{PATH}/a").headers["ETag"])
        world.cluster.delete(FUNCTION, "acme", "a")
    assert len(tags) == 2
    assert world.cluster.list(BUILD, "acme") == []
