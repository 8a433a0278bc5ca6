"""What stands in a folder's `function.yaml` arrives, whichever door it goes by, or is refused by its name."""

import contextlib
import json
import threading
import uuid
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from knative_lambda.client.command import main
from knative_lambda.deploy.cluster import FUNCTION, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster
from knative_lambda.schemas.catalogue import event_faults, event_schema

CODE = "def handle(event, context):\n    return None\n"
HEALTH = {"path": "/up", "initialDelaySeconds": 1, "periodSeconds": 2, "timeoutSeconds": 3, "failureThreshold": 4}
AMOUNTS = {"cpu": "100m", "memory": "64Mi", "ephemeral-storage": "1Gi"}
ALL: dict[str, Any] = {
    "name": "hello",
    "runtime": "python",
    "entrypoint": "main.handle",
    "env": {"A": "1"},
    "secrets": ["db"],
    "envFrom": [{"name": "TOKEN", "secret": "db", "key": "token"}, {"configMap": "settings"}],
    "mounts": [
        {"path": "/secrets/db", "secret": "db"},
        {"path": "/config", "configMap": "settings"},
        {"path": "/cache", "emptyDir": {"sizeLimit": "64Mi", "medium": "Memory"}},
        {"path": "/data", "persistentVolumeClaim": "data", "readOnly": True},
    ],
    "probes": {"liveness": HEALTH, "readiness": {**HEALTH, "successThreshold": 5}, "startup": HEALTH},
    "triggers": [{"type": "demo.hello", "source": "/shop"}],
    "scale": {"min": 1, "max": 2, "concurrency": 3},
    "resources": {"requests": AMOUNTS, "limits": AMOUNTS},
    "timeout": "5m",
    "nodeSelector": {"node.example.com/disk": "ssd"},
    "architecture": "arm64",
    "labels": {"team": "shop"},
    "annotations": {"autoscaling.knative.dev/target": "5"},
    "pullSecrets": ["acme"],
    "paused": True,
    "builder": "auto",
    "build": {
        "secrets": ["pypi"],
        "env": {"CFLAGS": "-O2"},
        "indexes": {
            "url": "https://a.example.com",
            "extra": ["https://b.example.com"],
            "private": ["example.com/*"],
            "secret": "pypi",
        },
        "onBaseChange": "rebuild",
    },
    "rebuild": True,
    "sequence": 7,
}
"""Every field of a ``build.start`` that a folder may say, with all that each may hold."""
BROKER = {"status": {"address": {"url": "http://ingress.knative-eventing.svc.cluster.local/knative-lambda/default"}}}


def fields(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Yield the path of each field that a schema names, lists and maps of anything being leaves."""
    if "$ref" in schema:
        schema = event_schema("common")["$defs"][schema["$ref"].rpartition("/")[2]]
    schema = schema.get("items", schema)
    for name, each in schema.get("properties", {}).items():
        yield f"{path}.{name}"
        yield from fields(each, f"{path}.{name}")


def said(value: Any, path: str = "") -> Iterator[str]:
    """Yield the path of each field that a value has."""
    for each in value if isinstance(value, list) else [value]:
        for name, inner in each.items() if isinstance(each, dict) else ():
            yield f"{path}.{name}"
            yield from said(inner, f"{path}.{name}")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "main.py").write_text(CODE)
    return tmp_path / "folder"


def deploy(folder: Path, settings: Mapping[str, Any] | str, *options: str) -> Result:
    text = settings if isinstance(settings, str) else yaml.safe_dump(dict(settings))
    (folder / "function.yaml").write_text(text)
    return CliRunner().invoke(main, ["deploy", str(folder), "--no-wait", *options])


@contextlib.contextmanager
def listening(status: int = 200, said: Any = BROKER) -> Iterator[tuple[str, list[Any]]]:
    """Yield the URL of a server that takes everything, and what it was sent; it has the product's Broker.

    Whatever is read there is `said`, with a `status`.
    """
    got: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(said, status)

        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self._answer({})

        def _answer(self, body: Any, status: int = 200) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def without(*names: str) -> dict[str, Any]:
    return {field: value for field, value in ALL.items() if field not in names}


def test_what_is_tried_here_is_all_there_is() -> None:
    """A new field of the schema's, at whatever depth, is to be tried here too."""
    known = {each for each in fields(event_schema("build.start")) if each.split(".")[1] not in ("tenant", "source")}
    assert known - set(said(ALL)) == set()
    assert event_faults("build.start", {"tenant": "demo", "source": {"inline": {"main.py": CODE}}, **ALL}) == []


def test_a_service_is_sent_each_field_as_it_stands(folder: Path) -> None:
    with listening() as (url, got):
        done = deploy(folder, ALL, "--url", url, "-n", "acme")
    assert done.exit_code == 0, done.output
    assert [each["data"] for each in got] == [{"tenant": "acme", "source": {"inline": {"main.py": CODE}}, **ALL}]


def written(cluster: KubernetesCluster, tenant: str) -> Object | None:
    found = cluster.get(FUNCTION, tenant, "hello")
    return found and found["spec"]


def test_a_record_has_each_field_as_it_stands(
    folder: Path, kubeconfig: str, cluster: KubernetesCluster, tenant: str
) -> None:
    """But for `name`, which is the record's, and `rebuild`, which names each time that it is asked for."""
    done = deploy(folder, without("sequence"), "--kubeconfig", kubeconfig, "-n", tenant)
    assert done.exit_code == 0, done.output
    spec = written(cluster, tenant)
    assert spec is not None
    assert uuid.UUID(spec.pop("rebuild"))
    assert spec == {"source": {"inline": {"main.py": CODE}}, **without("name", "rebuild", "sequence")}


def test_what_a_record_has_no_place_for_is_refused_by_its_name_and_nothing_is_written(
    folder: Path, kubeconfig: str, cluster: KubernetesCluster, tenant: str
) -> None:
    at = ("--kubeconfig", kubeconfig, "-n", tenant)
    for settings, name in (
        ({"sequence": 7}, "`sequence`"),
        ({"rebuild": "yes"}, "`rebuild`"),
        ({"sequense": 7}, "sequense"),
    ):
        done = deploy(folder, {"name": "hello", **settings}, *at)
        assert (done.exit_code, name in done.stderr) == (1, True), done.stderr
    assert written(cluster, tenant) is None
    assert deploy(folder, {"name": "hello"}, *at).exit_code == 0
    assert written(cluster, tenant)


def test_what_goes_to_a_cluster_as_an_event_has_them_all(folder: Path, tmp_path: Path) -> None:
    """A source that is no text fits into no record."""
    (folder / "data").write_bytes(b"\xff\x00")
    with listening() as (url, got):
        config = {
            "current-context": "it",
            "clusters": [{"name": "it", "cluster": {"server": url}}],
            "users": [{"name": "me", "user": {"token": "t"}}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "me"}}],
        }
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(config))
        done = deploy(folder, ALL, "--kubeconfig", str(tmp_path / "kubeconfig"), "-n", "acme")
    assert done.exit_code == 0, done.output
    [data] = [each["data"] for each in got]
    assert list(data.pop("source")) == ["archive"]
    assert data == {"tenant": "acme", **ALL}


@pytest.mark.parametrize(
    ("text", "field", "meant"),
    [
        ("on: x", "true", ""),
        ("7: x", "7", ""),
        ("labels: {team: shop, yes: x, 1: y}", "labels", "labels: {team: shop, 'yes': x, '1': y}"),
        ("env: {null: x}", "env", "env: {'null': x}"),
        ("triggers: [{type: t, 1: y}]", "triggers", "triggers: [{type: t, '1': y}]"),
        ("name: no", "name", "name: 'no'"),
        ("name: 7", "name", "name: '7'"),
        ("runtime: 3.11", "runtime", "runtime: 'python'"),
        ("env: {RELEASED: 2026-01-01}", "env", "env: {RELEASED: '2026-01-01'}"),
        ("labels: {share: .nan}", "labels", "labels: {share: '.nan'}"),
    ],
)
def test_what_yaml_takes_for_another_thing_is_refused_by_its_name(
    folder: Path, text: str, field: str, meant: str
) -> None:
    with listening() as (url, got):
        done = deploy(folder, text, "--url", url)
        assert (done.exit_code, got) == (1, [])
        assert f"says `{field}` by what YAML takes for another thing\nHint: put it into quotes" in done.stderr
        assert not meant or deploy(folder, meant, "--url", url).exit_code == 0
        assert not meant or got[0]["data"].items() >= yaml.safe_load(meant).items()


@pytest.mark.parametrize("field", ["self", "note", "restart", "sequense", "'yes'"])
def test_a_field_that_there_is_none_of_is_refused_by_its_name(folder: Path, field: str) -> None:
    """Those that a deploy would take for its own, too, and the one that a record has beside them."""
    name = field.strip("'")
    with listening() as (url, got):
        done = deploy(folder, f"{field}: x", "--url", url)
        assert (done.exit_code, f"may not say `{name}`" in done.stderr, got) == (1, True, []), done.stderr
    assert ("did you mean `sequence`?" in done.stderr) == (name == "sequense")


@pytest.mark.parametrize(
    ("text", "said", "meant"),
    [
        ("env: {A: b}\ntimeout: 5s\nenv: {C: d}", "env", "env: {A: b, C: d}"),
        ("env: {A: b, A: c}", "A", "env: {A: b, B: c}"),
        ("envFrom: [{configMap: a, configMap: b}]", "configMap", "envFrom: [{configMap: a}, {configMap: b}]"),
        (
            "env: &a {A: b}\nlabels: &l {<<: *a, A: c}\nannotations: *l\nlabels: {}",
            "labels",
            "env: &a {A: b}\nlabels: {<<: *a, A: c}",
        ),
    ],
)
def test_what_is_said_twice_is_refused_where_yaml_would_forget_the_first(
    folder: Path, text: str, said: str, meant: str
) -> None:
    with listening() as (url, got):
        done = deploy(folder, text, "--url", url)
        assert (done.exit_code, f"says `{said}` twice" in done.stderr, got) == (1, True, []), done.stderr
        assert deploy(folder, meant, "--url", url).exit_code == 0
    assert got[0]["data"].items() >= yaml.safe_load(meant).items()


def test_settings_by_a_name_that_is_not_read_are_no_source(folder: Path) -> None:
    """Beside those that are read, a file of that name is the function's own."""
    (folder / "function.yml").write_text("env: {A: b}")
    with listening() as (url, got):
        done = CliRunner().invoke(main, ["deploy", str(folder), "--no-wait", "--url", url])
        assert (done.exit_code, got) == (1, [])
        assert f"{folder}/function.yml is not read\nHint: call it function.yaml" in done.stderr
        assert deploy(folder, {"name": "hello"}, "--url", url).exit_code == 0
    assert "function.yml" in got[0]["data"]["source"]["inline"]


def test_files_of_two_runtimes_tell_of_none_and_those_beside_a_dockerfile_are_its_own(folder: Path) -> None:
    (folder / "index.js").write_text("")
    with listening() as (url, got):
        done = deploy(folder, {"name": "hello"}, "--url", url)
        assert (done.exit_code, got) == (1, [])
        assert "has index.js and main.py: name its runtime with --runtime" in done.stderr
        assert deploy(folder, {"name": "hello"}, "--url", url, "--runtime", "node").exit_code == 0
        assert deploy(folder, {"name": "hello", "runtime": "python"}, "--url", url).exit_code == 0
        (folder / "Dockerfile").write_text("FROM scratch")
        assert deploy(folder, {"name": "hello"}, "--url", url).exit_code == 0
    assert [each["data"]["runtime"] for each in got] == ["node", "python", "dockerfile"]


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (401, "It is not known here who asks."),
        (403, "no right"),
        (404, "The records under /v1 are not enabled here."),
        (404, "There is no function acme/hello."),
        (503, "the cluster is away"),
    ],
)
def test_who_cannot_see_whether_a_function_is_paused_has_it_deployed_and_is_told(
    folder: Path, status: int, detail: str
) -> None:
    """One that is not there is not paused; one of a service that is away is asked for again, and is not let go on."""
    with listening(status, {"detail": detail}) as (url, got):
        done = deploy(folder, {"name": "hello"}, "--url", url)
    is_hidden = status != 503 and "no function" not in detail
    assert (done.exit_code, len(got)) == ((4, 0) if status == 503 else (0, 1)), done.stderr
    assert ("hello goes on if it was paused, which could not be seen: " in done.stderr) == is_hidden, done.stderr
    assert detail in done.stderr or not is_hidden


def test_what_is_left_empty_says_nothing_and_no_option_hides_what_is_wrong(folder: Path) -> None:
    with listening() as (url, got):
        assert deploy(folder, "name: hello\ntimeout:\n", "--url", url).exit_code == 0
        assert deploy(folder, "name: hello\nscale: 3\n", "--url", url, "--min", "1").exit_code == 0
    assert "timeout" not in got[0]["data"]
    assert got[1]["data"]["scale"] == 3
