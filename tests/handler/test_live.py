"""Watching: each line once and in order, whoever answers, however often it begins anew, and the same afterwards."""

import random
import threading
from typing import Any

import pytest
from support.door import Site, problem
from support.watcher import Watcher
from support.world import World

from knative_lambda.builds.builder import Ended
from knative_lambda.builds.settle import LOG_KEPT
from knative_lambda.handler.api import live, looks, watching
from knative_lambda.handler.api.live import Place
from knative_lambda.handler.api.looks import Looks
from knative_lambda.schemas.errors import Unavailable

TWO = {"inline": {"main.py": "def handle(event, context):\n    return 2\n"}}


class Pods:
    """The product's processes before one world: each request comes to another, which has seen nothing yet."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()

    def watcher(self, path: str) -> Watcher:
        return Watcher(lambda headers: self.ask(path, headers))

    def ask(self, path: str, headers: dict[str, str]) -> tuple[int, str]:
        answer = Site(self.world).http.get(f"/v1/tenants/acme/{path}/events", headers=headers)
        return answer.status_code, answer.get_data(as_text=True)

    def says(self, text: str) -> None:
        """Let the attempt that runs say something more."""
        logs, attempt = self.world.builder.logs, self.world.attempt()
        logs[attempt] = (logs.get(attempt, b"") + text.encode())[-LOG_KEPT:]

    def build(self) -> Watcher:
        return self.watcher(f"builds/{self.world.build()['metadata']['name']}")


@pytest.fixture
def pods() -> Pods:
    return Pods()


def test_a_build_is_watched_from_its_first_step_to_its_end(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    assert watcher.ask() == ["build"]
    assert watcher.ask() == []
    pods.says("one\ntwo\nthr")
    assert watcher.ask() == ["log", "log"]
    pods.says("ee\n")
    assert watcher.ask() == ["log"]
    pods.says("no end")
    assert watcher.ask() == []
    pods.world.finish()
    assert watcher.ask() == ["log", "build", "end"]
    assert watcher.lines == ["one", "two", "three", "no end"]
    assert (watcher.states[0], watcher.states[-1]) == ("Running", "Succeeded")
    assert watcher.ask() == []
    assert watcher.is_done


def test_who_comes_when_all_is_over_is_told_the_same_from_the_store(pods: Pods) -> None:
    pods.world.start()
    early = pods.build()
    for number in range(5):
        pods.says(f"line {number}\n")
        early.ask()
    pods.world.finish()
    pods.world.builder.logs.clear()
    early.ask()
    late = pods.build()
    assert late.ask()[0] == "build"
    assert late.lines == early.lines == [f"line {number}" for number in range(5)]
    assert late.events[-1] == early.events[-1] == ("end", {"build": late.events[0][1]["build"], "state": "Succeeded"})


@pytest.mark.parametrize("seed", range(5))
def test_each_line_comes_once_however_the_log_arrives_and_the_watcher_leaves(pods: Pods, seed: int) -> None:
    """Also where an answer is lost on its way: then the same is asked for again."""
    chance = random.Random(seed)  # noqa: S311 - no secret is drawn
    pods.world.start()
    watcher = pods.build()
    lines = [f"{number} {'x' * chance.randrange(80)}" for number in range(300)]
    text = "".join(f"{line}\n" for line in lines)
    while text:
        cut = chance.randrange(1, 400)
        pods.says(text[:cut])
        text = text[cut:]
        if chance.random() < 0.3:
            pods.ask(f"builds/{pods.world.build()['metadata']['name']}", {"Last-Event-ID": watcher.last})
        watcher.ask()
    pods.world.finish()
    watcher.ask()
    assert watcher.lines == lines


def test_each_attempt_has_its_own_log(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    pods.says("first\n")
    watcher.ask()
    pods.says("its last\n")
    attempt = pods.world.attempt()
    pods.world.fail(Ended(1, "platform", "Evicted"), log=pods.world.builder.logs[attempt])
    watcher.ask()
    pods.world.time = pods.world.time.replace(minute=10)
    pods.world.tick()
    pods.says("second\n")
    watcher.ask()
    late = pods.build()
    late.ask()
    assert watcher.lines == late.lines == ["first", "its last", "second"]
    assert [data["attempt"] for kind, data in late.events if kind == "log"] == [1, 1, 2]


def test_the_log_of_a_build_is_what_its_watchers_are_told_while_it_runs_and_afterwards(pods: Pods) -> None:
    world = pods.world
    world.start()
    watcher, path = pods.build(), f"/v1/tenants/acme/builds/{world.build()['metadata']['name']}/log"
    problem(Site(world).http.get(path), 404, "not-found")
    pods.says("one\nwithout an end")
    assert Site(world).http.get(path).data == b"one\nwithout an end"
    world.fail(Ended(1, "platform", "Evicted"), log=b"one\nwithout an end")
    watcher.ask()
    world.time = world.time.replace(minute=10)
    world.tick()
    pods.says("two\n")
    assert Site(world).http.get(path).data == b"one\nwithout an end\ntwo\n"
    world.finish()
    world.builder.logs.clear()
    watcher.ask()
    assert Site(world).http.get(path).get_data(as_text=True).splitlines() == watcher.lines
    assert watcher.lines == ["one", "without an end", "two"]


def test_of_a_log_that_is_too_long_each_line_that_is_left_comes_once(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    said = [f"{number:08}" for number in range(LOG_KEPT // 9 + 500)]
    pods.says("".join(f"{line}\n" for line in said[:-500]))
    while watcher.ask():
        pass
    assert watcher.lines == said[:-500]
    pods.says("".join(f"{line}\n" for line in said[-500:]))
    watcher.ask()
    assert watcher.lines == said
    pods.says("".join(f"{line}\n" for line in said[: LOG_KEPT // 9 - 10]))
    pods.says("".join(f"again {line}\n" for line in said))
    while watcher.ask():
        pass
    assert [kind for kind, _ in watcher.events].count("gap") == 1, "what nobody can know any more is said to be lost"


def test_where_lines_repeat_and_some_were_dropped_it_is_said_once_that_some_may_be_missing(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    pods.says("again\n" * (LOG_KEPT // 6 + 10))
    while watcher.ask():
        pass
    watcher.events.clear()
    pods.says("again\n" * 100)
    assert watcher.ask() in ([], ["gap"]), "it may have been said before"
    for _ in range(3):
        assert watcher.ask() == []
    assert watcher.last.endswith(".gap")
    pods.says("another\n")
    assert watcher.ask()[-1] == "log"
    assert watcher.lines[-1] == "another"


def test_of_lines_that_repeat_none_is_said_to_be_missing_while_none_was_dropped(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    pods.says("again\n" * 5000)
    while watcher.ask():
        pass
    pods.says("again\n" * 5)
    watcher.ask()
    assert watcher.lines == ["again"] * 5005
    assert "gap" not in [kind for kind, _ in watcher.events]


def test_a_place_of_ones_own_making_costs_a_few_lines_not_all(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = list[int]()
    mark = live._mark
    monkeypatch.setattr(live, "_mark", lambda text, end: looked.append(end) or mark(text, end))  # type: ignore[func-returns-value]
    assert list(live._matches(b"\n" * LOG_KEPT, Place("9", 1, LOG_KEPT - 1, 12345))) == []
    assert len(looked) <= live.CANDIDATES + 1


def test_a_short_log_that_reads_otherwise_now_is_told_anew_and_nothing_is_said_to_be_lost(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    pods.says("one\ntwo\n")
    watcher.ask()
    pods.world.builder.logs[pods.world.attempt()] = b"***\n***\nthree\n"
    assert watcher.ask() == ["log", "log", "log"]


def test_one_answer_has_so_much_and_its_watcher_comes_back_at_once_for_the_rest(pods: Pods) -> None:
    pods.world.start()
    path = f"builds/{pods.world.build()['metadata']['name']}"
    pods.says("".join(f"{number:099}\n" for number in range(5000)))
    answers, last = list[str](), ""
    while not answers or answers[-1].startswith(f"retry: {int(watching.SOON * 1000)}\n"):
        answers.append(pods.ask(path, {"Last-Event-ID": last} if last else {})[1])
        last = answers[-1].rpartition("id: ")[2].partition("\n")[0]
    assert len(answers) > 3
    assert max(map(len, answers)) < 2 * watching.MOST
    assert sum(answer.count("event: log") for answer in answers) == 5000


def test_a_log_that_cannot_be_read_for_a_while_is_gone_on_with(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.build()
    pods.says("one\ntwo\n")
    watcher.ask()
    whole = pods.world.builder.logs.pop(pods.world.attempt())
    watcher.ask()
    pods.world.builder.logs[pods.world.attempt()] = b"x\n"
    watcher.ask()
    pods.world.builder.logs[pods.world.attempt()] = whole + b"three\n"
    watcher.ask()
    assert watcher.lines == ["one", "two", "three"]


def test_a_function_is_watched_over_its_builds(pods: Pods) -> None:
    """The end of the older one is told before the newer one begins."""
    pods.world.start()
    watcher = pods.watcher("functions/hello")
    assert watcher.ask() == ["function", "build"]
    pods.says("of one\n")
    pods.world.finish()
    pods.world.knative()
    pods.world.start(source=TWO)
    pods.says("of two\n")
    while watcher.ask():
        pass
    assert watcher.lines == ["of one", "of two"]
    kinds = [kind for kind, _ in watcher.events]
    assert kinds.index("end") < max(index for index, kind in enumerate(kinds) if kind == "log")
    pods.world.finish()
    pods.world.knative()
    while watcher.ask():
        pass
    assert [data["state"] for kind, data in watcher.events if kind == "function"][-1] == "Ready"
    assert not watcher.is_done, "there may be another version"


@pytest.mark.parametrize("passed", [1, 2])
def test_a_build_that_came_and_went_while_nobody_looked_is_named(pods: Pods, passed: int) -> None:
    pods.world.live()
    watcher = pods.watcher("functions/hello")
    while watcher.ask():
        pass
    builds = []
    for number in range(passed):
        pods.world.live(source={"inline": {"main.py": f"def handle(event, context):\n    return {number}\n"}})
        builds.append(pods.world.build()["metadata"]["name"])
    while watcher.ask():
        pass
    said = [data["message"] for kind, data in watcher.events if kind == "gap"]
    assert len(said) == passed - 1
    assert all(builds[0] in message and builds[-1] not in message for message in said)


def test_a_build_that_was_removed_meanwhile_is_gone_past(pods: Pods) -> None:
    pods.world.start()
    watcher = pods.watcher("functions/hello")
    watcher.ask()
    watcher.last = watcher.last.replace(pods.world.build()["metadata"]["name"], "long-gone")
    assert "build" in watcher.ask()


def test_what_is_not_there_is_not_watched(pods: Pods) -> None:
    site = Site(pods.world)
    for path in ("functions/hello", "builds/hello"):
        problem(site.http.get(f"/v1/tenants/acme/{path}/events"), 404, "not-found")
        problem(site.http.get(f"/v1/tenants/nobody/{path}/events"), 404, "not-found")


@pytest.mark.parametrize("last", ["x", "1.2", "1.2.3.4.5", "~", "1~b~c~d", "1~b~x", "1.1.99999999999.00000000."])
def test_an_id_that_no_event_has_is_refused(pods: Pods, last: str) -> None:
    pods.world.start()
    name = pods.world.build()["metadata"]["name"]
    assert pods.ask(f"builds/{name}", {"Last-Event-ID": last})[0] == 422
    assert pods.ask("functions/hello", {"Last-Event-ID": last})[0] == 422


def test_a_place_is_read_as_it_was_written() -> None:
    for place in (Place(), Place("7", 2, 999, 123, is_over=True), Place("7", 2, 999, 123, is_unsure=True)):
        assert Place.of(str(place)) == place


# --- many watchers


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_hundred_watchers_look_once_in_a_second_and_are_told_to_come_less_often() -> None:
    clock, asked = Clock(), list[Any]()
    many: Looks[str] = Looks(clock)
    for _ in range(5):
        asked.clear()
        for _ in range(100):
            is_known, seen, again = many.of("build", lambda before: asked.append(before) or "seen")  # type: ignore[func-returns-value]
            assert (is_known, seen) == (True, "seen")
        assert len(asked) == 1
        clock.now += again
    assert again == 100 / looks.ASKED


def test_one_watcher_comes_back_in_a_second() -> None:
    clock = Clock()
    few: Looks[str] = Looks(clock)
    for _ in range(5):
        assert few.of("build", lambda _: "seen")[2] == looks.FRESH
        clock.now += looks.FRESH


def test_while_one_looks_nobody_waits_and_of_many_things_a_few_are_looked_at() -> None:
    """So that a kubelet that hangs takes two threads, and events have the others."""
    many: Looks[str] = Looks()
    hangs, begun = threading.Event(), threading.Semaphore(0)

    def hang(_: str | None) -> str:
        begun.release()
        assert hangs.wait(60)
        return "seen"

    threads = [threading.Thread(target=many.of, args=(key, hang)) for key in range(looks.AT_ONCE)]
    for thread in threads:
        thread.start()
        assert begun.acquire(timeout=60)
    assert many.of(0, hang)[:2] == (False, None)
    assert many.of("another", hang)[:2] == (False, None)
    hangs.set()
    for thread in threads:
        thread.join()
    assert many.of(0, hang)[:2] == (True, "seen")


def test_a_cluster_that_is_away_for_a_moment_ends_no_watching() -> None:
    clock = Clock()
    kept: Looks[str] = Looks(clock)

    def away(_: str | None) -> str:
        raise Unavailable("cluster", "gone")

    with pytest.raises(Unavailable):
        kept.of("build", away)
    kept.of("build", lambda _: "seen")
    clock.now += 2
    assert kept.of("build", away)[:2] == (True, "seen")


def test_of_what_was_looked_at_long_ago_nothing_is_kept() -> None:
    kept: Looks[int] = Looks()
    for number in range(looks.KEPT + 5):
        kept.of(number, lambda before: before or 1)
    assert len(kept._things) == looks.KEPT


def test_a_log_that_has_ended_is_not_read_again(pods: Pods) -> None:
    pods.world.start()
    pods.says("one\n")
    name = pods.world.build()["metadata"]["name"]
    pods.world.finish()
    seen = live.look("acme", name, None, pods.world.product)
    assert seen is not None
    pods.world.store.delete(seen.build["status"]["log"])
    again = live.look("acme", name, seen, pods.world.product)
    assert again is not None
    assert again.logs == seen.logs == {1: b"one\n"}
    anew = live.look("acme", name, None, pods.world.product)
    assert anew is not None
    assert anew.logs == {1: b""}, "the control is one"
