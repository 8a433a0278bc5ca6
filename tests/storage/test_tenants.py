"""Stores of tenants' own: what is of a tenant lies in its store and nowhere else, and none is the others' trouble."""

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage import keys
from knative_lambda.storage.memory import MemoryStore
from knative_lambda.storage.store import BadKey
from knative_lambda.storage.tenants import TenantStores, faults

from .conftest import connect_s3

HEX = "ab" * 32


def of_tenants() -> Iterator[tuple[str, str]]:
    """Yield every key, and every prefix, that `keys` makes of a tenant's name, with the function that made it."""
    for name, made in inspect.getmembers(keys, inspect.isfunction):
        parameters = inspect.signature(made).parameters
        if next(iter(parameters), "") != "tenant":
            continue
        rest = {
            each: True if parameter.kind is inspect.Parameter.KEYWORD_ONLY else HEX
            for each, parameter in parameters.items()
            if each != "tenant"
        }
        yield name, made("acme", **rest)


def test_whatever_is_of_a_tenant_says_so_in_its_key() -> None:
    made = dict(of_tenants())
    assert {"context", "log", "tombstone", "farewell", "retired", "unnamed", "kept_layer", "uploads"} <= made.keys()
    assert {name: keys.tenant(key) for name, key in made.items()} == dict.fromkeys(made, "acme")


@pytest.mark.parametrize("key", ["", "contexts", "contexts/", "contexts/acme", "global/parser/x", "global/acme/x"])
def test_what_is_of_no_one_tenant_says_that(key: str) -> None:
    """A prefix that is cut may go on: ``acme`` may be ``acmes``."""
    assert keys.tenant(key) == ""


def test_it_lies_in_the_tenants_own_store_and_nowhere_else() -> None:
    shared, own = MemoryStore(), MemoryStore()
    store = TenantStores(shared, {"acme": own})
    mine, others = keys.context("acme", "hello", HEX), keys.context("acmes", "hello", HEX)
    for key in (mine, others, keys.legacy_source("acme")):
        store.put(key, b"x")
    assert [stored.key for stored in own.list("")] == [mine]
    assert [stored.key for stored in shared.list("")] == [others, keys.legacy_source("acme")]
    assert (store.get(mine, limit=9), store.get(others, limit=9)) == (b"x", b"x")
    assert [stored.key for stored in store.list(keys.contexts("acme"))] == [mine]
    assert [stored.key for stored in store.list("contexts/acme")] == [mine, others]
    store.delete(mine)
    assert (store.stat(mine), list(own.list(""))) == (None, [])
    with pytest.raises(BadKey):
        store.put("contexts/acme/../acmes", b"x")


def test_a_store_that_is_away_is_away_for_its_tenant_alone(
    s3_server: tuple[str, Path], doomed_server: tuple[str, Callable[[], None]]
) -> None:
    """Of two real ones one is stopped."""
    endpoint, end = doomed_server
    store = TenantStores(connect_s3(s3_server[0], prefix="rest"), {"acme": connect_s3(endpoint)})
    mine, others = keys.log("acme", "hello", "a-1"), keys.log("other", "hello", "a-1")
    store.put(mine, b"mine")
    store.put(others, b"theirs")
    end()
    with pytest.raises(Unavailable):
        store.get(mine, limit=9)
    assert store.get(others, limit=9) == b"theirs"
    assert [stored.key for stored in store.list(keys.logs("other"))] == [others]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"acme": {"url": "s3://bucket", "region": "x"}}, []),
        ({"acme": "s3://bucket"}, ["acme: an object of texts is needed"]),
        ({"acme": {"url": 1}}, ["acme: an object of texts is needed"]),
        ({"acme": {}, "b": {"url": "s3://b", "key": "k"}}, ["acme: url is missing", "b: nobody knows key"]),
    ],
)
def test_what_is_wrong_with_them_is_told_together(given: dict[str, object], wrong: list[str]) -> None:
    assert faults(given) == wrong
