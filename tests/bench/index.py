"""A package index with one package, `bench-dependency`, of every version: what a dependency change changes.

Served from here, so that no network beyond this machine has a say in what is measured.
"""

import http.server
import io
import re
import threading
import zipfile
from typing import Self

HOST = "10.99.0.1"
"""This machine, as the cluster's Pods see it."""
NAME, MODULE = "bench-dependency", "bench_dependency"
WHEEL = re.compile(rf"/{MODULE}-([0-9.]+)-py3-none-any\.whl$")


def wheel(version: str) -> bytes:
    """Return the package of a version."""
    info = f"{MODULE}-{version}.dist-info"
    files = {
        f"{MODULE}.py": f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: bench\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": "",
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return out.getvalue()


class Index:
    """The index, as pip asks it; for the length of a ``with``."""

    def __init__(self, host: str = HOST) -> None:
        index = self
        self.versions: list[str] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = WHEEL.search(self.path)
                body = wheel(found[1]) if found else index.page().encode()
                self.send_response(200)
                self.send_header("content-type", "application/octet-stream" if found else "text/html")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer((host, 0), Handler)
        self.url = f"http://{host}:{self._server.server_address[1]}/simple/"
        self._host = host

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def page(self) -> str:
        """Return the page of the one package."""
        names = [f"{MODULE}-{version}-py3-none-any.whl" for version in self.versions]
        return "".join(f'<a href="/{name}">{name}</a>\n' for name in names)

    def requirements(self) -> str:
        """Return the requirements.txt of a version that was never asked for."""
        self.versions.append(f"1.0.{len(self.versions)}")
        return f"--index-url {self.url}\n--trusted-host {self._host}\n{NAME}=={self.versions[-1]}\n"
