"""What the `Cluster` in SQLite does that an API server leaves to controllers, and how it keeps its word when killed."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, LEASE, NAMESPACE, TRIGGER, Kind, Object
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas.errors import Conflict, Refused, Unavailable


def thing(kind: Kind, name: str, *owners: Object, namespace: str = "demo") -> Object:
    place: Object = {"namespace": namespace} if kind.namespaced else {}
    references = [
        {"apiVersion": each["apiVersion"], "kind": each["kind"]}
        | {key: each["metadata"][key] for key in ("name", "uid")}
        for each in owners
    ]
    metadata = {"name": name, **place, **({"ownerReferences": references} if references else {})}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": {}}


def test_what_an_object_owned_goes_with_it() -> None:
    cluster = MemoryCluster("demo")
    function = cluster.create(FUNCTION, thing(FUNCTION, "hello"))
    build = cluster.create(BUILD, thing(BUILD, "hello-1", function))
    cluster.create(LEASE, thing(LEASE, "slot-1", build))
    stranger = cluster.create(KNATIVE_SERVICE, thing(KNATIVE_SERVICE, "stranger"))
    cluster.delete(FUNCTION, "demo", "hello")
    assert cluster.list(BUILD, "demo") == []
    assert cluster.list(LEASE, "demo") == []
    assert cluster.list(KNATIVE_SERVICE, "demo") == [stranger]


def test_an_object_that_is_no_json_is_refused_and_the_others_are_still_found() -> None:
    """One NaN in a row would fail every later query that looks into the rows."""
    cluster = MemoryCluster("demo")
    for broken in (float("nan"), float("inf")):
        with pytest.raises(Refused):
            cluster.create(FUNCTION, thing(FUNCTION, "broken") | {"spec": {"n": broken}})
        with pytest.raises(Refused):
            cluster.apply(FUNCTION, thing(FUNCTION, "broken") | {"spec": {"n": broken}})
    function = cluster.create(FUNCTION, thing(FUNCTION, "hello"))
    cluster.create(BUILD, thing(BUILD, "hello-1", function))
    cluster.delete(FUNCTION, "demo", "hello")
    assert cluster.list(BUILD, "demo") == []
    assert cluster.list(FUNCTION, "demo") == []


def test_what_two_owned_goes_with_the_second() -> None:
    cluster = MemoryCluster("demo")
    one = cluster.create(FUNCTION, thing(FUNCTION, "one"))
    two = cluster.create(FUNCTION, thing(FUNCTION, "two"))
    cluster.create(TRIGGER, thing(TRIGGER, "both", one, two))
    cluster.delete(FUNCTION, "demo", "one")
    assert cluster.get(TRIGGER, "demo", "both") is not None
    cluster.delete(FUNCTION, "demo", "two")
    assert cluster.get(TRIGGER, "demo", "both") is None


def test_a_child_that_comes_after_its_owner_went_goes_too() -> None:
    cluster = MemoryCluster("demo")
    function = cluster.create(FUNCTION, thing(FUNCTION, "hello"))
    cluster.delete(FUNCTION, "demo", "hello")
    cluster.apply(KNATIVE_SERVICE, thing(KNATIVE_SERVICE, "hello", function))
    assert cluster.get(KNATIVE_SERVICE, "demo", "hello") is None


def test_a_namespace_goes_with_all_that_is_in_it() -> None:
    cluster = MemoryCluster("demo", "other")
    cluster.create(FUNCTION, thing(FUNCTION, "hello"))
    kept = cluster.create(FUNCTION, thing(FUNCTION, "hello", namespace="other"))
    cluster.delete(NAMESPACE, "", "demo")
    assert cluster.get(FUNCTION, "demo", "hello") is None
    assert cluster.list(FUNCTION, "other") == [kept]


def test_listeners_are_told_of_every_change_after_it_was_stored() -> None:
    cluster, told = MemoryCluster("demo"), []

    def listen(verb: str, kind: Kind, obj: Object) -> None:
        stored = cluster.get(kind, "demo", obj["metadata"]["name"])
        told.append((verb, kind.kind, stored is not None))

    cluster.on_change(listen)
    function = cluster.apply(FUNCTION, thing(FUNCTION, "hello"))
    cluster.apply(FUNCTION, thing(FUNCTION, "hello"))
    cluster.create(TRIGGER, thing(TRIGGER, "hello", function))
    cluster.replace_status(FUNCTION, function | {"status": {"url": "http://hello"}})
    with pytest.raises(Conflict):
        cluster.replace(FUNCTION, function | {"spec": {"runtime": "go"}})
    cluster.delete(FUNCTION, "demo", "hello")
    cluster.delete(FUNCTION, "demo", "hello")
    assert told == [
        ("add", "Function", True),
        ("add", "Trigger", True),
        ("update", "Function", True),
        ("delete", "Function", False),
        ("delete", "Trigger", False),
    ]


def test_what_the_kind_does_not_allow_is_not_stored_and_its_defaults_are() -> None:
    def validate(kind: Kind, body: Object) -> None:
        if kind == FUNCTION:
            if "runtime" not in body["spec"]:
                raise Refused.because("/spec/runtime", "is missing")
            body["spec"].setdefault("timeout", "60s")

    cluster = MemoryCluster("demo", validate=validate)
    for write in (cluster.create, cluster.apply):
        with pytest.raises(Refused, match="runtime"):
            write(FUNCTION, thing(FUNCTION, "hello"))
    stored = cluster.create(FUNCTION, thing(FUNCTION, "hello") | {"spec": {"runtime": "go"}})
    assert stored["spec"] == {"runtime": "go", "timeout": "60s"}
    with pytest.raises(Refused, match="runtime"):
        cluster.replace(FUNCTION, stored | {"spec": {}})
    assert cluster.get(FUNCTION, "demo", "hello") == stored
    assert cluster.replace(FUNCTION, stored | {"spec": {"runtime": "go"}}) == stored


def test_the_clock_can_be_set() -> None:
    cluster = MemoryCluster("demo", now=lambda: datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC))
    stored = cluster.create(FUNCTION, thing(FUNCTION, "hello"))
    assert stored["metadata"]["creationTimestamp"] == "2030-01-02T03:04:05Z"


def test_a_pod_has_the_log_that_a_test_gives_it() -> None:
    cluster = MemoryCluster("demo")
    cluster.logs["demo", "pod", "main"] = b"0123456789"
    assert cluster.pod_log("demo", "pod", "main", limit=4) == b"6789"
    assert cluster.pod_log("demo", "pod", "main", limit=40) == b"0123456789"
    assert cluster.pod_log("demo", "pod", "other", limit=4) is None


def test_a_file_holds_everything_for_the_next_process(tmp_path: Path) -> None:
    first = SQLiteCluster(tmp_path / "objects.db")
    first.create(NAMESPACE, thing(NAMESPACE, "demo"))
    stored = first.apply(FUNCTION, thing(FUNCTION, "hello") | {"spec": {"runtime": "go", "env": {"A": "1"}}})
    first.close()
    second = SQLiteCluster(tmp_path / "objects.db")
    assert second.get(FUNCTION, "demo", "hello") == stored
    new = second.apply(FUNCTION, thing(FUNCTION, "hello") | {"spec": {"runtime": "go"}})
    assert new["spec"] == {"runtime": "go"}
    assert int(new["metadata"]["resourceVersion"]) > int(stored["metadata"]["resourceVersion"])
    second.close()


def test_two_open_files_are_one_cluster(tmp_path: Path) -> None:
    clusters = [SQLiteCluster(tmp_path / "objects.db") for _ in range(2)]
    clusters[0].create(NAMESPACE, thing(NAMESPACE, "demo"))
    clusters[0].create(LEASE, thing(LEASE, "counter") | {"spec": {"leaseTransitions": 0}})

    def count(cluster: SQLiteCluster) -> int:
        lost = 0
        for _ in range(50):
            lease = cluster.get(LEASE, "demo", "counter")
            assert lease is not None
            lease["spec"]["leaseTransitions"] += 1
            try:
                cluster.replace(LEASE, lease)
            except Conflict:
                lost += 1
        return lost

    with ThreadPoolExecutor(4) as threads:
        lost = sum(threads.map(count, clusters * 2))
    lease = clusters[1].get(LEASE, "demo", "counter")
    assert lease is not None
    assert lease["spec"]["leaseTransitions"] == 200 - lost
    for cluster in clusters:
        cluster.close()


def test_a_file_that_cannot_be_opened_is_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="cluster"):
        SQLiteCluster(tmp_path / "missing" / "objects.db")


WRITER = """
import sys
from knative_lambda.deploy.cluster import KNATIVE_SERVICE, NAMESPACE, TRIGGER
from knative_lambda.deploy.embedded.objects import SQLiteCluster

cluster = SQLiteCluster(sys.argv[1])
cluster.create(NAMESPACE, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "demo"}})
for number in range(10**9):
    for kind in (KNATIVE_SERVICE, TRIGGER):
        metadata = {"name": f"hello-{number}", "namespace": "demo"}
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata}
        cluster.apply(kind, body | {"spec": {"text": str(number) * 1000, "number": number}})
    print(number, flush=True)
"""


def test_a_killed_writer_loses_nothing_that_was_acknowledged_and_leaves_nothing_half(tmp_path: Path) -> None:
    path = tmp_path / "objects.db"
    with subprocess.Popen([sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        while int(writer.stdout.readline()) < 50:
            pass
        writer.kill()
        acknowledged = 50 + len(writer.stdout.readlines()) + 1
    cluster = SQLiteCluster(path)
    for kind in (KNATIVE_SERVICE, TRIGGER):
        found = {each["metadata"]["name"]: each for each in cluster.list(kind, "demo")}
        assert found.keys() >= {f"hello-{number}" for number in range(acknowledged)}
        for each in found.values():
            number = each["spec"]["number"]
            assert each["spec"] == {"text": str(number) * 1000, "number": number}
            assert cluster.apply(kind, thing(kind, each["metadata"]["name"]) | {"spec": each["spec"]}) == each
    cluster.close()
