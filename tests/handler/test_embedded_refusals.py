"""What means nothing in the embedded mode is refused there by a fault that names it, before anything is made of it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from support.world import World

from knative_lambda.deploy.cluster import FUNCTION
from knative_lambda.handler.local.dev import Embedded
from knative_lambda.schemas.embedded import IDLE, REFUSED, SURROUNDINGS

SOURCE = {"inline": {"main.py": "def handle(event, context):\n    return {}\n"}}
DOCS = Path(__file__).parents[2] / "docs" / "functions.md"
ASKS: dict[str, dict[str, Any]] = {
    "runtime: dockerfile": {"runtime": "dockerfile", "source": {"inline": {"Dockerfile": "FROM scratch\n"}}},
    "source.image": {"runtime": "dockerfile", "source": {"image": "registry.example.com/acme/hello:1"}},
    "source.git": {"source": {"git": {"url": "https://git.example.com/acme/hello.git"}}},
    "builder: external": {"builder": "external"},
    "build.secrets": {"build": {"secrets": ["pypi"]}},
    "build.indexes.secret": {"build": {"indexes": {"url": "https://packages.example.com/simple", "secret": "pypi"}}},
    "mounts": {"mounts": [{"path": "/cache", "emptyDir": {}}]},
    "probes": {"probes": {"liveness": {"path": "/healthz"}}},
    "nodeSelector": {"nodeSelector": {"disk": "ssd"}},
    "architecture": {"architecture": "amd64"},
    "pullSecrets": {"pullSecrets": ["acme-registry"]},
}
DOES_NOTHING: dict[str, Any] = {
    "resources": {"limits": {"memory": "128Mi"}},
    "scale": {"min": 0, "max": 3, "concurrency": 1},
    "labels": {"team": "shop"},
    "annotations": {"autoscaling.knative.dev/target": "5"},
    "builder": "kaniko",
    "build": {"onBaseChange": "rebuild"},
}


@pytest.fixture(scope="module")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    made = Embedded(8480, tmp_path_factory.mktemp("data"), "", ("demo",))
    made.start()
    yield made
    made.close()


@pytest.fixture(scope="module")
def door(embedded: Embedded) -> FlaskClient:
    return embedded.app(lambda: False).test_client()


def start(door: FlaskClient, name: str, asked: dict[str, Any]) -> Any:
    data = {"tenant": "demo", "name": name, "runtime": "python", "source": SOURCE, **asked}
    event = {"specversion": "1.0", "id": name, "source": "/me", "type": "dev.knative-lambda.build.start"}
    event |= {"time": "2026-01-01T00:00:00Z", "data": data}
    return door.post("/", data=json.dumps(event), content_type="application/cloudevents+json")


@pytest.mark.parametrize("each", REFUSED)
def test_what_is_on_a_cluster_only_is_refused_with_one_fault_that_names_it(
    door: FlaskClient, embedded: Embedded, each: str
) -> None:
    answer = start(door, "refused", ASKS[each])
    assert answer.status_code == 422
    said = f"`{each}` can be had on a cluster only, not in the embedded mode"
    where = f"/data/{each.partition(':')[0].replace('.', '/')}"
    assert answer.get_json(force=True)["faults"] == [{"where": where, "message": said}]
    assert embedded.cluster.get(FUNCTION, "demo", "refused") is None


@pytest.mark.parametrize("each", REFUSED)
def test_a_cluster_takes_the_same(each: str) -> None:
    world = World(build_secrets=True, git_image="git", function_node_labels=("disk",))
    world.start(**ASKS[each])
    assert world.functions() == ["hello"]


def test_several_such_things_are_told_together(door: FlaskClient) -> None:
    answer = start(door, "refused", ASKS["mounts"] | ASKS["probes"])
    assert [fault["where"] for fault in answer.get_json(force=True)["faults"]] == ["/data/mounts", "/data/probes"]


def test_what_does_nothing_there_is_taken(door: FlaskClient, embedded: Embedded) -> None:
    assert start(door, "taken", DOES_NOTHING | {"mounts": [], "probes": {}}).status_code == 202
    assert embedded.cluster.get(FUNCTION, "demo", "taken") is not None


def test_the_page_on_functions_lists_the_same_table() -> None:
    text = DOCS.read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (is (?:refused|taken), .*?) \| (.*) \|$", text, re.MULTILINE))
    listed = [tuple(re.findall("`([^`]+)`", row)) for row in rows.values()]
    assert listed == [REFUSED, IDLE]
    fields = {each.partition(".")[0] for each in REFUSED if ":" not in each} - {"build", "source"}
    told = {field for field in fields if re.search(rf"^\| `{field}` \|.*On a cluster only \|$", text, re.MULTILINE)}
    assert told == fields
    [run] = re.findall(r"^`knative-lambda run` leaves out (.*), and says so\.$", text, re.MULTILINE)
    assert tuple(re.findall("`([^`]+)`", run)) == SURROUNDINGS
