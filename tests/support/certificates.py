"""Certificates for tests, made by an authority of theirs, and an HTTPS server that shows one."""

import http.server
import ssl
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


@dataclass(frozen=True)
class Authority:
    """Makes certificates below a folder."""

    home: Path
    host: str = "127.0.0.1"
    """The address that its certificates are for."""

    @classmethod
    def made(cls, home: Path, host: str = "127.0.0.1") -> "Authority":
        """Return a new one, whom nobody trusts yet."""
        home.mkdir(parents=True)
        files = ("-keyout", home / "ca.key", "-out", home / "ca.crt")
        _openssl("req", "-x509", *KEY, "-days", "2", "-subj", "/CN=authority", *files)
        return cls(home, host)

    def folder(self, name: str, *, identity: bool = True, trusts: bool = True) -> Path:
        """Return a folder as a mounted Secret has it: a certificate with its key, and whom it trusts."""
        made = self.home / name
        made.mkdir()
        if identity:
            self.renew(made)
        if trusts:
            (made / "ca.crt").write_bytes((self.home / "ca.crt").read_bytes())
        return made

    def renew(self, folder: Path) -> None:
        """Write a new certificate and its key into a folder."""
        signed = ("-CA", self.home / "ca.crt", "-CAkey", self.home / "ca.key")
        names = ("-subj", f"/CN={folder.name}", "-addext", f"subjectAltName=IP:{self.host}")
        files = ("-keyout", folder / "tls.key", "-out", folder / "tls.crt")
        _openssl("req", "-x509", *KEY, "-days", "2", *names, *signed, *files)


def mount(folder: Path, source: Path) -> None:
    """Have a folder show the files of another, as the kubelet does it: all at once, by a link that is exchanged."""
    folder.mkdir(exist_ok=True)
    kept = Path(tempfile.mkdtemp(prefix="..", dir=folder))
    for file in source.iterdir():
        (kept / file.name).write_bytes(file.read_bytes())
        if not (folder / file.name).is_symlink():
            (folder / file.name).symlink_to(f"..data/{file.name}")
    (folder / "..new").symlink_to(kept.name)
    (folder / "..new").replace(folder / "..data")


def _openssl(*arguments: str | Path) -> None:
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


@contextmanager
def https(folder: Path, *, asks: bool = False, answer: int = 200, body: bytes = b"", port: int = 0) -> Iterator[str]:
    """Serve by HTTPS with a folder's certificate, yield ``127.0.0.1:<port>``; `asks` clients for theirs."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", "0")))
            self.send_response(answer)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body if self.command != "HEAD" else b"")

        do_GET = do_HEAD = do_POST  # noqa: N815 - the names are the library's

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the signature is the library's
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, request: Any, client_address: Any) -> None:
            pass  # a handshake that fails is what the tests look at, from the other side

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    if asks:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(folder / "ca.crt")
    server = Server(("127.0.0.1", port), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
