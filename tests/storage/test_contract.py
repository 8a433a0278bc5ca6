"""What every store does: one suite, run on memory, a folder, both S3 clients against a real server, and the guard."""

import random
import urllib.error
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from knative_lambda.schemas.errors import TooLarge
from knative_lambda.storage.store import BadKey, Store

KEY = "contexts/acme/hello/0f.tar.gz"
MIB = 1 << 20
BAD_KEYS = [
    *("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "../a", "a/./b"),
    *("a b", "a%2e%2e/b", "a\\b", "ü", "a\n", "a\0b", "a:b", "a" * 256, "a/" * 450 + "a"),
]


@pytest.mark.parametrize("size", [0, 1, 1000, 6 * MIB])
def test_what_is_put_is_what_is_got(store: Store, size: int) -> None:
    """Random bytes of every size that is sent differently come back as they went in."""
    body = random.Random(size).randbytes(size)  # noqa: S311 - test data
    store.put(KEY, body)
    assert store.get(KEY, limit=size) == body


def test_a_second_put_replaces_the_first(store: Store) -> None:
    store.put(KEY, b"first, and longer")
    store.put(KEY, b"second")
    assert store.get(KEY, limit=100) == b"second"
    assert [found.size for found in store.list("")] == [6]


def test_a_missing_object_is_an_answer(store: Store) -> None:
    assert store.get(KEY, limit=100) is None
    assert store.stat(KEY) is None
    assert list(store.list("")) == []


def test_deleting_twice_is_success(store: Store) -> None:
    store.put(KEY, b"x")
    store.delete(KEY)
    store.delete(KEY)
    assert store.get(KEY, limit=100) is None
    assert list(store.list("")) == []


def test_a_folder_that_was_emptied_may_become_an_object(store: Store) -> None:
    """Nothing but the objects remains of what was put and deleted."""
    store.put("a/b/c", b"x")
    store.delete("a/b/c")
    store.put("a", b"y")
    assert [found.key for found in store.list("")] == ["a"]


def test_a_stat_tells_key_size_and_time(store: Store) -> None:
    before = datetime.now(UTC) - timedelta(minutes=1)
    store.put(KEY, b"12345")
    found = store.stat(KEY)
    assert found is not None
    assert (found.key, found.size) == (KEY, 5)
    assert before < found.modified < before + timedelta(minutes=5)
    assert found.modified.tzinfo is UTC


@pytest.mark.parametrize("size", [101, 3 * MIB])
def test_an_object_over_the_limit_is_too_large(store: Store, size: int) -> None:
    store.put(KEY, bytes(size))
    with pytest.raises(TooLarge, match="100 bytes"):
        store.get(KEY, limit=100)
    store.put(KEY, bytes(100))
    assert store.get(KEY, limit=100) == bytes(100), "the store still answers, and the limit itself is allowed"


def test_a_list_is_in_the_order_of_whole_keys(store: Store) -> None:
    """Keys are compared as bytes, not segment by segment: - and . come before the / of a folder, digits after it."""
    unordered = ["a/x", "b", "a0", "a-b/x", "a.b/x", "aa", "A/1", "a/y/z", "a=1"]
    for key in unordered:
        store.put(key, key.encode())
    found = list(store.list(""))
    assert [each.key for each in found] == sorted(unordered)
    assert [each.size for each in found] == [len(key) for key in sorted(unordered)]
    assert all(each == store.stat(each.key) for each in found)


def test_a_list_has_what_starts_with_the_prefix(store: Store) -> None:
    """A prefix is the beginning of keys, whether or not it ends where a segment does."""
    for key in ["contexts/acme/a/1", "logs/acme/b/1", "logs/acme/a/1", "logs/acme-2/a/1"]:
        store.put(key, b"x")
    for prefix, found in {
        "logs/acme/": ["logs/acme/a/1", "logs/acme/b/1"],
        "logs/acme": ["logs/acme-2/a/1", "logs/acme/a/1", "logs/acme/b/1"],
        "logs/acme/b": ["logs/acme/b/1"],
        "logs/acme/b/1": ["logs/acme/b/1"],
        "log": ["logs/acme-2/a/1", "logs/acme/a/1", "logs/acme/b/1"],
        "logs/none/": [],
        "logs/acme/b/1/": [],
    }.items():
        assert [each.key for each in store.list(prefix)] == found


def test_a_list_begins_after_a_key(store: Store) -> None:
    """Whoever remembers the last key that it saw goes on from there, whether that key still exists or not."""
    keys = [f"{folder}/{name}" for folder in ("a", "a-b", "b", "c") for name in ("1", "2")]
    for key in keys:
        store.put(key, b"x")
    for after in [*keys, "a/0", "a/10", "b", "bb", "zz"]:
        assert [each.key for each in store.list("", after=after)] == [key for key in sorted(keys) if key > after]
    assert [each.key for each in store.list("b/", after="a/1")] == ["b/1", "b/2"]


def test_a_list_goes_on_over_its_pages(opened: tuple[Store, Path | None]) -> None:
    """No key is left out or seen twice where a server's page of 1,000 ends."""
    store, folder = opened
    keys = [f"uploads/acme/{number:04}" for number in range(1001)]
    make = _by_hand(store, folder)
    for key in keys:
        make(key)
    assert [each.key for each in store.list("uploads/")] == keys


def test_a_name_that_is_no_key_is_not_listed(opened: tuple[Store, Path | None]) -> None:
    """People put things into a bucket by hand, and a crash leaves files; whoever lists must be able to use the key."""
    store, folder = opened
    store.put(KEY, b"x")
    for name in ["uploads/my file", "uploads/ü", "+writing/tmp1", "uploads/a+b%20c"] if folder else []:
        _by_hand(store, folder)(name)
    assert [each.key for each in store.list("")] == [KEY]


def test_a_bad_key_is_refused_before_anything_is_sent(store: Store) -> None:
    for key in BAD_KEYS:
        with pytest.raises(BadKey):
            store.put(key, b"x")
        with pytest.raises(BadKey):
            store.get(key, limit=1)
        with pytest.raises(BadKey):
            store.stat(key)
        with pytest.raises(BadKey):
            store.delete(key)
        with pytest.raises(BadKey):
            store.presign(key, seconds=1)
    assert list(store.list("")) == []


def test_a_bad_prefix_is_refused(store: Store) -> None:
    for prefix in ("/", "../", "a/../b", "a//", "ü", "a b"):
        with pytest.raises(BadKey):
            list(store.list(prefix))


def test_a_key_is_never_the_folder_of_another(store: Store) -> None:
    store.put("a/b", b"1")
    store.put("c", b"2")
    for key in ("a", "c/d"):
        with pytest.raises(BadKey):
            store.put(key, b"3")
        assert store.get(key, limit=1) is None
        assert store.stat(key) is None
        store.delete(key)
    assert [each.key for each in store.list("")] == ["a/b", "c"]


def test_threads_share_a_store(store: Store) -> None:
    """Ten threads put, read, list and delete in the same folders; each sees its own objects whole."""

    def work(thread: int) -> None:
        for turn in range(5):
            key = f"shared/{turn}/{thread}"
            body = key.encode() * 1000
            store.put(key, body)
            store.put("shared/one", body)
            assert store.get(key, limit=len(body)) == body
            assert key in {each.key for each in store.list(f"shared/{turn}")}
            one = store.get("shared/one", limit=100_000)
            assert one is not None
            assert one == one[: len(one) // 1000] * 1000, "a reader saw parts of two puts"
            store.delete(key)

    with ThreadPoolExecutor(10) as threads:
        list(threads.map(work, range(10)))
    assert [each.key for each in store.list("")] == ["shared/one"]


def test_a_presigned_url_reads_the_object_without_credentials(store: Store) -> None:
    store.put(KEY, b"shown")
    url = store.presign(KEY, seconds=60)
    if url.startswith("memory:"):
        assert url == f"memory://test/{KEY}"
        return
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"shown"


def test_a_presigned_url_reads_nothing_else(connect: Callable[..., Store], s3_server: tuple[str, Path]) -> None:
    store = connect(s3_server[0], prefix="presigned")
    store.put("one", b"1")
    store.put("two", b"2")
    url = store.presign("one", seconds=60)
    for wrong in (
        urllib.request.Request(url.replace("/one?", "/two?")),
        urllib.request.Request(url, method="DELETE"),
        urllib.request.Request(url.partition("?")[0]),
        urllib.request.Request(url.replace("Expires=60", "Expires=600")),
    ):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(wrong)
    assert store.get("one", limit=1) == b"1"


def _by_hand(store: Store, folder: Path | None) -> Callable[[str], None]:
    """Return how an object is made without the store where that can be: a thousand puts take seconds."""

    def write(name: str) -> None:
        assert folder is not None
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")

    return write if folder else lambda name: store.put(name, b"x")
