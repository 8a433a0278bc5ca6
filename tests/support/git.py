"""A real git server for tests: `git http-backend` behind a small HTTP server, or sshd, over repositories made here."""

import base64
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from support.ports import free_port

SSHD = os.environ.get("SSHD") or shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": "/nonexistent",
    "GIT_CONFIG_NOSYSTEM": "1",
    **{f"GIT_{who}_{what}": "tests@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
}


def git(*command: str, at: Path) -> str:
    done = subprocess.run(["git", *command], cwd=at, env=ENVIRONMENT, check=True, capture_output=True, text=True)
    return done.stdout.strip()


class Repository:
    """A repository with a work tree beside it, where files are written and committed."""

    def __init__(self, folder: Path, name: str = "hello.git") -> None:
        self.bare, self.tree = folder / name, folder / f"{name}-tree"
        folder.mkdir(parents=True, exist_ok=True)
        git("init", "-q", "--bare", "-b", "main", str(self.bare), at=folder)
        git("clone", "-q", str(self.bare), str(self.tree), at=folder)
        git("checkout", "-q", "-B", "main", at=self.tree)

    def commit(self, files: dict[str, str], *, tag: str = "", branch: str = "") -> str:
        """Commit these files, push, and return the commit."""
        for path, text in files.items():
            place = self.tree / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text)
        if branch:
            git("checkout", "-q", "-B", branch, at=self.tree)
        git("add", "-A", at=self.tree)
        git("commit", "-q", "--allow-empty", "-m", "a change", at=self.tree)
        if tag:
            git("tag", "-a", tag, "-m", tag, at=self.tree)
        git("push", "-q", "--tags", "origin", "HEAD", at=self.tree)
        return git("rev-parse", "HEAD", at=self.tree)


@contextmanager
def served(folder: Path, token: str = "", host: str = "127.0.0.1", identity: Path | None = None) -> Iterator["Server"]:
    """Serve the repositories of a folder by HTTP, to all, or to those who know the token.

    By HTTPS with an `identity`, a folder of `Authority`.
    """
    server = Server((host, 0), folder, token, identity)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], folder: Path, token: str = "", identity: Path | None = None) -> None:
        super().__init__(address, _Handler)
        self.scheme = "https" if identity else "http"
        if identity:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(identity / "tls.crt", identity / "tls.key")
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)
        self.folder, self.token = folder, token
        self.asked: list[str] = []
        self.answers: list[tuple[int, dict[str, str]]] = []
        """What is answered next instead, once each."""

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.server_address[0]!s}:{self.server_address[1]}/hello.git"

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # who does not believe the certificate tells it himself


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer(b"")

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _answer(self, body: bytes) -> None:
        self.server.asked.append(self.path)
        if self.server.answers:
            self._say(*self.server.answers.pop(0))
            return
        given = base64.b64decode(self.headers.get("Authorization", "").removeprefix("Basic ")).decode()
        if self.server.token and given.partition(":")[2] != self.server.token:
            self._say(401, {"WWW-Authenticate": 'Basic realm="git"'})
            return
        path, _, query = self.path.partition("?")
        environment = {
            **ENVIRONMENT,
            "GIT_PROJECT_ROOT": str(self.server.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": self.command,
            "CONTENT_TYPE": self.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": self.headers.get("Content-Encoding", ""),
            "GIT_PROTOCOL": self.headers.get("Git-Protocol", ""),
            "REMOTE_ADDR": "127.0.0.1",
        }
        done = subprocess.run(["git", "http-backend"], env=environment, input=body, capture_output=True, check=False)
        head, _, rest = done.stdout.partition(b"\r\n\r\n")
        headers = dict(line.split(": ", 1) for line in head.decode().splitlines())
        self._say(int(headers.pop("Status", "200").split()[0]), headers, rest)

    def _say(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def by_ssh(work: Path) -> Iterator[tuple[int, str, str]]:
    """Serve this machine's repositories by ssh; yield the port, the private key that opens it, and its known_hosts."""
    for name in ("host", "key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(work / name)], check=True)
    port = free_port()
    (work / "authorized").write_text((work / "key.pub").read_text())
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": work / "host",
        "AuthorizedKeysFile": work / "authorized",
        "PidFile": "none",
        "StrictModes": "no",
        "UsePAM": "no",
        "PasswordAuthentication": "no",
        "AcceptEnv": "GIT_PROTOCOL",
    }
    (work / "sshd_config").write_text("".join(f"{name} {value}\n" for name, value in config.items()))
    Path("/run/sshd").mkdir(exist_ok=True)
    with subprocess.Popen([str(SSHD), "-D", "-e", "-f", str(work / "sshd_config")], stderr=subprocess.DEVNULL) as sshd:
        try:
            _wait_for(port)
            host = " ".join((work / "host.pub").read_text().split()[:2])
            yield port, (work / "key").read_text(), f"[localhost]:{port} {host}\n"
        finally:
            sshd.terminate()


def _wait_for(port: int) -> None:
    for _ in range(1800):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise TimeoutError(f"nobody listens on {port}")
