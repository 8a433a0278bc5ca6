"""Tenants with a store of their own: all that they keep lies there, and a store that is away stops nobody else."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.world import PYTHON, START, World

from knative_lambda.builds import record
from knative_lambda.builds.builder import Attempt, Ended
from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler import settings, stores, wire
from knative_lambda.handler.guards import Hooks
from knative_lambda.handler.settings import Settings
from knative_lambda.schemas import types
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable
from knative_lambda.schemas.guard import Switches
from knative_lambda.storage import keys
from knative_lambda.storage.memory import MemoryStore
from knative_lambda.storage.store import Store
from knative_lambda.storage.tenants import TenantStores

GIVEN = {"acme": {"url": "s3://acme-own", "endpoint": "http://10.1.2.3"}}
DAY = timedelta(days=1)


class Failing(MemoryStore):
    """A store that is away for as long as `away`; it counts what it is asked all the same."""

    away, asked = False, 0

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("put", "get", "stat", "delete", "list"):
            return found

        def asked(*args: Any, **given: Any) -> Any:
            self.asked += 1
            if self.away:
                raise Unavailable("store", "it is away")
            return found(*args, **given)

        return asked


class Owned(World):
    """The product with two stores: `acme` has one of its own, if it is given one; `other` shares the installation's."""

    def __init__(self, *, is_own: bool = True, **given: Any) -> None:
        self.shared, self.own = Failing(now=lambda: self.time), Failing(now=lambda: self.time)
        store = TenantStores(self.shared, {"acme": self.own} if is_own else {})
        super().__init__(store=store, tenant_stores=GIVEN if is_own else {}, **given)

    def kept(self, store: Store) -> set[tuple[str, str]]:
        """Return sort and tenant of all that lies in a store."""
        return {(sort, tenant) for sort, tenant, *_ in (stored.key.split("/") for stored in store.list(""))}


def functions(world: World, tenant: str) -> list[str]:
    return [found["metadata"]["name"] for found in world.cluster.list(FUNCTION, tenant)]


def live(world: Owned, tenant: str) -> None:
    """Bring a function of a tenant from source to a log, a failure, a cancel and a deletion."""
    data = {"tenant": tenant, "name": "hello"}
    for step in ("first", "second"):
        world.start(tenant=tenant, builder="kaniko", source={"inline": {**PYTHON, "step": step}})
    [build] = [one for one in world.builds(tenant) if record.phase(one) == "Running"]
    attempt = f"{build['metadata']['name']}-{build['status']['attempt']}"
    world.builder.logs[attempt] = b"it went well"
    world.registry.known[f"registry/{tenant}/hello:{attempt}"] = "sha256:" + "d" * 64
    world.builder.ends[attempt] = Ended(0)
    world.report("Pod", f"{tenant}-builds", f"{attempt}-abcde")
    world.send(types.BUILD_CANCEL, {"tenant": tenant, "name": "nobody"})
    world.broker = 503
    world.send(types.FUNCTION_DELETE, data)


def test_all_that_is_of_a_tenant_lies_in_its_own_store_and_nowhere_else() -> None:
    world = Owned()
    for tenant in ("acme", "other"):
        live(world, tenant)
    sorts = {"contexts", "logs", "tombstones", "farewells"}
    assert world.kept(world.own) == {(sort, "acme") for sort in sorts}
    assert world.kept(world.shared) == {(sort, "other") for sort in sorts}


def test_without_one_it_lies_in_the_shared_store() -> None:
    world = Owned(is_own=False)
    live(world, "acme")
    assert ("contexts", "acme") in world.kept(world.shared)
    assert world.kept(world.own) == set()


def test_a_source_is_named_by_the_url_of_the_store_that_it_lies_in() -> None:
    world = Owned()
    for store, tenant in ((world.own, "acme"), (world.shared, "other")):
        store.put(f"{keys.uploads(tenant)}main.py", PYTHON["main.py"].encode())
    for tenant, url in (("acme", "s3://acme-own"), ("other", "memory://world")):
        world.start(tenant=tenant, source={"object": f"{url}/uploads/{tenant}/main.py"})
        assert functions(world, tenant) == ["hello"]
    with pytest.raises(Refused, match="an object lies in memory://world below uploads/other/"):
        world.start("second", tenant="other", source={"object": "s3://acme-own/uploads/acme/main.py"})


def test_while_one_is_away_its_tenant_waits_and_the_others_do_not() -> None:
    world = Owned()
    world.own.away = True
    with pytest.raises(Temporary):
        world.start()
    world.start(tenant="other")
    world.tick()
    assert (functions(world, "acme"), functions(world, "other")) == ([], ["hello"])
    world.own.away = False
    world.start()
    assert functions(world, "acme") == ["hello"]


def test_while_the_shared_one_is_away_those_who_share_it_wait_together() -> None:
    world = Owned(is_own=False)
    world.shared.away = True
    for tenant in ("acme", "other"):
        with pytest.raises(Temporary):
            world.start(tenant=tenant)
    with pytest.raises(Temporary):
        world.tick()


def test_whose_store_is_away_keeps_nobody_else_in_the_queue() -> None:
    """What fails there for want of a tenant's store fails no event of the others; it goes on once the store is back."""
    world = Owned(builds_at_once=2)
    for name in ("first", "second"):
        world.start(name, tenant="other", builder="kaniko")
    world.start(builder="kaniko")
    world.start("third", tenant="other", builder="kaniko")
    real = world.builder.start

    def start(attempt: Attempt) -> None:
        world.store.stat(attempt.context)
        real(attempt)

    world.builder.start = start  # type: ignore[method-assign]
    world.own.away = True
    for name in ("first", "second"):
        end(world, name)
    assert [one.function for one in world.builder.started.values()] == ["first", "second", "third"]
    world.own.away = False
    world.tick()
    assert [one.tenant for one in world.builder.started.values()] == ["other", "other", "other", "acme"]


def end(world: Owned, name: str) -> None:
    [attempt] = [one for one in world.builder.started.values() if one.function == name]
    world.registry.known[attempt.destination] = "sha256:" + "d" * 64
    world.builder.ends[attempt.name] = Ended(0)
    world.report("Pod", "other-builds", f"{attempt.name}-abcde")


@pytest.mark.parametrize("away", [False, True])
def test_each_store_is_swept_for_itself(*, away: bool) -> None:
    """What nobody needs goes from both; from one that is away later, and from the other all the same."""
    world = Owned()
    for tenant, store in (("acme", world.own), ("other", world.shared)):
        store.put(keys.log(tenant, "gone", "x-1"), b"of a Build that is gone")
    world.time = (START + 2 * DAY).replace(minute=10)
    world.own.away = away
    world.time = (world.time + timedelta(hours=1)).replace(minute=0)
    world.tick()
    world.own.away = False
    assert ("logs", "other") not in world.kept(world.shared)
    assert (("logs", "acme") in world.kept(world.own)) is away
    world.time = (world.time + timedelta(hours=1)).replace(minute=0)
    world.tick()
    assert ("logs", "acme") not in world.kept(world.own)


# --- as it is joined


def beside(own: Mapping[str, Store], changed: list[tuple[str, str]]) -> Store:
    hooks = Hooks([lambda name, state: changed.append((name, state))])
    return stores.beside(MemoryStore(), own, hooks, Switches(sleep=lambda _: None))


def test_each_has_a_breaker_of_its_own() -> None:
    """The one of a store that is away opens, is named by its tenant, and is nobody else's."""
    dead, well, changed = Failing(), Failing(), list[tuple[str, str]]()
    store = beside({"acme": dead, "other": well}, changed)
    dead.away = True
    for _ in range(5):
        with pytest.raises(Unavailable):
            store.get(keys.log("acme", "hello", "x-1"), limit=9)
    assert changed == [("store of acme", "open")]
    assert dead.asked == 2
    for tenant in ("other", "shared"):
        store.put(keys.log(tenant, "hello", "x-1"), b"x")
    assert well.asked == 1


def test_where_nobody_has_one_there_is_none_more() -> None:
    shared = MemoryStore()
    assert stores.beside(shared, {}, Hooks()) is shared


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("access-key", "secret-key"):
        (tmp_path / name).write_text("0123456789")
    return tmp_path


def test_files_that_are_missing_are_the_outage_of_that_store_alone(folder: Path) -> None:
    """The service begins all the same: it is other tenants' too."""
    fields = {"url": "minio://127.0.0.1:1/bucket?secure=false", "credentials": str(folder / "missing")}
    found = stores.opened({"acme": fields}, settings.credentials)
    with pytest.raises(Unavailable, match="its keys cannot be read"):
        found["acme"].stat("a/b/c")
    there = stores.opened({"acme": fields | {"credentials": str(folder)}}, settings.credentials)
    assert there["acme"].presign("a/b/c", seconds=60).startswith("http://127.0.0.1:1/bucket/a/b/c?")


def test_what_is_wrong_with_urls_is_told_of_all_tenants_at_once() -> None:
    given = {"acme": {"url": "ftp://x"}, "b": {"url": "minio://host/bucket"}, "c": {"url": "s3://good-bucket"}}
    with pytest.raises(ValueError, match=r"acme: .*scheme 'ftp'.*; b: .*access key and secret key are needed"):
        stores.opened(given, settings.credentials)


def test_the_settings_are_read_and_checked() -> None:
    environment = {
        "KNATIVE_LAMBDA_TENANT_STORES": '{"acme": {"url": "s3://acme-own"}}',
        "KNATIVE_LAMBDA_STORE_URL": "s3://all",
    }
    given = settings.read(environment)
    assert [given.store_of(tenant) for tenant in ("acme", "other")] == ["s3://acme-own", "s3://all"]
    with pytest.raises(settings.BadSettings, match="TENANT_STORES: acme: url is missing"):
        settings.read({"KNATIVE_LAMBDA_TENANT_STORES": '{"acme": {}}'})


KUBECONFIG = {
    "current-context": "none",
    "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
    "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "none", "user": {}}],
}


@pytest.fixture
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have a cluster named that is not there; return a folder."""
    (tmp_path / "kubeconfig").write_text(json.dumps(KUBECONFIG))
    # what the environment says of it is read once in a process, by whoever loads the package first
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
    return tmp_path


def service(folder: Path, **given: Any) -> wire.Service:
    """Return the service as it is joined on a cluster, of which nothing is asked here."""
    needed = {"python_base": "r.test/python:1", "node_base": "r.test/node:1", "kaniko_image": "k", "fetch_image": "f"}
    whole = Settings(tenants=("acme", "other"), store_url=f"file://{folder}/all", registry="r.test", **needed)
    return wire.service(replace(whole, **given), wire.Listeners())[0]


def test_the_service_is_joined_with_them(nowhere: Path) -> None:
    """All of it sees one store, and one registry; what is away of a tenant's is no word about the product's health."""
    away = {"prefix": "127.0.0.1:1"}
    joined = service(
        nowhere,
        tenant_stores={"acme": {"url": f"file://{nowhere}/own"}},
        tenant_registries={"acme": away},
    )
    for tenant in ("acme", "other"):
        joined.product.workshop.store.put(keys.log(tenant, "hello", "x-1"), b"x")
    assert [path.name for path in (nowhere / "own" / "logs").iterdir()] == ["acme"]
    assert [path.name for path in (nowhere / "all" / "logs").iterdir()] == ["other"]
    for _ in range(3):
        with pytest.raises(Unavailable):
            joined.product.workshop.registry.digest("127.0.0.1:1/acme/hello:1")
    assert set(joined.dependencies().values()) == {"closed"}


def test_an_url_that_is_none_stops_the_start_and_names_its_tenant(nowhere: Path) -> None:
    with pytest.raises(settings.BadSettings, match=r"TENANT_STORES: acme: .*scheme 'ftp'"):
        service(nowhere, tenant_stores={"acme": {"url": "ftp://x"}})
