"""The Kaniko builder over a fake cluster: the Job it makes, and what it reads from Pods, Jobs and Events."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.kaniko import Kaniko, KanikoSettings, job
from knative_lambda.deploy.cluster import EVENT, JOB, POD, Object
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.storage.memory import MemoryStore

SETTINGS = KanikoSettings(
    image="registry/kaniko@sha256:1",
    fetch_image="registry/product",
    insecure=True,
    deadline=600,
    resources={"limits": {"memory": "1Gi"}},
)
ATTEMPT = Attempt(
    tenant="acme",
    function="hello",
    build="hello-abc",
    build_uid="uid-1",
    number=2,
    runtime="python",
    context="contexts/acme/hello/0123.tar.gz",
    destination="registry/acme/hello:hello-abc-2",
    build_args={"BASE": "registry/python@sha256:2"},
)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Bench:
    def __init__(self) -> None:
        self.time = START
        self.cluster = MemoryCluster("acme-builds", now=lambda: self.time)
        self.kaniko = Kaniko(self.cluster, MemoryStore(), SETTINGS, now=lambda: self.time)

    def pod(self, **status: Any) -> None:
        labels = {"batch.kubernetes.io/job-name": ATTEMPT.name}
        meta = {"name": f"{ATTEMPT.name}-x", "namespace": "acme-builds", "labels": labels}
        spec = {"containers": [{"name": "kaniko", "image": "x"}]}
        made = self.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        self.cluster.replace_status(POD, {**made, "status": status})

    def ended(self, **terminated: Any) -> None:
        self.pod(containerStatuses=[{"name": "kaniko", "state": {"terminated": terminated}}])

    def log(self, text: str) -> None:
        self.cluster.logs[("acme-builds", f"{ATTEMPT.name}-x", "kaniko")] = text.encode()

    @property
    def seen(self) -> Running | Ended | Lost:
        return self.kaniko.look(ATTEMPT)


@pytest.fixture
def bench() -> Bench:
    made = Bench()
    made.kaniko.start(ATTEMPT)
    return made


def containers(body: Object) -> list[Object]:
    spec = body["spec"]["template"]["spec"]
    return [*spec["initContainers"], *spec["containers"]]


def test_a_job_is_named_after_its_attempt_and_says_whose_it_is(bench: Bench) -> None:
    [made] = bench.cluster.list(JOB, "acme-builds")
    assert made["metadata"]["name"] == "hello-abc-2"
    assert made["metadata"]["labels"]["knative-lambda.dev/build-uid"] == "uid-1"
    assert made["spec"]["backoffLimit"] == 0
    assert made["spec"]["ttlSecondsAfterFinished"] == 86400
    assert made["spec"]["activeDeadlineSeconds"] == 600


def test_the_pod_holds_no_token_and_no_storage_credential() -> None:
    made = job(ATTEMPT, "http://store/context?signature", SETTINGS)
    pod = made["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    fetch, kaniko = containers(made)
    assert [entry["name"] for entry in fetch["env"]] == ["CONTEXT_URL"]
    assert "env" not in kaniko, "the container that runs a stranger's code does not see the URL"
    assert "signature" not in str(kaniko)
    for container in (fetch, kaniko):
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
        assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]


def test_the_executor_is_told_where_to_push_and_what_to_build_on() -> None:
    _, kaniko = containers(job(ATTEMPT, "", SETTINGS))
    assert "--destination=registry/acme/hello:hello-abc-2" in kaniko["args"]
    assert "--build-arg=BASE=registry/python@sha256:2" in kaniko["args"]
    assert "--insecure" in kaniko["args"]
    _, secure = containers(job(ATTEMPT, "", replace(SETTINGS, insecure=False)))
    assert "--insecure" not in secure["args"]


def test_a_push_secret_is_mounted_where_the_executor_looks() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, registry_secret="push"))
    assert made["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "push"
    assert containers(made)[1]["volumeMounts"][1]["mountPath"] == "/kaniko/.docker"
    assert len(containers(made)[0]["volumeMounts"]) == 1, "the init container does not get it"


def test_starting_twice_makes_one_job(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    assert len(bench.cluster.list(JOB, "acme-builds")) == 1


def test_an_attempt_without_a_job_is_lost(bench: Bench) -> None:
    assert bench.seen == Running()
    bench.kaniko.stop(ATTEMPT)
    assert bench.seen == Lost()
    bench.kaniko.stop(ATTEMPT)


def test_the_containers_state_tells_the_end_before_the_job_does(bench: Bench) -> None:
    bench.ended(exitCode=0, message="sha256:forged")
    assert bench.seen == Ended(0)


def test_a_users_failure_is_the_users(bench: Bench) -> None:
    bench.ended(exitCode=1)
    for log in ("failed to execute command: exit status 1", "retrieving image: lookup no.example: no such host"):
        bench.log(f"error building image: {log}")
        assert isinstance(bench.seen, Ended)
        assert (bench.seen.whose, bench.seen.reason) == ("user", "BuildFailed")


@pytest.mark.parametrize(
    "log",
    [
        "error pushing image: failed to push to destination: PUT http://r/v2: 503 Service Unavailable",
        "error building image: GET http://r/v2/: dial tcp 10.0.0.1:5000: connect: connection refused",
        "retrieving image from registry: unexpected EOF",
    ],
)
def test_a_registry_that_does_not_answer_is_the_platforms_failure(bench: Bench, log: str) -> None:
    bench.ended(exitCode=1)
    bench.log(log)
    assert isinstance(bench.seen, Ended)
    assert bench.seen.whose == "platform"


@pytest.mark.parametrize(
    ("status", "whose", "reason"),
    [
        ({"phase": "Failed", "reason": "Evicted", "message": "low on memory"}, "platform", "Evicted"),
        (
            {
                "conditions": [{"type": "DisruptionTarget", "status": "True"}],
                "containerStatuses": [{"state": {"terminated": {"exitCode": 137}}}],
            },
            "platform",
            "Disrupted",
        ),
        (
            {"containerStatuses": [{"state": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}]},
            "user",
            "OOMKilled",
        ),
        ({"initContainerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}, "platform", "ContextNotFetched"),
    ],
)
def test_whose_failure_it_is_follows_from_the_pods_state(
    bench: Bench, status: dict[str, Any], whose: str, reason: str
) -> None:
    bench.pod(**status)
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == (whose, reason)


def test_a_deadline_that_passed_is_told_by_the_job_whose_pod_is_gone(bench: Bench) -> None:
    [made] = bench.cluster.list(JOB, "acme-builds")
    told = [{"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}]
    bench.cluster.replace_status(JOB, {**made, "status": {"conditions": told}})
    assert bench.seen == Ended(1, "user", "DeadlineExceeded", "too long")


def test_a_refused_pod_is_told_by_the_jobs_events_after_half_a_minute(bench: Bench) -> None:
    [made] = bench.cluster.list(JOB, "acme-builds")
    bench.cluster.create(
        EVENT,
        {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": "e", "namespace": "acme-builds"},
            "involvedObject": {"uid": made["metadata"]["uid"]},
            "reason": "FailedCreate",
            "message": 'pods "x" is forbidden: violates PodSecurity',
        },
    )
    assert bench.seen == Running()
    bench.time += timedelta(seconds=31)
    assert isinstance(bench.seen, Ended)
    assert bench.seen.reason == "PodRefused"
    assert "PodSecurity" in bench.seen.message


def test_the_log_is_the_executors_or_that_of_the_init_container(bench: Bench) -> None:
    bench.pod(phase="Failed")
    bench.cluster.logs[("acme-builds", f"{ATTEMPT.name}-x", "fetch")] = b"no context"
    assert bench.kaniko.log(ATTEMPT, limit=100) == b"no context"
    bench.log("one\ntwo")
    assert bench.kaniko.log(ATTEMPT, limit=3) == b"two"
