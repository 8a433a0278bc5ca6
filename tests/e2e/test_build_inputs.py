"""What a build is given on a real cluster: packages by passwords that are nowhere afterwards, variables, a base."""

import base64
import gzip
import io
import json
import os
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support import packages
from support.certificates import Authority
from support.live import HOST, TENANT, Live, within
from support.packages import Index

from knative_lambda.builds.images import references
from knative_lambda.builds.images.pusher import Blob, Manifest
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_client import RegistrySettings
from knative_lambda.deploy.cluster import BUILD, SECRET, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names

PASSWORD = uuid.uuid4().hex


@pytest.fixture
def index() -> Iterator[Index]:
    found = Index(HOST, PASSWORD)
    found.files = packages.of_pip("private")
    yield found
    found.close()


def give(live: Live, labels: dict[str, str], name: str = "e2e-pypi", **files: str) -> None:
    """Let the tenant have a Secret with these labels; without files it holds the password for pip."""
    found = files or {"netrc": netrc(HOST)}
    meta = {"name": name, "namespace": TENANT, "labels": labels}
    data = {key: base64.b64encode(text.encode()).decode() for key, text in found.items()}
    live.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


def netrc(machine: str) -> str:
    return f"machine {machine}\nlogin {packages.USER}\npassword {PASSWORD}\n"


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
    code = f"import {packages.PIP}\n\n\ndef handle(event, context):\n    return {{'said': {packages.PIP}.word()}}\n"
    listed = f"{packages.PIP.replace('_', '-')}==1.0 # {uuid.uuid4()}\n"
    source = {"inline": {"main.py": code, "requirements.txt": listed}}
    asked: dict[str, Any] = {"indexes": {"url": f"{index.url}/simple", "secret": "e2e-pypi"}}
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
    assert index.given(".whl")
    assert not [one for one in live.cluster.list(SECRET, names.builds_namespace(TENANT)) if one.get("type") == "Opaque"]
    for path, body in layers(image):
        assert not path.startswith("/run/secrets/"), path
        assert PASSWORD.encode() not in body, path
    build = newest(live, "private")
    assert PASSWORD not in str([build, live.function("private")])
    live.delete("private")


@pytest.mark.usefixtures("secret")
@pytest.mark.long
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


SOURCES = {
    "node": {
        "index.js": f"const said = require('{packages.NPM}').word;\nexports.handle = async () => ({{ said }});\n",
        "package.json": json.dumps({"dependencies": {packages.NPM: "1.0.0"}}),
    },
    "go": {
        "handle.go": (
            f'package function\n\nimport "{packages.GO}"\n\n'
            'func Handle() (any, error) { return map[string]string{"said": greeting.Word()}, nil }\n'
        ),
        "go.mod": f"module function\n\ngo 1.24\n\nrequire {packages.GO} v1.0.0\n",
        "go.sum": packages.go_sum("go"),
    },
}


@pytest.fixture
def both(live: Live, tmp_path: Path) -> Iterator[dict[str, tuple[Index, dict[str, str]]]]:
    """Serve an index of npm and one of go, which says passwords by HTTPS alone; yield each with its Secret's files."""
    certificate = Authority.made(tmp_path / "authority", HOST).folder("index")
    npm, go = Index(HOST, PASSWORD), Index(HOST, PASSWORD, certificate)
    npm.files, go.files = packages.of_npm("node", npm.url), packages.of_go("go")
    yield {
        "node": (npm, {".npmrc": f"//{npm.place}/:_auth={packages.basic(PASSWORD)}\n"}),
        "go": (go, {"netrc": netrc(go.place), "ca.crt": (certificate / "ca.crt").read_text()}),
    }
    for runtime, index in (("node", npm), ("go", go)):
        index.close()
        live.cluster.delete(SECRET, TENANT, f"e2e-{runtime}")


@pytest.mark.long
def test_packages_of_npm_and_of_go_come_by_a_secret_too(
    live: Live, both: dict[str, tuple[Index, dict[str, str]]]
) -> None:
    """With go's, whom to trust is in the Secret, too; before it is given to builds no index is asked for anything."""

    def start(runtime: str, index: Index) -> None:
        own = {"private": ["acme.test/*"]} if runtime == "go" else {}
        build: dict[str, Any] = {"indexes": {"url": index.url, "secret": f"e2e-{runtime}", **own}}
        if runtime == "go":
            build["env"] = {"SSL_CERT_FILE": "/run/secrets/e2e-go/ca.crt"}
        live.start(f"private-{runtime}", runtime=runtime, source={"inline": SOURCES[runtime]}, build=build)

    for runtime, (index, files) in both.items():
        give(live, {}, f"e2e-{runtime}", **files)
        start(runtime, index)
    for runtime, (index, files) in both.items():
        failed = within(120, "it fails", lambda name=f"private-{runtime}": is_false(live.condition(name, "Built")))
        assert failed["reason"] == "SecretMissing"
        assert not index.asked
        give(live, {names.BUILD_SECRET_LABEL: "true"}, f"e2e-{runtime}", **files)
        start(runtime, index)
    for runtime, (index, _) in both.items():
        name, ending = f"private-{runtime}", {"node": ".tgz", "go": ".zip"}[runtime]
        within(120, "it is built anew", lambda name=name: not is_false(live.condition(name, "Built")))
        image = live.ready(name)
        live.answer(name, {}, {"said": runtime}.__eq__)
        assert index.given(ending)
        for path, body in layers(image):
            assert PASSWORD.encode() not in body, path
            assert packages.basic(PASSWORD).encode() not in body, path
        live.delete(name)


NODE_BASE = "KNATIVE_LAMBDA_NODE_BASE"


@pytest.fixture
def move(live: Live) -> Iterator[Callable[[], str]]:
    """Have the installation name Node's base by a tag; yield what moves this, and returns the new base by digest."""
    pusher = HttpPusher(RegistrySettings(insecure=True))
    before = live.configured(NODE_BASE)
    repository, first = references.repository(before), pusher.manifest(before)
    assert first is not None
    tag = f"{repository}:e2e"
    pusher.tag(tag, first)

    def moved() -> str:
        said = json.loads(first.body)
        config = json.loads(pusher.blob(repository, said["config"]["digest"]) or b"")
        config["config"]["Env"] = [*config["config"]["Env"], "E2E_BASE=second"]
        blob = Blob.of(json.dumps(config).encode())
        pusher.put(repository, blob)
        said["config"] |= {"digest": blob.digest, "size": blob.size}
        second = Manifest(first.media_type, json.dumps(said).encode())
        pusher.tag(tag, second)
        return f"{repository}@{Blob.of(second.body).digest}"

    live.configure(NODE_BASE, tag)
    try:
        yield moved
    finally:
        pusher.tag(tag, first)
        live.configure(NODE_BASE, before)


@pytest.mark.long
def test_a_function_that_asks_for_it_follows_its_base_and_another_does_not(live: Live, move: Callable[[], str]) -> None:
    source = {"inline": {"index.js": "exports.handle = async () => ({ base: process.env.E2E_BASE || 'first' });\n"}}
    asked: dict[str, dict[str, Any]] = {"follows": {"onBaseChange": "rebuild"}, "stays": {}}
    for name, build in asked.items():
        live.start(name, runtime="node", source=source, build=build)
    images = {name: live.ready(name) for name in asked}
    live.answer("follows", {}, {"base": "first"}.__eq__)
    before, base = newest(live, "follows")["spec"]["base"], move()

    def followed() -> bool:
        live.tick()
        return bool(newest(live, "follows")["spec"]["base"] == base)

    within(120, "it is built upon the new base", followed, every=2)
    told = condition(newest(live, "follows"), "BaseMoved")
    assert told["message"] == f"{before} is {base} now"
    live.ready("follows", image_other_than=images["follows"])
    live.answer("follows", {}, {"base": "second"}.__eq__)
    live.answer("stays", {}, {"base": "first"}.__eq__)
    assert [one["spec"]["base"] for one in live.builds("stays")] == [before]
    for name in asked:
        live.delete(name)


def is_false(found: dict[str, Any]) -> dict[str, Any] | None:
    return found if found.get("status") == "False" else None


def built(live: Live, name: str) -> str:
    condition = live.condition(name, "Built")
    assert condition.get("status") != "False", condition
    return str(newest(live, name)["status"].get("image", "")) if condition.get("status") == "True" else ""
