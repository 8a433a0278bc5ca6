"""A whole product over fakes, for the tests of the use cases: events in, objects out, and a clock to turn."""

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any

from support.images import BASE, INSTALLED, FakePusher

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.builders import Builders
from knative_lambda.builds.images.pusher import Pusher
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.layered import Layered
from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, NAMESPACE, TRIGGER, Cluster, Kind, Object
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler import papers
from knative_lambda.handler.events import Event
from knative_lambda.handler.product import Product
from knative_lambda.handler.router import handle
from knative_lambda.handler.settings import Settings
from knative_lambda.handler.tell.hooks import Hook
from knative_lambda.handler.tell.outbox import Post
from knative_lambda.handler.tell.senders import Senders
from knative_lambda.handler.wire import attestor, deploying, reuse, trust, workshop
from knative_lambda.schemas import names, types
from knative_lambda.schemas.catalogue import event_faults, resource_faults
from knative_lambda.schemas.errors import Refused, Temporary
from knative_lambda.storage.memory import MemoryStore
from knative_lambda.storage.store import Store

START = datetime(2026, 1, 1, tzinfo=UTC)
PYTHON = {"main.py": "def handle(event, context):\n    return {}\n"}
STUCK = ("PodRefused", "NoOutput")
"""Ends that a builder tells of what has not ended by itself."""
DIGEST = "sha256:" + "d" * 64
PUBLIC = ["9.9.9.9"]


@dataclass
class FakeRegistry:
    """A registry that knows what it is told."""

    known: dict[str, str] = field(default_factory=dict)
    listed: dict[str, list[str]] = field(default_factory=dict)
    """What refers to an image, by ``repository@digest``: the registry's own list, or the one under the tag for that."""
    asked: list[str] = field(default_factory=list)
    """The references whose digests were asked for."""

    def digest(self, reference: str) -> str | None:
        self.asked.append(reference)
        repository, _, digest = reference.partition("@")
        attached = (found for subject, found in self.listed.items() if subject.startswith(f"{repository}@"))
        there = {*self._images(repository).values(), *chain.from_iterable(attached)}
        return digest if digest in there else self.known.get(reference)

    def tags(self, repository: str) -> list[str]:
        return sorted(self._images(repository))

    def referrers(self, repository: str, digest: str) -> list[str]:
        return list(self.listed.get(f"{repository}@{digest}", ()))

    def delete(self, repository: str, digest: str) -> None:
        for refers in self.listed.values():
            if digest in refers:
                refers.remove(digest)
        for tag, known in self._images(repository).items():
            if known == digest:
                del self.known[f"{repository}:{tag}"]

    def _images(self, repository: str) -> dict[str, str]:
        return {
            tag: digest
            for place, _, tag, digest in ((*name.rpartition(":"), digest) for name, digest in self.known.items())
            if place == repository
        }


@dataclass
class FakeBuilder:
    """A builder whose attempts end when the test says so."""

    started: dict[str, Attempt] = field(default_factory=dict)
    ends: dict[str, Ended] = field(default_factory=dict)
    logs: dict[str, bytes] = field(default_factory=dict)
    starts: int = 0
    lingering: set[str] = field(default_factory=set)
    """Attempts whose Pod is still going although they were stopped."""

    def start(self, attempt: Attempt) -> None:
        if attempt.name not in self.started:
            self.started[attempt.name] = attempt
            self.starts += 1

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        if attempt.name not in self.started:
            return Lost()
        return self.ends.get(attempt.name, Running())

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        return self.logs.get(attempt.name, b"")[-limit:]

    def stop(self, attempt: Attempt) -> None:
        self.started.pop(attempt.name, None)

    def revoke(self, attempt: Attempt) -> None:
        pass

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        if self.lingering:
            return False
        mine = [one.name for one in self.started.values() if (one.tenant, one.build_uid) == (tenant, build_uid)]
        return all(name in self.ends and self.ends[name].reason not in STUCK for name in mine)


@dataclass
class Hooks:
    """Webhooks that answer as the test says, and keep what they are told."""

    answers: dict[str, int] = field(default_factory=dict)
    """By URL, what is answered other than 204; 0 is nothing."""
    got: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    fates: list[tuple[str, str]] = field(default_factory=list)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        code = self.answers.get(url, 204)
        self.got.append((url, dict(headers), body))
        if not code:
            raise Temporary("nobody answers")
        return code

    def fated(self, target: str, fate: str) -> None:
        self.fates.append((target, fate))

    def types(self, url: str) -> list[str]:
        return [json.loads(body)["type"].removeprefix(types.PREFIX) for at, _, body in self.got if at == url]


class World:
    """The product over fakes, with the tenants `acme` and `other`.

    It lays no layers, builds share nothing and images have no papers, unless a test says so.
    """

    def __init__(
        self, *, real: tuple[Registry, Pusher] | None = None, store: Store | None = None, **settings: Any
    ) -> None:
        """Make it; `real` are the two ports of a real registry, which ``registry`` and the bases are then in."""
        self.time = START
        self.cluster = MemoryCluster(validate=_validate, now=lambda: self.time, new_uid=counted_uids())
        for tenant in ("acme", "other"):
            self.namespace(tenant, {names.TENANT_LABEL: "true"})
            self.namespace(names.builds_namespace(tenant), {})
        self.namespace("knative-lambda", {})
        self.store = store or MemoryStore(now=lambda: self.time)
        self.registry = FakeRegistry({f"registry/{runtime}:1": DIGEST for runtime in ("python", "node", "go")})
        self.builder = FakeBuilder()
        self.pusher = FakePusher(self.registry)
        for runtime in ("python", "node"):
            self.pusher.add(f"registry/{runtime}", BASE, DIGEST)
        registry, pusher = real or (self.registry, self.pusher)
        builders = Builders(self.builder, Layered(self.store, registry, pusher))
        self.owing: list[tuple[str, str]] = []
        self.letters: list[tuple[str, str]] = []
        """DeadLetters that the postman is to look at."""
        self.unsigned: list[tuple[str, str]] = []
        """Builds whose images lack the papers that nothing waits for."""
        self.addresses: dict[str, list[str]] = {}
        """What hosts are resolved to; others are somewhere on the Internet."""
        self.broker = 202
        """What the tenants' Brokers answer to notifications."""
        self.told: list[dict[str, Any]] = []
        self.hooks = Hooks()
        self.settings = Settings(
            tenants=("acme", "other"),
            store_url="memory://world",
            dead_letter_url="http://deadletters",
            **{
                "registry": "registry",
                "python_base": "registry/python:1",
                "node_base": "registry/node:1",
                "go_base": "registry/go:1",
                "layers": False,
                "builds_reuse": "none",
                "supply_documents": False,
                **settings,
            },
        )
        self.product = Product(
            self.settings,
            replace(
                workshop(self.settings, self.cluster, builders, registry, self.store),
                reuse=reuse(self.settings, self.cluster, pusher),
                attestor=attestor(self.settings, self.store, pusher),
            ),
            deploying(self.settings),
            lambda: self.time,
            lambda tenant, name: self.owing.append((tenant, name)),
            letters=lambda namespace, name: self.letters.append((namespace, name)),
            papers=lambda tenant, build: self.unsigned.append((tenant, build)),
            trust=trust(self.settings, pusher),
            reach=replace(self.settings.reach, resolve=lambda host: self.addresses.get(host, PUBLIC)),
        )

    def namespace(self, name: str, labels: dict[str, str]) -> None:
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}
        self.cluster.create(NAMESPACE, body)

    def send(self, kind: str, data: Any, **attributes: Any) -> Event:
        """Hand an event to the router as the gate would; each one is a second later than the one before."""
        self.time += timedelta(seconds=1)
        schema = types.TYPES[kind].schema
        assert not event_faults(schema, data), "a test sends what the gate would let in"
        event = Event(
            **{
                "id": f"e-{self.time:%H%M%S}",
                "source": "/tests",
                "type": kind,
                "received_type": kind,
                "data": data,
                "time": self.time,
                **attributes,
            }
        )
        handle(event, self.product)
        self.tell()
        return event

    def tell(self) -> None:
        """Send and make what is owed, as happens once the answer is out; `told` is what was sent."""
        self.send_all(self.senders(self.cluster, self.store, self._post, self.hooks))

    def senders(self, cluster: Cluster, store: Store, post: Post, hook: Hook) -> Senders:
        settings = replace(self.settings, broker_url="http://broker")
        return Senders.over(cluster, store, settings, post, hook=hook, fated=[self.hooks.fated], now=lambda: self.time)

    def send_all(self, senders: Senders) -> None:
        owing, self.owing = self.owing, []
        for tenant, name in dict.fromkeys(owing):
            try:
                senders.outbox.deliver(tenant, name)
            finally:
                for courier in senders.couriers:
                    courier.deliver(tenant, name)
        looked_at, self.letters = self.letters, []
        for namespace, name in dict.fromkeys(looked_at):
            senders.postman.deliver(namespace, name)
        unsigned, self.unsigned = self.unsigned, []
        for tenant, build in dict.fromkeys(unsigned):
            papers.make(tenant, build, self.product)

    def _post(self, url: str, headers: dict[str, str], body: bytes) -> int:
        data = json.loads(body)
        if headers.get("content-type") == "application/cloudevents+json":
            headers, data = {f"ce-{name}": value for name, value in data.items() if name != "data"}, data.get("data")
        self.told.append({"url": url, "headers": headers, "data": data, "answer": self.broker})
        return self.broker

    def told_types(self) -> list[str]:
        return [sent["headers"]["ce-type"].removeprefix(types.PREFIX) for sent in self.told]

    def start(self, name: str = "hello", *, tenant: str = "acme", **data: Any) -> Event:
        """Send a build.start; attributes of the event are given as ``at`` (its time) and ``id``."""
        attributes = {key: data.pop(key) for key in ("time", "id") if key in data}
        whole = {"tenant": tenant, "name": name, "runtime": "python", "source": {"inline": PYTHON}, **data}
        return self.send(types.BUILD_START, whole, **attributes)

    def delete(self, name: str = "hello", **attributes: Any) -> Event:
        data = {"tenant": "acme", "name": name, **attributes.pop("data", {})}
        return self.send(types.FUNCTION_DELETE, data, **attributes)

    def tick(self) -> None:
        self.send(types.PING, {})

    def function(self, name: str = "hello", tenant: str = "acme") -> Object:
        found = self.cluster.get(FUNCTION, tenant, name)
        assert found is not None, f"there is no Function {name}"
        return found

    def functions(self) -> list[str]:
        return [found["metadata"]["name"] for found in self.cluster.list(FUNCTION, "acme")]

    def builds(self, tenant: str = "acme") -> list[Object]:
        return self.cluster.list(BUILD, tenant)

    def build(self, name: str = "hello") -> Object:
        """Return the Build that a Function wants."""
        found = self.cluster.get(BUILD, "acme", self.function(name)["status"]["latestBuild"])
        assert found is not None
        return found

    def condition(self, kind: str, name: str = "hello") -> tuple[str, str, str]:
        for found in self.function(name).get("status", {}).get("conditions", []):
            if found["type"] == kind:
                return found["status"], found["reason"], found["message"]
        return "Unknown", "", ""

    def attempt(self, name: str = "hello") -> str:
        build = self.build(name)
        return f"{build['metadata']['name']}-{build['status']['attempt']}"

    def finish(self, name: str = "hello", *, digest: str = DIGEST) -> None:
        """Let the wanted Build's attempt push its image and end, and report its Pod."""
        attempt = self.attempt(name)
        made = self.builder.started.get(attempt)
        self.push(made.destination if made else f"registry/acme/{name}:{attempt}", digest)
        self.builder.ends[attempt] = Ended(0)
        self.report("Pod", "acme-builds", f"{attempt}-abcde")

    def push(self, destination: str, digest: str) -> None:
        """Push as a Job does; what it has installed can be laid upon, whatever it was."""
        repository = destination.rpartition(":")[0]
        if "/dependencies." in repository:
            digest = self.pusher.add(repository, INSTALLED)
        self.registry.known[destination] = digest

    def fail(self, end: Ended, log: bytes = b"", name: str = "hello") -> None:
        attempt = self.attempt(name)
        self.builder.ends[attempt], self.builder.logs[attempt] = end, log
        self.report("Pod", "acme-builds", f"{attempt}-abcde")

    def report(self, kind: str, namespace: str, name: str) -> None:
        self.send(types.RESOURCE_UPDATED, {"kind": kind, "namespace": namespace, "name": name})

    def knative(self, name: str = "hello", *, ready: str = "True", reason: str = "", message: str = "") -> None:
        """Play Knative: say of the function's Service and Triggers how they are, and report it."""
        service = self.cluster.get(KNATIVE_SERVICE, "acme", name)
        assert service is not None, "there is no Knative Service"
        told = [{"type": "Ready", "status": ready, "reason": reason, "message": message}]
        status = {"observedGeneration": service["metadata"]["generation"], "conditions": told, "url": f"http://{name}"}
        self.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": status})
        for trigger in self.triggers(name):
            told = [{"type": "Ready", "status": "True", "reason": "", "message": ""}]
            self.cluster.replace_status(TRIGGER, {**trigger, "status": {"conditions": told}})
        self.report("Service", "acme", name)

    def triggers(self, name: str = "hello") -> list[Object]:
        return self.cluster.list(TRIGGER, "acme", {names.FUNCTION_LABEL: name})

    def service_image(self, name: str = "hello") -> str:
        service = self.cluster.get(KNATIVE_SERVICE, "acme", name)
        assert service is not None, "there is no Knative Service"
        image: str = service["spec"]["template"]["spec"]["containers"][0]["image"]
        return image

    def live(self, name: str = "hello", **data: Any) -> None:
        """Bring a function up: source, image, Knative."""
        self.start(name, **data)
        self.finish(name)
        self.knative(name)

    def outbox(self, name: str = "hello") -> list[str]:
        return [note["type"].removeprefix(types.PREFIX) for note in self.function(name)["status"].get("outbox", [])]


def counted_uids() -> Callable[[Kind, Object], str]:
    """Return what gives an object a UID by its name, and by how often there has been one of that name."""
    made: Counter[str] = Counter()

    def new_uid(kind: Kind, body: Object) -> str:
        place = f"{kind.kind} {body['metadata'].get('namespace', '')}/{body['metadata']['name']}"
        made[place] += 1
        return str(uuid.uuid5(uuid.NAMESPACE_URL, f"{place} {made[place]}"))

    return new_uid


def _validate(kind: Any, body: Object) -> None:
    if kind.group == FUNCTION.group and (faults := resource_faults(kind.kind, body)):
        raise Refused(faults)


def versions(*greetings: str) -> Iterable[dict[str, Any]]:
    """Return sources that differ."""
    return ({"inline": {"main.py": f"def handle(event, context):\n    return {text!r}\n"}} for text in greetings)
