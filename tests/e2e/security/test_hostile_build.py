"""A hostile build, and what it got; then the same attempts with what it was not given, which succeed.

The product pushes to a registry that believes its tokens alone. What the network keeps it from is `test_network`'s:
here that lets everybody reach everything.
"""

import base64
import hashlib
import json
import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.live import TENANT, Live, within
from support.policies import everything_let_through
from support.recorded import Recorded

from knative_lambda.builds import record
from knative_lambda.builds.images.pusher import Blob
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.builds.jobs.issuer import PUSH, Grant
from knative_lambda.builds.jobs.issuer_jwt import IssuerSettings, JwtIssuer
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import JOB, SECRET, Object
from knative_lambda.schemas import names, types
from knative_lambda.storage import keys
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

NAME = "hostile-build"
OWN = f"{TENANT}/{NAME}"
LAYERS = f"{TENANT}/layers.kaniko"
VICTIM = "neighbour/victim"
BUILDS = names.builds_namespace(TENANT)
PROBE = Path(__file__).parent / "hostile_build.py"
DEADLINE = 1800
LEEWAY = 60
"""Seconds that a registry allows for clocks."""
SECRET_LAYER = b"what the neighbour has made"
LAYER = Blob.of(SECRET_LAYER).digest
CONTEXT = keys.context("neighbour", "victim", hashlib.sha256(b"a context").hexdigest())
PODS = f"/api/v1/namespaces/{BUILDS}/pods"
DENIED = (401, 403)

UPLOAD = "blobs/uploads/"
AT_THE_REGISTRY: dict[str, tuple[str, str, tuple[Grant, ...]]] = {
    "push to another tenant's": ("POST", f"{VICTIM}/{UPLOAD}", (Grant(VICTIM, PUSH),)),
    "read another tenant's": ("GET", f"{VICTIM}/blobs/{LAYER}", (Grant(VICTIM),)),
    "have another tenant's layer": (
        "POST",
        f"{OWN}/{UPLOAD}?mount={LAYER}&from={VICTIM}",
        (Grant(OWN, PUSH), Grant(VICTIM)),
    ),
    "push to a function beside it": ("POST", f"{TENANT}/beside/{UPLOAD}", (Grant(f"{TENANT}/beside", PUSH),)),
    "push what others install": (
        "POST",
        f"{TENANT}/dependencies.python/{UPLOAD}",
        (Grant(f"{TENANT}/dependencies.python", PUSH),),
    ),
    "push to a base": ("POST", f"python/{UPLOAD}", (Grant("python", PUSH),)),
}
"""What is tried there: the request, and what a token must be for that it succeeds."""


@dataclass(frozen=True)
class Site:
    """Where a build could do harm, and the keys to it that it does not have."""

    registry: str
    issuer: JwtIssuer
    store: Store
    bucket: str

    def asked(self) -> dict[str, tuple[str, str]]:
        """Return what the build is to try: a method and an URL each."""
        registry = {
            "push to its own": ("POST", f"{OWN}/{UPLOAD}"),
            "push its layers": ("POST", f"{LAYERS}/{UPLOAD}"),
            "list all repositories": ("GET", "_catalog"),
            **{what: (method, path) for what, (method, path, _) in AT_THE_REGISTRY.items()},
        }
        return {
            **{what: (method, f"http://{self.registry}/v2/{path}") for what, (method, path) in registry.items()},
            "read another context": ("GET", f"{self.bucket}/{CONTEXT}"),
            "list the store": ("GET", f"{self.bucket}?list-type=2"),
            "see other builds": ("GET", f"https://kubernetes.default.svc.cluster.local{PODS}"),
        }

    def answer(self, what: str, token: str) -> int:
        """Return what the registry answers to an attempt of the build's by a token."""
        method, url = self.asked()[what]
        return status(method, url, token)


@dataclass(frozen=True)
class Got:
    """What the build told in its log, what it had while it ran, and its record."""

    told: dict[str, Any]
    secret: Object
    job: Object
    build: Object

    @property
    def token(self) -> str:
        return str(self.told["stolen"])[::-1]

    @property
    def claims(self) -> dict[str, Any]:
        part = self.token.split(".")[1]
        found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        return found


def status(method: str, url: str, token: str = "") -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    with urllib3.PoolManager(retries=False, timeout=10) as http:
        return http.request(method, url, headers=headers).status


@pytest.fixture(scope="module")
def site(live: Live) -> Iterator[Site]:
    """Yield the registry, which has an image of another tenant, and the store, which has a context of its."""
    if "TOKEN_REGISTRY" not in os.environ:
        pytest.skip("this cluster has no registry that believes tokens")
    registry, endpoint = os.environ["TOKEN_REGISTRY"], os.environ["S3_ENDPOINT"]
    issuer = JwtIssuer(IssuerSettings(registry, Path(os.environ["TOKEN_KEYS"])))
    pusher = HttpPusher(RegistrySettings(insecure=True, issuer=issuer))
    pusher.put(f"{registry}/{VICTIM}", Blob.of(SECRET_LAYER))
    access, secret, url = os.environ["S3_ACCESS_KEY"], os.environ["S3_SECRET_KEY"], "s3://knative-lambda"
    store = open_store(url, StoreSettings(url, endpoint, access_key=access, secret_key=secret))
    store.put(CONTEXT, b"a context")
    yield Site(registry, issuer, store, f"{endpoint}/knative-lambda")
    store.delete(CONTEXT)


@pytest.fixture(scope="module")
def got(live: Live, site: Site) -> Iterator[Got]:
    """Yield what a build got that was asked for as any other is."""
    run = f"COPY . /probe\nRUN python3 /probe/probe.py # {uuid.uuid4()}"
    dockerfile = f"FROM {os.environ['PYTHON_BASE']}\n{run}\nCMD true\n"
    files = {"Dockerfile": dockerfile, "probe.py": PROBE.read_text(), "asked.json": json.dumps(site.asked())}
    with everything_let_through():
        live.start(NAME, runtime="dockerfile", source={"inline": files})
        job, secret = within(60, "the build's Pod is given its token", lambda: handed(live))
        build = within(180, "the build has ended", lambda: ended(live), every=1)
    log = site.store.get(build["status"]["log"], limit=1_000_000) or b""
    assert build["status"]["phase"] == "Succeeded", log.decode()
    lines = [json.loads(line.removeprefix(b"GOT ")) for line in log.splitlines() if line.startswith(b"GOT ")]
    yield Got({what: answer for line in lines for what, answer in line.items()}, secret, job, build)
    live.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": NAME})  # nobody waits for its Pod's last half minute


def handed(live: Live) -> tuple[Object, Object] | None:
    for job in live.cluster.list(JOB, BUILDS, {names.FUNCTION_LABEL: NAME}):
        if secret := live.cluster.get(SECRET, BUILDS, job["metadata"]["name"]):
            return job, secret
    return None


def ended(live: Live) -> Object | None:
    return next((build for build in live.builds(NAME) if build.get("status", {}).get("phase") in record.TERMINAL), None)


def test_a_build_holds_one_token_of_its_own_and_no_other_credential(got: Got, site: Site) -> None:
    """Which is for two repositories: the function's, and what its tenant's builds have kept of theirs."""
    assert got.told["credentials"] == {site.registry: ["registrytoken"]}
    assert got.told["its environment"] == []
    may = {each["name"]: sorted(each["actions"]) for each in got.claims["access"]}
    assert may == {OWN: ["pull", "push"], LAYERS: ["pull", "push"]}


@pytest.mark.parametrize("what", ["push to its own", "push its layers"])
def test_its_token_opens_its_own_place(got: Got, what: str) -> None:
    assert got.told[what] == 202


@pytest.mark.parametrize("what", AT_THE_REGISTRY)
def test_its_token_opens_no_other_and_one_with_other_rights_would(got: Got, site: Site, what: str) -> None:
    grants = AT_THE_REGISTRY[what][2]
    assert got.told[what] == 401
    assert site.answer(what, site.issuer.token(grants, seconds=60)) in (200, 201, 202)


def test_it_lists_no_repositories_and_where_no_token_is_asked_for_it_would(got: Got) -> None:
    assert got.told["list all repositories"] == 401
    assert status("GET", f"http://{os.environ['REGISTRY']}/v2/_catalog") == 200


def test_it_reads_nothing_of_the_store_and_with_an_url_that_was_signed_it_would(got: Got, site: Site) -> None:
    assert got.told["read another context"] in DENIED
    assert got.told["list the store"] in DENIED
    assert status("GET", site.store.presign(CONTEXT, seconds=60)) == 200
    assert [each.key for each in site.store.list(CONTEXT)] == [CONTEXT]


def test_it_is_nobody_to_the_api_server_and_with_a_token_it_would_be_somebody(got: Got) -> None:
    assert got.told["a token of its account"] is False
    assert got.told["see other builds"] in DENIED
    receiver = kubectl("create", "token", "receiver", "-n", "knative-lambda").strip()
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    nobody = ("--kubeconfig=/dev/null", f"--server={server}", "--insecure-skip-tls-verify")
    assert "PodList" in kubectl("get", "--raw", PODS, *nobody, f"--token={receiver}")


def test_its_pod_would_have_a_token_if_it_did_not_say_otherwise(got: Got) -> None:
    """Told by the API server of the same Pod, in a namespace that has no rule against it."""

    def mounted(**said: bool) -> bool:
        spec = {key: value for key, value in template["spec"].items() if key not in given}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried", "namespace": "default"}}
        made = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", body={**pod, "spec": {**spec, **said}})
        return "serviceAccountToken" in made

    template, given = (
        got.job["spec"]["template"],
        ("serviceAccountName", "serviceAccount", "automountServiceAccountToken"),
    )
    assert not mounted(automountServiceAccountToken=False)
    assert mounted()


def test_the_effects_of_tokens_on_a_real_cluster_are_those_that_the_crash_matrix_kills_around(
    recorded: Recorded, got: Got
) -> None:
    recorded.gather()
    assert {"cluster.create Secret", "cluster.delete Secret"} <= recorded.effects


def test_what_it_pushed_with_belongs_to_its_job_and_is_gone_with_the_build(got: Got, live: Live) -> None:
    assert conditions.owned_by(got.secret, got.job["metadata"]["uid"])
    where = SECRET, BUILDS, got.secret["metadata"]["name"]
    within(30, "its Secret is gone", lambda: live.cluster.get(*where) is None)


def test_what_was_stolen_is_worth_nothing_once_the_builds_time_is_over(got: Got, site: Site) -> None:
    """Until then it opens what it opened during the build, and nothing more; the same token of yesterday is refused."""
    until = got.claims["exp"] - time.time()
    assert 0 < until <= DEADLINE
    assert site.answer("push to its own", got.token) == 202
    assert site.answer("push to another tenant's", got.token) == 401
    grants = [Grant(each["name"], tuple(each["actions"])) for each in got.claims["access"]]
    over = JwtIssuer(site.issuer.settings, clock=lambda: time.time() - DEADLINE - LEEWAY - 1)
    assert site.answer("push to its own", over.token(grants, seconds=DEADLINE)) == 401
    assert site.answer("push to its own", site.issuer.token(grants, seconds=DEADLINE)) == 202


def test_nobody_else_signs_a_token_that_is_believed(site: Site, tmp_path: Path) -> None:
    files = {"-keyout": str(tmp_path / "tls.key"), "-out": str(tmp_path / "tls.crt")}
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=registry-tokens"]
    given = [word for pair in files.items() for word in pair]
    subprocess.run(["openssl", "req", "-x509", *kind, *given], capture_output=True, check=True)
    stranger = JwtIssuer(IssuerSettings(site.registry, tmp_path))
    grants = [Grant(VICTIM, PUSH)]
    assert site.answer("push to another tenant's", stranger.token(grants, seconds=60)) == 401
    assert site.answer("push to another tenant's", site.issuer.token(grants, seconds=60)) == 202


def kubectl(*arguments: str, body: Any = None) -> str:
    said = json.dumps(body) if body else None
    return subprocess.run(["kubectl", *arguments], input=said, capture_output=True, text=True, check=True).stdout
