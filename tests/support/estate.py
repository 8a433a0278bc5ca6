"""The product as it is on a cluster, over fakes: Kaniko's Jobs, a kubelet, Knative, Brokers; and a handler to kill.

What the cluster does, it does when a test says so: `advance` lets it do what is due, `rest` all of it.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from typing import Any

from support.faults import Handler
from support.images import Made, made, tarred
from support.papers import statement
from support.reviews import FakeReviews
from support.tokens import FakeIssuer
from support.world import World

from knative_lambda.builds import record
from knative_lambda.builds.builders import Builders
from knative_lambda.builds.inputs import source
from knative_lambda.builds.jobs.kaniko import Kaniko
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.builds.layered import Layered
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import (
    BUILD,
    DEAD_LETTER,
    FUNCTION,
    JOB,
    KNATIVE_SERVICE,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SERVICE_ACCOUNT,
    TRIGGER,
    Kind,
    Object,
)
from knative_lambda.handler.effects import watched
from knative_lambda.handler.events import Event
from knative_lambda.handler.guards import Ports
from knative_lambda.handler.product import Product
from knative_lambda.handler.router import handle
from knative_lambda.handler.wire import attestor, reuse, trust, workshop
from knative_lambda.schemas import names, types

KINDS = (FUNCTION, BUILD, KNATIVE_SERVICE, SERVICE_ACCOUNT, TRIGGER, JOB, SECRET, POD, LEASE, DEAD_LETTER)
PLACES = ("acme", "acme-builds", "other", "other-builds", "knative-lambda")
ROUNDS = 40
STEP = timedelta(seconds=45)
MOMENT = re.compile(r"\d{4}-\d\d-\d\dT[0-9:.]+(Z|\+00:00)|(?<=\"activeDeadlineSeconds\": )\d+")
TURN = re.compile(r"\.\d+(?=\.dev\.knative-lambda\.function\.(?:ready|failed)\b)")
ENDS: Mapping[str, tuple[int, Mapping[str, Any]]] = {
    "ok": (0, {}),
    "user": (1, {}),
    "evicted": (1, {"phase": "Failed", "reason": "Evicted", "message": "the node was low on memory"}),
    "unpushed": (0, {}),
}
"""How a build's Pod may end: its exit code, and what the cluster says of it."""


@dataclass
class Brokers:
    """The ingress of all Brokers: it answers what the estate says, and keeps what it got."""

    estate: "Estate"

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        return self.estate._post(url, dict(headers), body)


class Estate(World):
    """The product, its cluster, and the clock; every call of a port goes through `handler`."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.time += timedelta(minutes=30)  # a tick of now collects nothing
        self.handler = Handler()
        self.fates: dict[str, list[str]] = {}
        """By function, how its builds' Pods end, one after the other; then, and by default, well."""
        self.knows_knative: dict[str, str] = {}
        """By function, what Knative says of it when it is not ready."""
        self.ports, self.product = self.process(self.handler)
        self.changes = 0
        """How often anything was written to the cluster."""
        self.cluster.on_change(lambda *_: setattr(self, "changes", self.changes + 1))
        self.vanished: dict[str, str] = {}
        """What the registry knew until somebody deleted it there: digests by reference."""
        self.jobs_made: list[str] = []
        """Every Job that was ever seen, by the UID of its Build and its name."""

    def process(self, handler: Handler) -> tuple[Ports, Product]:
        """Return what another process of the product is joined from, and its product, every call through `handler`."""
        ports = watched(
            Ports(self.cluster, self.store, self.registry, Brokers(self), self.pusher, FakeReviews(), self.hooks),
            handler.around,
        )
        decided = KanikoSettings("kaniko", "fetch", registry=self.settings.registry)
        kaniko = Kaniko(ports.cluster, ports.store, decided, lambda: self.time, FakeIssuer())
        builders = Builders(kaniko, Layered(ports.store, ports.registry, ports.pusher))
        touched = workshop(self.settings, ports.cluster, builders, ports.registry, ports.store)
        touched = replace(
            touched,
            reuse=reuse(self.settings, ports.cluster, ports.pusher),
            attestor=attestor(self.settings, ports.store, ports.pusher),
        )
        bare = Product(
            self.settings,
            touched,
            self.product.deploying,
            lambda: self.time,
            lambda tenant, name: self.owing.append((tenant, name)),
            letters=lambda namespace, name: self.letters.append((namespace, name)),
            papers=lambda tenant, build: self.unsigned.append((tenant, build)),
            trust=trust(self.settings, ports.pusher),
        )
        return ports, watched(bare, handler.around)

    def event(self, kind: str, data: Any, **attributes: Any) -> Event:
        """Return an event of now, which is a second later than the one before."""
        self.time += timedelta(seconds=1)
        given = {"id": f"e-{self.time:%H%M%S}", "source": "/tests", "time": self.time, **attributes}
        return Event(type=kind, received_type=kind, data=data, **given)

    def deliver(self, event: Event) -> None:
        """Hand an event to the handler; once it is answered, send what is owed."""
        handle(event, self.product)
        self.tell()

    def crash(self) -> None:
        """Let the process that was killed be gone, with all that it had in memory, and begin another."""
        self.owing, self.letters, self.unsigned = [], [], []
        self.handler.begin()

    def tell(self) -> None:
        """Send and make what is owed, through the handler's ports."""
        ports = self.ports
        self.send_all(self.senders(ports.cluster, ports.store, ports.broker.post, ports.hook))

    # what the cluster does

    def pod_of(self, job: Object) -> Object | None:
        found = self.cluster.list(POD, job["metadata"]["namespace"])
        return next((pod for pod in found if conditions.owned_by(pod, job["metadata"]["uid"])), None)

    def make_pods(self) -> list[tuple[str, str, str]]:
        """Play the Job controller and the kubelet: every Job gets its Pod, which runs; return the reports of that."""
        reports = []
        for tenant in self.settings.tenants:
            for job in self.cluster.list(JOB, names.builds_namespace(tenant)):
                meta = job["metadata"]
                made = f"{meta.get('labels', {}).get(names.BUILD_UID_LABEL)} {meta['name']}"
                if self.pod_of(job) is None:
                    self.jobs_made.append(made)
                    labels = {**meta.get("labels", {}), "batch.kubernetes.io/job-name": meta["name"]}
                    pod = {"name": f"{meta['name']}-abcde", "namespace": meta["namespace"], "labels": labels}
                    body = {"metadata": {**pod, "ownerReferences": [conditions.owner(job)]}, "spec": {}}
                    created = self.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", **body})
                    running = {"phase": "Running", "containerStatuses": [{"name": "kaniko", "state": {"running": {}}}]}
                    self.cluster.replace_status(POD, {**created, "status": running})
                    reports.append(("Pod", meta["namespace"], f"{meta['name']}-abcde"))
        return reports

    def end_pod(self, job: Object, fate: str = "") -> str:
        """Let a Job's Pod end, as its function's fate is or as said, and return the Pod's name; "" if it has ended."""
        pod = self.pod_of(job)
        if pod is None or pod["status"]["phase"] != "Running":
            return ""
        meta, spec = pod["metadata"], job["spec"]["template"]["spec"]["containers"][0]
        fates = self.fates.get(meta["labels"][names.FUNCTION_LABEL], [])
        fate = fate or (fates.pop(0) if fates else "ok")
        code, told = ENDS[fate]
        if fate == "ok":
            [destination] = [arg.partition("=")[2] for arg in spec["args"] if arg.startswith("--destination=")]
            context = job["spec"]["template"]["spec"]["initContainers"][0]["args"][0]
            image = image_of(context)
            self.pusher.add(destination.rpartition(":")[0], image)
            self.push(destination, image.digest)
        states = [{"name": "kaniko", "state": {"terminated": {"exitCode": code}}}]
        phase = "Failed" if code else "Succeeded"
        self.cluster.logs[(meta["namespace"], meta["name"], "kaniko")] = f"it went {fate}\n".encode()
        self.cluster.replace_status(POD, {**pod, "status": {"phase": phase, "containerStatuses": states, **told}})
        return str(meta["name"])

    def end_builds(self) -> list[tuple[str, str, str]]:
        """Let every Pod that runs end; return what the sources would report."""
        ended = []
        for tenant in self.settings.tenants:
            namespace = names.builds_namespace(tenant)
            ended += [("Pod", namespace, self.end_pod(job)) for job in self.cluster.list(JOB, namespace)]
        return [report for report in ended if report[2]]

    def serve(self) -> list[tuple[str, str, str]]:
        """Play Knative: every Service and Trigger is as it should be; return what the sources would report."""
        reports = []
        for tenant in self.settings.tenants:
            for kind in (TRIGGER, KNATIVE_SERVICE):
                for body in self.cluster.list(kind, tenant):
                    meta = body["metadata"]
                    why = self.knows_knative.get(meta["name"], "") if kind == KNATIVE_SERVICE else ""
                    told = {"type": "Ready", "status": "False" if why else "True", "reason": why, "message": ""}
                    status = {"observedGeneration": meta["generation"], "conditions": [told]}
                    status |= {"url": f"http://{meta['name']}"} if kind == KNATIVE_SERVICE else {}
                    if body.get("status") != status:
                        self.cluster.replace_status(kind, {**body, "status": status})
                        reports.append((kind.kind, tenant, meta["name"]))
        return reports

    def reported(self, kind: str, namespace: str, name: str) -> Event:
        return self.event(types.RESOURCE_UPDATED, {"kind": kind, "namespace": namespace, "name": name})

    def advance(self, *, told: bool = True) -> None:
        """Let the cluster do what is due now, and tell of it where the sources are up; then the clock ticks."""
        for step in (self.make_pods, self.end_builds, self.serve):
            for report in step():
                if told:
                    self.deliver(self.reported(*report))
        self.wait(STEP.seconds)
        self.deliver(self.event(types.PING, {}))

    def wait(self, seconds: int) -> None:
        """Let time go by, but not to where an hour's first tick would collect."""
        self.time += timedelta(seconds=seconds)
        if self.time.minute < 5:
            self.time = self.time.replace(minute=5)

    def rest(self, *, told: bool = True) -> None:
        """Let the cluster go on until nothing changes any more."""
        quiet = 0
        for _ in range(ROUNDS):
            before = self.changes
            self.advance(told=told)
            quiet = quiet + 1 if self.changes == before else 0
            if quiet == 2 and not self.is_building():
                return
        raise AssertionError("it does not come to rest")

    def is_building(self) -> bool:
        builds = [build for tenant in self.settings.tenants for build in self.cluster.list(BUILD, tenant)]
        return any(
            record.phase(build) not in record.TERMINAL for build in builds if build["spec"]["builder"] != "external"
        )

    def collect(self, after: timedelta = timedelta(hours=1)) -> None:
        """Tick in the first minutes of an hour, so much later."""
        self.time = (self.time + after).replace(minute=1)
        self.deliver(self.event(types.PING, {}))

    # what there is

    def namespaces(self) -> list[tuple[Kind, Object]]:
        found = (self.cluster.get(NAMESPACE, "", where) for where in PLACES)
        bodies = (
            {**body, "metadata": {key: body["metadata"].get(key) for key in ("name", "labels")}}
            for body in found
            if body
        )
        return [(NAMESPACE, body) for body in bodies]

    def running(self, tenant: str) -> list[str]:
        """Return the names of a tenant's Jobs that have not ended."""
        jobs = self.cluster.list(JOB, names.builds_namespace(tenant))
        pods = [(job["metadata"]["name"], self.pod_of(job)) for job in jobs]
        return [name for name, pod in pods if pod is None or pod["status"]["phase"] == "Running"]

    def pushed(self, event: Event) -> str:
        """Return the digest of what is built of an event's source."""
        data = event.data
        packed = source.context(data, self.product.objects(data["tenant"]), self.product.limits, "/data")
        if self.settings.layers and data.get("builder") != "kaniko":
            return self.laid(data["tenant"], data["name"], packed.digest)
        return image_of(packed.digest.removeprefix("sha256:")).digest

    def laid(self, tenant: str, function: str, context: str) -> str:
        """Return the digest of the image that a function's code was laid into; every time into the same."""
        attempts = tuple(
            f"{spec['destination']}:{build['metadata']['name']}-"
            for build in self.cluster.list(BUILD, tenant, {names.FUNCTION_LABEL: function})
            for spec in [build["spec"]]
            if (spec["builder"], spec["context"]) == ("layer", context)
        )
        known = {**self.vanished, **self.registry.known}
        digests = {digest for tag, digest in known.items() if tag.startswith(attempts)}
        assert len(digests) == 1, digests
        return digests.pop()

    def vanish(self, repository: str, digest: str) -> None:
        """Delete an image in the registry, as a person does."""
        tags = [f"{repository}:{tag}" for tag in self.registry.tags(repository)]
        self.vanished |= {tag: digest for tag in tags if self.registry.known[tag] == digest}
        self.registry.delete(repository, digest)
        self.pusher.manifests.get(repository, {}).pop(digest, None)

    def objects(self) -> list[tuple[Kind, Object]]:
        return [(kind, body) for kind in KINDS for place in PLACES for body in self.cluster.list(kind, place)]

    def picture(self) -> dict[str, str]:
        """Return everything there is, and everything that was told (once, however often it was sent), as text.

        UIDs, and names that follow from them, are the same in every run; moments are left out, and which turn it was
        between ready and failed.
        """
        seen = {
            f"{kind.kind} {place(body)}": json.dumps(_timeless(body), sort_keys=True) for kind, body in self.objects()
        }
        for stored in self.store.list(""):
            body = self.store.get(stored.key, limit=1 << 20) or b""
            seen[stored.key] = body.decode() if stored.key.endswith((".json", ".log")) else names.sha256(body.hex())
        seen |= {f"image {reference}": digest for reference, digest in self.registry.known.items()}
        seen |= {
            f"image {reference}": self._stated(reference) for reference in self.registry.known if ".att" in reference
        }
        for subject in self.registry.listed:
            seen[f"papers of {subject}"] = " ".join(sorted(self._papers(subject)))
        for sent in self.told:
            if 200 <= sent["answer"] < 300:
                seen[f"told {sent['headers']['ce-id']}"] = json.dumps(sent["data"], sort_keys=True)
        for url, _, body in self.hooks.got:
            said = json.loads(body)
            seen[f"hooked {url} {said['id']}"] = json.dumps(said["data"], sort_keys=True)
        return {
            TURN.sub(".<turn>", key): TURN.sub(".<turn>", MOMENT.sub("<moment>", text)) for key, text in seen.items()
        }

    def _papers(self, subject: str) -> dict[str, bytes]:
        """Return the documents about an image, by their kind."""
        repository, found = subject.partition("@")[0], {}
        for digest in self.registry.listed[subject]:
            said = json.loads(self.pusher.manifests[repository][digest].body)
            found[said["artifactType"]] = self.pusher.blobs[repository][said["layers"][0]["digest"]]
        return found

    def _stated(self, reference: str) -> str:
        """Return what is stated of an image, but for the hash of its bill, which has a moment inside."""
        manifest = self.pusher.manifest(reference)
        assert manifest is not None
        [layer] = json.loads(manifest.body)["layers"]
        said = statement(self.pusher.blobs[reference.rpartition(":")[0]][layer["digest"]])
        del said["predicate"]["runDetails"]["byproducts"]
        return json.dumps(said)


@cache
def image_of(context: str) -> Made:
    """Return the image that is built of a context: of the same one the same, whoever builds it."""
    return made(tarred(context=context))


def place(body: Object) -> str:
    return f"{body['metadata']['namespace']}/{body['metadata']['name']}"


def difference(is_there: dict[str, str], should_be: dict[str, str]) -> str:
    """Return what tells two pictures apart, a line for each thing; "" where they are the same."""
    lines = []
    for key in sorted(is_there.keys() | should_be.keys()):
        found, wanted = is_there.get(key), should_be.get(key)
        if found is None or wanted is None:
            lines.append(f"  {key}: {'is missing' if found is None else 'should not be there'}")
        elif found != wanted:
            at = next((n for n, (a, b) in enumerate(zip(found, wanted, strict=False)) if a != b), 0)
            cut = slice(max(0, at - 80), at + 80)
            lines.append(f"  {key}: …{found[cut]}… should be …{wanted[cut]}…")
    return "\n".join(lines)


def _timeless(body: Object) -> Object:
    left_out = ("resourceVersion", "creationTimestamp")
    return {**body, "metadata": {key: value for key, value in body["metadata"].items() if key not in left_out}}
