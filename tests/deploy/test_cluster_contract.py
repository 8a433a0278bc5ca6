"""The contract of the `Cluster` port, held against every adapter: memory (also guarded), SQLite, a real API server."""

import copy
import re
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.deploy.cluster import (
    FUNCTION,
    JOB,
    KNATIVE_SERVICE,
    LEASE,
    NAMESPACE,
    SERVICE_ACCOUNT,
    Cluster,
    Kind,
    Object,
    Page,
)
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.guard import PATIENCE, GuardedCluster
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Refused, TooLarge
from knative_lambda.schemas.guard import Guard

ANOTHER_UID = "11111111-1111-1111-1111-111111111111"


@pytest.fixture(params=["memory", "sqlite", "kubernetes", "guarded"])
def cluster(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Cluster]:
    opened: SQLiteCluster | KubernetesCluster
    if request.param in ("memory", "guarded"):
        opened = MemoryCluster()
    elif request.param == "sqlite":
        opened = SQLiteCluster(tmp_path / "objects.db")
    else:
        opened = KubernetesCluster(KubernetesSettings(request.getfixturevalue("kubeconfig")))
    yield GuardedCluster(opened, Guard("cluster", PATIENCE)) if request.param == "guarded" else opened
    opened.close()


@pytest.fixture
def namespace(cluster: Cluster) -> str:
    """Return the name of a namespace of the test's own."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    cluster.create(NAMESPACE, thing(NAMESPACE, "", name))
    return name


@pytest.fixture
def service(namespace: str) -> Callable[..., Object]:
    """Return what makes a Knative Service: the kind whose content the contract's API server does not judge."""

    def make(name: str = "hello", spec: Any = None, **metadata: Any) -> Object:
        return thing(KNATIVE_SERVICE, namespace, name, **metadata) | {"spec": spec or {"image": "one"}}

    return make


def thing(kind: Kind, namespace: str, name: str, **metadata: Any) -> Object:
    place = {"namespace": namespace} if kind.namespaced else {}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **place, **metadata}}


def version(obj: Object) -> str:
    found: str = obj["metadata"]["resourceVersion"]
    return found


def read(cluster: Cluster, body: Object) -> Object:
    found = cluster.get(KNATIVE_SERVICE, body["metadata"]["namespace"], body["metadata"]["name"])
    assert found is not None
    return found


# --- reading


def test_there_is_none_until_it_is_created(cluster: Cluster, service: Callable[..., Object], namespace: str) -> None:
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None
    created = cluster.create(KNATIVE_SERVICE, service("hello"))
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") == created


def test_nothing_lies_in_an_unknown_namespace(cluster: Cluster) -> None:
    assert cluster.get(KNATIVE_SERVICE, "nowhere", "hello") is None
    assert cluster.list(KNATIVE_SERVICE, "nowhere") == []


def test_a_kind_without_namespaces_is_read_and_listed(cluster: Cluster) -> None:
    name, labels = f"test-{uuid.uuid4().hex[:8]}", {"knative-lambda.dev/test": uuid.uuid4().hex}
    created = cluster.create(NAMESPACE, thing(NAMESPACE, "", name, labels=labels))
    assert cluster.get(NAMESPACE, "", name) == created
    assert cluster.list(NAMESPACE, "", labels) == [created]


def test_a_list_is_in_the_order_of_names_and_as_good_as_reading_each(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    for name in ("b", "a-b", "c", "a.b", "a", "ab"):
        cluster.create(KNATIVE_SERVICE, service(name))
    listed = cluster.list(KNATIVE_SERVICE, namespace)
    assert [each["metadata"]["name"] for each in listed] == ["a", "a-b", "a.b", "ab", "b", "c"]
    assert listed == [read(cluster, each) for each in listed]


def test_the_heads_of_objects_are_what_a_list_has_without_their_content(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    """So that thousands of large ones can be looked through."""
    for name in ("b", "a-b", "a"):
        cluster.create(KNATIVE_SERVICE, service(name, labels={"app": name}))
    whole = cluster.list(KNATIVE_SERVICE, namespace)
    heads = cluster.heads(KNATIVE_SERVICE, namespace)
    assert heads == [{key: each[key] for key in ("apiVersion", "kind", "metadata")} for each in whole]
    assert cluster.heads(KNATIVE_SERVICE, namespace, {"app": "b"}) == heads[2:]
    assert cluster.heads(KNATIVE_SERVICE, "nowhere") == []


@pytest.mark.parametrize("labels", [{}, {"app": "yes"}])
def test_a_list_is_read_in_pages_each_beginning_where_the_one_before_ended(
    cluster: Cluster, service: Callable[..., Object], namespace: str, labels: dict[str, str]
) -> None:
    """Whatever comes or goes meanwhile: what was there all the time is on one page."""
    for number in range(7):
        cluster.create(KNATIVE_SERVICE, service(f"f-{number}", labels={"app": "yes"}))
    page = cluster.page(KNATIVE_SERVICE, namespace, labels, most=3)
    whole = cluster.list(KNATIVE_SERVICE, namespace)
    assert page.items == whole[:3]
    cluster.delete(KNATIVE_SERVICE, namespace, "f-2")
    found = []
    while page.after:
        page = cluster.page(KNATIVE_SERVICE, namespace, labels, most=3, after=page.after)
        found += page.items
    assert found == whole[3:]


def test_a_last_page_that_is_full_says_that_it_is_the_last(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    cluster.create(KNATIVE_SERVICE, service())
    assert cluster.page(KNATIVE_SERVICE, namespace, {}, most=1).after == ""
    assert cluster.page(KNATIVE_SERVICE, "nowhere", {}, most=1) == Page([])


def test_a_place_that_no_page_has_said_is_refused(cluster: Cluster, namespace: str) -> None:
    with pytest.raises(Refused):
        cluster.page(KNATIVE_SERVICE, namespace, {}, most=1, after="No Place")


def test_a_list_of_a_built_in_kind_says_what_its_items_are(cluster: Cluster, namespace: str) -> None:
    """An API server leaves this out; without it a listed object could not be written back."""
    created = cluster.create(SERVICE_ACCOUNT, thing(SERVICE_ACCOUNT, namespace, "hello"))
    assert cluster.list(SERVICE_ACCOUNT, namespace) == [created]


def test_a_list_has_what_bears_all_of_the_labels(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    cluster.create(KNATIVE_SERVICE, service("both", labels={"knative-lambda.dev/a": "1", "b": "2", "c": ""}))
    cluster.create(KNATIVE_SERVICE, service("one", labels={"knative-lambda.dev/a": "1"}))
    cluster.create(KNATIVE_SERVICE, service("other", labels={"knative-lambda.dev/a": "2", "b": "2"}))
    cluster.create(KNATIVE_SERVICE, service("none"))

    def names(labels: dict[str, str]) -> list[str]:
        return [each["metadata"]["name"] for each in cluster.list(KNATIVE_SERVICE, namespace, labels)]

    assert names({"knative-lambda.dev/a": "1"}) == ["both", "one"]
    assert names({"knative-lambda.dev/a": "1", "b": "2"}) == ["both"]
    assert names({"c": ""}) == ["both"]
    assert names({"knative-lambda.dev/a": "3"}) == []


def test_a_list_may_end_after_so_many(cluster: Cluster, service: Callable[..., Object], namespace: str) -> None:
    for name in ("b", "c", "a"):
        cluster.create(KNATIVE_SERVICE, service(name, labels={"app": "a" if name == "a" else "other"}))

    def names(most: int, labels: dict[str, str] | None = None) -> list[str]:
        return [each["metadata"]["name"] for each in cluster.list(KNATIVE_SERVICE, namespace, labels, most=most)]

    assert names(2) == ["a", "b"]
    assert names(1, {"app": "other"}) == ["b"]
    assert names(0) == names(3) == names(9) == ["a", "b", "c"]


@pytest.mark.parametrize("labels", [{"a": "1,b!=2"}, {"a": "x" * 64}, {"a,b": "1"}])
def test_what_is_no_label_selects_nothing(cluster: Cluster, namespace: str, labels: dict[str, str]) -> None:
    with pytest.raises(Refused):
        cluster.list(KNATIVE_SERVICE, namespace, labels)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a?b", "Upper", "a\n", "x" * 254])
def test_what_is_no_name_never_reaches_the_cluster(cluster: Cluster, namespace: str, name: str) -> None:
    """An API server reads `DELETE …/services/` as the whole collection, and `…/services/..` as the namespace."""
    cluster.create(KNATIVE_SERVICE, thing(KNATIVE_SERVICE, namespace, "hello"))
    for call in (cluster.get, cluster.delete):
        with pytest.raises(Refused, match="metadata/name"):
            call(KNATIVE_SERVICE, namespace, name)
        with pytest.raises(Refused, match="metadata/namespace"):
            call(KNATIVE_SERVICE, name, "hello")
    with pytest.raises(Refused, match="metadata/namespace"):
        cluster.list(KNATIVE_SERVICE, name)
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is not None


def test_a_pod_that_is_not_there_has_no_log(cluster: Cluster, namespace: str) -> None:
    assert cluster.pod_log(namespace, "hello", "main", limit=100) is None


# --- create


def test_a_created_object_knows_who_and_when_it_is(cluster: Cluster, service: Callable[..., Object]) -> None:
    body = service(labels={"a": "b"}, annotations={"c": "d"})
    before = copy.deepcopy(body)
    stored = cluster.create(KNATIVE_SERVICE, body)
    assert body == before
    assert stored["spec"] == body["spec"]
    assert stored["metadata"].items() >= body["metadata"].items()
    assert uuid.UUID(stored["metadata"]["uid"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", stored["metadata"]["creationTimestamp"])
    assert stored["metadata"]["generation"] == 1
    assert version(stored)
    assert "managedFields" not in stored["metadata"]


def test_a_name_is_given_once(cluster: Cluster, service: Callable[..., Object]) -> None:
    stored = cluster.create(KNATIVE_SERVICE, service("hello", {"image": "one"}))
    with pytest.raises(AlreadyExists):
        cluster.create(KNATIVE_SERVICE, service("hello", {"image": "two"}))
    assert read(cluster, stored) == stored


def test_of_many_creators_one_wins(cluster: Cluster, namespace: str) -> None:
    """The name is the lock: slots, Builds and Jobs stand on this."""

    def create(holder: int) -> bool:
        try:
            cluster.create(LEASE, thing(LEASE, namespace, "slot-1") | {"spec": {"holderIdentity": str(holder)}})
        except AlreadyExists:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(create, range(8))) == [False] * 7 + [True]


@pytest.mark.parametrize("write", ["create", "apply"])
def test_a_status_is_not_written_by(cluster: Cluster, service: Callable[..., Object], write: str) -> None:
    body = service() | {"status": {"ready": True}}
    assert "status" not in getattr(cluster, write)(KNATIVE_SERVICE, body)


def test_the_products_own_kinds_have_a_status_of_their_own(cluster: Cluster, namespace: str) -> None:
    spec = {"runtime": "python", "source": {"inline": {"main.py": "def handle(event, context): pass"}}}
    body = thing(FUNCTION, namespace, "hello") | {"spec": spec, "status": {"url": "http://hello"}}
    stored = cluster.create(FUNCTION, body)
    assert "status" not in stored
    stored = cluster.replace_status(FUNCTION, stored | {"status": {"url": "http://hello"}})
    assert stored["status"] == {"url": "http://hello"}
    assert stored["metadata"]["generation"] == 1


@pytest.mark.parametrize("write", ["create", "apply"])
def test_nothing_is_made_in_an_unknown_namespace(cluster: Cluster, write: str) -> None:
    with pytest.raises(Refused, match="nowhere"):
        getattr(cluster, write)(KNATIVE_SERVICE, thing(KNATIVE_SERVICE, "nowhere", "hello") | {"spec": {"a": 1}})


@pytest.mark.parametrize(
    "metadata",
    [
        {"name": ""},
        {"name": "Upper"},
        {"labels": {"a": "x" * 64}},
        {"labels": {"a": "b c"}},
        {"labels": {"a": 1}},
        {"labels": {"a/b/c": "d"}},
        {"annotations": {"a": 1}},
        {"ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "x"}]},
    ],
    ids=str,
)
@pytest.mark.parametrize("write", ["create", "apply"])
def test_bad_metadata_is_refused(
    cluster: Cluster, service: Callable[..., Object], metadata: Object, write: str
) -> None:
    with pytest.raises(Refused):
        getattr(cluster, write)(KNATIVE_SERVICE, service(**{"name": "hello"} | metadata))


def test_an_object_of_another_kind_is_refused(cluster: Cluster, service: Callable[..., Object]) -> None:
    with pytest.raises(Refused, match="is not batch/v1 Job"):
        cluster.create(JOB, service())


def test_what_was_read_before_is_not_created(cluster: Cluster, service: Callable[..., Object]) -> None:
    with pytest.raises(Refused, match="resourceVersion"):
        cluster.create(KNATIVE_SERVICE, service(resourceVersion="1"))


def test_an_object_of_two_megabytes_is_too_large(cluster: Cluster, service: Callable[..., Object]) -> None:
    with pytest.raises(TooLarge):
        cluster.create(KNATIVE_SERVICE, service(spec={"text": "x" * 2_000_000}))


# --- replace


def test_replace_writes_metadata_and_spec(cluster: Cluster, service: Callable[..., Object]) -> None:
    old = cluster.create(KNATIVE_SERVICE, service(spec={"image": "one"}, labels={"a": "1"}))
    body = copy.deepcopy(old) | {"spec": {"image": "two"}}
    body["metadata"]["labels"] = {"b": "2"}
    new = cluster.replace(KNATIVE_SERVICE, body)
    assert new == read(cluster, new)
    assert new["spec"] == {"image": "two"}
    assert new["metadata"]["labels"] == {"b": "2"}
    assert new["metadata"]["uid"] == old["metadata"]["uid"]
    assert version(new) != version(old)


def test_the_generation_counts_changes_of_the_spec_alone(cluster: Cluster, service: Callable[..., Object]) -> None:
    obj = cluster.create(KNATIVE_SERVICE, service())
    obj["metadata"]["labels"] = {"a": "b"}
    obj = cluster.replace(KNATIVE_SERVICE, obj)
    obj = cluster.replace_status(KNATIVE_SERVICE, obj | {"status": {"ready": True}})
    assert obj["metadata"]["generation"] == 1
    obj = cluster.replace(KNATIVE_SERVICE, obj | {"spec": {"image": "two"}})
    assert obj["metadata"]["generation"] == 2


def test_an_equal_replace_changes_nothing(cluster: Cluster, service: Callable[..., Object]) -> None:
    old = cluster.create(KNATIVE_SERVICE, service())
    assert cluster.replace(KNATIVE_SERVICE, old) == old
    assert cluster.replace_status(KNATIVE_SERVICE, old) == old
    assert read(cluster, old) == old


def test_replace_does_not_write_the_status(cluster: Cluster, service: Callable[..., Object]) -> None:
    obj = cluster.create(KNATIVE_SERVICE, service())
    obj = cluster.replace_status(KNATIVE_SERVICE, obj | {"status": {"ready": True}})
    obj = cluster.replace(KNATIVE_SERVICE, obj | {"spec": {"image": "two"}, "status": {"ready": False}})
    assert obj["status"] == {"ready": True}
    del obj["status"]
    assert cluster.replace(KNATIVE_SERVICE, obj | {"spec": {"image": "three"}})["status"] == {"ready": True}


def test_replace_status_writes_nothing_else(cluster: Cluster, service: Callable[..., Object]) -> None:
    old = cluster.create(KNATIVE_SERVICE, service(spec={"image": "one"}, labels={"a": "1"}))
    body = copy.deepcopy(old) | {"spec": {"image": "two"}, "status": {"ready": True, "list": [{"a": 1}]}}
    body["metadata"]["labels"] = {"b": "2"}
    new = cluster.replace_status(KNATIVE_SERVICE, body)
    assert new == read(cluster, new)
    assert (new["spec"], new["metadata"]["labels"]) == (old["spec"], old["metadata"]["labels"])
    assert new["status"] == body["status"]
    assert version(new) != version(old)


@pytest.mark.parametrize("write", ["replace", "replace_status"])
def test_what_was_read_too_long_ago_is_not_written_by(
    cluster: Cluster, service: Callable[..., Object], write: str
) -> None:
    old = cluster.create(KNATIVE_SERVICE, service())
    new = cluster.replace(KNATIVE_SERVICE, old | {"spec": {"image": "two"}})
    with pytest.raises(Conflict):
        getattr(cluster, write)(KNATIVE_SERVICE, old | {"spec": {"image": "three"}, "status": {"ready": False}})
    assert read(cluster, old) == new


@pytest.mark.parametrize("write", ["replace", "replace_status"])
def test_what_is_gone_is_not_written_by(
    cluster: Cluster, service: Callable[..., Object], namespace: str, write: str
) -> None:
    old = cluster.create(KNATIVE_SERVICE, service())
    cluster.delete(KNATIVE_SERVICE, namespace, "hello")
    with pytest.raises(Conflict):
        getattr(cluster, write)(KNATIVE_SERVICE, old)
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None
    new = cluster.create(KNATIVE_SERVICE, service())
    with pytest.raises(Conflict):
        getattr(cluster, write)(KNATIVE_SERVICE, old | {"spec": {"image": "two"}, "status": {"ready": False}})
    assert read(cluster, old) == new


def test_a_lease_that_is_gone_does_not_come_back_by_a_replace(cluster: Cluster, namespace: str) -> None:
    """Of this kind an API server takes a PUT for a create."""
    old = cluster.create(LEASE, thing(LEASE, namespace, "slot-1") | {"spec": {"holderIdentity": "me"}})
    cluster.delete(LEASE, namespace, "slot-1")
    with pytest.raises(Conflict):
        cluster.replace(LEASE, old)


@pytest.mark.parametrize("write", ["replace", "replace_status"])
def test_what_was_never_read_is_not_written_by(cluster: Cluster, service: Callable[..., Object], write: str) -> None:
    cluster.create(KNATIVE_SERVICE, service())
    with pytest.raises(Refused, match="resourceVersion"):
        getattr(cluster, write)(KNATIVE_SERVICE, service(spec={"image": "two"}))


@pytest.mark.parametrize("write", ["replace", "replace_status"])
def test_of_many_writers_one_wins(cluster: Cluster, service: Callable[..., Object], write: str) -> None:
    old = cluster.create(KNATIVE_SERVICE, service())

    def change(number: int) -> Object | None:
        try:
            body = old | {"spec": {"number": number}, "status": {"number": number}}
            written: Object = getattr(cluster, write)(KNATIVE_SERVICE, body)
        except Conflict:
            return None
        return written

    with ThreadPoolExecutor(8) as threads:
        winners = [each for each in threads.map(change, range(8)) if each is not None]
    assert winners == [read(cluster, old)]


# --- apply


def test_apply_creates_and_then_changes(cluster: Cluster, service: Callable[..., Object]) -> None:
    first = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "one", "env": {"A": "1"}, "list": [1, 2]}))
    assert first == read(cluster, first)
    assert first["metadata"]["generation"] == 1
    second = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two", "env": {"A": "1"}, "list": [3]}))
    assert second == read(cluster, first)
    assert second["spec"] == {"image": "two", "env": {"A": "1"}, "list": [3]}
    assert second["metadata"]["uid"] == first["metadata"]["uid"]
    assert second["metadata"]["generation"] == 2


def test_an_equal_apply_changes_nothing(cluster: Cluster, service: Callable[..., Object]) -> None:
    body = service(spec={"image": "one", "env": {"A": "1"}, "list": [{"a": 1}]}, labels={"a": "b"})
    first = cluster.apply(KNATIVE_SERVICE, body)
    assert cluster.apply(KNATIVE_SERVICE, body) == first
    assert read(cluster, first) == first


def test_apply_removes_what_it_once_set(cluster: Cluster, service: Callable[..., Object]) -> None:
    before = {"image": "one", "env": {"A": "1", "B": "2"}, "scale": {"min": 1}}
    cluster.apply(KNATIVE_SERVICE, service(spec=before, labels={"a": "1"}, annotations={"a": "1", "b": "2"}))
    after = {"image": "one", "env": {"B": "2"}}
    stored = cluster.apply(KNATIVE_SERVICE, service(spec=after, annotations={"b": "2"}))
    assert stored["spec"] == after
    assert stored["metadata"]["annotations"] == {"b": "2"}
    assert "labels" not in stored["metadata"]


def test_apply_leaves_what_others_set(cluster: Cluster, service: Callable[..., Object]) -> None:
    """Knative writes annotations, a person a label; and the status is nobody's field."""
    cluster.apply(KNATIVE_SERVICE, service(spec={"image": "one", "env": {"A": "1"}}, labels={"ours": "1"}))
    other = read(cluster, service())
    other["metadata"]["labels"]["theirs"] = "2"
    other["metadata"]["annotations"] = {"theirs": "2"}
    other["spec"]["env"]["B"] = "2"
    other = cluster.replace_status(KNATIVE_SERVICE, cluster.replace(KNATIVE_SERVICE, other) | {"status": {"ok": True}})
    stored = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two"}))
    assert stored["metadata"]["labels"] == {"theirs": "2"}
    assert stored["metadata"]["annotations"] == {"theirs": "2"}
    assert stored["spec"] == {"image": "two", "env": {"B": "2"}}
    assert stored["status"] == {"ok": True}


def test_apply_takes_a_field_that_another_has_changed(cluster: Cluster, service: Callable[..., Object]) -> None:
    cluster.apply(KNATIVE_SERVICE, service(spec={"image": "one"}))
    cluster.replace(KNATIVE_SERVICE, read(cluster, service()) | {"spec": {"image": "theirs"}})
    assert cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two"}))["spec"] == {"image": "two"}


def test_apply_leaves_a_field_that_another_has_changed_and_it_gives_up(
    cluster: Cluster, service: Callable[..., Object]
) -> None:
    cluster.apply(KNATIVE_SERVICE, service(spec={"image": "one", "env": {"A": "1"}}))
    cluster.replace(KNATIVE_SERVICE, read(cluster, service()) | {"spec": {"image": "one", "env": {"A": "theirs"}}})
    stored = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "one"}))
    assert stored["spec"] == {"image": "one", "env": {"A": "theirs"}}


def test_apply_does_not_remove_what_create_has_set(cluster: Cluster, service: Callable[..., Object]) -> None:
    cluster.create(KNATIVE_SERVICE, service(spec={"image": "one", "env": {"A": "1"}}))
    stored = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two"}))
    assert stored["spec"] == {"image": "two", "env": {"A": "1"}}


def test_apply_with_a_uid_is_for_that_object_alone(cluster: Cluster, service: Callable[..., Object]) -> None:
    with pytest.raises(Conflict):
        cluster.apply(KNATIVE_SERVICE, service(uid=ANOTHER_UID))
    stored = cluster.apply(KNATIVE_SERVICE, service())
    with pytest.raises(Conflict):
        cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two"}, uid=ANOTHER_UID))
    assert read(cluster, stored) == stored
    assert cluster.apply(KNATIVE_SERVICE, service(uid=stored["metadata"]["uid"])) == stored


def test_apply_with_a_version_is_for_that_version_alone(cluster: Cluster, service: Callable[..., Object]) -> None:
    old = cluster.apply(KNATIVE_SERVICE, service())
    new = cluster.apply(KNATIVE_SERVICE, service(spec={"image": "two"}, resourceVersion=version(old)))
    with pytest.raises(Conflict):
        cluster.apply(KNATIVE_SERVICE, service(spec={"image": "three"}, resourceVersion=version(old)))
    assert read(cluster, new) == new


# --- delete


def test_what_was_deleted_is_gone_and_its_name_is_free(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    old = cluster.create(KNATIVE_SERVICE, service())
    cluster.delete(KNATIVE_SERVICE, namespace, "hello")
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None
    assert cluster.list(KNATIVE_SERVICE, namespace) == []
    new = cluster.create(KNATIVE_SERVICE, service())
    assert new["metadata"]["uid"] != old["metadata"]["uid"]


def test_already_gone_is_success(cluster: Cluster, namespace: str) -> None:
    cluster.delete(KNATIVE_SERVICE, namespace, "hello")
    cluster.delete(KNATIVE_SERVICE, namespace, "hello", uid=ANOTHER_UID)
    cluster.delete(KNATIVE_SERVICE, "nowhere", "hello")


def test_a_delete_with_a_version_is_for_the_object_as_it_was_read(
    cluster: Cluster, namespace: str, service: Callable[..., Object]
) -> None:
    read = cluster.create(KNATIVE_SERVICE, service())
    now = cluster.replace(KNATIVE_SERVICE, {**read, "metadata": {**read["metadata"], "labels": {"new": "label"}}})
    with pytest.raises(Conflict):
        cluster.delete(KNATIVE_SERVICE, namespace, "hello", version=read["metadata"]["resourceVersion"])
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") == now
    cluster.delete(KNATIVE_SERVICE, namespace, "hello", version=now["metadata"]["resourceVersion"])
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None


def test_a_delete_with_a_uid_is_for_that_object_alone(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    stored = cluster.create(KNATIVE_SERVICE, service())
    with pytest.raises(Conflict):
        cluster.delete(KNATIVE_SERVICE, namespace, "hello", uid=ANOTHER_UID)
    assert read(cluster, stored) == stored
    cluster.delete(KNATIVE_SERVICE, namespace, "hello", uid=stored["metadata"]["uid"])
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None


def test_an_object_with_a_finalizer_is_on_its_way_until_that_is_gone(
    cluster: Cluster, service: Callable[..., Object], namespace: str
) -> None:
    stored = cluster.create(KNATIVE_SERVICE, service(finalizers=["example.com/wait"]))
    cluster.delete(KNATIVE_SERVICE, namespace, "hello")
    leaving = read(cluster, stored)
    assert leaving["metadata"]["deletionTimestamp"]
    cluster.delete(KNATIVE_SERVICE, namespace, "hello")
    assert read(cluster, stored) == leaving
    with pytest.raises(AlreadyExists):
        cluster.create(KNATIVE_SERVICE, service())
    leaving["metadata"]["finalizers"] = []
    cluster.replace(KNATIVE_SERVICE, leaving)
    assert cluster.get(KNATIVE_SERVICE, namespace, "hello") is None
