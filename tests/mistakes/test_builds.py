"""Mistakes that earlier systems made with builds: killed by the next one, believed, predicted, forgotten, orphaned."""

import contextlib
import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.chart import render
from support.site import Site
from support.world import versions

from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.deploy.cluster import BUILD, JOB, KINDS, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.schemas import names, types

PUSHED, CLAIMED = ("sha256:" + letter * 64 for letter in "ab")
ONE, TWO = versions("one", "two")


def reported(site: Site, pod: Object) -> None:
    site.report("Pod", "acme-builds", pod["metadata"]["name"])


def ended(build: Object) -> tuple[str, str, str]:
    end = condition(build, "Succeeded")
    return build["status"]["phase"], end["reason"], end["message"]


def test_d8_newer_source_supersedes_a_build_and_that_is_on_the_older_ones_record(site: Site) -> None:
    """A new start deleted whatever the function had running, and nothing told that there had been anything."""
    site.post(source=ONE)
    old = site.build()
    site.post(source=TWO)
    new = site.build()
    kept = site.cluster.get(BUILD, "acme", old["metadata"]["name"])
    assert kept is not None
    phase, reason, message = ended(kept)
    assert (phase, reason) == ("Cancelled", "Superseded")
    assert new["metadata"]["name"] in message, "it says what took its place"
    assert condition(kept, "Succeeded")["lastTransitionTime"]
    assert [job["metadata"]["labels"][names.BUILD_UID_LABEL] for job in site.jobs()] == [new["metadata"]["uid"]]


def test_d8_an_older_event_that_comes_late_supersedes_nothing(site: Site) -> None:
    """The newest source wins by a rule, and not whichever came last."""
    site.post(source=TWO, sequence=2)
    running = site.jobs()
    assert site.post(source=ONE, sequence=1).status_code == 202
    assert site.jobs() == running


def test_d8_the_late_result_of_a_superseded_build_changes_nothing(site: Site) -> None:
    """Nor does it win afterwards, by being told late."""
    site.post(builder="external", source=ONE)
    old = site.build()["metadata"]["name"]
    site.post(builder="external", source=TWO)
    site.registry.known["registry/acme/hello:late"] = CLAIMED
    before = site.function(), site.builds()
    image = f"registry/acme/hello@{CLAIMED}"
    assert site.post(types.BUILD_COMPLETE, build=old, image=image).status_code in (202, 422)
    assert (site.function(), site.builds()) == before
    new = site.build()["metadata"]["name"]
    assert site.post(types.BUILD_COMPLETE, build=new, image=image).status_code == 202
    assert site.service_image() == image


@pytest.mark.parametrize("kind", ["build.complete", "build.failed"])
def test_d8_the_late_result_of_a_superseded_build_changes_nothing_in_the_older_family(site: Site, kind: str) -> None:
    """Named or not: it is told by its time from what is said of the Build that took its place."""
    site.post(builder="external", source=ONE)
    old, late = site.build()["metadata"]["name"], site.time
    site.time += timedelta(seconds=1)
    site.post(builder="external", source=TWO)
    site.registry.known["registry/acme/hello:late"] = CLAIMED
    said = {"tenant": None, "name": None, "third_party_id": "acme", "parser_id": "hello"}
    said |= {"image": f"registry/acme/hello@{CLAIMED}"} if kind == "build.complete" else {}
    before = site.function(), site.builds()
    assert site.post(types.NOTIFI + kind, **said, build=old).status_code == 202
    now, site.time = site.time, late
    assert site.post(types.NOTIFI + kind, **said).status_code == 202
    assert (site.function(), site.builds()) == before
    site.time = now
    assert site.post(types.NOTIFI + kind, **said).status_code == 202
    assert ended(site.build())[0] == ("Succeeded" if kind == "build.complete" else "Failed")


def test_d9_what_is_listed_read_and_cancelled_is_what_the_cluster_has(site: Site) -> None:
    """List, get and cancel were stubs that answered with success."""
    client = site.http()
    assert client.get("/v1/tenants/acme/functions/hello").status_code == 404
    site.post()
    listed = client.get("/v1/tenants/acme/functions").json
    assert [found["metadata"]["uid"] for found in listed["items"]] == [site.function()["metadata"]["uid"]]
    build = f"/v1/tenants/acme/builds/{site.build()['metadata']['name']}"
    assert client.get(build).json["status"]["phase"] == "Running"
    assert site.post(types.BUILD_CANCEL).status_code == 202
    assert site.jobs() == []
    assert client.get(build).json["status"]["phase"] == "Cancelled"


def test_d10_a_build_outlives_whoever_started_it_and_its_outcome_is_found_without_a_report(site: Site) -> None:
    """A sidecar reported the outcome, with a timeout equal to the Job's: both died together, and nobody knew."""
    site.post()
    site.exits(site.job(), digest=PUSHED)
    assert site.build()["status"]["phase"] == "Running", "nobody has told"
    site.tick()
    assert site.build()["status"]["phase"] == "Succeeded"
    assert site.service_image().endswith(PUSHED)


def test_d10_the_pod_tells_the_outcome_and_where_it_is_gone_the_job_does(site: Site) -> None:
    """A Job's own word comes seconds later, and a Pod may be gone: each is read, neither is waited for."""
    site.post()
    reported(site, site.exits(site.job(), 1, reason="Error"))
    assert ended(site.build())[:2] == ("Failed", "BuildFailed")
    site.post(source=TWO)
    [job] = [job for job in site.jobs() if not site.pods(job)]
    site.registry.known[f"registry/acme/hello:{job['metadata']['name']}"] = PUSHED
    complete = {"type": "Complete", "status": "True", "reason": "CompletionsReached", "message": ""}
    site.cluster.replace_status(JOB, {**job, "status": {"conditions": [complete]}})
    site.tick()
    assert site.build()["status"]["phase"] == "Succeeded"


def test_d10_a_build_may_take_longer_than_any_request(site: Site) -> None:
    """The deadline of a build is the build's, and no request waits for it."""
    site.post()
    [receiver] = [found for found in render() if found["kind"] == "Service" and found["metadata"]["name"] == "receiver"]
    assert receiver["spec"]["template"]["spec"]["timeoutSeconds"] < site.job()["spec"]["activeDeadlineSeconds"]


def test_d11_the_failure_of_an_attempt_leaves_the_next_one_alone_however_often_it_is_told(site: Site) -> None:
    """The first failure event deleted the Job, so the retries that it still had never ran."""
    site.post()
    first = site.job()
    assert first["spec"]["backoffLimit"] == 0, "one owner of retries: not the Job's controller"
    assert first["spec"]["template"]["spec"]["restartPolicy"] == "Never", "nor the kubelet"
    evicted = site.pod(first, phase="Failed", reason="Evicted")
    reported(site, evicted)
    site.time += timedelta(minutes=1)
    site.tick()
    [second] = [job for job in site.jobs() if job["metadata"]["name"].endswith("-2")]
    for _ in range(3):
        reported(site, evicted)
        site.tick()
    assert [job for job in site.jobs() if job["metadata"]["name"].endswith(("-2", "-3"))] == [second]
    reported(site, site.exits(second, digest=PUSHED))
    assert site.build()["status"]["phase"] == "Succeeded"


def test_d11_what_the_user_broke_is_not_tried_again(site: Site) -> None:
    """The platform's failures are told from the user's: only those may pass by themselves."""
    site.post()
    reported(site, site.exits(site.job(), 1, reason="Error"))
    for _ in range(3):
        site.time += timedelta(minutes=10)
        site.tick()
    assert site.build()["status"]["attempt"] == 1


def test_d12_what_is_deployed_is_the_digest_that_the_registry_knows(site: Site) -> None:
    """The image's name was predicted and its tag mutable: what ran was whatever lay there."""
    site.post()
    reported(site, site.exits(site.job(), digest=PUSHED, message=CLAIMED))
    assert site.service_image() == f"registry/acme/hello@{PUSHED}"
    site.registry.known = dict.fromkeys(site.registry.known, CLAIMED)
    site.tick()
    assert site.service_image() == f"registry/acme/hello@{PUSHED}", "a tag that moves moves nothing"


@pytest.mark.parametrize(
    "changed",
    [
        {"source": TWO},
        {"source": {"inline": {"other.py": ONE["inline"]["main.py"]}}, "entrypoint": "other.handle"},
        {"source": {"inline": ONE["inline"] | {"more.txt": ""}}},
        {"runtime": "node", "source": {"inline": {"index.js": ""}}},
        {"builder": "external"},
    ],
    ids=str,
)
def test_d12_whatever_shapes_an_image_is_in_the_hash_of_its_build(site: Site, changed: dict[str, Any]) -> None:
    """Base image and runtime were not in the hash: a change of theirs was answered with the old image."""
    site.post(source=ONE)
    before = site.build()["spec"]["inputHash"]
    site.post(**{"source": ONE, **changed})
    assert site.build()["spec"]["inputHash"] != before


def test_d12_every_part_of_an_input_changes_its_hash_by_itself() -> None:
    """Also where no event could change it alone."""
    base = {"context": "c", "runtime": "r", "entrypoint": "e", "builder": "b", "base": "i"}
    hashes = {names.input_hash(**{**base, part: "other"}) for part in base} | {names.input_hash(**base)}
    assert len(hashes) == len(base) + 1


def test_d12_a_new_base_image_is_a_new_input(site: Site) -> None:
    """By its digest: the tag is the same."""
    site.post(source=ONE)
    before = site.build()["spec"]
    site.registry.known["registry/python:1"] = CLAIMED
    site.post(source=TWO)
    site.post(source=ONE)
    assert site.build()["spec"]["context"] == before["context"]
    assert site.build()["spec"]["inputHash"] != before["inputHash"]


@given(st.dictionaries(st.from_regex(r"[a-z]{1,8}(/[a-z]{1,8})?", fullmatch=True), st.binary(max_size=50), max_size=5))
def test_d12_equal_files_are_an_equal_archive(files: dict[str, bytes]) -> None:
    """Archives held the current time and the order of a folder, so equal source had another hash each time."""
    forth = {path: File(body) for path, body in files.items()}
    back = dict(reversed(forth.items()))
    assert archive.pack(forth).digest == archive.pack(back).digest
    assert archive.canonical(forth) == archive.canonical(back)


def test_d21_an_invalid_object_is_refused_and_not_acknowledged(site: Site) -> None:
    """An object that could not be read fell through to the end of the function, where success was answered."""
    no_pod = {"requests": {"memory": "2Gi"}, "limits": {"memory": "1Gi"}}
    for data in ({"timeout": "soon"}, {"resources": {"limits": {"memory": "much"}}}, {"resources": no_pod}):
        answer = site.post(**data)
        assert answer.status_code == 422, data
        assert answer.json is not None
        assert answer.json["faults"][0]["where"].startswith("/data/")
    assert site.functions() == []


def test_d21_a_log_is_there_after_its_pod_and_its_job_have_gone(site: Site) -> None:
    """Logs were lost with the Job, five minutes after it had ended."""
    site.post()
    job = site.job()
    site.cluster.logs[("acme-builds", f"{job['metadata']['name']}-abcde", "kaniko")] = b"step 1\n"
    reported(site, site.exits(job, 1))
    site.cluster.delete(JOB, "acme-builds", job["metadata"]["name"])
    assert site.http().get(f"/v1/tenants/acme/builds/{site.build()['metadata']['name']}/log").data == b"step 1\n"


def test_d21_the_same_source_has_the_same_job_whenever_it_comes(site: Site) -> None:
    """Jobs were named by the second: the same event made two, and two events in one second one."""
    site.post(source=ONE)
    before = site.jobs()
    site.time += timedelta(minutes=4)
    site.post(source=ONE)
    assert site.jobs() == before
    site.post(name="hi", source=ONE)
    assert len(site.jobs()) == 2


def test_d21_a_large_source_is_built_and_no_configmap_is_made_of_it(site: Site) -> None:
    """Contexts lay in ConfigMaps: a mebibyte at most, and their files are links, which Kaniko copies as links."""
    text = {"main.py": ONE["inline"]["main.py"], "big.txt": "ü" * 1_500_000}
    assert site.post(source={"inline": text}).status_code == 202
    assert "configMap" not in json.dumps(site.job())
    assert "ConfigMap" not in {kind.kind for kind in KINDS}, "the product knows of none"
    [context] = site.store.list("contexts/acme/hello/")
    assert len(json.dumps(site.function())) < 10_000
    assert context.key.rpartition("/")[2].removesuffix(".tar.gz") in json.dumps(site.job())


class Recorder(BaseHTTPRequestHandler):
    """An API server that lets everything be deleted, and remembers how."""

    asked: list[tuple[str, Any]]

    def do_DELETE(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.asked.append((self.path.partition("?")[0], json.loads(body)))
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def recorded(tmp_path: Path) -> Iterator[tuple[KubernetesCluster, list[tuple[str, Any]]]]:
    asked: list[tuple[str, Any]] = []
    handler = type("Handler", (Recorder,), {"asked": asked})
    with contextlib.ExitStack() as opened:
        server = opened.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        opened.callback(server.shutdown)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "test", "user": {}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        cluster = opened.enter_context(
            contextlib.closing(KubernetesCluster(KubernetesSettings(str(tmp_path / "kubeconfig"))))
        )
        yield cluster, asked


def test_d25_whatever_is_deleted_takes_what_it_owns_along(
    recorded: tuple[KubernetesCluster, list[tuple[str, Any]]],
) -> None:
    """A Job was deleted without a propagation policy: batch/v1 orphans its Pod, which goes on building and pushes."""
    cluster, asked = recorded
    for kind in KINDS:
        cluster.delete(kind, "acme" if kind.namespaced else "", "hello", uid="1")
    assert len(asked) == len(KINDS)
    assert {body["propagationPolicy"] for _, body in asked} == {"Background"}
    assert "/apis/batch/v1/namespaces/acme/jobs/hello" in {path for path, _ in asked}


@pytest.mark.parametrize("how", ["cancel", "delete", "supersede"])
def test_d25_what_ends_a_build_ends_its_pod(site: Site, how: str) -> None:
    """Whichever way it ends: nothing of it pushes any more."""
    site.post(source=ONE)
    job = site.job()
    site.pod(job, phase="Running")
    if how == "supersede":
        site.post(source=TWO)
    else:
        site.post(types.BUILD_CANCEL if how == "cancel" else types.FUNCTION_DELETE)
    assert site.pods(job) == []
    assert job["metadata"]["uid"] not in {job["metadata"]["uid"] for job in site.jobs()}
