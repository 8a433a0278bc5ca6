"""The keys of the product: what they look like, and that nobody's falls on another's."""

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.storage import keys
from knative_lambda.storage.store import BadKey

NAMES = st.text("ab-", min_size=1, max_size=3)


def test_keys_have_the_layout_that_people_find_in_their_bucket() -> None:
    assert keys.context("acme", "hello", "0f3c") == "contexts/acme/hello/0f3c.tar.gz"
    assert keys.log("acme", "hello", "hello-abc-1") == "logs/acme/hello/hello-abc-1.log"
    assert keys.tombstone("acme", "hello", "0f", deletes=True) == "tombstones/acme/hello/deleted-0f.json"
    assert keys.tombstone("acme", "hello", "0f", deletes=False) == "tombstones/acme/hello/cancelled-0f.json"
    assert keys.retired("acme", "hello", "hello-abc", "0f3c") == "retired/acme/hello/hello-abc.0f3c"
    assert keys.unnamed("acme", "python", "0f3c") == "unnamed/acme/python/0f3c"
    assert keys.uploads("acme") == "uploads/acme/"
    assert keys.legacy_source("parser-001") == "global/parser/parser-001"


@given(st.tuples(NAMES, NAMES, NAMES), st.tuples(NAMES, NAMES, NAMES))
def test_two_tenants_functions_or_contexts_never_share_a_key(
    one: tuple[str, str, str], other: tuple[str, str, str]
) -> None:
    """The tenant is in every key, whole, so that no tenant can overwrite another's."""
    for make in (keys.context, keys.log, partial(keys.tombstone, deletes=True)):
        assert (make(*one) == make(*other)) == (one == other)


@given(NAMES, NAMES, NAMES)
def test_every_key_that_is_made_is_a_key(tenant: str, function: str, name: str) -> None:
    for key in (
        keys.context(tenant, function, name),
        keys.log(tenant, function, name),
        keys.retired(tenant, function, name, "0f3c"),
        keys.tombstone(tenant, function, name, deletes=True),
        keys.legacy_source(name),
    ):
        keys.check(key)
    keys.check_prefix(keys.uploads(tenant))


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../other", "a b", "ü", "a\n", "a%2fb"])
def test_a_name_that_would_move_the_key_elsewhere_is_refused(name: str) -> None:
    """A slash in a name would put one tenant's object where another's belongs."""
    with pytest.raises(BadKey):
        keys.context(name, "hello", "0f")
    with pytest.raises(BadKey):
        keys.tombstone("acme", f"{name}/", "0f", deletes=True)
    with pytest.raises(BadKey):
        keys.uploads(name)
    with pytest.raises(BadKey):
        keys.legacy_source(name)


def test_a_key_may_be_as_long_as_every_store_can_hold() -> None:
    keys.check("a" * 255)
    keys.check("a/" * 449 + "ab")
    with pytest.raises(BadKey):
        keys.check("a" * 256)
    with pytest.raises(BadKey):
        keys.check("a/" * 449 + "abc")
