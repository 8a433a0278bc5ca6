"""What the demo tells of a version is of that version."""

from collections.abc import Mapping
from typing import Any, cast

import pytest

from knative_lambda.client.demo import PYTHON, Demo, Failed, Listener, Service, Story

READY = {"Built": ("True", ""), "Deployed": ("True", ""), "Ready": ("True", "")}


class Told:
    """A service that reports a Function in one state after the other."""

    def __init__(self, *functions: dict[str, Any] | None) -> None:
        self._functions = list(functions)

    def send(self, _broker: str, _kind: str, _data: Mapping[str, Any]) -> None:
        pass

    def function(self, _name: str) -> dict[str, Any] | None:
        return self._functions.pop(0)


def function(generation: int, observed: int, **conditions: tuple[str, str]) -> dict[str, Any]:
    found = [{"type": kind, "status": said[0], "reason": said[1]} for kind, said in conditions.items()]
    return {"metadata": {"generation": generation}, "status": {"observedGeneration": observed, "conditions": found}}


def demo(*functions: dict[str, Any] | None) -> Demo:
    return Demo(Story(), cast("Service", Told(*functions)), Listener())


def test_nothing_is_told_of_the_version_before_and_no_line_twice(capsys: pytest.CaptureFixture[str]) -> None:
    old = {"Built": ("True", "OldImage"), "Ready": ("True", "OldRuns")}
    half = {"Built": ("True", "Built"), "Ready": ("Unknown", "Deploying")}
    told = demo(
        None,
        function(1, 1, **old),
        function(2, 1, **old),
        function(2, 2, **half),
        function(2, 2, Built=("True", "Built"), Ready=("Unknown", "Waiting")),
        function(2, 2, **half),
        function(2, 2, Built=("True", "Built"), Deployed=("True", "OlderVersion"), Ready=("True", "")),
        function(2, 2, Built=("True", "Built"), Deployed=("True", "Deployed"), Ready=("True", "")),
    )

    assert told.deploy(PYTHON, {}, before=1) == 2

    lines = [line.partition(" s      ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == [
        *("Built: True Built", "Ready: Unknown Deploying", "Ready: Unknown Waiting"),
        *("Deployed: True OlderVersion", "Ready: True", "Deployed: True Deployed"),
    ]


def test_the_failure_of_the_version_before_is_not_this_ones() -> None:
    failed = {"Ready": ("False", "RevisionFailed")}
    told = demo(function(1, 1, **failed), function(2, 1, **failed), function(2, 2, **READY))
    assert told.deploy(PYTHON, {}, before=1) == 2

    with pytest.raises(Failed, match="RevisionFailed"):
        demo(function(2, 2, **failed)).deploy(PYTHON, {}, before=1)


def test_a_new_version_that_answers_as_the_one_before_is_a_failure() -> None:
    told = demo(function(1, 1, **READY), function(2, 2, **READY))
    told.service.ready = lambda: True  # type: ignore[method-assign]
    for _ in range(2):
        told.listener.replies.put({"hello": "Ada"})
    with pytest.raises(Failed, match="the version before has answered"):
        told.run([PYTHON])
