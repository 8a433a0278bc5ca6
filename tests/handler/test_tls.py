"""TLS, as each client speaks it: whom it trusts, whom it does not, and who it says it is."""

import gzip
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority, https

from knative_lambda.builds import fetch
from knative_lambda.handler.audit.sink import sink_of
from knative_lambda.handler.broker import HttpBroker
from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.tls import NOWHERE
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.settings import StoreSettings

MISSING = (
    b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no</Message><Key>a</Key><Resource>a</Resource></Error>'
)
Ask = Callable[[str, Path], object]
"""Asks a host, believing and saying what lies in a folder; raises `Temporary` where it does not get through."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Path:
    return authority.folder("server")


def broker(host: str, folder: Path) -> object:
    return HttpBroker(trust=folder).post(f"https://{host}/acme/default", {}, b"{}")


def sink(host: str, folder: Path) -> object:
    found = sink_of(f"https://{host}/audit", "", "" if folder == NOWHERE else str(folder))
    assert found is not None
    return found.write(b"{}\n")


def s3(host: str, folder: Path) -> object:
    return _store(StoreSettings("s3://bucket", f"https://{host}", access_key="a", secret_key="b" * 9, trust=folder))


def minio(host: str, folder: Path) -> object:
    return _store(StoreSettings(f"minio://{host}/bucket", access_key="a", secret_key="b" * 9, trust=folder))


def _store(settings: StoreSettings) -> object:
    return open_store(settings.url, settings).get("a", limit=10)


CLIENTS = pytest.mark.parametrize("ask", [broker, sink, s3, minio], ids=lambda ask: ask.__name__)


def answering(ask: Ask) -> dict[str, Any]:
    """Return what a server answers whoever gets through: a store, that there is no such object."""
    return {"answer": 404, "body": MISSING} if ask in (s3, minio) else {}


@CLIENTS
def test_a_client_believes_the_authorities_that_it_is_given_and_nobody_else(
    authority: Authority, server: Path, tmp_path: Path, ask: Ask
) -> None:
    other = Authority.made(tmp_path / "other")
    with https(server, **answering(ask)) as host:
        for folder in (NOWHERE, other.folder("client", identity=False)):
            with pytest.raises(Temporary):
                ask(host, folder)
        ask(host, authority.folder(f"trusting-{ask.__name__}", identity=False))


@CLIENTS
def test_a_client_shows_its_certificate_where_it_is_asked(
    authority: Authority, server: Path, tmp_path: Path, ask: Ask
) -> None:
    nobody = authority.folder(f"nobody-{ask.__name__}", identity=False)
    stranger = Authority.made(tmp_path / "strangers").folder("stranger")
    (stranger / "ca.crt").write_bytes((nobody / "ca.crt").read_bytes())
    with https(server, asks=True, **answering(ask)) as host:
        for folder in (nobody, stranger):
            with pytest.raises(Temporary):
                ask(host, folder)
        ask(host, authority.folder(f"known-{ask.__name__}"))


@pytest.mark.parametrize("kind", ["broker", "audit"])
def test_files_that_are_written_anew_are_read_anew(
    authority: Authority, server: Path, tmp_path: Path, kind: str
) -> None:
    folder = Authority.made(tmp_path / "older").folder("client", identity=False)
    with https(server) as host:
        post, found = HttpBroker(trust=folder), sink_of(f"https://{host}/", "", str(folder))
        assert found is not None

        def ask() -> object:
            return post.post(f"https://{host}/", {}, b"") if kind == "broker" else found.write(b"{}\n")

        with pytest.raises(Temporary):
            ask()
        (folder / "ca.crt").write_bytes((authority.home / "ca.crt").read_bytes())
        ask()


@CLIENTS
def test_certificates_that_cannot_be_read_are_an_outage(server: Path, tmp_path: Path, ask: Ask) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with https(server, **answering(ask)) as host, pytest.raises(Temporary):
        ask(host, tmp_path)


def test_a_build_reads_its_context_from_a_store_that_it_is_told_to_trust(
    authority: Authority, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, digest = gzip.compress(b"context"), hashlib.sha256(b"context").hexdigest()
    with https(server, body=body) as host:
        url, target = f"https://{host}/context?X-Amz-Signature=hush", tmp_path / "context.tar.gz"
        assert fetch.fetch(url, digest, target) == "URLError"
        monkeypatch.setenv("CONTEXT_CA", str(authority.home / "ca.crt"))
        assert fetch.fetch(url, digest, target) == ""
