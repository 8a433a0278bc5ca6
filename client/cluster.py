"""The `Door` to a cluster by a kubeconfig alone: the custom resources themselves, with the rights of who asks.

A function is wanted by writing its record, as kubectl would: it converges like one that an event asks for. What a
record cannot say goes to the product's Broker as an event, by the API server's proxy of Services (decision 47).
"""

import contextlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit

from knative_lambda.client.door import PRODUCT, Kind, Note, Sent, event, selector
from knative_lambda.client.errors import Away, ClientError, NotThere, Unreachable
from knative_lambda.client.http import JSON, Answer, Http
from knative_lambda.client.kubeconfig import Access
from knative_lambda.client.models import Build, Event, Function, Object
from knative_lambda.client.patience import AGAIN, MISSED, patiently
from knative_lambda.schemas import anew, names
from knative_lambda.schemas.types import BUILD_CANCEL, BUILD_START

API = "/apis/knative-lambda.dev/v1alpha1"
SERVING = "/apis/serving.knative.dev/v1"
EVENTING = "/apis/eventing.knative.dev/v1"
ACTIVATOR = "/api/v1/namespaces/knative-serving/services/http:activator-service:80/proxy/"
STRUCTURED = {"Content-Type": "application/cloudevents+json"}
BUILT_OF = ("runtime", "source", "entrypoint", "build")
OF_A_VERSION = (*BUILT_OF, "builder", "rebuild")
"""What an earlier version brings back; all other fields are settings, which stay as they are."""
UNSAID = {
    "sequence": "take it out: what is written last is the newest; or send it as an event, to a service: --url",
    "restart": "take it out: what did not come up is started anew by its next deploy",
}
"""Fields that a record has no place for, or a ``build.start`` does not know → what to do instead."""
WHOLE = "a service that serves /v1 has the whole of it, and the log of builds that run: --url"
WORDS: Mapping[Kind, str] = {"functions": "function", "builds": "build", "deadletters": "dead letter"}
PAGE = 500
TRIES = 5
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
Change = Callable[[Object], Object]
IN_A_RECORD = 900 * 1024
"""Bytes of a record that an API server takes, with room for what the product writes on it."""


class Cluster:
    """A cluster, as its kubeconfig lets in."""

    def __init__(self, access: Access, sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self.http: Http = access.http
        self.namespace = access.namespace

    def find_all(self, kind: Kind, tenant: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return all of a kind that bear the labels."""
        found: list[Object] = []
        query = {"limit": str(PAGE), "labelSelector": selector(labels)}
        while True:
            page = self.http.get(_path(API, tenant, kind), query)
            said = {"apiVersion": page["apiVersion"], "kind": page["kind"].removesuffix("List")}
            found += [{**said, **item} for item in page["items"]]
            query["continue"] = page["metadata"].get("continue", "")
            if not query["continue"]:
                return found

    def find(self, kind: Kind, tenant: str, name: str) -> Object:
        """Return one."""
        with _named(kind, tenant, name):
            found: Object = self.http.get(_path(API, tenant, kind, name))
        return found

    def start(self, tenant: str, name: str, wanted: Mapping[str, Any]) -> Sent:
        """Write the Function, or send a ``build.start`` where its source does not fit into one.

        Raises `ClientError` for what a record cannot say.
        """
        if "archive" in wanted["source"] or len(json.dumps(wanted)) > IN_A_RECORD:
            return self._tell(event(BUILD_START, {"tenant": tenant, "name": name, **wanted}))
        if unsaid := next(filter(wanted.__contains__, UNSAID), ""):
            raise ClientError(f"a deploy by a kubeconfig takes no `{unsaid}`", UNSAID[unsaid])
        if not isinstance(wanted.get("rebuild", False), bool):
            raise ClientError("`rebuild` is neither true nor false")
        spec = {field: value for field, value in wanted.items() if field != "rebuild"}

        def change(found: Object) -> Object:
            before, function = found.get("spec", {}), Function(found)
            same = all(before.get(field) == spec.get(field) for field in BUILT_OF)
            after = {**spec, **anew.restart(found, datetime.now(UTC))}
            if wanted.get("rebuild") or (same and (function.step("Built").status == "False" or _moves(spec["source"]))):
                after["rebuild"] = str(uuid.uuid4())
            return after

        return self._write(tenant, name, change, make=True)

    def cancel(self, tenant: str, name: str, build: str) -> None:
        """Send a ``build.cancel``: that a Build is not wanted is the product's to record."""
        self._tell(event(BUILD_CANCEL, {"tenant": tenant, "name": name, "build": build}))

    def retry(self, tenant: str, name: str) -> Sent:
        """Ask for a fresh build."""
        return self._write(tenant, name, lambda found: {**found["spec"], "rebuild": str(uuid.uuid4())})

    def rollback(self, tenant: str, name: str, build: Build) -> Sent:
        """Want the source of the Build: what that was built into serves again."""
        made: Object = {"runtime": build.spec["runtime"], "source": build.source}
        made |= {field: build.spec[field] for field in ("entrypoint", "build") if build.spec.get(field)}
        made |= {"builder": "external"} if build.builder == "external" else {}

        def change(found: Object) -> Object:
            return {**{field: value for field, value in found["spec"].items() if field not in OF_A_VERSION}, **made}

        return self._write(tenant, name, change)

    def pause(self, tenant: str, name: str, *, paused: bool) -> Sent:
        """Write it, and nothing else of the record."""

        def change(found: Object) -> Object:
            spec = {field: value for field, value in found["spec"].items() if field != "paused"}
            return {**spec, "paused": True} if paused else spec

        return self._write(tenant, name, change)

    def delete(self, tenant: str, name: str) -> None:
        """Delete the record; what belongs to it goes with it."""
        with _named("functions", tenant, name):
            self.http.send("DELETE", _path(API, tenant, "functions", name), {"propagationPolicy": "Background"})

    def resend(self, tenant: str, name: str) -> None:
        """Label the letter."""
        body = json.dumps({"metadata": {"labels": {names.RESEND_LABEL: "true"}}}).encode()
        headers = {"Content-Type": "application/merge-patch+json"}
        with _named("deadletters", tenant, name):
            self.http.ask("PATCH", _path(API, tenant, "deadletters", name), None, body, headers).checked()

    def log(self, tenant: str, build: Build, *, follow: bool, note: Note) -> Iterator[str]:
        """Yield the log of the Build's Pod while that is there; the end of it, which the Build keeps, after.

        With `follow` it goes on with the Pod of the next attempt, until the Build is over.
        """
        pods = self._build_pods(tenant, build)
        if pods:
            yield from self._pod_lines(pods[-1], follow=follow)
        elif build.is_over:
            yield from self._kept(build, note)
        else:
            raise NotThere(f"there is no log of {build.name} yet")
        read = {pod["metadata"]["uid"] for pod in pods}
        while follow and not build.is_over:
            self._sleep(AGAIN)
            build = Build(patiently(partial(self.find, "builds", tenant, build.name), self._sleep))
            for pod in patiently(partial(self._build_pods, tenant, build), self._sleep):
                if pod["metadata"]["uid"] not in read and _has_begun(pod):
                    read.add(pod["metadata"]["uid"])
                    yield from self._pod_lines(pod, follow=True)

    def output(self, tenant: str, name: str, *, follow: bool) -> Iterator[str]:
        """Yield what the function's newest Pod prints."""
        pods = self._pods(tenant, f"serving.knative.dev/service={name}")
        if not pods:
            raise NotThere(f"no pod of {name} runs: it is at zero")
        yield from self._pod_log(pods[-1], follow=follow, container="user-container")

    def printed(self, tenant: str, name: str) -> str:  # noqa: ARG002 - the command has its own
        """Name the command."""
        return f"`logs {name} --running` has what it printed meanwhile"

    def call(self, tenant: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post to the function by its activator, from zero where it is there: its name is known inside alone."""
        service = self.http.get(_path(SERVING, tenant, "services", name))
        revision = service.get("status", {}).get("latestReadyRevisionName")
        if not revision:
            raise ClientError(f"no version of {name} is ready")
        where = {"Knative-Serving-Namespace": tenant, "Knative-Serving-Revision": revision}
        return self.http.ask("POST", ACTIVATOR, None, body, {**headers, **where})

    def _write(self, tenant: str, name: str, change: Change, *, make: bool = False) -> Sent:
        """Write what `change` makes of the Function's record into its spec; the newest record is read for each try."""
        path = _path(API, tenant, "functions")
        for _ in range(TRIES):
            answer = self.http.ask("GET", f"{path}/{quote(name, safe='')}")
            is_new = make and answer.status == HTTPStatus.NOT_FOUND
            with _named("functions", tenant, name):
                found = _new(tenant, name) if is_new else answer.checked().json()
            body = json.dumps({**found, "spec": change(found)}).encode()
            method, place = ("POST", path) if is_new else ("PUT", f"{path}/{quote(name, safe='')}")
            written = self.http.ask(method, place, {"fieldValidation": "Strict"}, body, JSON)
            if written.status != HTTPStatus.CONFLICT:
                return Sent(generation=int(written.checked().json()["metadata"]["generation"]))
        raise ClientError(f"too many writers of {name} at once")

    def _tell(self, told: Event) -> Sent:
        """Send an event to the product's Broker, whose address the Broker itself says."""
        broker = self.http.get(_path(EVENTING, PRODUCT, "brokers", "default"))
        address = urlsplit(broker.get("status", {}).get("address", {}).get("url", ""))
        service, _, rest = (address.hostname or "").partition(".")
        if not rest:
            raise Unreachable("the product's Broker has no address yet")
        port = address.port or (443 if address.scheme == "https" else 80)
        place = f"/api/v1/namespaces/{rest.partition('.')[0]}/services/{address.scheme}:{service}:{port}/proxy"
        body = json.dumps(told.structured()).encode()
        self.http.ask("POST", place + address.path, None, body, STRUCTURED).checked()
        return Sent(event=told.attributes["id"])

    def _build_pods(self, tenant: str, build: Build) -> list[Object]:
        """Return a Build's Pods that have begun; where they may not be seen, none, or `NotThere` of one that runs."""
        place = names.builds_namespace(tenant)
        try:
            return list(filter(_has_begun, self._pods(place, f"{names.BUILD_LABEL}={build.name}")))
        except Away:
            raise
        except Unreachable as error:
            if build.is_over:
                return []
            why = f"{build.name} runs, and its log is not yours to read in {place}: its end is shown once it is over"
            raise NotThere(why, WHOLE) from error

    def _kept(self, build: Build, note: Note) -> Iterator[str]:
        """Yield what a Build has kept of its log."""
        kept = build.outcome.message.splitlines() if build.phase == "Failed" else []
        note(f"no Pod of {build.name} is there to be read{': this is the end that was kept' if kept else ''}; {WHOLE}")
        yield from kept

    def _pod_lines(self, pod: Object, *, follow: bool) -> Iterator[str]:
        """Yield the lines of a build's Pod, each once, also where the connection is cut on the way."""
        told, missed = 0, 0
        while True:
            try:
                for number, line in enumerate(self._pod_log(pod, follow=follow), 1):
                    if number > told:
                        told, missed = number, 0
                        yield line
            except Unreachable:
                missed += 1
                if not told or missed > MISSED:
                    raise
                self._sleep(AGAIN)
            else:
                return

    def _pods(self, namespace: str, selector: str) -> list[Object]:
        pods = self.http.get(f"/api/v1/namespaces/{quote(namespace, safe='')}/pods", {"labelSelector": selector})
        return sorted(pods["items"], key=lambda pod: str(pod["metadata"]["creationTimestamp"]))

    def _pod_log(self, pod: Object, *, follow: bool, container: str = "") -> Iterator[str]:
        meta = pod["metadata"]
        chosen = container or pod["spec"]["containers"][0]["name"]
        query = {"container": chosen, "follow": "true" if follow else "false"}
        return self.http.lines(f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}/log", query)


@contextlib.contextmanager
def _named(kind: Kind, tenant: str, name: str) -> Iterator[None]:
    """Have what is not there told as a service tells it."""
    try:
        yield
    except NotThere as error:
        raise NotThere(f"There is no {WORDS[kind]} {tenant}/{name}.") from error


def _has_begun(pod: Object) -> bool:
    """Say whether the first container of a Pod has something to say: the API server refuses its log before that."""
    said = pod.get("status", {}).get("containerStatuses") or [{}]
    return bool({"running", "terminated"} & said[0].get("state", {}).keys())


def _moves(source: Object) -> bool:
    """Say whether what is asked for once more may be something else by now: an object, or a branch or tag of git."""
    return "object" in source or ("git" in source and not COMMIT.fullmatch(source["git"].get("revision", "")))


def _new(tenant: str, name: str) -> Object:
    meta = {"namespace": tenant, "name": name}
    return {"apiVersion": "knative-lambda.dev/v1alpha1", "kind": "Function", "metadata": meta, "spec": {}}


def _path(api: str, namespace: str, *rest: str) -> str:
    return "/".join((f"{api}/namespaces", *(quote(part, safe="") for part in (namespace, *rest))))
