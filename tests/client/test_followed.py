"""A build's log by a kubeconfig: from its Pods while they run, each line once, whatever becomes of the connection."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest

from knative_lambda.client import Client, NotThere, Unreachable
from knative_lambda.client.cluster import Cluster
from knative_lambda.client.http import Http
from knative_lambda.client.kubeconfig import Access

CUT = "…"
"""A connection that is cut here."""


class Server:
    """An API server at which a build goes on each time that somebody looks at it."""

    def __init__(self, *phases: str, pods: Mapping[str, list[list[str]]], begun_at: int = 0) -> None:
        """Have it be in these phases, one after the other; `pods` are the answers that its Pods give, by name."""
        self.phases, self.pods, self.begun_at = (
            list(phases),
            {name: list(said) for name, said in pods.items()},
            begun_at,
        )
        self.forbidden, self.looks = False, 0

    def get(self, path: str, _query: Mapping[str, str] | None = None) -> Any:
        if path.endswith("/pods"):
            if self.forbidden:
                raise Unreachable("pods is forbidden")
            return {"items": [self._pod(at, name) for at, name in enumerate(self.pods)][: self.looks or 1]}
        phase = self.phases[0]
        self.looks += 1
        if len(self.phases) > 1:
            self.phases.pop(0)
        ended = {"type": "Succeeded", "status": "False", "reason": "BuildFailed", "message": "the\nend"}
        spec = {"function": "hello"}
        return {"metadata": {"name": "hello-1"}, "spec": spec, "status": {"phase": phase, "conditions": [ended]}}

    def _pod(self, at: int, name: str) -> Any:
        state = {"running": {}} if self.looks > self.begun_at else {"waiting": {"reason": "PodInitializing"}}
        meta = {"name": name, "namespace": "demo-builds", "uid": name, "creationTimestamp": f"2026-01-01T00:00:0{at}Z"}
        return {
            "metadata": meta,
            "spec": {"containers": [{"name": "kaniko"}]},
            "status": {"containerStatuses": [{"state": state}]},
        }

    def lines(self, path: str, query: Mapping[str, str]) -> Iterator[str]:
        assert query["container"] == "kaniko"
        said = self.pods[path.split("/")[-2]].pop(0)
        for line in said:
            if line == CUT:
                raise Unreachable("it does not answer")
            yield line

    def logs(self, *, follow: bool = True) -> tuple[list[str], list[str]]:
        """Return what one who reads the log sees: its lines, and what is said of them."""
        notes: list[str] = []
        client = Client(Cluster(Access(cast("Http", self), "demo"), lambda _: None), lambda _: None)
        return list(client.logs("demo", "hello-1", follow=follow, note=notes.append)), notes


def test_it_is_read_from_the_pod_from_before_that_begins_to_its_end() -> None:
    server = Server("Queued", "Running", "Running", "Succeeded", pods={"one": [["a", "b"]]}, begun_at=2)
    assert server.logs() == (["a", "b"], ["there is no log of hello-1 yet"])


def test_each_line_is_told_once_though_the_connection_is_cut() -> None:
    answers = [["a", "b", CUT], ["a", CUT], [CUT], ["a", "b", "c"]]
    assert Server("Running", "Succeeded", pods={"one": answers}).logs()[0] == ["a", "b", "c"]


def test_a_connection_that_never_was_is_no_log() -> None:
    with pytest.raises(Unreachable):
        Server("Running", pods={"one": [[CUT]]}).logs()


def test_the_next_attempt_is_followed_too() -> None:
    server = Server("Running", "Running", "Running", "Succeeded", pods={"one": [["a"]], "two": [["b"]]})
    assert server.logs()[0] == ["a", "b"]


def test_who_may_not_read_the_pods_is_told_so_and_reads_the_end_once_it_is_over() -> None:
    server = Server("Running", "Running", "Failed", pods={"one": []})
    server.forbidden = True
    lines, (why, where) = server.logs()
    assert lines == ["the", "end"]
    assert why == "hello-1 runs, and its log is not yours to read in demo-builds: its end is shown once it is over"
    assert where.startswith(
        "no Pod of hello-1 is there to be read: this is the end that was kept; a service that serves"
    )


def test_who_does_not_follow_is_told_at_once() -> None:
    server = Server("Running", pods={"one": []})
    server.forbidden = True
    with pytest.raises(NotThere, match="not yours to read") as told:
        server.logs(follow=False)
    assert "--url" in told.value.hint
