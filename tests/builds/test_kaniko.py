"""The Kaniko builder over a fake cluster: the Job it makes, and what it reads from Pods, Jobs and Events."""

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.tokens import FakeIssuer

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings, job
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import EVENT, JOB, POD, SECRET, Kind, Object
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable
from knative_lambda.storage.memory import MemoryStore

SETTINGS = KanikoSettings(
    image="registry/kaniko@sha256:1",
    fetch_image="registry/product",
    insecure=True,
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
    seconds=600,
)
START = datetime(2026, 1, 1, tzinfo=UTC)


class DatedStore(MemoryStore):
    """Says in an URL how long it holds."""

    def presign(self, key: str, *, seconds: int) -> str:
        return f"{super().presign(key, seconds=seconds)}?seconds={seconds}"


class SlowCluster(MemoryCluster):
    """Shows the objects named in `going` as being deleted, for as long as they are named; its kubelets may be away."""

    going: tuple[str, ...] = ()
    is_cut_off = False
    """Whether no kubelet can be reached."""

    def __init__(self, *namespaces: str, now: Callable[[], datetime]) -> None:
        super().__init__(*namespaces, now=now)
        self.read: list[str] = []
        """The containers whose logs were asked for."""

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        self.read.append(container)
        if self.is_cut_off:
            raise Unavailable("cluster", "Get https://10.0.0.9:10250/containerLogs: i/o timeout")
        return super().pod_log(namespace, pod, container, limit=limit, seconds=seconds)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        found = super().get(kind, namespace, name)
        return found and self._shown(found)

    def list(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        return [self._shown(found) for found in super().list(kind, namespace, labels)]

    def orphan(self, job: Object) -> None:
        """Delete a Job; what it owns is not gone yet."""
        for pod in super().list(POD, "acme-builds"):
            super().replace(POD, {**pod, "metadata": {**pod["metadata"], "ownerReferences": []}})
        super().delete(JOB, "acme-builds", job["metadata"]["name"])

    def _shown(self, found: Object) -> Object:
        meta = found["metadata"]
        return {**found, "metadata": {**meta, "deletionTimestamp": "now"}} if meta["name"] in self.going else found


class Bench:
    def __init__(self) -> None:
        self.time = START
        self.cluster = SlowCluster("acme-builds", now=lambda: self.time)
        self.kaniko = Kaniko(self.cluster, DatedStore(), SETTINGS, now=lambda: self.time)

    @property
    def job(self) -> Object:
        [made] = self.cluster.list(JOB, "acme-builds")
        return made

    def pod(self, *, owner: Object | None = None, deleted: bool = False, **status: Any) -> None:
        """Make the Job's Pod, or `owner`'s, with this status."""
        meta: Object = {
            "name": f"{ATTEMPT.name}-x",
            "namespace": "acme-builds",
            "labels": {"batch.kubernetes.io/job-name": ATTEMPT.name, names.BUILD_UID_LABEL: ATTEMPT.build_uid},
            "ownerReferences": [conditions.owner(owner or self.job)],
        }
        spec = {"containers": [{"name": "kaniko", "image": "x"}]}
        made = self.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec})
        self.cluster.replace_status(POD, {**made, "status": status})
        self.cluster.going = (meta["name"],) if deleted else ()

    def ended(self, **terminated: Any) -> None:
        self.pod(containerStatuses=[{"name": "kaniko", "state": {"terminated": terminated}}])

    def log(self, text: str) -> None:
        self.cluster.logs[("acme-builds", f"{ATTEMPT.name}-x", "kaniko")] = text.encode()

    def told(self, kind: str, reason: str, message: str = "") -> None:
        """Give the Job a condition, and keep those that it has."""
        conditions = self.job.get("status", {}).get("conditions", [])
        condition = {"type": kind, "status": "True", "reason": reason, "message": message}
        self.cluster.replace_status(JOB, {**self.job, "status": {"conditions": [*conditions, condition]}})

    def event(self, about: Object, reason: str, message: str, kind: str = "Warning") -> None:
        name = f"e{len(self.cluster.list(EVENT, 'acme-builds'))}"
        self.cluster.create(
            EVENT,
            {
                "apiVersion": "v1",
                "kind": "Event",
                "metadata": {"name": name, "namespace": "acme-builds"},
                "involvedObject": about,
                "type": kind,
                "reason": reason,
                "message": message,
                "lastTimestamp": self.time.strftime("%Y-%m-%dT%H:%M:%SZ"),
            },
        )

    def refused(self, message: str) -> None:
        self.event({"kind": "Job", "uid": self.job["metadata"]["uid"]}, "FailedCreate", message)

    def made_pod(self, name: str) -> None:
        about = {"kind": "Job", "uid": self.job["metadata"]["uid"]}
        self.event(about, "SuccessfulCreate", f"Created pod: {name}", "Normal")

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
    made = bench.job
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


def test_the_context_is_read_by_an_url_that_holds_as_long_as_the_attempt_may_take(bench: Bench) -> None:
    """One that ends sooner fails an attempt that waited for a node; one that holds longer is a credential too many."""
    assert containers(bench.job)[0]["env"][0]["value"].endswith("?seconds=600")


def test_the_container_that_reads_the_context_is_no_root_and_writes_nothing_of_its_image() -> None:
    context = containers(job(ATTEMPT, "", SETTINGS))[0]["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["readOnlyRootFilesystem"] is True


def test_the_executor_is_told_where_to_push_and_what_to_build_on() -> None:
    _, kaniko = containers(job(ATTEMPT, "", SETTINGS))
    assert "--destination=registry/acme/hello:hello-abc-2" in kaniko["args"]
    assert "--build-arg=BASE=registry/python@sha256:2" in kaniko["args"]
    assert "--insecure" in kaniko["args"]
    _, secure = containers(job(ATTEMPT, "", replace(SETTINGS, insecure=False)))
    assert "--insecure" not in secure["args"]


def test_root_in_a_builds_pod_is_nobody_on_its_node_where_nodes_can() -> None:
    def spec(*, on: bool) -> Any:
        return job(ATTEMPT, "", replace(SETTINGS, user_namespaces=on))["spec"]["template"]["spec"]

    assert spec(on=True)["hostUsers"] is False
    assert "hostUsers" not in spec(on=False), "the field is refused by clusters that do not know it"


def test_images_of_a_registry_are_pulled_from_its_mirror_where_it_has_one() -> None:
    mirrors = {"docker.io": "mirror.test:5000", "quay.io": "mirror.test:5001"}
    args = containers(job(ATTEMPT, "", replace(SETTINGS, mirrors=mirrors)))[1]["args"]
    said = [arg for arg in args if arg.startswith("--registry-map=")]
    assert said == ["--registry-map=docker.io=mirror.test:5000", "--registry-map=quay.io=mirror.test:5001"]
    assert "--registry-map" not in str(containers(job(ATTEMPT, "", SETTINGS))[1]["args"])


CLONED = replace(ATTEMPT, git={"url": "https://git.example.com/acme/hello.git"})
PROXIES = {"http": "http://proxy:3128", "no": "registry"}


def test_a_proxy_is_told_to_all_that_a_build_runs_and_to_who_reads_its_context() -> None:
    """As an argument that no Dockerfile has to ask for; of an input, or an image, it is no part."""
    fetcher, executor = containers(job(ATTEMPT, "", replace(SETTINGS, proxies=PROXIES)))
    told = {
        "http_proxy": "http://proxy:3128",
        "HTTP_PROXY": "http://proxy:3128",
        "no_proxy": "registry",
        "NO_PROXY": "registry",
    }
    cloner = containers(job(CLONED, "", replace(SETTINGS, proxies=PROXIES)))[0]
    for container in (fetcher, cloner, executor):
        said = {one["name"]: one["value"] for one in container["env"]}
        assert {name: value for name, value in said.items() if "proxy" in name.lower()} == told
    assert {f"--build-arg={name}={value}" for name, value in told.items()} <= {*executor["args"]}
    for attempt in (ATTEMPT, CLONED):
        assert "proxy" not in str(containers(job(attempt, "", SETTINGS))).lower()


def test_who_clones_trusts_what_builds_trust() -> None:
    cloner = containers(job(CLONED, "", replace(SETTINGS, ca="authorities")))[0]
    [place] = [mount["mountPath"] for mount in cloner["volumeMounts"] if mount["name"] == "builds-ca"]
    assert {"name": "GIT_SSL_CAINFO", "value": f"{place}/ca.crt"} in cloner["env"]
    plain, fetcher = (containers(job(*one))[0] for one in ((CLONED, "", SETTINGS), (ATTEMPT, "", SETTINGS)))
    for other in (plain, fetcher):
        assert "builds-ca" not in str(other)
        assert "GIT_SSL_CAINFO" not in str(other)


def test_what_builds_are_to_trust_is_mounted_and_named_to_all_that_ask() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, ca="authorities"))
    assert {"name": "builds-ca", "configMap": {"name": "authorities"}} in made["spec"]["template"]["spec"]["volumes"]
    executor = containers(made)[1]
    [place] = [mount["mountPath"] for mount in executor["volumeMounts"] if mount["name"] == "builds-ca"]
    assert executor["env"] == [{"name": "SSL_CERT_DIR", "value": f"/kaniko/ssl/certs:{place}"}]
    for name in ("SSL_CERT_FILE", "PIP_CERT", "NODE_EXTRA_CA_CERTS"):
        assert f"--build-arg={name}={place}/ca.crt" in executor["args"]
    own = replace(ATTEMPT, build_args={"PIP_CERT": "/mine"})
    assert "--build-arg=PIP_CERT=/mine" in containers(job(own, "", replace(SETTINGS, ca="authorities")))[1]["args"]


def test_a_push_secret_is_mounted_where_the_executor_looks() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, registry_secret="push"))
    assert made["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "push"
    assert containers(made)[1]["volumeMounts"][1]["mountPath"] == "/kaniko/.docker"
    assert len(containers(made)[0]["volumeMounts"]) == 1, "the init container does not get it"


@pytest.fixture
def tokened(bench: Bench) -> Bench:
    """Return a bench whose builder mints, before anything was started on it."""
    bench.kaniko.stop(ATTEMPT)
    settings = replace(SETTINGS, registry="registry", reads=("registry/python@sha256:2", "elsewhere/node:1"))
    bench.kaniko = replace(bench.kaniko, settings=settings, issuer=FakeIssuer())
    return bench


def handed_over(bench: Bench) -> list[Object]:
    return bench.cluster.list(SECRET, "acme-builds")


def test_an_attempt_pushes_with_a_token_for_its_own_places_in_a_secret_that_its_job_owns(tokened: Bench) -> None:
    tokened.kaniko.start(replace(ATTEMPT, cache="registry/acme/layers.kaniko"))
    [secret] = handed_over(tokened)
    assert conditions.owned_by(secret, tokened.job["metadata"]["uid"])
    mounted = tokened.job["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"]
    assert (secret["metadata"]["name"], secret["type"]) == (mounted, "kubernetes.io/dockerconfigjson")
    said = json.loads(base64.b64decode(secret["data"][".dockerconfigjson"]))
    assert json.loads(said["auths"]["registry"]["registrytoken"]) == {
        "acme/hello": "pull,push",
        "acme/layers.kaniko": "pull,push",
        "python": "pull",
    }


def test_the_token_is_gone_with_the_attempts_end_and_with_its_job(tokened: Bench) -> None:
    for end in (tokened.kaniko.revoke, tokened.kaniko.stop):
        tokened.kaniko.start(ATTEMPT)
        end(ATTEMPT)
        assert not handed_over(tokened)
    tokened.kaniko.start(ATTEMPT)
    tokened.cluster.delete(JOB, "acme-builds", ATTEMPT.name)
    assert not handed_over(tokened)


def test_a_start_that_was_cut_off_before_the_token_hands_it_over_when_it_is_repeated(tokened: Bench) -> None:
    tokened.kaniko.start(ATTEMPT)
    tokened.cluster.delete(SECRET, "acme-builds", ATTEMPT.name)
    tokened.kaniko.start(ATTEMPT)
    assert len(handed_over(tokened)) == 1


def test_a_token_that_was_left_by_a_job_that_is_gone_is_replaced(tokened: Bench) -> None:
    tokened.kaniko.start(ATTEMPT)
    [old] = handed_over(tokened)
    strange = {**old["metadata"], "ownerReferences": []}
    tokened.kaniko.stop(ATTEMPT)
    bare = {key: strange[key] for key in ("name", "namespace", "labels")}
    tokened.cluster.create(SECRET, {**old, "metadata": bare})
    tokened.kaniko.start(ATTEMPT)
    [new] = handed_over(tokened)
    assert conditions.owned_by(new, tokened.job["metadata"]["uid"])


@pytest.mark.parametrize(
    "place", ["registry/other/hello", "registry/acmes/hello", "registry/acme/../other/hello", "elsewhere/acme/hello"]
)
@pytest.mark.parametrize("which", ["destination", "cache"])
def test_no_token_is_minted_for_a_place_outside_of_the_tenants(which: str, place: str, tokened: Bench) -> None:
    with pytest.raises(Refused, match="not a place of the tenant acme"):
        tokened.kaniko.start(replace(ATTEMPT, **{which: f"{place}:1"}))
    assert not tokened.cluster.list(JOB, "acme-builds")


def test_a_certificate_of_the_registrys_own_is_mounted_and_named() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, registry_ca="ca"))
    executor = containers(made)[1]
    assert made["spec"]["template"]["spec"]["volumes"][1]["secret"]["secretName"] == "ca"
    place = executor["volumeMounts"][1]["mountPath"]
    assert f"--registry-certificate=registry={place}/ca.crt" in executor["args"]


def test_a_tenant_with_a_registry_elsewhere_pushes_with_its_own_secret_and_no_token_of_ours(tokened: Bench) -> None:
    own = replace(tokened.kaniko.settings, registries={"acme": "acme.test"}, registry_secrets={"acme": "theirs"})
    kaniko = replace(tokened.kaniko, settings=own)
    kaniko.start(replace(ATTEMPT, destination="acme.test/acme/hello:x-1", cache=""))
    [made] = tokened.cluster.list(JOB, "acme-builds")
    [volume] = [one for one in made["spec"]["template"]["spec"]["volumes"] if one["name"] == "registry"]
    assert volume["secret"]["secretName"] == "theirs"
    assert not tokened.cluster.list(SECRET, "acme-builds")


@pytest.mark.parametrize(("registry", "fits"), [("registry/teams", True), ("registry/elses", False)])
def test_a_tenant_with_a_path_of_its_own_in_the_registry_gets_tokens_for_that(
    tokened: Bench, registry: str, *, fits: bool
) -> None:
    kaniko = replace(tokened.kaniko, settings=replace(tokened.kaniko.settings, registries={"acme": registry}))
    attempt = replace(ATTEMPT, destination="registry/teams/acme/hello:x-1", cache="")
    if fits:
        kaniko.start(attempt)
        assert len(tokened.cluster.list(SECRET, "acme-builds")) == 1
    else:
        with pytest.raises(Refused, match="not a place of the tenant acme"):
            kaniko.start(attempt)


def test_a_certificate_to_show_the_registry_is_mounted_for_who_pushes_alone() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, registry_client="me"))
    fetcher, executor = containers(made)
    [mounted] = [mount for mount in executor["volumeMounts"] if mount["name"] == "registry-client"]
    place = mounted["mountPath"]
    assert f"--registry-client-cert=registry={place}/tls.crt,{place}/tls.key" in executor["args"]
    assert {"name": "registry-client", "secret": {"secretName": "me"}} in made["spec"]["template"]["spec"]["volumes"]
    assert "registry-client" not in [mount["name"] for mount in fetcher["volumeMounts"]]


def test_a_certificate_of_the_stores_own_is_mounted_for_who_reads_the_context_alone() -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, store_ca="ca"))
    fetcher, executor = containers(made)
    [mounted] = [mount for mount in fetcher["volumeMounts"] if mount["name"] == "store-ca"]
    assert {"name": "CONTEXT_CA", "value": f"{mounted['mountPath']}/ca.crt"} in fetcher["env"]
    assert {"name": "store-ca", "secret": {"secretName": "ca"}} in made["spec"]["template"]["spec"]["volumes"]
    assert "store-ca" not in [mount["name"] for mount in executor["volumeMounts"]]


@pytest.mark.parametrize(
    ("own", "mounted"), [({"acme": "theirs"}, ["theirs"]), ({"acme": ""}, []), ({"b": "x"}, ["ca"])]
)
def test_who_reads_the_context_of_a_tenants_own_store_believes_that_ones_certificate(
    own: dict[str, str], mounted: list[str]
) -> None:
    made = job(ATTEMPT, "", replace(SETTINGS, store_ca="ca", store_cas=own).of("acme"))
    volumes = made["spec"]["template"]["spec"]["volumes"]
    assert [each["secret"]["secretName"] for each in volumes if each["name"] == "store-ca"] == mounted


def test_starting_twice_makes_one_job(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    assert len(bench.cluster.list(JOB, "acme-builds")) == 1


def test_an_attempt_without_a_job_is_lost(bench: Bench) -> None:
    assert bench.seen == Running()
    bench.kaniko.stop(ATTEMPT)
    assert bench.seen == Lost()
    bench.kaniko.stop(ATTEMPT)


def other_job(bench: Bench, name: str, labels: Mapping[str, str]) -> Object:
    meta = {"name": name, "namespace": "acme-builds", "labels": dict(labels)}
    return bench.cluster.create(JOB, {**job(ATTEMPT, "", SETTINGS), "metadata": meta})


def test_a_job_that_is_being_deleted_is_lost_and_cannot_be_started_yet(bench: Bench) -> None:
    """It is no success to find it: a moment later there would be none."""
    bench.ended(exitCode=0)
    bench.cluster.going = (ATTEMPT.name,)
    assert bench.seen == Lost()
    with pytest.raises(Temporary, match=ATTEMPT.name):
        bench.kaniko.start(ATTEMPT)


@pytest.mark.parametrize("labels", [{"knative-lambda.dev/build-uid": "uid-of-a-build-before"}, {}])
def test_a_job_of_another_build_is_not_the_attempt(bench: Bench, labels: dict[str, str]) -> None:
    """It would build another context."""
    bench.kaniko.stop(ATTEMPT)
    bench.pod(owner=other_job(bench, ATTEMPT.name, labels), phase="Failed")
    bench.log("another's")
    assert bench.seen == Lost()
    assert bench.kaniko.log(ATTEMPT, limit=100) == b""
    with pytest.raises(Temporary, match=ATTEMPT.name):
        bench.kaniko.start(ATTEMPT)


def test_a_pod_that_another_job_controls_is_not_believed(bench: Bench) -> None:
    ended = [{"state": {"terminated": {"exitCode": 0}}}]
    bench.pod(owner=other_job(bench, "another", {}), containerStatuses=ended)
    bench.log("another's")
    assert bench.seen == Running()
    assert bench.kaniko.log(ATTEMPT, limit=100) == b""


def test_the_containers_state_tells_the_end_before_the_job_does(bench: Bench) -> None:
    bench.ended(exitCode=0, message="sha256:forged")
    assert bench.seen == Ended(0)


FAILED_RUN = "error building image: error building stage: failed to execute command: waiting for process to exit: "


@pytest.mark.parametrize(
    "log",
    [
        FAILED_RUN + "exit status 1",
        "error building image: GET http://r/v2/no/manifests/503: MANIFEST_UNKNOWN: manifest unknown",
        'error building image: Get "https://no.example/v2/": dial tcp: lookup no.example on 10.0.0.53: no such host',
        FAILED_RUN + "resolving src: fetching http://users.example/x: unexpected status code 503",
        "error building image: failed to execute command: starting command: fork/exec /bin/i/o timeout: no such file",
        "error pushing image: failed to push to destination: context deadline exceeded\n"
        + FAILED_RUN
        + "exit status 1",
        "INFO[0001] Retrieving image manifest r/base:1\n"
        "curl: (7) Failed to connect to db port 5432: connection refused\n"
        "HTTP 500\n" + FAILED_RUN + "exit status 7",
        "error pushing image: failed to push to destination: unexpected status code 503\n"
        + FAILED_RUN
        + "exit status 1",
        "GET http://db/: connection refused",
    ],
)
def test_a_users_failure_is_the_users_whatever_the_users_commands_print(bench: Bench, log: str) -> None:
    bench.ended(exitCode=1)
    bench.log(log)
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == ("user", "BuildFailed")


@pytest.mark.parametrize(
    ("log", "whose", "reason"),
    [
        ("error pushing image: failed to push: POST http://r/v2/x: UNAUTHORIZED: who", "platform", "RegistryRefused"),
        ("error checking push permissions -- x: unexpected status code 403 Forbidden", "platform", "RegistryRefused"),
        ("error building image: GET http://r/v2/private/manifests/1: UNAUTHORIZED: who", "user", "BuildFailed"),
        (FAILED_RUN + "UNAUTHORIZED: who", "user", "BuildFailed"),
    ],
)
def test_a_push_that_is_not_let_in_is_the_platforms_failure_and_an_image_that_is_not_given_the_users(
    bench: Bench, log: str, whose: str, reason: str
) -> None:
    bench.ended(exitCode=1)
    bench.log(log)
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == (whose, reason)


@pytest.mark.parametrize(
    "log",
    [
        "error pushing image: failed to push to destination r/x: unexpected status code 503 Unavailable: <p>\n</p>\n",
        'error building image: Get "http://r/v2/": dial tcp 10.0.0.1:5000: connect: connection refused',
        "error building image: error building stage: failed to get image: read tcp 10.0.0.2: connection reset by peer",
        'error checking push permissions -- make sure and try again: Post "http://r/v2/x/blobs/uploads/": EOF',
        'error pushing image: failed to push: Head "https://r/v2/x": dial tcp: lookup r on 10.0.0.53: no such host',
        'error building image: Get "https://registry:5000/v2/": dial tcp: lookup registry: no such host',
        "error checking push permissions -- make sure: net/http: request canceled while waiting for connection",
        "error pushing image: failed to push to destination r/x: (Client.Timeout exceeded while awaiting headers)",
        'error building image: Get "https://r/v2/": context deadline exceeded',
        'error pushing image: failed to push: Put "https://r/v2/x": dial tcp: connect: network is unreachable',
        "error pushing image: failed to push: PUT https://r/v2/x: unexpected status code 429 Too Many Requests",
        "error building image: GET https://r/v2/python/manifests/3: TOOMANYREQUESTS: You have reached your rate limit",
        "error building image: GET https://r/v2/base/manifests/1: UNAVAILABLE: service unavailable",
    ],
)
def test_a_registry_that_does_not_answer_is_the_platforms_failure(bench: Bench, log: str) -> None:
    bench.ended(exitCode=1)
    bench.log(f"the user's own output\n{log}")
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == ("platform", "RegistryUnavailable")


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


LATE = ("DeadlineExceeded", "too long")
KILLED = {"state": {"terminated": {"exitCode": 137, "startedAt": "2026-01-01T00:00:05Z"}}}


def test_a_deadline_that_passed_is_told_by_the_job_whose_pod_is_gone(bench: Bench) -> None:
    bench.told("Failed", *LATE)
    assert bench.seen == Ended(1, "user", *LATE)


@pytest.mark.parametrize("condition", ["FailureTarget", "Failed"])
def test_a_build_killed_at_its_deadline_was_too_slow_and_did_not_fail(bench: Bench, condition: str) -> None:
    bench.pod(deleted=True, containerStatuses=[KILLED])
    bench.told(condition, *LATE)
    assert bench.seen == Ended(1, "user", *LATE)


def test_an_image_pushed_just_before_the_deadline_counts(bench: Bench) -> None:
    bench.ended(exitCode=0)
    bench.told("FailureTarget", *LATE)
    assert bench.seen == Ended(0)


def test_a_pod_that_is_being_deleted_has_not_failed_by_itself_and_its_job_says_why(bench: Bench) -> None:
    """The Job controller deletes the Pod before it writes that the deadline has passed."""
    bench.pod(deleted=True, containerStatuses=[KILLED])
    assert bench.seen == Running()
    bench.told("Failed", "BackoffLimitExceeded")
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == ("platform", "BackoffLimitExceeded")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "why"}]},
            "Unschedulable",
        ),
        (
            {
                "initContainerStatuses": [{"state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [{"state": {"waiting": {"reason": "ImagePullBackOff", "message": "why"}}}],
            },
            "ImagePullBackOff",
        ),
    ],
)
def test_a_pod_that_waited_until_the_deadline_is_the_platforms_failure(
    bench: Bench, status: dict[str, Any], reason: str
) -> None:
    bench.pod(phase="Pending", deleted=True, **status)
    assert bench.seen == Running()
    bench.told("FailureTarget", *LATE)
    assert bench.seen == Ended(1, "platform", reason, "why")


def test_why_a_pod_waited_until_the_deadline_is_told_by_its_events_once_it_is_gone(bench: Bench) -> None:
    """A second after the deadline there is no such Pod any more."""
    bench.event({"kind": "Pod", "name": "of-somebody-else"}, "Failed", "not this")
    bench.made_pod("hello-abc-2-x")
    pod = {"kind": "Pod", "name": "hello-abc-2-x"}
    bench.event({**pod, "fieldPath": "spec.initContainers{fetch}"}, "Started", "", "Normal")
    bench.event({**pod, "fieldPath": "spec.containers{kaniko}"}, "Failed", "Error: ErrImagePull")
    bench.event({"kind": "Job", "uid": bench.job["metadata"]["uid"]}, *LATE)
    bench.told("Failed", *LATE)
    assert bench.seen == Ended(1, "platform", "PodNotStarted", "Error: ErrImagePull")


def test_a_build_that_began_before_its_deadline_is_the_users_though_its_pod_is_gone(bench: Bench) -> None:
    bench.made_pod("hello-abc-2-x")
    pod = {"kind": "Pod", "name": "hello-abc-2-x"}
    bench.event(pod, "FailedScheduling", "no room, at first")
    bench.event({**pod, "fieldPath": "spec.initContainers{fetch}"}, "Started", "", "Normal")
    bench.event({**pod, "fieldPath": "spec.containers{kaniko}"}, "Started", "", "Normal")
    bench.told("Failed", *LATE)
    assert bench.seen == Ended(1, "user", *LATE)


def test_a_refused_pod_is_told_by_the_jobs_events_after_half_a_minute(bench: Bench) -> None:
    bench.refused('pods "x" is forbidden: violates PodSecurity')
    assert bench.seen == Running()
    bench.time += timedelta(seconds=31)
    assert isinstance(bench.seen, Ended)
    assert (bench.seen.whose, bench.seen.reason) == ("ours", "PodRefused")
    assert "PodSecurity" in bench.seen.message


@pytest.mark.parametrize(
    "message",
    [
        'pods "x" is forbidden: exceeded quota: builds, requested: pods=1, used: pods=50, limited: pods=50',
        'Internal error occurred: failed calling webhook "w": context deadline exceeded',
    ],
)
def test_a_pod_refused_for_the_moment_until_the_deadline_is_the_platforms_failure(bench: Bench, message: str) -> None:
    """Where the deadline comes first: the Job goes on trying, and what stands in the way may go by itself."""
    bench.refused(message)
    bench.time += timedelta(minutes=4)
    assert bench.seen == Running()
    bench.told("Failed", *LATE)
    assert bench.seen == Ended(1, "platform", "PodNotStarted", message)


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ('pods "x" is forbidden: exceeded quota: builds', "QuotaExceeded"),
        ('Internal error occurred: failed calling webhook "w": context deadline exceeded', "PodNotMade"),
        ("", "PodNotMade"),
    ],
)
def test_a_job_that_gets_no_pod_is_given_up_like_a_pod_that_does_not_begin(
    bench: Bench, message: str, reason: str
) -> None:
    """It holds a slot all the while: after a pause somebody else's build may have made room."""
    if message:
        bench.refused(message)
    bench.time += timedelta(minutes=5)
    told = f"the build has no Pod after 300 seconds: {message or reason}"
    assert bench.seen == Ended(1, "platform", reason, told)


@pytest.mark.parametrize(
    "counted", [{"active": 1}, {"failed": 1}, {"uncountedTerminatedPods": {"succeeded": ["uid-of-a-pod"]}}]
)
def test_a_job_whose_pod_has_just_gone_is_about_to_say_how_that_ended(bench: Bench, counted: Object) -> None:
    bench.cluster.replace_status(JOB, {**bench.job, "status": counted})
    bench.time += timedelta(minutes=6)
    assert bench.seen == Running()


def test_of_several_refusals_the_newest_counts(bench: Bench) -> None:
    bench.refused("exceeded quota: builds")
    bench.time += timedelta(minutes=1)
    bench.refused("violates PodSecurity")
    assert isinstance(bench.seen, Ended)
    assert bench.seen.message == "violates PodSecurity"
    bench.time += timedelta(minutes=1)
    bench.refused("exceeded quota: builds")
    assert bench.seen == Running()


def test_the_log_is_the_executors_or_that_of_the_init_container(bench: Bench) -> None:
    bench.pod(phase="Failed")
    bench.cluster.logs[("acme-builds", f"{ATTEMPT.name}-x", "fetch")] = b"no context"
    assert bench.kaniko.log(ATTEMPT, limit=100) == b"no context"
    bench.log("one\ntwo")
    assert bench.kaniko.log(ATTEMPT, limit=3) == b"two"


def test_of_a_pod_whose_log_cannot_be_read_no_second_container_is_asked(bench: Bench) -> None:
    """Its kubelet would let both wait for as long as a request may take."""
    bench.ended(exitCode=0)
    bench.cluster.is_cut_off = True
    assert bench.kaniko.log(ATTEMPT, limit=100) == b""
    assert bench.cluster.read == ["kaniko"]


@pytest.mark.parametrize("status", [{"exitCode": 0}, {"exitCode": 1}, {"exitCode": 137, "reason": "OOMKilled"}])
def test_how_a_build_ended_is_told_though_its_log_cannot_be_read(bench: Bench, status: Object) -> None:
    bench.ended(**status)
    bench.cluster.is_cut_off = True
    assert isinstance(bench.seen, Ended)


def running(since: datetime) -> Object:
    return {"name": "kaniko", "state": {"running": {"startedAt": since.strftime("%Y-%m-%dT%H:%M:%SZ")}}}


def test_a_job_that_may_still_make_its_pod_is_not_idle(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    assert not bench.kaniko.is_idle("acme", "uid-1")
    bench.told("Failed", "BackoffLimitExceeded")
    assert bench.kaniko.is_idle("acme", "uid-1")


def test_a_pod_that_runs_is_not_idle_though_its_job_is_gone(bench: Bench) -> None:
    """Deleting a Job leaves its Pod for as long as its grace period: it still holds its slot."""
    bench.kaniko.start(ATTEMPT)
    bench.pod(phase="Running", containerStatuses=[running(START)])
    bench.cluster.orphan(bench.job)
    assert bench.cluster.list(JOB, "acme-builds") == []
    assert not bench.kaniko.is_idle("acme", "uid-1")


def test_a_pod_whose_node_is_lost_counts_as_gone_a_minute_after_its_time(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    bench.pod(phase="Running", containerStatuses=[running(START)])
    [pod] = bench.cluster.list(POD, "acme-builds")
    [job] = bench.cluster.list(JOB, "acme-builds")
    bench.told("Failed", "BackoffLimitExceeded")
    pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:30Z"
    bench.cluster.list = lambda kind, *_: [pod] if kind == POD else [job]  # type: ignore[method-assign,assignment]
    bench.time = START + timedelta(seconds=80)
    assert not bench.kaniko.is_idle("acme", "uid-1")
    bench.time = START + timedelta(seconds=95)
    assert bench.kaniko.is_idle("acme", "uid-1")


def test_a_pod_that_has_ended_is_idle_before_its_job_says_so(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    bench.ended(exitCode=0)
    assert bench.kaniko.is_idle("acme", "uid-1")


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (
            {"containerStatuses": [{"name": "kaniko", "state": {"waiting": {"reason": "ImagePullBackOff"}}}]},
            "ImagePullBackOff",
        ),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]},
            "Unschedulable",
        ),
        ({}, "Pending"),
    ],
)
def test_a_pod_that_does_not_begin_is_the_platforms_failure(
    bench: Bench, status: Mapping[str, Any], reason: str
) -> None:
    bench.kaniko.start(ATTEMPT)
    bench.pod(phase="Pending", **status)
    bench.time += timedelta(minutes=4)
    assert bench.kaniko.look(ATTEMPT) == Running()
    bench.time += timedelta(minutes=1)
    seen = bench.kaniko.look(ATTEMPT)
    assert isinstance(seen, Ended)
    assert (seen.whose, seen.reason) == ("platform", reason)


def test_a_build_that_says_nothing_for_ten_minutes_is_ended_and_one_that_speaks_is_not(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    bench.pod(phase="Running", containerStatuses=[running(START)])
    bench.log("working")
    bench.cluster.silent = True
    bench.time += timedelta(minutes=9)
    assert bench.kaniko.look(ATTEMPT) == Running(), "it has not run for ten minutes yet"
    bench.time += timedelta(minutes=1)
    assert bench.kaniko.look(ATTEMPT) == Ended(1, "user", "NoOutput", "the build said nothing for 600 seconds")
    bench.cluster.silent = False
    assert bench.kaniko.look(ATTEMPT) == Running()


def test_a_build_that_cannot_be_heard_has_not_been_silent_and_its_deadline_still_comes(bench: Bench) -> None:
    """With its node away, or the port closed, nobody knows; the Job's own deadline is told all the same."""
    bench.pod(phase="Running", containerStatuses=[running(START)])
    bench.cluster.is_cut_off = True
    bench.time += timedelta(minutes=11)
    assert bench.seen == Running()
    bench.told("FailureTarget", *LATE)
    assert bench.seen == Ended(1, "user", *LATE)


def test_a_build_without_its_pod_is_looked_at_again_since_its_job_is_reported_by_nobody(bench: Bench) -> None:
    bench.kaniko.start(ATTEMPT)
    assert vars(bench.kaniko.look(ATTEMPT)) == {"again": 5, "commit": ""}
    bench.pod(phase="Running", containerStatuses=[running(START)])
    assert vars(bench.kaniko.look(ATTEMPT)) == {"again": 0, "commit": ""}


# --- layers that are kept


def options(settings: KanikoSettings, cache: str) -> list[str]:
    [executor] = job(replace(ATTEMPT, cache=cache), "http://context", settings)["spec"]["template"]["spec"][
        "containers"
    ]
    return [option for option in executor["args"] if "cach" in option]


def test_layers_of_earlier_builds_are_taken_for_as_long_as_the_installation_says() -> None:
    assert options(replace(SETTINGS, cache=48), "registry/acme/layers.kaniko") == [
        "--cache=true",
        "--cache-repo=registry/acme/layers.kaniko",
        "--cache-ttl=48h",
        "--compressed-caching=false",
    ]


@pytest.mark.parametrize(("hours", "place"), [(0, "registry/acme/layers.kaniko"), (48, "")])
def test_none_are_taken_or_kept_where_that_is_off_or_a_build_is_to_be_fresh(hours: int, place: str) -> None:
    assert options(replace(SETTINGS, cache=hours), place) == ["--cache=false"]
