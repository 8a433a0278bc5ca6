"""How a clone gets out where the installation has a proxy, and authorities of its own: real git, servers and proxy."""

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.certificates import Authority
from support.git import Repository, Server, served

from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.inputs.repository import Address
from knative_lambda.builds.jobs.clone import Clone, Failed
from knative_lambda.builds.jobs.way import Way

TOKEN = "opensesame-4711"
LOCAL = Reach.of(["127.0.0.0/8"])


@dataclass
class Proxy:
    """What leads anywhere by CONNECT, and keeps what it was asked: to one place, whatever it is called."""

    to: tuple[str, int]
    asked: list[str] = field(default_factory=list)
    url: str = ""


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority.made(tmp_path / "authority")


@pytest.fixture
def server(tmp_path: Path, authority: Authority) -> Iterator[Server]:
    repository = Repository(tmp_path / "repositories")
    repository.commit({"main.py": "def handle(event, context):\n    return {}\n"})
    with served(repository.bare.parent, TOKEN, identity=authority.folder("git")) as running:
        yield running


@pytest.fixture
def proxy(server: Server) -> Iterator[Proxy]:
    with leading(server) as known:
        yield known


@contextmanager
def leading(server: Server, identity: Path | None = None) -> Iterator[Proxy]:
    """Run a proxy that leads to a server; by TLS with an `identity`, a folder of `Authority`."""
    known = Proxy(("127.0.0.1", server.server_port))

    class Handler(BaseHTTPRequestHandler):
        def do_CONNECT(self) -> None:
            known.asked.append(f"{self.path}\n{self.headers}")
            with socket.create_connection(known.to) as there:
                self.send_response(200)
                self.end_headers()
                _join(self.connection, there)

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # who does not believe the certificate tells it himself

    running = Quiet(("127.0.0.1", 0), Handler)
    known.url = f"http{'s' * bool(identity)}://127.0.0.1:{running.server_port}"
    if identity:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
        running.socket = context.wrap_socket(running.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    try:
        yield known
    finally:
        running.shutdown()
        running.server_close()


def _join(one: socket.socket, other: socket.socket) -> None:
    """Bring what each says to the other, until one has said all."""
    while True:
        for ready in select.select([one, other], [], [])[0]:
            if not (said := ready.recv(65536)):
                return
            (other if ready is one else one).sendall(said)


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., Clone]:
    count = iter(range(100))

    def made(url: str, around: dict[str, str], reach: Reach = LOCAL, **keys: str) -> Clone:
        work, secret = tmp_path / f"work-{next(count)}", tmp_path / f"secret-{next(count)}"
        work.mkdir()
        secret.mkdir()
        for name, text in ({"token": TOKEN} | keys).items():
            (secret / name).write_text(text)
        asked = {"git": {"url": url}, "runtime": "python", "entrypoint": ""}
        return Clone(asked, work, secret, reach, pause=0, around=around)

    return made


def failure(clone: Clone) -> tuple[str, str]:
    with pytest.raises(Failed) as failed:
        clone.context()
    return failed.value.reason, str(failed.value)


def test_a_server_is_believed_by_what_builds_trust_or_by_its_secret(
    server: Server, authority: Authority, clone: Callable[..., Clone]
) -> None:
    """Each beside the other, and beside whom the image trusts."""
    own, other = authority.home / "ca.crt", Authority.made(authority.home / "other").home / "ca.crt"
    assert failure(clone(server.url, {}))[0] == "HostUntrusted"
    assert failure(clone(server.url, {"GIT_SSL_CAINFO": str(other)}))[0] == "HostUntrusted"
    assert clone(server.url, {"GIT_SSL_CAINFO": str(own)}).context()
    assert clone(server.url, {"GIT_SSL_CAINFO": str(own)}, **{"ca.crt": other.read_text()}).context()
    assert clone(server.url, {"GIT_SSL_CAINFO": str(other)}, **{"ca.crt": own.read_text()}).context()
    assert clone(server.url, {}, **{"ca.crt": own.read_text()}).context()


def test_a_repository_is_cloned_by_the_proxy_which_never_sees_its_token(
    server: Server, proxy: Proxy, authority: Authority, clone: Callable[..., Clone]
) -> None:
    around = {"https_proxy": proxy.url, "GIT_SSL_CAINFO": str(authority.home / "ca.crt")}
    assert clone(server.url, around).context()
    assert {asked.partition("\n")[0] for asked in proxy.asked} == {f"127.0.0.1:{server.server_port}"}
    assert "authorization" not in "".join(proxy.asked).lower()
    proxy.asked.clear()
    for without in ({"no_proxy": "127.0.0.1"}, {"no_proxy": "*"}, {"https_proxy": "", "http_proxy": proxy.url}):
        assert clone(server.url, around | without).context()
    assert not proxy.asked


def test_a_proxy_is_believed_by_what_builds_trust_too(
    server: Server, authority: Authority, clone: Callable[..., Clone]
) -> None:
    other = Authority.made(authority.home / "other")
    own = {"GIT_SSL_CAINFO": str(authority.home / "ca.crt")}
    with leading(server, authority.folder("proxy")) as proxy:
        assert clone(server.url, {"https_proxy": proxy.url, **own}).context()
        assert {asked.partition("\n")[0] for asked in proxy.asked} == {f"127.0.0.1:{server.server_port}"}
    with leading(server, other.folder("proxy")) as proxy:
        reason, message = failure(clone(server.url, {"https_proxy": proxy.url, **own}))
        assert (reason, "of a proxy" in message, proxy.asked) == ("HostUntrusted", True, [])


@pytest.mark.parametrize(
    ("host", "without", "is_direct"),
    [
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", ".svc, 10.0.0.0/8", True),
        ("11.1.2.3", "10.0.0.0/8", False),
        ("git.acme.example", "10.0.0.0/8", False),
        ("git.acme.example", "*.acme.example", True),
        ("GIT.acme.example", "a.example,*.acme.example", True),
        ("acme.example", "*.acme.example", False),
        ("evilacme.example", "*.acme.example", False),
        ("git.acme.example", ".acme.example", True),
        ("git.acme.example", "acme.example", True),
        ("git.acme.example", "a.example,*", True),
        ("git.acme.example", "git.acme.example:8443", True),
        ("git.acme.example", "git.acme.example:443", False),
        ("git.acme.example", "no/network,", False),
    ],
)
def test_what_is_reached_without_the_proxy_is_named_as_other_tools_take_it(
    tmp_path: Path, host: str, without: str, *, is_direct: bool
) -> None:
    around = {"https_proxy": "http://proxy.example", "no_proxy": without}
    way = Way(tmp_path, None, Reach(resolve=lambda _: ["9.9.9.9"]), around)
    environment = way.environment(Address.of(f"https://{host}:8443/hello.git"), 0)
    assert ("http.proxy" in environment.values()) != is_direct


def test_a_proxy_leads_nowhere_that_is_not_public_or_named(
    server: Server, proxy: Proxy, authority: Authority, clone: Callable[..., Clone]
) -> None:
    """A host that only the proxy knows is named by the installation, and looked up by the proxy alone."""
    around = {"https_proxy": proxy.url, "GIT_SSL_CAINFO": str(authority.home / "ca.crt")}
    inside = Reach(resolve=lambda _host: ["127.0.0.1"])
    reason, message = failure(clone(server.url, around, inside))
    assert (reason, message) == ("HostRefused", "127.0.0.1 is not reached from here: 127.0.0.1 is not public")
    assert not proxy.asked
    elsewhere = server.url.replace("127.0.0.1", "git.invalid")
    assert failure(clone(elsewhere, around))[0] == "HostRefused"
    assert not proxy.asked
    # its certificate is for another name, which shows how far it came
    assert failure(clone(elsewhere, around, Reach.of(["git.invalid"])))[0] == "HostUntrusted"
    assert proxy.asked[0].startswith(f"git.invalid:{server.server_port}\n")
    proxy.asked.clear()
    assert failure(clone(elsewhere, {**around, "no_proxy": ".invalid"}, Reach.of(["git.invalid"])))[0] == "HostUnknown"
    assert not proxy.asked
