from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from knative_lambda.deploy.cluster import BROKER, KNATIVE_SERVICE, NAMESPACE, TRIGGER, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.embedded.readiness import Readiness
from knative_lambda.deploy.embedded.subscribers import Subscribers
from knative_lambda.deploy.embedded.transport import Request, Response

SERVICE = {"ref": {"apiVersion": KNATIVE_SERVICE.api_version, "kind": KNATIVE_SERVICE.kind, "name": "hello"}}
URL = "http://127.0.0.1:1/functions/demo/hello"


def nobody(_namespace: str, _name: str, _request: Request) -> Response:
    raise AssertionError("readiness sends nothing")


class Bench:
    """Objects whose status is written as they change."""

    def __init__(self) -> None:
        self.cluster = SQLiteCluster(":memory:")
        self.readiness = Readiness(self.cluster, Subscribers(self.cluster, nobody), "http://127.0.0.1:1")
        self.create(NAMESPACE, "demo", {})
        self.cluster.on_change(self.readiness.changed)

    def create(self, kind: Kind, name: str, spec: Object) -> Object:
        place = {"namespace": "demo"} if kind.namespaced else {}
        head = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": {"name": name, **place}}
        return self.cluster.create(kind, {**head, "spec": spec})

    def addressed(self) -> None:
        service = self.create(KNATIVE_SERVICE, "hello", {"template": {}})
        self.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": {"address": {"url": URL}}})

    def status(self, kind: Kind, name: str) -> Object:
        assert self.readiness.settled(60)
        found = self.cluster.get(kind, "demo", name)
        assert found is not None
        status: Object = found["status"]
        return status

    def ready(self, kind: Kind, name: str) -> Mapping[str, Any]:
        return condition({"status": self.status(kind, name)}, "Ready")


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.readiness.close()


def test_a_broker_is_ready_and_says_where_it_is(bench: Bench) -> None:
    bench.create(BROKER, "default", {})

    assert bench.ready(BROKER, "default")["status"] == "True"
    assert bench.status(BROKER, "default")["address"] == {"url": "http://127.0.0.1:1/demo/default"}


def test_a_trigger_is_ready_once_its_broker_and_its_subscriber_are_there(bench: Bench) -> None:
    bench.create(TRIGGER, "all", {"broker": "default", "subscriber": SERVICE})
    assert bench.ready(TRIGGER, "all")["reason"] == "BrokerDoesNotExist"

    bench.create(BROKER, "default", {})
    assert "not found" in bench.ready(TRIGGER, "all")["message"]

    bench.addressed()
    assert bench.ready(TRIGGER, "all")["status"] == "True"
    assert bench.status(TRIGGER, "all")["subscriberUri"] == URL


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({"filters": [{"cesql": "type = 'a'"}]}, "no dialect cesql"),
        ({"filters": [{"any": [{"exact": {"type": "a"}, "prefix": {"type": "a"}}]}]}, "exactly one dialect"),
        ({"delivery": {"deadLetterSink": {"ref": {"apiVersion": "v1", "kind": "Service", "name": "x"}}}}, "v1 Service"),
        ({"delivery": {"backoffDelay": "1s"}}, "no ISO 8601 duration"),
        ({"subscriber": {}}, "neither ref nor uri"),
    ],
)
def test_a_trigger_that_cannot_be_kept_says_why(bench: Bench, spec: Object, why: str) -> None:
    bench.create(BROKER, "default", {})
    bench.addressed()

    bench.create(TRIGGER, "all", {"broker": "default", "subscriber": SERVICE, **spec})

    assert bench.ready(TRIGGER, "all")["status"] == "False"
    assert why in bench.ready(TRIGGER, "all")["message"]


def test_what_is_there_already_is_looked_at_at_the_start() -> None:
    bench = Bench()
    bench.readiness.close()
    bench.create(BROKER, "default", {})
    bench.readiness = Readiness(bench.cluster, Subscribers(bench.cluster, nobody), "http://127.0.0.1:2")

    bench.readiness.start()

    assert bench.status(BROKER, "default")["address"] == {"url": "http://127.0.0.1:2/demo/default"}
    bench.readiness.close()
