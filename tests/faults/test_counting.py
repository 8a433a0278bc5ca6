"""What the runs on the real cluster count from the API server's audit log: they would see what was done twice."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import audit
from support.audit import Audit

START = datetime(2026, 1, 1, tzinfo=UTC)
Write = Callable[..., None]


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Audit, Write]:
    """Return an audit log, and what writes a request into it, so many seconds after the start."""
    path = tmp_path / "audit.log"
    monkeypatch.setenv("AUDIT_LOG", str(path))

    def write(at: float, verb: str, resource: str, name: str, code: int = 201, **more: Any) -> None:
        resource, _, subresource = resource.partition("/")
        said = {
            "requestReceivedTimestamp": (START + timedelta(seconds=at)).isoformat(),
            "verb": verb,
            "objectRef": {"resource": resource, "subresource": subresource, "namespace": "t-builds", "name": name},
            "responseStatus": {"code": code},
            **more,
        }
        with path.open("a") as file:
            file.write(json.dumps(said) + "\n")

    return Audit(START), write


def ended(write: Write, at: float, pod: str) -> None:
    state = {"containerStatuses": [{"name": "kaniko", "state": {"terminated": {"exitCode": 0}}}]}
    write(at, "patch", "pods/status", pod, 200, requestObject={"status": state})


def test_a_job_lives_until_its_executor_has_ended(log: tuple[Audit, Write]) -> None:
    found, write = log
    write(1, "create", "jobs", "one-1")
    write(2, "patch", "pods/status", "one-1-x", 200, requestObject={"status": {"phase": "Running"}})
    ended(write, 3, "one-1-x")
    [job] = found.jobs("t-builds")
    assert (job.build, job.start, job.end) == ("one", START + timedelta(seconds=1), START + timedelta(seconds=3))


def test_a_job_that_was_refused_or_made_before_does_not_count(log: tuple[Audit, Write]) -> None:
    found, write = log
    write(-1, "create", "jobs", "early-1")
    write(1, "create", "jobs", "one-1", 409)
    assert found.jobs("t-builds") == []


def test_the_most_at_once_is_counted_and_one_that_begins_as_another_ends_is_none_beside_it(
    log: tuple[Audit, Write],
) -> None:
    found, write = log
    for at, name in ((1, "a"), (2, "b"), (3, "c")):
        write(at, "create", "jobs", f"{name}-1")
        ended(write, at + 1.5 if name == "a" else at + 1, f"{name}-1-x")
    assert audit.most_at_once(found.jobs("t-builds")) == 2


def test_two_jobs_of_one_build_at_once_are_doubled(log: tuple[Audit, Write]) -> None:
    found, write = log
    write(1, "create", "jobs", "one-1")
    write(2, "create", "jobs", "one-2")
    ended(write, 3, "one-1-x")
    ended(write, 4, "one-2-x")
    assert audit.doubled(found.jobs("t-builds"), set()) == ["one-2 beside one-1"]


def test_a_second_attempt_after_the_first_is_not_doubled(log: tuple[Audit, Write]) -> None:
    found, write = log
    write(1, "create", "jobs", "one-1")
    ended(write, 2, "one-1-x")
    write(3, "create", "jobs", "one-2")
    assert audit.doubled(found.jobs("t-builds"), set()) == []


def test_a_job_made_again_is_doubled_unless_a_hand_took_it_away(log: tuple[Audit, Write]) -> None:
    found, write = log
    write(1, "create", "jobs", "one-1")
    write(2, "delete", "pods", "one-1-x", 200)
    write(3, "create", "jobs", "one-1")
    assert audit.doubled(found.jobs("t-builds"), set()) == ["one-1 made 2 times"]
    assert audit.doubled(found.jobs("t-builds"), {"one-1"}) == []
