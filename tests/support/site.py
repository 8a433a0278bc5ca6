"""A World whose builds are Kaniko's Jobs, and whose events come over HTTP: for tests from one end to the other."""

import json
from dataclasses import dataclass, replace
from typing import Any

from flask.testing import FlaskClient
from support.world import PYTHON, World
from werkzeug.test import TestResponse

from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import JOB, POD, Object
from knative_lambda.handler.access import modes
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.receive import app as http
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.router import handle
from knative_lambda.schemas import names, types


@dataclass(frozen=True)
class Behind:
    """What lies behind the door: the product; its notifications are left to `World.tell`."""

    product: Product
    read: Records
    access: Entrances

    def receive(self, event: Event) -> None:
        handle(event, self.product)

    def answered(self) -> None:
        """Send nothing."""

    def dependencies(self) -> dict[str, str]:
        return {}


class Site(World):
    """The product over fakes, as its senders and its cluster see it; `builder` is not asked."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(legacy_tenant="acme", **settings)
        decided = KanikoSettings(image="registry/kaniko", fetch_image="registry/product")
        kaniko = Kaniko(self.cluster, self.store, decided, now=lambda: self.time)
        self.product = replace(self.product, workshop=replace(self.product.workshop, builder=kaniko))

    def http(self, product: Product | None = None, access: Entrances | None = None) -> FlaskClient:
        """Return a client of the door, to this product or to one with other ports; anybody is let in, or who may."""
        joined = product or self.product
        behind = Behind(joined, Records(joined), access or modes.opened(joined))
        return http.create_app(behind, HttpSettings()).test_client()

    def post(self, kind: str = types.BUILD_START, product: Product | None = None, **data: Any) -> TestResponse:
        """Send an event in binary mode; data that is not given is that of a start of `hello`."""
        event = self.event(kind, **data)
        headers = {f"Ce-{name}": value for name, value in event.items() if name != "data"}
        body = json.dumps(event["data"])
        return self.http(product).post("/events", data=body, headers=headers, content_type="application/json")

    def event(self, kind: str = types.BUILD_START, **data: Any) -> dict[str, Any]:
        """Return a CloudEvent in JSON, newer than all before it."""
        self.time = self.time.replace(microsecond=self.time.microsecond + 1)
        whole = {"tenant": "acme", "name": "hello"}
        if kind == types.BUILD_START:
            whole |= {"runtime": "python", "source": {"inline": PYTHON}}
        said = {key: value for key, value in (whole | data).items() if value is not None}
        attributes = {"specversion": "1.0", "id": f"e-{self.time:%M%S%f}", "source": "/tests", "type": kind}
        return {**attributes, "time": self.time.isoformat(), "data": said}

    def jobs(self, tenant: str = "acme") -> list[Object]:
        return self.cluster.list(JOB, names.builds_namespace(tenant))

    def job(self, name: str = "hello") -> Object:
        """Return the Job of a function that is being built."""
        [found] = [job for job in self.jobs() if job["metadata"]["labels"][names.FUNCTION_LABEL] == name]
        return found

    def pod(self, job: Object, **status: Any) -> Object:
        """Make a Job's Pod with this status, as the Job controller and the kubelet would; nobody reports it."""
        meta = job["metadata"]
        labels = {"batch.kubernetes.io/job-name": meta["name"], **meta["labels"]}
        made = self.cluster.create(
            POD,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": f"{meta['name']}-abcde",
                    "namespace": meta["namespace"],
                    "labels": labels,
                    "ownerReferences": [conditions.owner(job)],
                },
            },
        )
        return self.cluster.replace_status(POD, {**made, "status": status})

    def pods(self, job: Object) -> list[Object]:
        """Return the Pods of a Job."""
        found = self.cluster.list(POD, job["metadata"]["namespace"])
        return [pod for pod in found if conditions.owned_by(pod, job["metadata"]["uid"])]

    def exits(self, job: Object, code: int = 0, *, digest: str = "", **terminated: Any) -> Object:
        """Let a Job's Pod end with an exit code, its image pushed if there is a digest."""
        if digest:
            name, function = job["metadata"]["name"], job["metadata"]["labels"][names.FUNCTION_LABEL]
            self.registry.known[f"registry/acme/{function}:{name}"] = digest
        ended = {"name": "kaniko", "state": {"terminated": {"exitCode": code, **terminated}}}
        return self.pod(job, containerStatuses=[ended])
