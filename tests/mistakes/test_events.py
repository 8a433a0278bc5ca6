"""Mistakes that earlier systems made with events: dropped, repeated for ever, listed and not handled."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from support.chart import render
from support.leftovers import Delegate, over
from support.site import Site
from werkzeug.test import TestResponse

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler import deadletters
from knative_lambda.handler.router import ROUTES
from knative_lambda.schemas import catalogue, types
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.types import TYPES

SCHEMAS = Path(__file__).parents[2] / "schemas" / "events" / catalogue.VERSION
SENT_AGAIN = {404, 408, 409, 429}
"""What Knative sends again, with every 5xx; any other answer is final."""


def test_d4_what_is_listed_is_routed_and_brought_and_the_other_way_round(site: Site) -> None:
    """Event types were said to be supported that led nowhere, and others were handled that nobody listed."""
    received = {known.type for known in TYPES.values() if known.received}
    assert {path.stem for path in SCHEMAS.glob("*.json")} - {"common"} == {known.schema for known in TYPES.values()}
    assert {TYPES[kind].alias_of or kind for kind in received} == set(ROUTES)
    triggers = [found for found in render() if found["kind"] == "Trigger"]
    brought = [trigger["spec"]["filter"]["attributes"]["type"] for trigger in triggers]
    to_receiver = [trigger["spec"]["subscriber"]["ref"]["name"] == "receiver" for trigger in triggers]
    assert sorted(kind for kind, ours in zip(brought, to_receiver, strict=True) if ours) == sorted(received)
    for kind in {known.type for known in TYPES.values()} - received | {"dev.knative-lambda.nonsense"}:
        assert site.post(kind).status_code == 422, f"{kind} is not received, and says so"


@pytest.mark.parametrize(
    "data",
    [
        {"runtime": "cobol"},
        {"source": None},
        {"source": {"archive": base64.b64encode(b"no archive").decode()}},
        {"source": {"inline": {"../main.py": ""}}},
        {"tenant": "nobody"},
        {"name": "No Name"},
    ],
    ids=str,
)
def test_d5_a_poison_event_is_refused_for_good_and_becomes_a_dead_letter_with_its_reason(
    site: Site, data: dict[str, Any]
) -> None:
    """Every error was answered 500, so that a broker delivered a poison event for ever, and nobody learned why."""
    answer = site.post(**data)
    assert answer.status_code in (400, 422)
    assert answer.status_code not in SENT_AGAIN
    assert (site.functions(), site.builds(), site.jobs()) == ([], [], [])
    letters = MemoryCluster("knative-lambda")
    post = deadletters.create_app(letters, "knative-lambda", [], lambda: site.time).test_client().post
    for _ in range(2):
        assert (
            post("/knative-lambda", data=json.dumps(site.event(**data)["data"]), headers=_given_up(answer)).status_code
            < 300
        )
    [letter] = letters.list(DEAD_LETTER, "knative-lambda")
    assert answer.json is not None
    assert answer.json["faults"][0]["message"] in json.dumps(letter["spec"], ensure_ascii=False).replace("\\", "")


def _given_up(answer: TestResponse) -> dict[str, str]:
    """Return the headers of the event that a Broker sends on when an answer was final."""
    return {
        "ce-specversion": "1.0",
        "ce-id": "1",
        "ce-source": "/tests",
        "ce-type": types.BUILD_START,
        "content-type": "application/json",
        "ce-knativeerrorcode": str(answer.status_code),
        "ce-knativeerrordest": "http://receiver/events",
        "ce-knativeerrordata": base64.b64encode(answer.data).decode(),
    }


class Down:
    """A port that nobody answers behind."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __getattr__(self, _: str) -> Any:
        def fail(*_: Any, **__: Any) -> Any:
            raise Unavailable(self.name, "gone")

        return fail


@pytest.mark.parametrize("port", ["store", "registry", "cluster"])
def test_d5_what_may_pass_is_answered_503_and_works_when_it_is_sent_again(site: Site, port: str) -> None:
    """The other half: an error that passes is not the end of an event."""
    answer = site.post(product=over(site, **{port: Down(port)}))
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) > 0
    assert site.post().status_code == 202
    assert len(site.jobs()) == 1


def test_d6_an_event_is_taken_in_every_mode_that_cloudevents_knows(site: Site) -> None:
    """Only the binary mode was parsed; structured events, which many senders use, were refused."""
    client = site.http()
    assert site.post(name="binary").status_code == 202
    structured = json.dumps(site.event(name="structured"))
    assert client.post("/", data=structured, content_type="application/cloudevents+json").status_code == 202
    batch = json.dumps([site.event(name="batch-1"), site.event(name="batch-2")])
    assert client.post("/", data=batch, content_type="application/cloudevents-batch+json").status_code == 202
    assert site.functions() == ["batch-1", "batch-2", "binary", "structured"]


@pytest.mark.parametrize("call", ["create", "get"])
def test_d7_an_event_is_not_acknowledged_before_its_record_exists(site: Site, call: str) -> None:
    """Success was answered before anything was kept: whatever died next took the event along."""

    class Broken(Delegate):
        def __getattr__(self, name: str) -> Any:
            return getattr(Down("cluster") if name == call else self.port, name)

    answer = site.post(product=over(site, cluster=Broken(site.cluster)))
    assert answer.status_code == 503
    assert site.cluster.list(FUNCTION, "acme") == []
    assert site.post().status_code == 202
    assert site.functions() == ["hello"]


def test_d7_at_the_limit_every_event_is_kept_and_built_in_its_turn() -> None:
    """At the limit of builds the event was dropped, though it had been answered with success."""
    site = Site(builds_at_once=1)
    names = [f"hello-{number}" for number in range(5)]
    for name in names:
        assert site.post(name=name).status_code == 202
    assert site.functions() == names
    assert len(site.cluster.list(BUILD, "acme")) == 5
    for built in names:
        [job] = [job for job in site.jobs() if not site.pods(job)]
        assert job == site.job(built), "one at a time, in the order in which they came"
        pod = site.exits(job, digest="sha256:" + "a" * 64)
        site.report("Pod", "acme-builds", pod["metadata"]["name"])
    assert {build["status"]["phase"] for build in site.builds()} == {"Succeeded"}
