"""A private package index for tests, as pip, npm or go ask it: one package that says a word, behind a password."""

import base64
import hashlib
import http.server
import io
import json
import ssl
import tarfile
import threading
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PIP, NPM, GO = "greeting_private", "greeting-private", "acme.test/greeting"
USER = "me"
_GO_MOD = f"module {GO}\n\ngo 1.24\n"


class Index:
    """Serves files in the cluster's network; who does not say the password gets none of them.

    By HTTPS where there is a folder with ``tls.crt`` and ``tls.key``.
    """

    def __init__(self, host: str, password: str, certificate: Path | None = None) -> None:
        self.asked: list[tuple[str, int]] = []
        """Each path that was asked for, and the status of its answer."""
        self.files: Mapping[str, bytes] = {}
        index = self
        wanted = "Basic " + basic(password)

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = index.files.get(self.path, b"")
                status = 401 if self.headers.get("authorization") != wanted else 200 if body else 404
                index.asked.append((self.path, status))
                self.send_response(status)
                self.send_header("www-authenticate", 'Basic realm="private"')
                self.send_header("content-type", "text/html" if self.path.endswith("/") else "application/octet-stream")
                self.send_header("content-length", str(len(body) if status == 200 else 0))
                self.end_headers()
                self.wfile.write(body if status == 200 else b"")

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((host, 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate / "tls.crt", certificate / "tls.key")
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.place = f"{host}:{self.server.server_address[1]}"
        self.url = f"{'https' if certificate else 'http'}://{self.place}"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def given(self, ending: str) -> bool:
        """Say whether somebody got a file whose name ends so."""
        return any(status == 200 and path.endswith(ending) for path, status in self.asked)


def basic(password: str) -> str:
    """Return what a header and an ``.npmrc`` say of a user and a password."""
    return base64.b64encode(f"{USER}:{password}".encode()).decode()


def of_pip(word: str) -> dict[str, bytes]:
    """Return the files of an index, below ``/simple``, with a wheel whose one function says a word."""
    about, name = f"{PIP}-1.0.dist-info", f"{PIP}-1.0-py3-none-any.whl"
    wheel = {
        f"{PIP}.py": f"def word():\n    return {word!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PIP}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    page = f'<a href="/files/{name}">{name}</a>'.encode()
    return {f"/simple/{PIP.replace('_', '-')}/": page, f"/files/{name}": _zip(wheel)}


def of_npm(word: str, url: str) -> dict[str, bytes]:
    """Return the files of a registry at an address, with a package that exports a word."""
    about = {"name": NPM, "version": "1.0.0", "main": "index.js"}
    files = {"package.json": json.dumps(about), "index.js": f"exports.word = {json.dumps(word)};\n"}
    packed, name = _tar({f"package/{path}": text for path, text in files.items()}), f"/{NPM}/-/{NPM}-1.0.0.tgz"
    integrity = "sha512-" + base64.b64encode(hashlib.sha512(packed).digest()).decode()
    version: dict[str, Any] = {**about, "dist": {"tarball": f"{url}{name}", "integrity": integrity}}
    page = {"name": NPM, "dist-tags": {"latest": "1.0.0"}, "versions": {"1.0.0": version}}
    return {f"/{NPM}": json.dumps(page).encode(), name: packed}


def of_go(word: str) -> dict[str, bytes]:
    """Return the files of a module proxy, with a module whose one function says a word."""
    at = f"/{GO}/@v"
    info = {"Version": "v1.0.0", "Time": "2026-01-01T00:00:00Z"}
    return {
        f"{at}/list": b"v1.0.0\n",
        f"{at}/v1.0.0.info": json.dumps(info).encode(),
        f"{at}/v1.0.0.mod": _GO_MOD.encode(),
        f"{at}/v1.0.0.zip": _zip({f"{GO}@v1.0.0/{path}": text for path, text in _go_files(word).items()}),
    }


def go_sum(word: str) -> str:
    """Return the lines of a ``go.sum`` for that module."""
    whole = _go_hash({f"{GO}@v1.0.0/{path}": text for path, text in _go_files(word).items()})
    return f"{GO} v1.0.0 {whole}\n{GO} v1.0.0/go.mod {_go_hash({'go.mod': _GO_MOD})}\n"


def _go_files(word: str) -> dict[str, str]:
    return {
        "go.mod": _GO_MOD,
        "greeting.go": f"package greeting\n\nfunc Word() string {{ return {json.dumps(word)} }}\n",
    }


def _go_hash(files: Mapping[str, str]) -> str:
    """Return what go calls the ``h1`` of files: https://pkg.go.dev/golang.org/x/mod/sumdb/dirhash."""
    lines = [f"{hashlib.sha256(text.encode()).hexdigest()}  {path}\n" for path, text in sorted(files.items())]
    return "h1:" + base64.b64encode(hashlib.sha256("".join(lines).encode()).digest()).decode()


def _zip(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


def _tar(files: Mapping[str, str]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for path, text in files.items():
            entry = tarfile.TarInfo(path)
            entry.size, entry.mode = len(text.encode()), 0o644
            archive.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()
