"""What a Function owns, brought to what it should be: differences only, and nobody else's things."""

from typing import Any

import pytest

from knative_lambda.deploy import children
from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE, REVISION, TRIGGER, Object
from knative_lambda.deploy.manifests import DeploySettings
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas.errors import Refused

SETTINGS = DeploySettings()


class Bench:
    def __init__(self) -> None:
        self.cluster = MemoryCluster("acme")
        self.writes = 0
        self.function = self.made({"runtime": "python", "triggers": [{"type": "a"}]})
        self.cluster.on_change(self.count)

    def count(self, *_: object) -> None:
        self.writes += 1

    def made(self, spec: Object) -> Object:
        meta = {"name": "hello", "namespace": "acme"}
        body = {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
        return self.cluster.create(FUNCTION, body)

    def deploy(self, image: str = "r/x@sha256:1", **spec: Any) -> children.Seen:
        function = {**self.function, "spec": {**self.function["spec"], **spec}}
        return children.deploy(function, image, "main.handle", self.cluster, SETTINGS)

    def told(self, kind: Any, name: str, status: Object) -> None:
        found = self.cluster.get(kind, "acme", name)
        assert found is not None
        self.cluster.replace_status(kind, {**found, "status": status})

    def service(self) -> Object:
        found = self.cluster.get(KNATIVE_SERVICE, "acme", "hello")
        assert found is not None
        return found

    def seen(self) -> children.Seen:
        return children.observe(self.function, self.cluster)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def ready(status: str = "True", generation: int = 1, **more: str) -> Object:
    return {"observedGeneration": generation, "conditions": [{"type": "Ready", "status": status, **more}]}


def test_deploying_again_writes_nothing(bench: Bench) -> None:
    bench.deploy()
    before = bench.writes
    bench.deploy()
    assert bench.writes == before > 0


def test_what_somebody_changed_by_hand_is_put_right(bench: Bench) -> None:
    bench.deploy()
    service = bench.service()
    service["spec"]["template"]["spec"]["containers"][0]["image"] = "r/evil"
    bench.cluster.replace(KNATIVE_SERVICE, service)
    bench.deploy()
    assert bench.service()["spec"]["template"]["spec"]["containers"][0]["image"] == "r/x@sha256:1"


def test_what_others_added_stays(bench: Bench) -> None:
    bench.deploy()
    service = bench.service()
    service["metadata"]["annotations"] = {"serving.knative.dev/creator": "somebody"}
    bench.cluster.replace(KNATIVE_SERVICE, service)
    bench.deploy(image="r/x@sha256:2")
    assert bench.service()["metadata"]["annotations"]["serving.knative.dev/creator"] == "somebody"


@pytest.mark.parametrize(
    ("spec", "place"),
    [
        ({"secrets": ["db"]}, ("containers", 0, "envFrom")),
        ({"probes": {"liveness": {"path": "/healthz"}}}, ("containers", 0, "livenessProbe")),
        ({"architecture": "amd64"}, ("nodeSelector",)),
        ({"pullSecrets": ["own"]}, ("imagePullSecrets",)),
    ],
)
def test_what_a_function_asks_for_no_more_goes(bench: Bench, spec: Object, place: tuple[str | int, ...]) -> None:
    def parts() -> Object:
        found: Any = bench.service()["spec"]["template"]["spec"]
        for step in place[:-1]:
            found = found[step]
        assert isinstance(found, dict)
        return found

    bench.deploy(**spec)
    assert place[-1] in parts()
    bench.deploy()
    assert place[-1] not in parts()


def test_an_object_of_another_owner_is_refused_and_stays_as_it_is(bench: Bench) -> None:
    bench.deploy()
    old = bench.function
    bench.cluster.delete(FUNCTION, "acme", "hello")
    theirs = {"apiVersion": KNATIVE_SERVICE.api_version, "kind": "Service", "spec": {"template": {}}}
    bench.cluster.create(KNATIVE_SERVICE, {**theirs, "metadata": {"name": "hello", "namespace": "acme"}})
    bench.function = bench.made(old["spec"])
    with pytest.raises(Refused, match="not this function's"):
        bench.deploy()
    assert bench.service()["spec"] == {"template": {}}


def test_nothing_is_said_of_a_service_before_knative_has_seen_its_newest_version(bench: Bench) -> None:
    assert bench.seen() == children.NOTHING
    bench.deploy()
    bench.told(KNATIVE_SERVICE, "hello", ready(generation=0))
    assert (bench.seen().ready, bench.seen().reason) == ("Unknown", "Deploying")


def test_knatives_own_words_are_passed_on(bench: Bench) -> None:
    bench.deploy()
    bench.told(KNATIVE_SERVICE, "hello", ready("False", reason="RevisionFailed", message="it ended"))
    assert (bench.seen().ready, bench.seen().reason, bench.seen().message) == ("False", "RevisionFailed", "it ended")


def test_the_newest_revision_knows_better_why_a_service_is_not_ready(bench: Bench) -> None:
    bench.deploy()
    waiting = ready("Unknown", reason="RevisionMissing", message="is waiting for a Revision to become ready.")
    bench.told(KNATIVE_SERVICE, "hello", {**waiting, "latestCreatedRevisionName": "hello-00001"})
    meta = {"name": "hello-00001", "namespace": "acme"}
    body = {"apiVersion": REVISION.api_version, "kind": "Revision", "metadata": meta, "spec": {}}
    told = [{"type": "Ready", "status": "False", "reason": "ExitCode1", "message": "SyntaxError: line 1"}]
    bench.cluster.create(REVISION, body)
    bench.told(REVISION, "hello-00001", {"conditions": told})
    assert (bench.seen().ready, bench.seen().reason) == ("Unknown", "ExitCode1")
    assert bench.seen().message == "SyntaxError: line 1"


def test_a_function_is_ready_when_its_triggers_are_too(bench: Bench) -> None:
    bench.deploy()
    bench.told(KNATIVE_SERVICE, "hello", ready())
    [trigger] = bench.cluster.list(TRIGGER, "acme")
    name = trigger["metadata"]["name"]
    bench.told(TRIGGER, name, ready("False", reason="Unable to get the Subscriber's URI", message="not found"))
    assert (bench.seen().ready, bench.seen().reason) == ("Unknown", "TriggerNotReady")
    assert bench.deploy() == bench.seen(), "who deploys sees the same"
    bench.told(TRIGGER, name, ready())
    assert bench.seen().ready == "True"
    assert bench.deploy() == bench.seen()
    assert bench.seen().image == "r/x@sha256:1"
