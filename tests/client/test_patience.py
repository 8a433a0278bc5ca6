"""Who waits is not sent away by a service that is away for a moment, and is told what was lost."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from knative_lambda.client import Client, ClientError, NotThere, TimedOut, Unreachable
from knative_lambda.client import client as clients
from knative_lambda.client.door import Door, Note, Sent
from knative_lambda.client.errors import Away
from knative_lambda.client.http import Answer, Http
from knative_lambda.client.models import Build, Function
from knative_lambda.client.patience import MISSED
from knative_lambda.client.service import Service

READY = [{"type": kind, "status": "True"} for kind in ("Built", "Deployed", "Ready")]
FUNCTION = {
    "metadata": {"name": "hello", "generation": 1},
    "status": {"observedGeneration": 1, "conditions": READY, "latestBuild": "hello-1"},
}


class Behind:
    """A door behind which things are found one after the other; an error is raised."""

    def __init__(self, *found: Any) -> None:
        self.found = list(found)
        self.build: Any = None
        self.cancelled: list[str] = []

    def find(self, kind: str, _tenant: str, _name: str) -> Any:
        if kind == "builds" and self.build is not None:
            return self.build
        said = self.found.pop(0) if len(self.found) > 1 else self.found[0]
        if isinstance(said, Exception):
            raise said
        return said

    def log(self, _tenant: str, build: Build, *, follow: bool, note: Note) -> Iterator[str]:
        raise NotThere(f"there is no log of {build.name} yet")

    def cancel(self, _tenant: str, _name: str, build: str) -> None:
        self.cancelled.append(build)


def client(door: Behind) -> Client:
    return Client(cast("Door", door), lambda _: None)


def built(phase: str) -> dict[str, Any]:
    return {"metadata": {"name": "hello-1"}, "spec": {"function": "hello"}, "status": {"phase": phase}}


def test_who_waits_for_a_function_bears_that_nobody_answers_for_a_while() -> None:
    door = Behind(Away("503"), Away("refused"), FUNCTION)
    assert client(door).wait("demo", "hello", Sent(generation=1)) == Function(FUNCTION)


def test_and_gives_it_up_once_that_stays_so() -> None:
    with pytest.raises(Away):
        client(Behind(*[Away("503")] * MISSED, FUNCTION)).wait("demo", "hello", Sent(generation=1))


def test_who_may_not_is_told_at_once() -> None:
    with pytest.raises(Unreachable, match="forbidden"):
        client(Behind(Unreachable("forbidden"), FUNCTION)).wait("demo", "hello", Sent(generation=1))


def test_that_nobody_answers_is_not_that_it_is_gone() -> None:
    door = Behind(Away("503"), FUNCTION, NotThere("gone"))
    client(door).wait_gone("demo", "hello")
    assert len(door.found) == 1


def test_a_log_that_never_begins_ends_in_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clients, "PATIENCE", -1.0)
    with pytest.raises(TimedOut, match="still no log"):
        list(client(Behind(built("Queued"))).logs("demo", "hello-1", follow=True))


@pytest.mark.parametrize("build", ["", "hello-1"])
def test_what_was_built_already_is_not_cancelled(build: str) -> None:
    door = Behind(FUNCTION)
    door.build = built("Succeeded")
    with pytest.raises(ClientError, match="being built"):
        client(door).cancel("demo", "hello", build)
    assert not door.cancelled
    door.build = built("Running")
    client(door).cancel("demo", "hello", build)
    assert door.cancelled == ["hello-1"]


class Told(Http):
    """Answers with the events of a build."""

    def ask(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        events = (
            ("gap", '{"message": "lines before this were dropped"}'),
            ("log", '{"line": "a"}'),
            ("end", "{}"),
        )
        said = "".join(f"id: {kind}\nevent: {kind}\ndata: {data}\n\n" for kind, data in events)
        return Answer(200, {}, said.encode())


def test_lines_that_were_lost_are_said_to_be() -> None:
    notes: list[str] = []
    service = Service("http://127.0.0.1:1")
    service._http = Told("http://127.0.0.1:1")
    assert list(service.log("demo", Build(built("Running")), follow=True, note=notes.append)) == ["a"]
    assert notes == ["lines before this were dropped"]
