"""A real OCI registry for tests, the program `docker-registry`, on loopback in a folder of its own."""

import contextlib
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

START_SECONDS = 20
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@contextlib.contextmanager
def real_registry(program: str, home: Path) -> Iterator[str]:
    """Start the registry, yield its host and port, and stop it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        host = f"127.0.0.1:{free.getsockname()[1]}"
    storage = {"filesystem": {"rootdirectory": str(home / "data")}, "delete": {"enabled": True}}
    config = {"version": "0.1", "log": {"level": "error"}, "storage": storage, "http": {"addr": host}}
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
    try:
        with urllib.request.urlopen(f"http://{host}/v2/"):
            return True
    except OSError:
        return False
