"""Which URL opens which store, and what is said about one that opens none."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier

import pytest

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage.deferred import DeferredStore
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.memory import MemoryStore
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

KEYS = {"access_key": "me", "secret_key": "hush"}


def open_(url: str, **settings: str) -> object:
    return open_store(url, StoreSettings(url, **settings))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("url", "presigned"),
    [
        ("s3://my-bucket", "https://my-bucket.s3.amazonaws.com/a/b?"),
        ("s3://my-bucket/", "https://my-bucket.s3.amazonaws.com/a/b?"),
        ("s3://my-bucket/some/prefix", "https://my-bucket.s3.amazonaws.com/some/prefix/a/b?"),
        ("minio://host:9000/my-bucket/prefix", "https://host:9000/my-bucket/prefix/a/b?"),
        ("minio://host:9000/my-bucket?secure=true", "https://host:9000/my-bucket/a/b?"),
        ("minio://host/my-bucket?secure=false", "http://host/my-bucket/a/b?"),
        ("memory://name", "memory://name/a/b"),
    ],
)
def test_an_url_says_where_the_objects_lie(url: str, presigned: str) -> None:
    assert open_store(url, StoreSettings(url, **KEYS)).presign("a/b", seconds=60).startswith(presigned)


def test_an_endpoint_is_spoken_to_by_path() -> None:
    """Other services than Amazon's seldom have a DNS name for each bucket."""
    settings = StoreSettings("s3://my-bucket", endpoint="http://10.0.0.1:7070", **KEYS)
    url = open_store("s3://my-bucket", settings).presign("a", seconds=60)
    assert url.startswith("http://10.0.0.1:7070/my-bucket/a?")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


def test_a_folder_is_made_with_its_parents(tmp_path: Path) -> None:
    url = (tmp_path / "new" / "with space").as_uri()
    store = open_store(url, StoreSettings(url))
    store.put("a", b"x")
    assert (tmp_path / "new" / "with space" / "a").read_bytes() == b"x"
    assert open_store(url, StoreSettings(url)).get("a", limit=1) == b"x"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("", "none of s3, minio, file, memory"),
        ("gs://bucket", "'gs', which is none of s3, minio, file, memory"),
        ("s3://[bucket", "cannot be read"),
        ("minio://host:99999/bucket", "cannot be read"),
        ("s3://", "3 to 63 characters"),
        ("s3://ab", "3 to 63 characters"),
        ("s3://" + "a" * 64, "3 to 63 characters"),
        ("s3://Bucket", "lowercase letters"),
        ("s3://my_bucket", "lowercase letters"),
        ("s3://bucket:80", "lowercase letters"),
        ("s3://-bucket", "begins and ends"),
        ("s3://bucket.", "begins and ends"),
        ("s3://my..bucket", "two dots"),
        ("s3://192.168.0.1", "no IP address"),
        ("s3://xn--bucket", "does not begin with"),
        ("s3://bucket-s3alias", "does not end with"),
        ("s3://bucket/a b", "prefix 'a b'"),
        ("s3://bucket/../other", "prefix '../other'"),
        ("s3://bucket/" + "a" * 121, "at most 120 characters"),
        ("s3://bucket?secure=false", "only minio:// takes a query"),
        ("s3://bucket#part", "no fragment"),
        ("minio:///bucket", "host is missing"),
        ("minio://host", "3 to 63 characters"),
        ("minio://host/bucket?secure=no", "secure=true or secure=false"),
        ("minio://host/bucket?secure=false&x=1", "secure=true or secure=false"),
        ("file://", "folder is missing"),
        ("file:///", "folder is missing"),
        ("file://relative/path", "no host"),
        ("file:///a/../b", "must not contain .."),
        ("file:///a/%2e%2e/b", "must not contain .."),
        ("memory://", "the name is missing"),
        ("memory://name/path", "no path"),
    ],
)
def test_a_wrong_url_is_told(url: str, said: str) -> None:
    with pytest.raises(ValueError, match="the store's") as caught:
        open_store(url, StoreSettings(url, **KEYS))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "endpoint", ["host:80", "ftp://host", "http://", "http://host/path", "http://host?x", "http://[x", "http://a@b"]
)
def test_a_wrong_endpoint_is_told(endpoint: str) -> None:
    with pytest.raises(ValueError, match="the endpoint must be"):
        open_store("s3://bucket", StoreSettings("s3://bucket", endpoint=endpoint))


@pytest.mark.parametrize("half", ["access_key", "secret_key"])
def test_half_of_the_credentials_is_told(half: str) -> None:
    with pytest.raises(ValueError, match="only one is set"):
        open_store("s3://bucket", StoreSettings("s3://bucket", **{half: "x"}))
    with pytest.raises(ValueError, match="are needed"):
        open_store("minio://host/bucket", StoreSettings("", **{half: "x"}))


def test_all_faults_are_told_at_once() -> None:
    with pytest.raises(ValueError, match="the store's") as caught:
        open_store("minio:///My..Bucket/a b?x#y", StoreSettings("", access_key="only"))
    for said in ("lowercase", "two dots", "prefix", "host is missing", "query", "fragment", "secret key"):
        assert said in str(caught.value)


@pytest.mark.parametrize("scheme", ["s3", "minio", "file", "memory"])
def test_credentials_in_an_url_are_refused_and_not_repeated(scheme: str) -> None:
    with pytest.raises(ValueError, match="credentials do not belong") as caught:
        open_store(f"{scheme}://me:hush@host/bucket", StoreSettings("", **KEYS))  # pragma: allowlist secret
    assert "hush" not in str(caught.value)


def test_settings_do_not_show_the_keys() -> None:
    shown = repr(StoreSettings("s3://bucket", access_key="who-it-is", secret_key="what-proves-it"))
    assert "who-it-is" not in shown
    assert "what-proves-it" not in shown


@pytest.mark.parametrize(
    ("url", "imported"),
    [
        ("memory://name", set()),
        ("s3://bucket", {"boto3", "botocore"}),
        ("minio://host/bucket", {"minio"}),
    ],
)
def test_only_the_chosen_vendor_is_imported_and_when_it_is_asked(url: str, imported: set[str]) -> None:
    """The service starts from zero, and boto3 alone would take as long as the rest of it."""
    program = (
        "import sys; from knative_lambda.storage.factory import open_store, StoreSettings;"
        "heavy = lambda: print(*({'boto3', 'botocore', 'minio'} & set(sys.modules)));"
        f"store = open_store({url!r}, StoreSettings({url!r}, access_key='a', secret_key='b')); heavy();"
        "store.presign('a', seconds=1); heavy()"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    opened, asked = ended.stdout.splitlines()
    assert opened == ""
    assert set(asked.split()) == imported


def test_a_store_that_many_ask_at_once_is_opened_once() -> None:
    opened: list[Store] = []

    def opening(_: tuple[str, str]) -> Store:
        opened.append(MemoryStore())
        return opened[-1]

    store, together = DeferredStore(opening, lambda: ("a", "b")), Barrier(8)

    def ask(number: int) -> None:
        together.wait()
        store.put(f"key-{number}", b"x")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(8)))
    assert len(opened) == 1
    assert [found.key for found in store.list("")] == [f"key-{number}" for number in range(8)]


def test_a_store_is_opened_anew_once_its_keys_were_exchanged_and_not_where_they_cannot_be_read() -> None:
    keys = [("a", "b")]
    opened: list[tuple[str, str]] = []

    def opening(found: tuple[str, str]) -> Store:
        opened.append(found)
        return MemoryStore()

    def reading() -> tuple[str, str]:
        if not keys:
            raise FileNotFoundError
        return keys[-1]

    store = DeferredStore(opening, reading)
    for exchanged in (("a", "b"), ("c", "d"), ("c", "d"), None):
        keys[:] = [exchanged] if exchanged else []
        store.stat("x")
    assert opened == [("a", "b"), ("c", "d")]


def test_a_store_whose_keys_could_never_be_read_is_not_opened() -> None:
    def reading() -> tuple[str, str]:
        raise FileNotFoundError

    with pytest.raises(Unavailable, match="its keys cannot be read"):
        DeferredStore(lambda _: MemoryStore(), reading).stat("x")
