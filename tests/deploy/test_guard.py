"""The guard around a cluster: what is asked again when no answer came, and what is not."""

from collections.abc import Callable
from typing import Any

import pytest

from knative_lambda.deploy.cluster import JOB, Cluster
from knative_lambda.deploy.guard import PATIENCE, GuardedCluster
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Temporary, Unavailable
from knative_lambda.schemas.guard import Guard, Switches

CALLS: dict[str, tuple[int, Callable[[Cluster], Any]]] = {
    "get": (2, lambda it: it.get(JOB, "a", "b")),
    "heads": (2, lambda it: it.heads(JOB, "a")),
    "page": (2, lambda it: it.page(JOB, "a", {}, most=1)),
    "list": (2, lambda it: it.list(JOB, "a")),
    "pod_log": (1, lambda it: it.pod_log("a", "b", "c", limit=1)),
    "create": (1, lambda it: it.create(JOB, {})),
    "replace": (1, lambda it: it.replace(JOB, {})),
    "replace_status": (1, lambda it: it.replace_status(JOB, {})),
    "apply": (1, lambda it: it.apply(JOB, {})),
    "delete by name": (1, lambda it: it.delete(JOB, "a", "b")),
    "delete by uid": (2, lambda it: it.delete(JOB, "a", "b", uid="c")),
}


class Broken:
    """A cluster that meets every call with the same error."""

    def __init__(self, error: Exception) -> None:
        self.error, self.calls = error, 0

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*_: Any, **__: Any) -> None:
            self.calls += 1
            raise self.error

        return call


def guarded(broken: Broken) -> tuple[GuardedCluster, Guard]:
    guard = Guard("cluster", PATIENCE, switches=Switches(sleep=lambda _: None))
    return GuardedCluster(broken, guard), guard  # type: ignore[arg-type] # it has whatever is asked of it


def test_every_call_is_thought_of() -> None:
    asked = {name for name in vars(Cluster) if not name.startswith("_")}
    assert {name.partition(" ")[0] for name in CALLS} == asked


@pytest.mark.parametrize("call", CALLS)
def test_without_an_answer_only_what_is_safe_is_asked_again(call: str) -> None:
    broken = Broken(Unavailable("cluster", "no answer"))
    attempts, ask = CALLS[call]
    with pytest.raises(Unavailable, match="no answer"):
        ask(guarded(broken)[0])
    assert broken.calls == attempts


def test_a_log_that_cannot_be_read_is_the_kubelets_failure_and_not_the_api_servers() -> None:
    """A node that is gone, with three logs to read, would make everybody's calls fail."""
    broken = Broken(Unavailable("cluster", "no answer"))
    cluster, guard = guarded(broken)
    for _ in range(PATIENCE.failures + 1):
        with pytest.raises(Unavailable, match="no answer"):
            CALLS["pod_log"][1](cluster)
    assert guard.state == "closed"


@pytest.mark.parametrize("answer", [AlreadyExists("a"), Conflict("a"), Temporary("exceeded quota")], ids=repr)
@pytest.mark.parametrize("call", CALLS)
def test_an_answer_is_no_failure_and_is_not_asked_for_again(call: str, answer: Exception) -> None:
    broken = Broken(answer)
    cluster, guard = guarded(broken)
    for number in range(1, PATIENCE.failures + 2):
        with pytest.raises(type(answer)):
            CALLS[call][1](cluster)
        assert broken.calls == number
    assert guard.state == "closed"
