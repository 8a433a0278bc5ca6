"""One suite for every `Builder`: the fake, Kaniko on a fake cluster, layers on a fake registry, the embedded mode's."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.images import BASE, FakePusher
from support.world import DIGEST, FakeBuilder, FakeRegistry

from knative_lambda.builds.builder import Attempt, Builder, Ended, Lost, Running
from knative_lambda.builds.builders import Builders
from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.inputs import source
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.builds.layered import Layered
from knative_lambda.builds.local import LocalBuilder
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import JOB, POD
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas import names
from knative_lambda.storage.memory import MemoryStore

SOURCE = {"runtime": "python", "source": {"inline": {"main.py": "def handle(event, context): ...\n"}}}
PACKED = source.context(SOURCE, source.Objects(MemoryStore(), "memory://x", ("uploads/acme/",)), Limits(), "")
CONTEXT = f"contexts/acme/hello/{PACKED.digest.removeprefix('sha256:')}.tar.gz"


def attempt(number: int = 1, builder: str = "kaniko") -> Attempt:
    return Attempt(
        tenant="acme",
        function="hello",
        build="hello-abc",
        build_uid="u",
        number=number,
        runtime="python",
        context=CONTEXT,
        destination=f"embedded.local/acme/hello:hello-abc-{number}",
        build_args={"BASE": f"registry/python@{DIGEST}"},
        builder=builder,
    )


@dataclass
class Subject:
    """A builder, and how a test makes the world end its attempt."""

    builder: Builder
    finish: Callable[[Attempt], None]
    attempt: Callable[..., Attempt] = attempt
    says: bool = True
    """Whether there is something to be read of an attempt."""
    stays: bool = False
    """Whether what has ended well can no more be taken back: its image is there."""


def stored() -> MemoryStore:
    store = MemoryStore()
    store.put(CONTEXT, PACKED.body)
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


def layers() -> Subject:
    registry = FakeRegistry()
    pusher = FakePusher(registry)
    pusher.add("registry/python", BASE, DIGEST)
    return Subject(Layered(stored(), registry, pusher), lambda _: None, says=False, stays=True)


def dispatched(subject: Subject, builder: str) -> Subject:
    """Return a builder behind the one that chooses, where the other one knows of nothing."""
    both = {"jobs": FakeBuilder(), "layers": FakeBuilder()} | {
        "layers" if builder == "layer" else "jobs": subject.builder
    }
    return replace(subject, builder=Builders(**both), attempt=partial(attempt, builder=builder))


@pytest.fixture(params=["fake", "kaniko", "layers", "chosen kaniko", "chosen layers", "local"])
def subject(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Subject]:
    if request.param != "local":
        made = {"fake": fake, "kaniko": kaniko, "layers": layers}[request.param.removeprefix("chosen ")]()
        named = {"chosen kaniko": "kaniko", "chosen layers": "layer"}.get(request.param)
        yield dispatched(made, named) if named else made
        return
    builder = LocalBuilder(stored(), OciLayout(tmp_path / "layout"), tmp_path / "builds")
    yield Subject(builder, lambda _: None)
    builder.close()


def ended(subject: Subject, one: Attempt) -> Ended:
    subject.finish(one)
    end = time.monotonic() + 90
    while not isinstance(seen := subject.builder.look(one), Ended):
        assert time.monotonic() < end, "it never ended"
        time.sleep(0.02)
    return seen


def test_an_attempt_that_was_never_started_is_lost(subject: Subject) -> None:
    assert subject.builder.look(subject.attempt()) == Lost()
    assert subject.builder.log(subject.attempt(), limit=100) == b""


def test_an_attempt_runs_and_ends_and_its_log_can_be_read(subject: Subject) -> None:
    subject.builder.start(subject.attempt())
    assert isinstance(subject.builder.look(subject.attempt()), Running | Ended)
    assert ended(subject, subject.attempt()).exit_code == 0
    assert bool(subject.builder.log(subject.attempt(), limit=1000)) == subject.says
    assert len(subject.builder.log(subject.attempt(), limit=3)) == (3 if subject.says else 0)


def test_starting_again_starts_nothing_anew(subject: Subject) -> None:
    subject.builder.start(subject.attempt())
    seen = ended(subject, subject.attempt())
    subject.builder.start(subject.attempt())
    assert subject.builder.look(subject.attempt()) == seen


def test_attempts_of_one_build_are_told_apart(subject: Subject) -> None:
    subject.builder.start(subject.attempt(1))
    assert subject.builder.look(subject.attempt(2)) == Lost()


def test_stopping_removes_an_attempt_and_twice_is_fine(subject: Subject) -> None:
    subject.builder.stop(subject.attempt())
    subject.builder.start(subject.attempt())
    subject.builder.stop(subject.attempt())
    assert isinstance(subject.builder.look(subject.attempt()), Ended if subject.stays else Lost)
    subject.builder.stop(subject.attempt())


def test_a_build_is_idle_before_its_first_attempt_and_once_that_has_ended(subject: Subject) -> None:
    assert subject.builder.is_idle("acme", "u")
    subject.builder.start(subject.attempt())
    ended(subject, subject.attempt())
    assert subject.builder.is_idle("acme", "u")


def test_a_build_whose_attempt_was_stopped_is_idle_and_another_builds_is_its_own_business(subject: Subject) -> None:
    subject.builder.start(subject.attempt())
    assert subject.builder.is_idle("acme", "another")
    assert subject.builder.is_idle("other", "u")
    subject.builder.stop(subject.attempt())
    assert subject.builder.is_idle("acme", "u")
