"""The product on a real cluster, as its users see it; for the tests in `e2e/`."""

import http.server
import json
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
import urllib3
from support.listener import Server

from knative_lambda.deploy.cluster import (
    BUILD,
    FUNCTION,
    JOB,
    KNATIVE_SERVICE,
    POD,
    SERVICE_ACCOUNT,
    TRIGGER,
    Kind,
    Object,
)
from knative_lambda.deploy.conditions import condition
from knative_lambda.deploy.kubernetes import KubernetesCluster
from knative_lambda.schemas import names, types

TENANT = "demo"
PRODUCT = "knative-lambda"
CHANNEL = Kind("messaging.knative.dev", "v1", "InMemoryChannel", "inmemorychannels")
CONTROLLER = "system:serviceaccount:knative-eventing:eventing-controller"
"""Nobody else may write who a channel brings events to."""
SUBSCRIPTION = Kind("messaging.knative.dev", "v1", "Subscription", "subscriptions")
HOST = "10.99.0.1"
AGAIN = 3.0
LEAST = 120.0
"""Seconds that anything is waited for: a machine may be slow, and nothing is wrong with it."""
TOLD = (
    *(f"{types.PREFIX}{kind}" for kind in ("build.", "function.ready", "function.failed", "function.deleted")),
    "dev.cdevents.",
)


def within(seconds: float, what: str, look: Callable[[], Any], every: float = 0.2) -> Any:
    """Return what `look` finds once it finds something; fail with `what` after so many seconds, or `LEAST` of them."""
    seconds, found = max(seconds, LEAST), None
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(every)
    pytest.fail(f"{what}: not within {seconds:.0f} s; {found!r} is what was found last")


def is_ready(found: Object | None) -> bool:
    """Say whether an object is ready, as Knative says it."""
    return condition(found or {}, "Ready")["status"] == "True"


class Collector:
    """Gets every event of the tenant's Broker, by a Trigger of its own."""

    def __init__(self) -> None:
        self.events: list[tuple[dict[str, str], Any]] = []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                attributes = {
                    name.lower()[3:]: value for name, value in self.headers.items() if name[:3].lower() == "ce-"
                }
                try:
                    data = json.loads(body) if body else None
                except ValueError:
                    data = body
                collector.events.append((attributes, data))
                self.send_response(202)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer((HOST, 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server.server_address[1]}/"

    def replies(self, name: str) -> list[Any]:
        """Return the data of every event that a function has sent, in the order in which they came."""
        own = f"functions/{name}", f"functions/{TENANT}/{name}"
        events = [event for event in list(self.events) if event[0].get("source", "").endswith(own)]
        return [data for attributes, data in events if not attributes["type"].startswith(TOLD)]


class Live:
    """The product on the cluster, as its users see it."""

    def __init__(self, collector: Collector) -> None:
        self.cluster = KubernetesCluster()
        self.collector = collector
        self.hook: Server | None = None
        self.http = urllib3.PoolManager(retries=False, timeout=30, maxsize=32)
        self.ingress = os.environ["BROKER_INGRESS"]

    def forget_the_gone(self) -> int:
        """Take those out of the tenant's and the product's channels whose Subscription is gone; return how many.

        Knative's controller writes a channel's whole list of subscribers from what it has read a while ago: where many
        Triggers come, go or change at once, some that are gone are written back. Each event is then brought to them
        too, again and again.
        """
        return self._forget_the_gone(TENANT) + self._forget_the_gone(PRODUCT)

    def _forget_the_gone(self, namespace: str) -> int:
        there = {found["metadata"]["uid"] for found in self.cluster.list(SUBSCRIPTION, namespace)}
        gone = 0
        for channel in self.cluster.list(CHANNEL, namespace):
            subscribers = channel["spec"].get("subscribers", [])
            kept = [subscriber for subscriber in subscribers if subscriber["uid"] in there]
            if kept != subscribers:
                gone += len(subscribers) - len(kept)
                meta = {"resourceVersion": channel["metadata"]["resourceVersion"]}
                patch = json.dumps({"metadata": meta, "spec": {"subscribers": kept}})
                place = ["-n", namespace, CHANNEL.plural, channel["metadata"]["name"]]
                command = ["kubectl", f"--as={CONTROLLER}", "patch", *place, "--type=merge", "-p", patch]
                subprocess.run(command, capture_output=True, check=False)  # where it was written meanwhile: next time
        return gone

    def collect(self) -> tuple[Kind, str, str]:
        """Give the collector a Trigger, and return where it is once it is ready; those of runs that were cut off go."""
        for found in self.cluster.list(TRIGGER, TENANT):
            if found["metadata"]["name"].startswith("e2e-") and not found["metadata"].get("ownerReferences"):
                self.cluster.delete(TRIGGER, TENANT, found["metadata"]["name"])
        self.forget_the_gone()
        trigger = {
            "apiVersion": TRIGGER.api_version,
            "kind": TRIGGER.kind,
            "metadata": {"name": f"e2e-{uuid.uuid4().hex[:8]}", "namespace": TENANT},
            "spec": {"broker": "default", "subscriber": {"uri": self.collector.url}},
        }
        place = (TRIGGER, TENANT, self.cluster.create(TRIGGER, trigger)["metadata"]["name"])
        within(60, "the collector's Trigger is ready", lambda: is_ready(self.cluster.get(*place)))
        return place

    def post(self, broker: str, kind: str, data: Any, **attributes: str) -> None:
        """Send an event to a Broker until it takes it, as a sender does: it may be busy, or starting anew."""
        same = {"id": str(uuid.uuid4()), "time": datetime.now(UTC).isoformat(), **attributes}
        within(60, "the broker takes it", lambda: self.send(broker, kind, data, **same) == 202, every=1)

    def send(self, broker: str, kind: str, data: Any, **attributes: str) -> int:
        """Send an event to a Broker and return its answer, 0 where there is none; in a trace where it names one."""
        headers = {
            "ce-specversion": "1.0",
            "ce-id": str(uuid.uuid4()),
            "ce-source": "/e2e",
            "ce-type": kind,
            "ce-time": datetime.now(UTC).isoformat(),
            "content-type": "application/json",
            **{f"ce-{name}": value for name, value in attributes.items()},
            **({"traceparent": attributes["traceparent"]} if "traceparent" in attributes else {}),
        }
        url = f"{self.ingress}/{broker}" if "/" in broker else f"{self.ingress}/{broker}/default"
        try:
            return self.http.request("POST", url, body=json.dumps(data), headers=headers).status
        except urllib3.exceptions.HTTPError:
            return 0

    def command(self, kind: str, data: Any, **attributes: str) -> None:
        """Send an event for the product."""
        self.post("knative-lambda", kind, data, **attributes)

    def start(self, name: str, **data: Any) -> None:
        self.command(types.BUILD_START, {"tenant": TENANT, "name": name, "triggers": [{"type": f"e2e.{name}"}], **data})

    def tick(self) -> None:
        """Send what the clock sends: the sweep begins."""
        self.send("knative-lambda/cluster", types.PING, {})

    @staticmethod
    def slow(seconds: int) -> dict[str, Any]:
        """Return the source of a function whose build takes so long at least; each is another."""
        base = os.environ["PYTHON_BASE"]
        dockerfile = f"FROM {base}\nRUN sleep {seconds} # {uuid.uuid4()}\nCMD python3 -m http.server 8080\n"
        return {"inline": {"Dockerfile": dockerfile}}

    def call(self, name: str, data: Any) -> None:
        """Send an event for a function."""
        self.post(TENANT, f"e2e.{name}", data)

    def function(self, name: str) -> Object | None:
        return self.cluster.get(FUNCTION, TENANT, name)

    def builds(self, name: str) -> list[Object]:
        return self.cluster.list(BUILD, TENANT, {names.FUNCTION_LABEL: name})

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        status = (self.function(name) or {}).get("status", {})
        return next((found for found in status.get("conditions", []) if found["type"] == kind), {})

    def ready(self, name: str, *, image_other_than: str = "", seconds: float = 180) -> str:
        """Wait until a function is ready; return its image."""

        def look() -> str:
            built = self.condition(name, "Built")
            assert built.get("status") != "False", f"{name} was not built: {built}"
            image: str = (self.function(name) or {}).get("status", {}).get("image", "")
            is_new = image and image != image_other_than
            return image if is_new and self.condition(name, "Ready").get("status") == "True" else ""

        return str(within(seconds, f"{name} is ready", look))

    def answer(
        self, name: str, data: Any, matches: Callable[[Any], bool], *, kind: str = "", attributes: Any = None
    ) -> Any:
        """Send a function an event and return the result that matches."""
        said = {"id": str(uuid.uuid4()), **(attributes or {})}
        last = [0.0]

        def look() -> Any:
            """Send again with the same id: a new Trigger that says it is ready may still miss its first events."""
            if time.monotonic() - last[0] > AGAIN:
                self.post(TENANT, kind or f"e2e.{name}", data, **said)
                last[0] = time.monotonic()
            return next((data for data in self.collector.replies(name) if matches(data)), None)

        return within(60, f"{name} answers", look)

    def told(self, kind: str) -> list[dict[str, str]]:
        """Return the attributes of every notification of a type that came."""
        return [attributes for attributes, _ in list(self.collector.events) if attributes["type"] == kind]

    def is_ready(self, kind: Kind, namespace: str, name: str) -> bool:
        """Say whether an object is ready, as Knative says it."""
        return is_ready(self.cluster.get(kind, namespace, name))

    def receivers(self) -> list[str]:
        """Return the addresses of the receiver's Pods that run."""
        pods = self.cluster.list(POD, "knative-lambda", {"serving.knative.dev/service": "receiver"})
        return [pod["status"]["podIP"] for pod in pods if pod["status"].get("podIP")]

    def handled(self, event: str) -> list[int]:
        """Return what the receivers that run have answered to an event, once for every time that it came."""
        found = []
        for pod in self.cluster.list(POD, "knative-lambda", {"serving.knative.dev/service": "receiver"}):
            log = self.cluster.pod_log("knative-lambda", pod["metadata"]["name"], "receiver", limit=1_000_000) or b""
            lines = [json.loads(line) for line in log.splitlines() if event.encode() in line]
            found += [line["status"] for line in lines if "status" in line and line.get("msg") != "audit"]
        return found

    def configured(self, variable: str) -> str:
        """Return what the receiver finds in a variable."""
        return str(self._variables()[variable])

    def configure(self, variable: str, value: str) -> None:
        """Have the receiver find another value in a variable, and wait until the pod that does is the one to answer."""
        place = list(self._variables()).index(variable)
        change = [{"op": "replace", "path": f"/spec/template/spec/containers/0/env/{place}/value", "value": value}]
        command = ["kubectl", "patch", "ksvc", "receiver", "-n", PRODUCT, "--type=json", "-p", json.dumps(change)]
        subprocess.run(command, check=True, capture_output=True)

        def is_there() -> bool:
            found: Any = self.cluster.get(KNATIVE_SERVICE, PRODUCT, "receiver")
            status = found["status"]
            return bool(
                status["observedGeneration"] == found["metadata"]["generation"]
                and status["latestReadyRevisionName"] == status["latestCreatedRevisionName"]
                and is_ready(found)
            )

        within(120, f"the receiver has {variable}={value}", is_there, every=1)

    def _variables(self) -> dict[str, Any]:
        service: Any = self.cluster.get(KNATIVE_SERVICE, PRODUCT, "receiver")
        [container] = service["spec"]["template"]["spec"]["containers"]
        return {one["name"]: one.get("value") for one in container["env"]}

    def receiver_at_zero(self) -> None:
        labels = {"serving.knative.dev/service": "receiver"}
        within(180, "the receiver is at zero", lambda: not self.cluster.list(POD, "knative-lambda", labels), every=1)

    def left_of(self, name: str) -> list[str]:
        """Return what there is of a function in the cluster."""
        places = [
            *((kind, TENANT) for kind in (FUNCTION, BUILD, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER, POD)),
            *((kind, names.builds_namespace(TENANT)) for kind in (JOB, POD)),
        ]
        return [
            f"{kind.kind} {place}/{found['metadata']['name']}"
            for kind, place in places
            for found in self.cluster.list(kind, place)
            if name in (found["metadata"]["name"], found["metadata"].get("labels", {}).get(names.FUNCTION_LABEL))
        ]

    def seen(self) -> str:
        """Return what is to be seen of the tenant's functions and builds, and of their Pods, a line each."""
        lines = []
        for kind in (FUNCTION, BUILD):
            for found in self.cluster.list(kind, TENANT):
                said = [
                    f"{each['type']}={each['status']} {each.get('reason', '')}: {each.get('message', '')[:200]}"
                    for each in found.get("status", {}).get("conditions", [])
                ]
                lines.append(f"{kind.kind} {found['metadata']['name']}: {'; '.join(said) or 'no conditions'}")
        for namespace in (TENANT, names.builds_namespace(TENANT), PRODUCT):
            pods = self.cluster.list(POD, namespace)
            lines += [f"Pod {namespace}/{pod['metadata']['name']}: {pod['status'].get('phase')}" for pod in pods]
        return "\n".join(lines)

    def delete(self, name: str) -> None:
        self.command(types.FUNCTION_DELETE, {"tenant": TENANT, "name": name})
        within(120, f"nothing is left of {name}", lambda: not self.left_of(name), every=1)
