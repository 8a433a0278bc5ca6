"""One suite for every `Builder`: the tests' fake, Kaniko over a fake cluster, and the embedded mode's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.world import FakeBuilder

from knative_lambda.builds import source
from knative_lambda.builds.archive import Limits
from knative_lambda.builds.builder import Attempt, Builder, Ended, Lost, Running
from knative_lambda.builds.kaniko import Kaniko, KanikoSettings
from knative_lambda.builds.local import LocalBuilder
from knative_lambda.builds.oci_layout import OciLayout
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import JOB, POD
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas import names
from knative_lambda.storage.memory import MemoryStore

CONTEXT = "contexts/acme/hello/0123.tar.gz"
SOURCE = {"runtime": "python", "source": {"inline": {"main.py": "def handle(event, context): ...\n"}}}


def attempt(number: int = 1) -> Attempt:
    return Attempt(
        tenant="acme",
        function="hello",
        build="hello-abc",
        build_uid="u",
        number=number,
        runtime="python",
        context=CONTEXT,
        destination=f"embedded.local/acme/hello:hello-abc-{number}",
    )


@dataclass
class Subject:
    """A builder, and how a test makes the world end its attempt."""

    builder: Builder
    finish: Callable[[Attempt], None]


def stored() -> MemoryStore:
    store = MemoryStore()
    objects = source.Objects(store, "memory://x", ("uploads/acme/",))
    store.put(CONTEXT, source.context(SOURCE, objects, Limits(), "").body)
    return store


def fake() -> Subject:
    builder = FakeBuilder()

    def finish(one: Attempt) -> None:
        builder.ends[one.name], builder.logs[one.name] = Ended(0), b"built\n"

    return Subject(builder, finish)


def kaniko() -> Subject:
    cluster = MemoryCluster("acme-builds")

    def finish(one: Attempt) -> None:
        labels = {"batch.kubernetes.io/job-name": one.name, names.BUILD_UID_LABEL: one.build_uid}
        job = cluster.get(JOB, "acme-builds", one.name)
        assert job is not None
        owners = [conditions.owner(job)]
        meta = {"name": f"{one.name}-x", "namespace": "acme-builds", "labels": labels, "ownerReferences": owners}
        spec = {"containers": [{"name": "kaniko", "image": "x"}]}
        pod = cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        ended: dict[str, Any] = {"containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}
        cluster.replace_status(POD, {**pod, "status": ended})
        cluster.logs[("acme-builds", f"{one.name}-x", "kaniko")] = b"built\n"

    return Subject(Kaniko(cluster, stored(), KanikoSettings("kaniko", "product")), finish)


@pytest.fixture(params=["fake", "kaniko", "local"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param != "local":
        yield {"fake": fake, "kaniko": kaniko}[request.param]()
        return
    builder = LocalBuilder(stored(), OciLayout(tmp_path / "layout"), tmp_path / "builds")
    yield Subject(builder, lambda _: None)
    builder.close()


def ended(subject: Subject, one: Attempt) -> Ended:
    subject.finish(one)
    end = time.monotonic() + 30
    while not isinstance(seen := subject.builder.look(one), Ended):
        assert time.monotonic() < end, "it never ended"
        time.sleep(0.02)
    return seen


def test_an_attempt_that_was_never_started_is_lost(subject: Subject) -> None:
    assert subject.builder.look(attempt()) == Lost()
    assert subject.builder.log(attempt(), limit=100) == b""


def test_an_attempt_runs_and_ends_and_its_log_can_be_read(subject: Subject) -> None:
    subject.builder.start(attempt())
    assert isinstance(subject.builder.look(attempt()), Running | Ended)
    assert ended(subject, attempt()).exit_code == 0
    assert subject.builder.log(attempt(), limit=1000)
    assert len(subject.builder.log(attempt(), limit=3)) == 3


def test_starting_again_starts_nothing_anew(subject: Subject) -> None:
    subject.builder.start(attempt())
    seen = ended(subject, attempt())
    subject.builder.start(attempt())
    assert subject.builder.look(attempt()) == seen


def test_attempts_of_one_build_are_told_apart(subject: Subject) -> None:
    subject.builder.start(attempt(1))
    assert subject.builder.look(attempt(2)) == Lost()


def test_stopping_removes_an_attempt_and_twice_is_fine(subject: Subject) -> None:
    subject.builder.stop(attempt())
    subject.builder.start(attempt())
    subject.builder.stop(attempt())
    assert subject.builder.look(attempt()) == Lost()
    subject.builder.stop(attempt())


def test_a_build_is_idle_before_its_first_attempt_and_once_that_has_ended(subject: Subject) -> None:
    assert subject.builder.is_idle("acme", "u")
    subject.builder.start(attempt())
    ended(subject, attempt())
    assert subject.builder.is_idle("acme", "u")


def test_a_build_whose_attempt_was_stopped_is_idle_and_another_builds_is_its_own_business(subject: Subject) -> None:
    subject.builder.start(attempt())
    assert subject.builder.is_idle("acme", "another")
    assert subject.builder.is_idle("other", "u")
    subject.builder.stop(attempt())
    assert subject.builder.is_idle("acme", "u")
