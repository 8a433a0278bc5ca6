"""What Knative and the nodes say of a function's settings, told in the words of these settings."""

from collections.abc import Mapping

import pytest

from knative_lambda.deploy import children
from knative_lambda.deploy.cluster import EVENT, FUNCTION, KNATIVE_SERVICE, NAMESPACE, REVISION, Kind, Object
from knative_lambda.deploy.manifests import DeploySettings
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas.errors import Refused

NAMING = {"envFrom": [{"name": "TOKEN", "secret": "db", "key": "token"}]}
WAITS = "waits for a Revision"


class Refusing(MemoryCluster):
    """Refuses Services, as Knative's webhook does, or to list Events."""

    why, hides = "", False

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        if self.hides and kind == EVENT:
            raise Refused.because("cluster", "forbidden")
        return super().list(kind, namespace, labels, most=most)

    def apply(self, kind: Kind, body: Object) -> Object:
        if self.why and kind == KNATIVE_SERVICE:
            raise Refused.because("cluster", self.why)
        return super().apply(kind, body)


class Bench:
    """One Function whose newest Revision is not ready."""

    def __init__(self, spec: Object) -> None:
        self.cluster = Refusing()
        self.cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "acme"}})
        body: Object = {"apiVersion": FUNCTION.api_version, "kind": "Function", "spec": {"runtime": "python", **spec}}
        self.function = self.cluster.create(FUNCTION, {**body, "metadata": {"name": "hello", "namespace": "acme"}})

    def deploy(self) -> children.Seen:
        return children.deploy(self.function, "r/x@sha256:1", "main.handle", self.cluster, DeploySettings())

    def wait(self, **conditions: str) -> None:
        """Have Knative wait for a Revision; of its conditions, those given have another status than Unknown."""
        self.deploy()
        service = self.cluster.get(KNATIVE_SERVICE, "acme", "hello")
        assert service is not None
        ready = {"type": "Ready", "status": "Unknown", "reason": "RevisionMissing", "message": WAITS}
        status = {"observedGeneration": 1, "conditions": [ready], "latestCreatedRevisionName": "hello-00001"}
        self.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": status})
        body = {"apiVersion": REVISION.api_version, "kind": "Revision", "spec": {}}
        made = self.cluster.create(REVISION, {**body, "metadata": {"name": "hello-00001", "namespace": "acme"}})
        told = [{"type": kind, "status": status, "message": "it ended"} for kind, status in conditions.items()]
        self.cluster.replace_status(REVISION, {**made, "status": {"conditions": told}})

    def event(self, message: str, moment: str = "2026-11-28T04:00:00Z", pod: str = "hello-00001-deployment-x") -> None:
        body = {"apiVersion": "v1", "kind": "Event", "message": message, "lastTimestamp": moment}
        meta = {"name": f"{pod}.{len(self.cluster.list(EVENT, 'acme'))}", "namespace": "acme"}
        self.cluster.create(EVENT, {**body, "involvedObject": {"kind": "Pod", "name": pod}, "metadata": meta})

    def seen(self) -> tuple[str, str, str]:
        found = children.observe(self.function, self.cluster)
        return found.ready, found.reason, found.message


@pytest.mark.parametrize(
    ("said", "reason", "message"),
    [
        ('Error: secret "db" not found', "SecretMissing", "there is no Secret db in acme"),
        ('Error: configmap "a.b" not found', "ConfigMapMissing", "there is no ConfigMap a.b in acme"),
        (
            'MountVolume.SetUp failed for volume "mount-0" : configmap "settings" not found',
            "ConfigMapMissing",
            "there is no ConfigMap settings in acme",
        ),
        (
            '0/1 nodes are available: persistentvolumeclaim "data" not found. preemption: not helpful.',
            "PersistentVolumeClaimMissing",
            "there is no PersistentVolumeClaim data in acme",
        ),
        ("Error: couldn't find key token in Secret acme/db", "KeyMissing", "the Secret db in acme has no key token"),
        (
            "Unable to retrieve some image pull secrets (own); attempting to pull the image may not succeed.",
            "SecretMissing",
            "there is no Secret own in acme to pull the image with",
        ),
    ],
)
def test_what_a_pod_waits_for_is_named(said: str, reason: str, message: str) -> None:
    bench = Bench(NAMING)
    bench.wait()
    assert bench.seen() == ("Unknown", "RevisionMissing", WAITS)
    bench.event(said)
    assert bench.seen() == ("Unknown", reason, message)


def test_the_newest_word_counts_and_none_about_other_pods() -> None:
    bench = Bench(NAMING)
    bench.wait()
    bench.event('Error: secret "newer" not found', "2026-11-28T04:00:02Z")
    bench.event('Error: secret "older" not found', "2026-11-28T04:00:01Z")
    bench.event('Error: secret "theirs" not found', "2026-11-28T04:00:03Z", pod="other-00001-deployment-x")
    bench.event("Back-off restarting failed container", "2026-11-28T04:00:04Z")
    assert bench.seen()[2] == "there is no Secret newer in acme"


def test_a_container_that_has_ended_had_what_it_needed() -> None:
    bench = Bench(NAMING)
    bench.wait(ContainerHealthy="False")
    bench.event('Error: secret "db" not found')
    assert bench.seen()[2] == "it ended"


def test_where_events_may_not_be_read_knatives_own_words_are_told() -> None:
    bench = Bench(NAMING)
    bench.wait()
    bench.event('Error: secret "db" not found')
    bench.cluster.hides = True
    assert bench.seen()[2] == WAITS


def test_of_a_function_that_names_nothing_no_events_are_read() -> None:
    bench = Bench({})
    bench.wait()
    bench.event('Error: secret "db" not found')
    assert bench.seen()[2] == WAITS


@pytest.mark.parametrize(
    ("said", "features"),
    [
        (
            "validation failed: must not set the field(s): spec.template.spec.nodeSelector",
            ["kubernetes.podspec-nodeselector: enabled"],
        ),
        (
            "Persistent volume claim support is disabled, but found x\nPersistent volume write support is disabled, x",
            [
                "kubernetes.podspec-persistent-volume-claim: enabled",
                "kubernetes.podspec-persistent-volume-write: enabled",
            ],
        ),
    ],
)
def test_a_refusal_of_knatives_names_the_feature_that_is_off(said: str, features: list[str]) -> None:
    bench = Bench({"architecture": "amd64"})
    bench.cluster.why = said
    with pytest.raises(Refused) as caught:
        bench.deploy()
    [fault] = caught.value.faults
    assert fault.where == "/spec/features"
    assert [word for word in features if word in fault.message] == features
    assert fault.message.startswith("Knative takes no ")


def test_another_refusal_stays_in_its_own_words() -> None:
    bench = Bench({})
    bench.cluster.why = "something else is wrong"
    with pytest.raises(Refused, match="something else is wrong"):
        bench.deploy()


def test_without_a_revision_there_is_nobody_whose_pods_could_wait() -> None:
    bench = Bench(NAMING)
    bench.deploy()
    bench.event('Error: secret "db" not found')
    assert bench.seen()[1] == "Deploying"
