"""What a build is given on a real cluster: a private package by a password that is nowhere afterwards; variables."""

import base64
import gzip
import http.server
import io
import json
import os
import tarfile
import threading
import uuid
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest
import urllib3
from support.live import HOST, TENANT, Live, within

from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.deploy.cluster import BUILD, SECRET, Object
from knative_lambda.schemas import names

PASSWORD = uuid.uuid4().hex
PACKAGE = "greeting_private"


def wheel(word: str) -> bytes:
    """Return a package whose one function says a word."""
    about = f"{PACKAGE}-1.0.dist-info"
    files = {
        f"{PACKAGE}.py": f"def word():\n    return {word!r}\n",
        f"{about}/METADATA": f"Metadata-Version: 2.1\nName: {PACKAGE}\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nGenerator: e2e\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for path, text in files.items():
            archive.writestr(path, text)
    return packed.getvalue()


class Index:
    """A private package index in the cluster's network: nobody gets anything without the password."""

    def __init__(self, word: str) -> None:
        self.asked: list[tuple[str, int]] = []
        index, name = self, f"{PACKAGE}-1.0-py3-none-any.whl"
        known = {
            f"/simple/{PACKAGE.replace('_', '-')}/": f'<a href="/files/{name}">{name}</a>'.encode(),
            f"/files/{name}": wheel(word),
        }
        wanted = "Basic " + base64.b64encode(f"me:{PASSWORD}".encode()).decode()

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = known.get(self.path, b"")
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

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://{HOST}:{self.server.server_address[1]}/simple"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def index() -> Iterator[Index]:
    found = Index("private")
    yield found
    found.close()


def give(live: Live, labels: dict[str, str]) -> None:
    """Let the tenant have the Secret with the password, with these labels."""
    netrc = f"machine {HOST}\nlogin me\npassword {PASSWORD}\n"
    meta = {"name": "e2e-pypi", "namespace": TENANT, "labels": labels}
    data = {"netrc": base64.b64encode(netrc.encode()).decode()}
    live.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


@pytest.fixture
def secret(live: Live) -> Iterator[None]:
    give(live, {})
    yield
    live.cluster.delete(SECRET, TENANT, "e2e-pypi")


def newest(live: Live, name: str) -> Object:
    found = live.cluster.get(BUILD, TENANT, (live.function(name) or {})["status"]["latestBuild"])
    assert found is not None
    return found


def layers(image: str) -> Iterator[tuple[str, bytes]]:
    """Yield every file of an image, by its path, and its configuration as ``config``."""
    repository = image.partition("@")[0]
    pusher = HttpPusher(RegistrySettings(insecure=True))
    found = pusher.manifest(image)
    assert found is not None
    said = json.loads(found.body)
    yield "config", pusher.blob(repository, said["config"]["digest"]) or b""
    for layer in said["layers"]:
        body = blob(repository, layer["digest"])
        with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
            for entry in tar:
                file = tar.extractfile(entry) if entry.isfile() else None
                yield f"/{entry.name}", file.read() if file else b""


def blob(repository: str, digest: str) -> bytes:
    """Return a layer, however large."""
    host, _, path = repository.partition("/")
    answer = urllib3.request("GET", f"http://{host}/v2/{path}/blobs/{digest}")
    assert answer.status == 200
    return answer.data


@pytest.mark.usefixtures("secret")
def test_a_private_package_is_installed_by_a_secret_that_is_nowhere_afterwards(live: Live, index: Index) -> None:
    """Only once its owner has given it to builds; then it dies with the Job, and the image does not hold it."""
    code = f"import {PACKAGE}\n\n\ndef handle(event, context):\n    return {{'said': {PACKAGE}.word()}}\n"
    listed = f"{PACKAGE.replace('_', '-')}==1.0 # {uuid.uuid4()}\n"
    source = {"inline": {"main.py": code, "requirements.txt": listed}}
    asked: dict[str, Any] = {"indexes": {"url": index.url, "secret": "e2e-pypi"}}
    live.start("private", runtime="python", source=source, build=asked)
    failed = within(120, "it fails", lambda: is_false(live.condition("private", "Built")))
    assert failed["reason"] == "SecretMissing"
    assert "e2e-pypi" in failed["message"]
    assert not index.asked
    give(live, {names.BUILD_SECRET_LABEL: "true"})
    live.start("private", runtime="python", source=source, build=asked)
    within(120, "it is built anew", lambda: not is_false(live.condition("private", "Built")))
    image = live.ready("private")
    live.answer("private", {}, {"said": "private"}.__eq__)
    assert 200 in {status for path, status in index.asked if path.endswith(".whl")}
    assert not [one for one in live.cluster.list(SECRET, names.builds_namespace(TENANT)) if one.get("type") == "Opaque"]
    for path, body in layers(image):
        assert not path.startswith("/run/secrets/"), path
        assert PASSWORD.encode() not in body, path
    build = newest(live, "private")
    assert PASSWORD not in str([build, live.function("private")])
    live.delete("private")


@pytest.mark.usefixtures("secret")
def test_a_dockerfile_gets_variables_as_they_are_and_files_to_read(live: Live) -> None:
    value = 'it\'s $(id) `id` "$HOME" ${BASE} \\ \n RUN id'
    give(live, {names.BUILD_SECRET_LABEL: "true"})
    dockerfile = (
        f"FROM {os.environ['PYTHON_BASE']}\nARG WORD\nUSER 65532\n"
        'RUN printf %s "$WORD" > /tmp/word && wc -c < /run/secrets/e2e-pypi/netrc > /tmp/size\n'
        "CMD python3 -m http.server 8080\n"
    )
    source = {"inline": {"Dockerfile": f"# {uuid.uuid4()}\n{dockerfile}"}}
    given = {"env": {"WORD": value}, "secrets": ["e2e-pypi"]}
    live.start("given", runtime="dockerfile", source=source, build=given)
    image = within(180, "it is built", lambda: built(live, "given"))
    files = dict(layers(image))
    assert files["/tmp/word"].decode() == value  # noqa: S108 - of the image
    assert int(files["/tmp/size"]) > len(PASSWORD)  # noqa: S108
    assert not [path for path in files if path.startswith("/run/secrets/")]
    assert not [path for path, body in files.items() if PASSWORD.encode() in body]
    live.delete("given")


def is_false(found: dict[str, Any]) -> dict[str, Any] | None:
    return found if found.get("status") == "False" else None


def built(live: Live, name: str) -> str:
    condition = live.condition(name, "Built")
    assert condition.get("status") != "False", condition
    return str(newest(live, name)["status"].get("image", "")) if condition.get("status") == "True" else ""
