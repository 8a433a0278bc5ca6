"""The client with a kubeconfig alone: on a real API server, whose records the tests move on."""

import re
import subprocess
import sys
from typing import Any

import pytest

from knative_lambda.client import Build, Client, ClientError, Function, NotThere, TimedOut, Unreachable
from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, Kind, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster

SOURCE = {"inline": {"main.py": "def handle(event, context):\n    return None\n"}}


@pytest.fixture
def client(kubeconfig: str) -> Client:
    return Client.on(kubeconfig)


def converge(cluster: KubernetesCluster, tenant: str, **said: tuple[str, str] | str) -> None:
    """Write a Function's status, its conditions and fields, as the product would once it has come there."""
    found = cluster.get(FUNCTION, tenant, "hello")
    assert found is not None
    conditions = [
        {"type": kind, "status": each[0], "reason": each[1], "message": f"{kind} is {each[0]}"}
        for kind, each in said.items()
        if isinstance(each, tuple)
    ]
    fields = {field: value for field, value in said.items() if isinstance(value, str)}
    status = {**fields, "observedGeneration": found["metadata"]["generation"], "conditions": conditions}
    cluster.replace_status(FUNCTION, {**found, "status": status})


READY = {"Built": ("True", "Built"), "Deployed": ("True", "Applied"), "Ready": ("True", "Ready")}


def build(cluster: KubernetesCluster, tenant: str, name: str, context: str, phase: str, **cloned: Any) -> None:
    spec: Object = {
        "function": "hello",
        "functionUID": "u",
        "inputHash": context,
        "context": context,
        "runtime": "node",
        "entrypoint": "index.other",
        "builder": "layer",
        "cause": "event 1",
        **cloned,
    }
    meta = {"namespace": tenant, "name": name, "labels": {"knative-lambda.dev/function": "hello"}}
    made = cluster.create(
        BUILD, {"apiVersion": BUILD.api_version, "kind": BUILD.kind, "metadata": meta, "spec": spec, "status": {}}
    )
    conditions = [{"type": "Succeeded", "status": "False", "reason": "BuildFailed", "message": "one\ntwo"}]
    cluster.replace_status(BUILD, {**made, "status": {"phase": phase, "conditions": conditions}})


def test_a_function_is_its_record_and_is_waited_for_until_it_answers(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    sent = client.deploy(tenant, "hello", "python", SOURCE, env={"A": "1"})
    with pytest.raises(TimedOut):
        client.wait(tenant, "hello", sent, seconds=0)

    converge(cluster, tenant, Built=("True", "Built"), Ready=("Unknown", "Deploying"))
    states: list[str] = []

    def told(function: Function) -> None:
        states.append(function.step("Ready").reason)
        converge(cluster, tenant, **READY)

    assert client.wait(tenant, "hello", sent, told=told).spec["env"] == {"A": "1"}
    assert states == ["Deploying", "Ready"]
    assert [each.name for each in client.functions(tenant)] == ["hello"]


def test_the_same_again_waits_for_nothing_and_what_has_failed_is_built_afresh(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    client.deploy(tenant, "hello", "python", SOURCE)
    converge(cluster, tenant, **READY)
    client.wait(tenant, "hello", client.deploy(tenant, "hello", "python", SOURCE), seconds=0)

    converge(cluster, tenant, Built=("False", "BuildFailed"))
    sent = client.deploy(tenant, "hello", "python", SOURCE)
    assert client.function(tenant, "hello").spec["rebuild"]
    with pytest.raises(TimedOut):
        client.wait(tenant, "hello", sent, seconds=0)
    converge(cluster, tenant, Built=("False", "BuildFailed"))
    with pytest.raises(ClientError, match="Built is False: BuildFailed: Built is False"):
        client.wait(tenant, "hello", sent)


def test_what_the_version_before_has_failed_with_is_no_failure_of_the_one_that_is_built(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    """It is one as soon as the new version has been built, and says so itself."""
    failed = {**READY, "Ready": ("False", "RevisionFailed")}
    client.deploy(tenant, "hello", "python", SOURCE)
    converge(cluster, tenant, **failed)
    sent = client.deploy(tenant, "hello", "python", {"inline": {"main.py": "fixed"}})
    building = {**failed, "Built": ("Unknown", "Running"), "Deployed": ("True", "OlderVersion")}
    converge(cluster, tenant, **building)
    states: list[str] = []

    def told(function: Function) -> None:
        states.append(function.step("Built").reason)
        converge(cluster, tenant, **READY)

    assert client.wait(tenant, "hello", sent, told=told).answers
    assert states == ["Running", "Built"]
    for end, why in (
        (failed, "Ready is False: RevisionFailed"),
        ({**building, "Built": ("False", "BuildFailed")}, "Built is False: BuildFailed"),
    ):
        converge(cluster, tenant, **end)
        with pytest.raises(ClientError, match=why):
            client.wait(tenant, "hello", sent)


def test_what_did_not_come_up_is_started_anew_and_that_start_is_waited_for(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    client.deploy(tenant, "hello", "python", SOURCE)
    converge(cluster, tenant, **{**READY, "Ready": ("False", "SecretMissing")})
    sent = client.deploy(tenant, "hello", "python", SOURCE)
    first = client.function(tenant, "hello").spec["restart"]
    with pytest.raises(TimedOut):
        client.wait(tenant, "hello", sent, seconds=0)

    converge(cluster, tenant, **READY)
    client.wait(tenant, "hello", client.deploy(tenant, "hello", "python", SOURCE), seconds=0)
    assert client.function(tenant, "hello").spec["restart"] == first, "what runs is left as it is"
    converge(cluster, tenant, **{**READY, "Ready": ("False", "SecretMissing")})
    client.deploy(tenant, "hello", "python", SOURCE)
    assert client.function(tenant, "hello").spec["restart"] == first, "it was started anew just now"

    found = client.function(tenant, "hello").body
    cluster.replace(FUNCTION, {**found, "spec": {**found["spec"], "restart": "2000-01-01T00:00:00Z"}})
    converge(cluster, tenant, **{**READY, "Ready": ("False", "SecretMissing")})
    client.deploy(tenant, "hello", "python", SOURCE)
    spec = client.function(tenant, "hello").spec
    assert spec["restart"] >= first
    assert "rebuild" not in spec


def test_builds_are_in_the_order_of_the_clusters_seconds_and_within_one_of_the_finer_time() -> None:
    def made(name: str, second: str, came: str = "") -> Object:
        notes = {"knative-lambda.dev/came": came} if came else {}
        return {"metadata": {"name": name, "creationTimestamp": second, "annotations": notes}}

    one, two = "2026-01-01T00:00:01Z", "2026-01-01T00:00:02Z"
    found = [
        made("c", one, "2026-01-01T00:00:01.900000Z"),
        made("d", two, "2026-01-01T00:00:00.100000Z"),
        made("b", one, "2026-01-01T00:00:01.200000Z"),
        made("a", one),
    ]
    assert [each.name for each in sorted(map(Build, found), key=lambda build: build.order)] == ["a", "b", "c", "d"]
    assert {each.created for each in map(Build, found)} == {one, two}


def test_what_happened_within_one_second_is_told_in_its_order(
    cluster: KubernetesCluster, client: Client, tenant: str, kubeconfig: str
) -> None:
    """By the alphabet a function was deployed, and its build had succeeded, before that was pushed or had begun."""

    def said(kind: Kind, name: str, *types: str) -> None:
        found = cluster.get(kind, tenant, name)
        assert found is not None
        second = {"status": "True", "reason": "Done", "message": "", "lastTransitionTime": "2026-01-01T00:00:01Z"}
        cluster.replace_status(kind, {**found, "status": {"conditions": [{"type": each, **second} for each in types]}})

    client.deploy(tenant, "hello", "python", SOURCE)
    said(FUNCTION, "hello", "Built", "Deployed", "Ready")
    build(cluster, tenant, "hello-1", "sha256:" + "1" * 64, "Succeeded")
    said(BUILD, "hello-1", "Admitted", "ContextStored", "Pushed", "Started", "Succeeded")
    command = [sys.executable, "-m", "knative_lambda.client", "events", "hello", "-n", tenant]
    done = subprocess.run([*command, "--kubeconfig", kubeconfig], capture_output=True, text=True, check=True)
    assert re.findall(r"/(\S+)  (\w+)=", done.stdout) == [
        *(("hello-1", each) for each in ("ContextStored", "Admitted", "Started", "Pushed", "Succeeded")),
        *(("hello", each) for each in ("Built", "Deployed", "Ready")),
    ]


def test_nobody_waits_for_what_a_paused_function_leaves_for_later(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    sent = client.deploy(tenant, "hello", "python", SOURCE, paused=True)
    converge(cluster, tenant, **{**READY, "Deployed": ("True", "Paused")})
    assert client.wait(tenant, "hello", sent).spec["paused"] is True
    sent = client.deploy(tenant, "hello", "python", SOURCE, paused=True, env={"A": "1"})
    converge(cluster, tenant, **{**READY, "Deployed": ("Unknown", "Paused")})
    with pytest.raises(ClientError, match="Deployed is Unknown: Paused"):
        client.wait(tenant, "hello", sent)


def test_only_a_resume_or_a_deploy_that_says_so_ends_a_pause(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    """A deploy that says nothing of it leaves it as it is, as `kubectl apply` does."""
    client.deploy(tenant, "hello", "python", SOURCE, env={"A": "1"})
    before = client.function(tenant, "hello").spec
    client.pause(tenant, "hello")
    paused = client.function(tenant, "hello")
    client.pause(tenant, "hello")
    assert client.function(tenant, "hello").body == paused.body
    assert paused.spec == {**before, "paused": True}
    client.deploy(tenant, "hello", "python", SOURCE)
    assert client.function(tenant, "hello").is_paused
    sent = client.resume(tenant, "hello")
    assert not sent.is_in(paused)
    assert "paused" not in client.function(tenant, "hello").spec
    assert client.resume(tenant, "hello") == sent
    converge(cluster, tenant, **READY)
    assert client.wait(tenant, "hello", sent).answers
    client.pause(tenant, "hello")
    client.deploy(tenant, "hello", "python", SOURCE, paused=False)
    assert not client.function(tenant, "hello").is_paused


def test_a_new_version_keeps_no_field_of_the_one_before_and_all_that_the_product_has_noted(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    client.deploy(tenant, "hello", "python", SOURCE, env={"A": "1"}, rebuild=True)
    found = cluster.get(FUNCTION, tenant, "hello")
    assert found is not None
    found["metadata"]["annotations"] = {"knative-lambda.dev/event": '{"id": "7"}'}
    cluster.replace(FUNCTION, found)

    client.deploy(tenant, "hello", "python", SOURCE, timeout="5s")
    function = client.function(tenant, "hello")
    assert (function.event, function.spec["timeout"]) == ("7", "5s")
    assert {"env", "rebuild"}.isdisjoint(function.spec)


def test_a_rollback_wants_the_source_of_the_build_before_the_one_that_runs(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    client.deploy(tenant, "hello", "python", SOURCE, env={"A": "1"}, build={"secrets": ["a"]}, rebuild=True)
    context = "sha256:" + "1" * 64
    with pytest.raises(ClientError, match="no version to go back to"):
        client.rollback(tenant, "hello")
    build(cluster, tenant, "hello-1", context, "Succeeded")
    converge(cluster, tenant, latestBuild="hello-2", latestReadyBuild="hello-1")
    build(cluster, tenant, "hello-2", "sha256:" + "2" * 64, "Failed")
    with pytest.raises(ClientError, match="hello-2 is no build of hello that has an image"):
        client.rollback(tenant, "hello", "hello-2")

    chosen, _ = client.rollback(tenant, "hello")
    assert chosen.name == "hello-1"
    spec = client.function(tenant, "hello").spec
    assert (spec["runtime"], spec["entrypoint"], spec["source"]) == (
        "node",
        "index.other",
        {"context": {"hash": context}},
    )
    assert spec["env"] == {"A": "1"}
    assert {"rebuild", "build"}.isdisjoint(spec), "it would build afresh what has its image"


def test_a_repository_is_built_once_more_unless_its_commit_is_named_and_taken_back_at_its_commit(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    url, commit = "https://git.example.com/acme/hello.git", "1" * 40
    moving = {"git": {"url": url, "revision": "main", "secret": "key"}}
    asked = [client.deploy(tenant, "hello", "python", moving).generation for _ in range(3)]
    assert asked == sorted(set(asked)), "what main is by now is built"
    build(cluster, tenant, "hello-1", "sha256:" + "1" * 64, "Succeeded", git={**moving["git"], "commit": commit})
    converge(cluster, tenant, latestBuild="hello-2", latestReadyBuild="hello-1")
    client.rollback(tenant, "hello")
    spec = client.function(tenant, "hello").spec
    assert spec["source"] == {"git": {**moving["git"], "revision": commit}}
    assert "rebuild" not in spec

    pinned = [client.deploy(tenant, "hello", "python", spec["source"]).generation for _ in range(3)]
    assert pinned[1] == pinned[2], "a commit is what it was"


def test_an_object_is_read_once_more_as_it_is_for_an_event_and_text_is_what_it_was(client: Client, tenant: str) -> None:
    stored = {"object": f"uploads/{tenant}/hello.tar.gz"}
    asked = [client.deploy(tenant, "hello", "python", stored).generation for _ in range(3)]
    assert asked == sorted(set(asked))
    same = [client.deploy(tenant, "hello", "python", SOURCE).generation for _ in range(3)]
    assert same[1] == same[2]


def test_what_a_build_start_does_not_know_is_refused_by_its_record_too(client: Client, tenant: str) -> None:
    for field, value in (("restart", "again"), ("sequence", 7)):
        with pytest.raises(ClientError, match=f"takes no `{field}`"):
            client.deploy(tenant, "hello", "python", SOURCE, **{field: value})
    with pytest.raises(NotThere):
        client.function(tenant, "hello")
    client.deploy(tenant, "hello", "python", SOURCE)
    assert client.function(tenant, "hello").name == "hello"


def test_a_log_is_the_end_that_the_build_has_kept_where_its_pod_is_gone(
    client: Client, cluster: KubernetesCluster, tenant: str
) -> None:
    build(cluster, tenant, "hello-1", "sha256:" + "1" * 64, "Failed")
    assert list(client.logs(tenant, "hello-1")) == ["one", "two"]
    build(cluster, tenant, "hello-2", "sha256:" + "1" * 64, "Running")
    with pytest.raises(NotThere, match="no log of hello-2 yet"):
        list(client.logs(tenant, "hello-2"))


def test_what_is_deleted_is_gone_and_then_said_not_to_be_there(client: Client, tenant: str) -> None:
    client.deploy(tenant, "hello", "python", SOURCE)
    client.delete(tenant, "hello")
    client.wait_gone(tenant, "hello")
    for attempt in (client.delete, client.retry, client.function):
        with pytest.raises(NotThere, match=r"There is no function .*/hello"):
            attempt(tenant, "hello")


def test_a_letter_is_labelled_to_be_sent_again(client: Client, cluster: KubernetesCluster, tenant: str) -> None:
    body: dict[str, Any] = {
        "apiVersion": DEAD_LETTER.api_version,
        "kind": DEAD_LETTER.kind,
        "metadata": {"namespace": tenant, "name": "dl-1"},
        "spec": {"reason": "Refused", "event": {"id": "1"}},
    }
    cluster.create(DEAD_LETTER, body)
    client.resend(tenant, "dl-1")
    [letter] = client.letters(tenant)
    assert letter.body["metadata"]["labels"] == {"knative-lambda.dev/resend": "true"}


def test_the_api_servers_words_are_told_and_its_no_is_another_end_than_a_fault(
    client: Client, kubeconfig: str, tenant: str
) -> None:
    with pytest.raises(ClientError, match=r"spec\.runtime") as refused:
        client.deploy(tenant, "hello", "cobol", SOURCE)
    assert refused.value.exit_code == 1
    with pytest.raises(Unreachable, match='User "nobody" cannot list') as denied:
        Client.on(kubeconfig, "nobody").functions(tenant)
    assert denied.value.exit_code == 4
    with pytest.raises(Unreachable, match="no cluster is known"):
        Client.on(kubeconfig, "somebody")
