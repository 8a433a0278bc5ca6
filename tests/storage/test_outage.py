"""What a store's clients say when the server does not answer, or not as a server should."""

import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import guarded
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

Connect = Callable[..., Store]

REFUSAL = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>not yours</Message></Error>"
CALLS: dict[str, Callable[[Store], object]] = {
    "put": lambda store: store.put("a", b"x"),
    "get": lambda store: store.get("a", limit=10_000),
    "stat": lambda store: store.stat("a"),
    "delete": lambda store: store.delete("a"),
    "list": lambda store: list(store.list("")),
}


class BadServer(http.server.BaseHTTPRequestHandler):
    """Answers every request as the bucket's name says."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.server.requests += 1  # type: ignore[attr-defined]
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        getattr(self, "answer_" + self.path[1:].partition("/")[0].partition("?")[0])()

    do_PUT = do_HEAD = do_DELETE = do_GET  # noqa: N815 - the names are the base class's

    def answer_failing(self) -> None:
        self._send(500, b"")

    def answer_refusing(self) -> None:
        self._send(403, b"" if self.command == "HEAD" else REFUSAL)

    def answer_proxied(self) -> None:
        self._send(502, b"<html>bad gateway" * (self.command != "HEAD"), "text/html")

    def answer_conflict(self) -> None:
        self._send(409, b"")

    def answer_hanging(self) -> None:
        self.server.done.wait(60)  # type: ignore[attr-defined]

    def answer_closing(self) -> None:
        self.close_connection = True

    def answer_binary(self) -> None:
        self._send(200, b"\xff<not>XML")

    def answer_page(self) -> None:
        self._send(200, b"<html><br>welcome to this network</html>")

    def answer_other(self) -> None:
        self._send(200, b"<html><body>welcome to this network</body></html>")

    def answer_empty(self) -> None:
        self._send(200, b"")

    def answer_dated(self) -> None:
        self._send(200, b"", date="some day")

    def answer_cutting(self) -> None:
        self._send(200, b"only the beginning", length=1000)
        self.close_connection = True

    def _send(
        self,
        status: int,
        body: bytes,
        kind: str = "application/xml",
        length: int | None = None,
        date: str | None = None,
    ) -> None:
        self.send_response(status)
        if date:
            self.send_header("Last-Modified", date)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def bad_server_itself() -> Iterator[http.server.HTTPServer]:
    """Yield a server whose buckets are named for what goes wrong."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), BadServer) as server:
        server.requests = 0  # type: ignore[attr-defined]
        server.done = threading.Event()  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.done.set()  # type: ignore[attr-defined]
        server.shutdown()
        thread.join()


@pytest.fixture
def bad_server(bad_server_itself: http.server.HTTPServer) -> str:
    """Return the endpoint of that server."""
    return f"http://127.0.0.1:{bad_server_itself.server_port}"


@pytest.mark.parametrize("fault", ["failing", "refusing", "proxied", "conflict", "hanging", "closing"])
def test_a_server_that_does_not_do_its_work_is_unavailable(connect: Connect, bad_server: str, fault: str) -> None:
    """No vendor's exception comes through, whatever is asked and however the server fails."""
    store = connect(bad_server, bucket=fault, connect_timeout=1, read_timeout=0.1)
    for call in CALLS.values():
        with pytest.raises(Unavailable, match=f"store: bucket {fault}: .") as caught:
            call(store)
        assert caught.value.dependency == "store"
        assert caught.value.__cause__ is not None, "the vendor's own words are kept for the log"


def test_a_client_does_not_try_again_by_itself(
    connect: Connect, bad_server_itself: http.server.HTTPServer, bad_server: str
) -> None:
    """That is for the guard, who knows the deadline."""
    for fault in ("failing", "closing"):
        before = bad_server_itself.requests  # type: ignore[attr-defined]
        with pytest.raises(Unavailable):
            connect(bad_server, bucket=fault).get("a", limit=1)
        assert bad_server_itself.requests == before + 1  # type: ignore[attr-defined]


def test_a_refusal_says_why(connect: Connect, bad_server: str) -> None:
    with pytest.raises(Unavailable, match=r"AccessDenied.*not yours"):
        connect(bad_server, bucket="refusing").get("a", limit=1)


def test_an_object_that_ends_too_early_is_unavailable(connect: Connect, bad_server: str) -> None:
    """A part of an object is never taken for the whole."""
    with pytest.raises(Unavailable):
        connect(bad_server, bucket="cutting").get("a", limit=10_000)


@pytest.mark.parametrize("fault", ["binary", "page", "other", "empty", "cutting"])
def test_a_list_that_cannot_be_read_is_unavailable(connect: Connect, bad_server: str, fault: str) -> None:
    """What goes by lists deletes what is not in them, so a broken one must not look like a short one."""
    with pytest.raises(Unavailable):
        list(connect(bad_server, bucket=fault).list(""))


@pytest.mark.parametrize("fault", ["empty", "dated"])
def test_a_stat_that_cannot_be_read_is_unavailable(connect: Connect, bad_server: str, fault: str) -> None:
    with pytest.raises(Unavailable):
        connect(bad_server, bucket=fault).stat("a")


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_an_unknown_bucket_is_named(
    connect: Connect, s3_server: tuple[str, Path], call: Callable[[Store], object]
) -> None:
    """A misspelt bucket is never taken for an empty one."""
    with pytest.raises(Unavailable, match="bucket no-such-bucket"):
        call(connect(s3_server[0], bucket="no-such-bucket"))


def test_wrong_credentials_are_told_and_not_shown(s3_server: tuple[str, Path]) -> None:
    url = "s3://test-bucket"
    settings = StoreSettings(url, s3_server[0], access_key="tester", secret_key="wrong-and-secret")
    with pytest.raises(Unavailable, match="SignatureDoesNotMatch") as caught:
        open_store(url, settings).get("a", limit=1)
    assert "wrong-and-secret" not in str(caught.value) + repr(settings)


def test_a_server_that_dies_is_unavailable_through_the_guard_too(
    connect: Connect, doomed_server: tuple[str, Callable[[], None]]
) -> None:
    """It is tried again until the breaker opens; then nobody waits for it any longer."""
    endpoint, kill = doomed_server
    settings = StoreSettings("", deadline=1, connect_timeout=0.1, read_timeout=0.1, failures=3, reset=60)
    store = guarded(connect(endpoint), settings)
    store.put("a", b"x")
    kill()
    for call in CALLS.values():
        with pytest.raises(Unavailable):
            call(store)
    assert store.state == "open"
    with pytest.raises(Unavailable, match="not called") as caught:
        store.get("a", limit=1)
    assert 0 < caught.value.retry_after <= 60


def test_a_folder_that_is_gone_is_unavailable_and_not_empty(tmp_path: Path) -> None:
    url = (tmp_path / "store").as_uri()
    store = open_store(url, StoreSettings(url))
    store.put("a", b"x")
    shutil.rmtree(tmp_path / "store")
    for call in CALLS.values():
        with pytest.raises(Unavailable):
            call(store)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    url = (tmp_path / "file" / "store").as_uri()
    with pytest.raises(Unavailable):
        open_store(url, StoreSettings(url))
