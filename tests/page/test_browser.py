"""The page in a real Chromium: live, by keyboard, on a phone, in dark, without scripts, and nothing from elsewhere."""

import os
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser, Page
from support.shown import AXE, Look, NoBrowserError, Shop, chromium, shop, window

from knative_lambda.handler.page import text

LINES = [
    "\x1b[1;31mred\x1b[0m <b>bold</b>",
    "\x1b]0;title\x07text",
    "\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\",
    "a\x1b(Bb\x00c\x9fd",
    "abc\u202edef\u2066ghi\u200b\ufeff",
    "10%\r20%\r",
    "",
    "\ttab \u05e9\u05dc \U0001f600",
]
PHONE = 360
OVERFLOW = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
STATE = "[data-state]"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Shop]]:
    """Yield Chromium and what it looks at; where it is missing, skip, or fail in CI, which installs it."""
    with ExitStack() as running:
        try:
            browser = running.enter_context(chromium())
        except NoBrowserError as error:
            (pytest.fail if "CI" in os.environ else pytest.skip)(str(error))
        yield browser, running.enter_context(shop(tmp_path_factory.mktemp("page")))


@pytest.fixture
def look(served: tuple[Browser, Shop]) -> Iterator[Look]:
    with window(*served) as found:
        yield found
        assert found.complaints == [], "Chromium had nothing to complain of, a broken policy least of all"
        assert {url for url in found.asked if not url.startswith(found.shop.url)} == set()


def paths(shop: Shop) -> list[str]:
    """Return one of each page."""
    [letter] = shop.client.letters("knative-lambda")
    things = [f"/ui/demo/builds/{shop.build('invoices')}", "/ui/demo/functions/hello", "/ui/demo/functions/invoices"]
    lists = [f"/ui/demo/{kind}" for kind in ("functions", "builds", "deadletters")]
    return ["/ui", "/ui/demo", *lists, *things, f"/ui/knative-lambda/deadletters/{letter.name}"]


def wait(page: Page, selector: str, words: str) -> None:
    page.wait_for_function(
        "([at, words]) => document.querySelector(at)?.textContent.includes(words)", arg=[selector, words]
    )


def test_what_is_built_changes_before_ones_eyes_and_is_told_to_who_listens(look: Look) -> None:
    page = look.at("/ui/demo")
    page.evaluate("window.same = true")
    name = look.shop.begin("receipts")
    wait(page, f"#builds-{name} .state", "Running")
    page.focus(f"#builds-{name} a")
    look.shop.let_go("receipts")
    wait(page, f"#builds-{name} .state", "Succeeded")
    wait(page, "#functions-receipts .state", "Ready")
    assert page.evaluate("window.same"), "the page was not loaded again"
    assert page.evaluate("document.activeElement.getAttribute('href')").endswith(name), "nor did the focus go"
    assert "receipts" in page.text_content("#news")


def test_lines_of_a_log_come_as_they_are_said_each_once(look: Look) -> None:
    name = look.shop.begin("parcels")
    page = look.at(f"/ui/demo/builds/{name}")
    before = page.locator("#log div").all_text_contents()
    look.shop.let_go("parcels")
    wait(page, "#head .state", "Succeeded")
    wait(page, "#log", "pushed ")
    lines = page.locator("#log div").all_text_contents()
    whole = page.request.get(f"{look.shop.url}/ui/demo/builds/{name}/log").text()
    assert lines[: len(before)] == before != lines
    assert lines == [text.line(line) for line in whole.splitlines()]
    assert page.title().startswith(f"{name} (Succeeded)")


def test_lines_that_come_later_are_cleaned_as_those_that_were_there(look: Look) -> None:
    page = look.at("/ui/demo")
    assert [page.evaluate("(line) => shownLine(line)", line) for line in LINES] == [text.line(line) for line in LINES]


def test_a_service_that_goes_away_is_told(look: Look) -> None:
    page = look.at("/ui/demo")
    wait(page, "#pulse", "Live")
    page.route("**/ui/demo", lambda route: route.abort())
    page.evaluate("watch()")
    wait(page, "#pulse", "Not connected")
    look.complaints.clear()  # Chromium tells of the request that failed
    page.unroute("**/ui/demo")
    wait(page, "#pulse", "Live")


def test_all_is_there_without_scripts(served: tuple[Browser, Shop]) -> None:
    with window(*served, java_script_enabled=False) as look:
        page = look.at(f"/ui/demo/builds/{look.shop.build('invoices')}")
        assert "Failed" in page.text_content(STATE)
        assert "Invalid requirement" in page.text_content("#log")
        assert page.locator("noscript").inner_text().startswith("Without scripts this page stays as it is")
        page.click("nav >> text=Functions")
        page.select_option("#state", "Failed")
        page.click("text=Show")
        assert page.locator("tbody tr").count() == 1


@pytest.mark.parametrize("width", [PHONE, 1100])
def test_nothing_is_wider_than_the_window(served: tuple[Browser, Shop], width: int) -> None:
    with window(*served, width) as look:
        for path in paths(look.shop):
            page = look.at(path)
            assert page.evaluate(OVERFLOW) == 0, path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [PHONE, 1100])
def test_axe_finds_nothing_amiss(served: tuple[Browser, Shop], scheme: Any, width: int) -> None:
    """The rules of WCAG 2.2 AA that a machine can try: contrast, names, landmarks, headings, tables, targets."""
    with window(*served, width, color_scheme=scheme, reduced_motion="reduce") as look:
        for path in paths(look.shop):
            page = look.at(path)
            page.evaluate(AXE.read_text("utf-8"))
            found = page.evaluate("axe.run()")
            told = [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]
            assert told == [], path
            ran = {each["id"] for each in found["passes"]}
            assert {"color-contrast", "landmark-one-main", "page-has-heading-one", "bypass"} <= ran


def test_all_is_reached_by_keyboard_and_one_sees_where_one_is(look: Look) -> None:
    page = look.at("/ui/demo/functions/invoices")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    assert page.locator(".skip").bounding_box()["y"] >= 0, "it comes into view"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.keyboard.press("Home")
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    wanted = page.locator("a[href]:visible, button:visible, [tabindex='0']:visible").count()
    page.reload()
    reached = set()
    for _ in range(wanted):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("(document.activeElement.dataset.walked ||= Math.random())"))
        outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid", page.evaluate("document.activeElement.outerHTML")
    assert len(reached) == wanted


def test_a_command_is_copied(served: tuple[Browser, Shop]) -> None:
    with window(*served, permissions=["clipboard-read", "clipboard-write"]) as look:
        page = look.at("/ui/demo/functions/invoices")
        page.click("button[data-copy*=retry]")
        wait(page, "#news", "Copied")
        assert page.evaluate("navigator.clipboard.readText()") == "knative-lambda retry invoices -n demo"


@pytest.mark.parametrize(("motion", "expected"), [("reduce", "none"), ("no-preference", "busy")])
def test_who_wants_no_motion_gets_none(served: tuple[Browser, Shop], motion: Any, expected: str) -> None:
    with window(*served, reduced_motion=motion) as look:
        page = look.at("/ui/demo/functions/hello")
        page.evaluate("document.querySelector('.state').className = 'state busy'")
        drawn = "getComputedStyle(document.querySelector('.state'), '::before').animationName"
        assert page.evaluate(drawn) == expected


def test_what_a_policy_would_not_let_in_is_complained_of(served: tuple[Browser, Shop]) -> None:
    """The other tests hear of a broken policy: this one breaks it."""
    with window(*served) as look:
        page = look.at("/ui/demo")
        for broken in (
            "document.body.insertAdjacentHTML('beforeend', '<p style=\"color: red\">')",
            "document.body.insertAdjacentHTML('beforeend', '<p onclick=\"x()\">')",
            "void fetch('http://127.0.0.2:1/').catch(() => 0)",
        ):
            with page.expect_console_message(lambda told: "Content Security Policy" in told.text):
                page.evaluate(broken)
