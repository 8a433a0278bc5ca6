"""Who is told beside the Broker's subscribers: a webhook by signed requests, and the Broker itself in CDEvents."""

import json
import os
from collections.abc import Callable
from typing import Any

import pytest
from support.listener import Server, verifier
from support.live import TENANT, Live, within

SOURCE = f"/knative-lambda/functions/{TENANT}/heard"
LIFE = ["build.started", "build.complete", "function.ready", "function.deleted"]
CDEVENTS = [
    *("build.started", "build.finished", "artifact.packaged", "artifact.published", "service.deployed"),
    "service.removed",
]


def greeting(word: str) -> dict[str, Any]:
    return {"inline": {"main.py": f"def handle(event, context):\n    return {word!r}\n"}}


def once(events: list[dict[str, Any]], short: Callable[[str], str]) -> list[str]:
    """Return the types of a function's events in the order in which they came, each id once."""
    first: dict[str, str] = {}
    for event in events:
        if event["source"] == SOURCE:
            first.setdefault(event["id"], short(event["type"]))
    return list(first.values())


def test_a_life_is_told_signed_and_in_order_and_in_cdevents(live: Live) -> None:
    """Also what came while the webhook answered nothing that it could be told by."""
    hook = heard_by(live)
    live.delete("heard")
    hook.got.clear()
    live.collector.events.clear()
    hook.code = 503
    live.start("heard", runtime="python", source=greeting("hello"), builder="kaniko", rebuild=True)
    live.ready("heard")
    within(60, "the webhook was offered something", lambda: hook.got)
    assert {event["type"] for event in told(hook)} == {"dev.knative-lambda.build.started"}, "nothing overtakes it"
    hook.code = 204
    live.delete("heard")
    live.tick()
    within(120, "the webhook is told all of it", lambda: own(hook) == LIFE)
    verify = verifier()
    for headers, body in list(hook.got):
        verify(headers, body, os.environ["HOOK_SECRET"])
    with pytest.raises(ValueError, match="nobody"):
        verify(hook.got[0][0], hook.got[0][1] + b" ", os.environ["HOOK_SECRET"])
    within(60, "the Broker is told in CDEvents", lambda: sorted(cdevents(live)) == sorted(CDEVENTS))
    within(60, "the Broker is told in any order", lambda: set(LIFE) <= {*brokers(live)})


def heard_by(live: Live) -> Server:
    if live.hook is None:
        pytest.skip("this run has no webhook")
    return live.hook


def told(hook: Server) -> list[dict[str, Any]]:
    found = [json.loads(body) for _, body in list(hook.got)]
    return [event for event in found if event["source"] == SOURCE]


def own(hook: Server) -> list[str]:
    return once(told(hook), lambda kind: kind.removeprefix("dev.knative-lambda."))


def cdevents(live: Live) -> list[str]:
    sent = [
        attributes for attributes, _ in list(live.collector.events) if attributes["type"].startswith("dev.cdevents.")
    ]
    return once(sent, lambda kind: ".".join(kind.split(".")[2:4]))


def brokers(live: Live) -> list[str]:
    sent = [attributes for attributes, _ in list(live.collector.events)]
    return once(sent, lambda kind: kind.removeprefix("dev.knative-lambda."))
