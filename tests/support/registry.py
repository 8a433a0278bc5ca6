"""A real OCI registry for tests, the program `docker-registry`, on loopback; and a gate that stands before it."""

import base64
import contextlib
import functools
import hashlib
import http.server as http_server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import urllib3
from support.ports import free_port

from knative_lambda.builds.images.registry_client import RegistrySettings

START_SECONDS = 90
DENIED: tuple[int, dict[str, str], bytes] = (401, {}, b"{}")
HTPASSWD = "user:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n"
"""`user` with the password `secret`."""
BASIC, WRONG = ("Basic " + base64.b64encode(said).decode() for said in (b"user:secret", b"user:wrong"))
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
patient = functools.partial(RegistrySettings, timeout=60.0, copying=60.0)
"""How tests reach a registry: on a busy machine it may be slow, and nothing is wrong with it."""


def config(folder: Path, host: str, auth: str = BASIC) -> Path:
    """Return the file of a docker config that holds the credentials for a host."""
    entry = {"auth": auth.removeprefix("Basic ")}
    (folder / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return folder / "config.json"


@contextlib.contextmanager
def real_registry(program: str, home: Path, **more: Any) -> Iterator[str]:
    """Start the registry, yield its host and port, and stop it; `more` is of its configuration."""
    host = f"127.0.0.1:{free_port()}"
    storage = {"filesystem": {"rootdirectory": str(home / "data")}, "delete": {"enabled": True}}
    http = {"addr": host, **more.pop("http", {})}
    config = {"version": "0.1", "log": {"level": "error"}, "storage": storage, "http": http, **more}
    (home / "config.yml").write_text(json.dumps(config))
    setpriv = shutil.which("setpriv")
    leash = [setpriv, "--pdeathsig", "KILL"] if setpriv else []  # it stops with this process, however that ends
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [*leash, program, "serve", home / "config.yml"],
            stdout=log,
            stderr=log,
        )
    try:
        give_up = time.monotonic() + START_SECONDS
        while not _answers(host):
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"docker-registry did not start: {(home / 'log').read_text()}")
            time.sleep(0.02)
        yield host
    finally:
        process.kill()
        process.wait()


def push(host: str, repository: str, tag: str, content: bytes) -> str:
    """Push an image of one layer, which is just these bytes, and return its digest."""
    root = f"http://{host}/v2/{repository}"
    layer, config = (_put_blob(root, body) for body in (content, b"{}"))
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": config, "layers": [layer]}
    body = json.dumps(manifest).encode()
    _send("PUT", f"{root}/manifests/{tag}", body, MANIFEST_TYPE)
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _put_blob(root: str, body: bytes) -> dict[str, object]:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    place = _send("POST", f"{root}/blobs/uploads/", b"", "")
    joined = "&" if "?" in place else "?"
    _send("PUT", f"{place}{joined}digest={digest}", body, "application/octet-stream")
    return {"mediaType": "application/octet-stream", "digest": digest, "size": len(body)}


def _send(method: str, url: str, body: bytes, media_type: str) -> str:
    request = urllib.request.Request(url, body, {"Content-Type": media_type}, method=method)
    with urllib.request.urlopen(request) as answer:
        return str(answer.headers.get("Location", ""))


def _answers(host: str) -> bool:
    place, _, port = host.partition(":")
    try:
        with socket.create_connection((place, int(port)), 1):
            return True
    except OSError:
        return False


@dataclass
class Gate:
    """Something in front of a registry: it passes requests on, and does to them what a test says."""

    behind: str
    host: str = ""
    asked: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and authorization of each request that came, to the token's place too."""
    token: str = ""
    """The token that every request needs, given to whoever has `basic`; "" needs none."""
    basic: str = ""
    later: tuple[str, str] = ("", "")
    """A request, told like those below, from which on a token is needed, and that."""
    refuses: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    """What is answered to a method instead, by its beginning with the path, such as ``POST /v2/acme``."""
    cuts: str = ""
    """A request, told like those, in the middle of whose body the connection is cut."""
    adds: dict[str, str] = field(default_factory=dict)
    """Headers that every answer to a PUT gets."""
    changes: str = ""
    """A request, told like those, whose answer has its last byte changed."""

    def told(self, line: str) -> str:
        return next((said for said in self.refuses if line.startswith(said)), "")


class _Passing(http_server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kept: Gate
    http: urllib3.PoolManager

    def do_GET(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        line, said = f"{self.command} {self.path}", self.headers.get("Authorization", "")
        self.kept.asked.append((self.command, self.path, said))
        if self.kept.later[0] and line.startswith(self.kept.later[0]):
            self.kept.token, self.kept.later = self.kept.later[1], ("", "")
        if length and self.kept.cuts and line.startswith(self.kept.cuts):
            self._cut(self.rfile.read(length // 2))
            return
        body = self.rfile.read(length)
        if len(body) < length:  # who sends has broken off
            self.close_connection = True
        elif self.path.startswith("/token"):
            self._answer(
                *((200, {}, b'{"token": "%s"}' % self.kept.token.encode()) if said == self.kept.basic else DENIED)
            )
        elif self.kept.token and said != f"Bearer {self.kept.token}":
            realm = f'Bearer realm="http://{self.kept.host}/token",service="tests",scope="repository:x:pull,push"'
            self._answer(401, {"WWW-Authenticate": realm}, b"{}")
        elif told := self.kept.told(line):
            self._answer(*self.kept.refuses[told], b'{"errors": [{"code": "WHY", "message": "because"}]}')
        else:
            self._pass_on(line, body)

    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815 - the library's names

    def _pass_on(self, line: str, sent: bytes) -> None:
        passed = {name: value for name, value in self.headers.items() if name != "Authorization"}
        url = f"http://{self.kept.behind}{self.path}"
        answer = self.http.request(self.command, url, body=sent, headers=passed, redirect=False)
        headers, body = dict(answer.headers), answer.data
        if self.kept.changes and line.startswith(self.kept.changes):
            body = body[:-1] + bytes([body[-1] ^ 1])
        if self.command == "GET" and self.kept.cuts and line.startswith(self.kept.cuts):
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) // 2])
            self._cut(b"")
            return
        headers |= self.kept.adds if self.command == "PUT" else {}
        self._answer(answer.status, {name: value for name, value in headers.items() if name != "Date"}, body)

    def _cut(self, _read: bytes) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def gate(behind: str) -> Iterator[Gate]:
    """Yield a gate in front of a registry."""
    kept, http = Gate(behind), urllib3.PoolManager(retries=False)
    handler = type("Handler", (_Passing,), {"kept": kept, "http": http})
    with http_server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        kept.host = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield kept
        finally:  # or its thread would outlive the test that has failed, and all of them
            server.shutdown()
    http.clear()
