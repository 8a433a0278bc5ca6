"""TLS, as each client speaks it: whom it trusts, whom it does not, and who it says it is."""

import gzip
import hashlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority, https, mount
from support.ports import free_port
from support.registry import patient

from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.jobs import fetch
from knative_lambda.handler.audit.sink import sink_of
from knative_lambda.handler.tell.broker import HttpBroker
from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.tls import NOWHERE
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.settings import StoreSettings

MISSING = (
    b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code><Message>no</Message><Key>a</Key><Resource>a</Resource></Error>'
)
Client = Callable[[str, Path], Callable[[], object]]
"""Makes what asks a host, believing and saying what lies in a folder: it raises `Temporary` where it is not heard."""


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority.made(tmp_path_factory.mktemp("authority") / "ours")


@pytest.fixture(scope="module")
def server(authority: Authority) -> Path:
    return authority.folder("server")


def broker(host: str, folder: Path) -> Callable[[], object]:
    return partial(HttpBroker(trust=folder).post, f"https://{host}/acme/default", {}, b"{}")


def registry(host: str, folder: Path) -> Callable[[], object]:
    return partial(HttpRegistry(patient(trust=folder)).digest, f"{host}/acme/hello:1")


def sink(host: str, folder: Path) -> Callable[[], object]:
    found = sink_of(f"https://{host}/audit", "", "" if folder == NOWHERE else str(folder))
    assert found is not None
    return partial(found.write, b"{}\n")


def s3(host: str, folder: Path) -> Callable[[], object]:
    return _store(StoreSettings("s3://bucket", f"https://{host}", access_key="a", secret_key="b" * 9, trust=folder))


def minio(host: str, folder: Path) -> Callable[[], object]:
    return _store(StoreSettings(f"minio://{host}/bucket", access_key="a", secret_key="b" * 9, trust=folder))


def _store(settings: StoreSettings) -> Callable[[], object]:
    return partial(open_store(settings.url, settings).get, "a", limit=10)


CLIENTS = pytest.mark.parametrize("client", [broker, registry, sink, s3, minio], ids=lambda client: client.__name__)


def answering(client: Client) -> dict[str, Any]:
    """Return what a server answers whoever gets through: that there is no such thing, where that is asked for."""
    return {"answer": 404, "body": MISSING} if client in (registry, s3, minio) else {}


@CLIENTS
def test_a_client_believes_the_authorities_that_it_is_given_and_nobody_else(
    authority: Authority, server: Path, tmp_path: Path, client: Client
) -> None:
    other = Authority.made(tmp_path / "other")
    with https(server, **answering(client)) as host:
        for folder in (NOWHERE, other.folder("client", identity=False)):
            with pytest.raises(Temporary):
                client(host, folder)()
        client(host, authority.folder(f"trusting-{client.__name__}", identity=False))()


@CLIENTS
def test_a_client_shows_its_certificate_where_it_is_asked(
    authority: Authority, server: Path, tmp_path: Path, client: Client
) -> None:
    nobody = authority.folder(f"nobody-{client.__name__}", identity=False)
    stranger = Authority.made(tmp_path / "strangers").folder("stranger")
    (stranger / "ca.crt").write_bytes((nobody / "ca.crt").read_bytes())
    with https(server, asks=True, **answering(client)) as host:
        for folder in (nobody, stranger):
            with pytest.raises(Temporary):
                client(host, folder)()
        client(host, authority.folder(f"known-{client.__name__}"))()


@CLIENTS
def test_certificates_that_are_exchanged_on_both_sides_are_taken_up_without_a_restart(
    authority: Authority, server: Path, tmp_path: Path, client: Client
) -> None:
    """The server's is of a new authority, and so are those that it takes: all is well once the Secret has them."""
    newer = Authority.made(tmp_path / "newer")
    mount(tmp_path / "mounted", authority.folder(f"before-{client.__name__}"))
    with https(server, asks=True, port=free_port(), **answering(client)) as host:
        ask = client(host, tmp_path / "mounted")
        ask()
    with https(newer.folder("server"), asks=True, port=int(host.partition(":")[2]), **answering(client)):
        with pytest.raises(Temporary):
            ask()
        mount(tmp_path / "mounted", newer.folder("after"))
        ask()


@CLIENTS
def test_certificates_that_cannot_be_read_are_an_outage(server: Path, tmp_path: Path, client: Client) -> None:
    (tmp_path / "ca.crt").write_text("no certificate")
    with https(server, **answering(client)) as host, pytest.raises(Temporary):
        client(host, tmp_path)()


def test_a_build_reads_its_context_from_a_store_that_it_is_told_to_trust(
    authority: Authority, server: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body, digest = gzip.compress(b"context"), hashlib.sha256(b"context").hexdigest()
    with https(server, body=body) as host:
        url, target = f"https://{host}/context?X-Amz-Signature=hush", tmp_path / "context.tar.gz"
        assert fetch.fetch(url, digest, target) == "URLError"
        monkeypatch.setenv("CONTEXT_CA", str(authority.home / "ca.crt"))
        assert fetch.fetch(url, digest, target) == ""
