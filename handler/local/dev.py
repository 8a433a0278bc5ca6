"""The embedded mode: the same handlers over a cluster that is a folder, for one machine without Kubernetes.

Called by ``knative-lambda dev``. One port serves the receiver, the Brokers' ingress (``/<namespace>/<broker>``) and the
functions (``/functions/<namespace>/<name>``). Everything that must not be lost lies below the data folder, so that the
process may be killed and started again.
"""

import difflib
import json
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from flask import Flask, Response, g, request
from werkzeug.exceptions import MethodNotAllowed, NotFound

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.local import LocalBuilder
from knative_lambda.deploy.cluster import (
    BROKER,
    BUILD,
    DEAD_LETTER,
    FUNCTION,
    KNATIVE_SERVICE,
    NAMESPACE,
    TRIGGER,
    Cluster,
    Kind,
    Object,
)
from knative_lambda.deploy.embedded.deliveries import Deliveries
from knative_lambda.deploy.embedded.eventing import Eventing
from knative_lambda.deploy.embedded.messages import Message
from knative_lambda.deploy.embedded.objects import SQLiteCluster
from knative_lambda.deploy.embedded.readiness import Readiness
from knative_lambda.deploy.embedded.serving import Serving, ServingSettings
from knative_lambda.deploy.embedded.sources import Sources
from knative_lambda.deploy.embedded.subscribers import Subscribers
from knative_lambda.deploy.embedded.transport import Request, end_to_end
from knative_lambda.handler import wire
from knative_lambda.handler.access import modes
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.deadletters import keep, letter
from knative_lambda.handler.local.options import HOST, Options
from knative_lambda.handler.observe.logs import relay
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.receive.problems import CONTENT_TYPE, Problem
from knative_lambda.handler.receive.server import ServerSettings, serve
from knative_lambda.handler.settings import Settings
from knative_lambda.handler.tell.broker import HttpBroker
from knative_lambda.handler.tell.senders import Senders
from knative_lambda.schemas import names
from knative_lambda.schemas.catalogue import defaults, resource_faults
from knative_lambda.schemas.embedded import lacking
from knative_lambda.schemas.errors import Refused
from knative_lambda.schemas.types import SOURCES, TYPES
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.guard import guarded
from knative_lambda.storage.settings import StoreSettings

NAMESPACE_OF_PRODUCT = "knative-lambda"
TICK = 60.0
"""Seconds between two sweeps: nothing here is kept from sleeping by one."""
THREADS = 16
DELIVERY: Object = {"retry": 10, "backoffPolicy": "exponential", "backoffDelay": "PT1S", "timeout": "PT30S"}
REPORTED = frozenset({names.FUNCTION_LABEL, names.RESEND_LABEL, names.OWES_LABEL})
log = logging.getLogger(__name__)


def run(options: Options) -> None:
    """Serve until SIGTERM or SIGINT."""
    state: list[Embedded] = []
    draining = threading.Event()

    def make_app() -> Flask:
        state.append(Embedded(options.port, options.data, options.sink, options.tenants))
        return state[0].app(draining.is_set)

    def started() -> None:
        state[0].start()

    def stopped() -> None:
        for embedded in state:  # none, where it could not be made
            embedded.close()

    settings = ServerSettings(host=HOST, port=options.port, threads=THREADS, graceful_timeout=10)
    serve(make_app, settings, started=started, stopping=draining.set, stopped=stopped)


class Embedded:
    """All of it, joined, on one `port`: everything is kept below `data`, and `sink` gets the tenants' events too."""

    def __init__(self, port: int, data: Path, sink: str, tenants: Sequence[str]) -> None:
        self.url = f"http://{HOST}:{port}"
        self.settings = Settings(
            namespace=NAMESPACE_OF_PRODUCT,
            tenants=tuple(tenants),
            store_url=f"file://{data}/store",
            registry="embedded.local",
            broker_url=self.url,
            dead_letter_url=f"{self.url}/deadletters",
            legacy_tenant=tenants[0],
            api=True,
        )
        store_settings = StoreSettings(url=self.settings.store_url)
        self.store = guarded(open_store(self.settings.store_url, store_settings), store_settings)
        self.cluster = SQLiteCluster(data / "objects.db", validate=_validate)
        layout = OciLayout(data / "images")
        self.serving = Serving(self.cluster, layout, ServingSettings(data / "functions", self.url), echo=relay)
        subscribers = Subscribers(self.cluster, self.serving.call)
        self.eventing = Eventing(self.cluster, Deliveries(data / "events.db"), subscribers, unwanted=_unwanted)
        self.readiness = Readiness(self.cluster, subscribers, self.url)
        self.sources = Sources(
            lambda headers, body: self.eventing.publish(NAMESPACE_OF_PRODUCT, "cluster", headers, body),
            (FUNCTION, KNATIVE_SERVICE, TRIGGER, DEAD_LETTER),
        )
        self.builder = LocalBuilder(self.store, layout, data / "builds", ended=self._ended)
        self.senders = Senders.over(self.cluster, self.store, self.settings, HttpBroker().post)
        workshop = wire.workshop(self.settings, self.cluster, self.builder, layout, self.store)
        product = wire.join(self.settings, workshop, self.senders, "local", lacking=lacking)
        self.service = wire.Service(
            product, self.senders, lambda: {"store": self.store.state}, Records(product), modes.opened(product)
        )
        self._data = data
        self._sink = sink
        self._stop = threading.Event()
        self._clock = threading.Thread(target=self._tick, name="clock", daemon=True)

    def app(self, draining: Callable[[], bool]) -> Flask:
        """Return the receiver, with the Brokers and the functions beside it."""
        app = create_app(self.service, HttpSettings(page=True), draining=draining)
        app.before_request(_turn_away)
        neighbours = Neighbours(self.cluster, self.eventing, self.serving)
        own = "/<any(health, ui, v1):_own>/<_rest>"  # before the Brokers, whose addresses look the same
        app.add_url_rule(own, view_func=neighbours.nothing, methods=["GET", "POST"])
        app.add_url_rule("/<namespace>/<broker>", view_func=neighbours.publish, methods=["POST"])
        app.add_url_rule("/deadletters/<namespace>", view_func=neighbours.keep, methods=["POST"])
        for path in ("/functions/<namespace>/<name>", "/functions/<namespace>/<name>/<path:path>"):
            app.add_url_rule(path, view_func=neighbours.call, methods=["GET", "POST", "PUT", "DELETE"])
        return app

    def start(self) -> None:
        """Make what an installation has, and begin."""
        for body in (*installation(self.settings, self.url), *sinks(self.settings, self._sink)):
            self.cluster.apply(_kind(body), body)
        if not self._sink:
            for tenant in self.settings.tenants:
                self.cluster.delete(TRIGGER, tenant, "sink")
        for listener in (self.serving.changed, self.readiness.changed, self._report):
            self.cluster.on_change(listener)
        for part in (self.serving, self.readiness, self.eventing, self.senders, self._clock):
            part.start()
        ingress = f"{self.url}/{NAMESPACE_OF_PRODUCT}/default"
        log.info("ready on %s, data below %s, events for the product to %s", self.url, self._data, ingress)

    def close(self) -> None:
        """End in the order in which things feed each other."""
        self._stop.set()
        self.senders.stop(timeout=2.0)
        for part in (self.eventing, self.readiness, self.builder, self.serving, self.cluster):
            part.close()

    def _report(self, verb: str, kind: Kind, body: Object) -> None:
        """Report a change, as the chart's ApiServerSources do: of Functions, and of what bears a label of ours."""
        if kind == FUNCTION or not REPORTED.isdisjoint(body["metadata"].get("labels", {})):
            self.sources.report(verb, kind, body)

    def _ended(self, attempt: Attempt) -> None:
        """Report the end of an attempt, as ApiServerSource reports a Pod's."""
        meta = {"namespace": attempt.tenant, "name": attempt.build}
        replace(self.sources, kinds=(BUILD,)).report("update", BUILD, {"metadata": meta})

    def _tick(self) -> None:
        while not self._stop.is_set():
            self.sources.tick()
            self.serving.retry()
            self._stop.wait(TICK)


@dataclass(frozen=True)
class Neighbours:
    """What on a cluster has addresses of its own: Brokers, functions, the dead-letter service."""

    cluster: Cluster
    eventing: Eventing
    serving: Serving

    def nothing(self, _own: str, _rest: str) -> Response:
        """Say of a path that could be the receiver's and is not that nothing is there, and nothing taken."""
        raise NotFound if request.method in ("GET", "HEAD") else MethodNotAllowed(["GET", "HEAD"])

    def publish(self, namespace: str, broker: str) -> Response:
        """Take an event for a Broker."""
        answer = self.eventing.publish(namespace, broker, dict(request.headers), request.get_data())
        return Response(answer.body, answer.status, content_type="text/plain; charset=utf-8")

    def keep(self, namespace: str) -> Response:
        """Keep a dead letter."""
        headers, now = dict(request.headers), datetime.now(UTC)
        body = letter(NAMESPACE_OF_PRODUCT, namespace, headers, request.get_data(), now)
        keep(body, self.cluster)
        _mourn(body)
        return Response(status=202)

    def call(self, namespace: str, name: str, path: str = "") -> Response:
        """Send a request to a function."""
        query = f"?{request.query_string.decode()}" if request.query_string else ""
        headers = end_to_end(request.headers.items())
        asked = Request(request.method, f"/{path}{query}", headers, request.get_data())
        answer = self.serving.call(namespace, name, asked)
        return Response(answer.body, answer.status, end_to_end(answer.headers.items()))


def is_local(host: str) -> bool:
    """Say whether a request's Host, with its port or without, is this machine as it names itself.

    A web page of anywhere has its own name mean this machine, and is then let speak to it as to its own server.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
        return name in (HOST, "localhost") or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:  # neither a host nor an address
        return False


def _turn_away() -> Response | None:
    """Answer what is not for this machine: nobody is asked here who they are, and functions run as the user."""
    host = request.headers.get("Host", "")
    if is_local(host):
        return None
    log.warning("a request for another host is turned away", extra={"fields": {"host": host}})
    detail = f"Only requests to {HOST} or localhost are answered: ask for it by that name."
    problem = Problem(421, "misdirected", "This is another host", detail)
    return Response(json.dumps(problem.body(g.correlation_id)), problem.status, content_type=CONTENT_TYPE)


def installation(settings: Settings, url: str) -> list[Object]:
    """Return the objects that the chart makes on a cluster, as far as they mean something here."""
    product = settings.namespace
    made = [_namespace(product, {})]
    for tenant in settings.tenants:
        made += [_namespace(tenant, {names.TENANT_LABEL: "true"}), _namespace(names.builds_namespace(tenant), {})]
    made += [_broker(product, "default"), _broker(product, "cluster")]
    made += [_broker(tenant, "default") for tenant in settings.tenants]
    sources = {known.type for known in SOURCES}
    for known in TYPES.values():
        if known.received:
            broker = "cluster" if known.type in sources else "default"
            spec = {
                "broker": broker,
                "filter": {"attributes": {"type": known.type}},
                "subscriber": {"uri": f"{url}/events"},
                "delivery": {**DELIVERY, "deadLetterSink": {"uri": f"{url}/deadletters/{product}"}},
            }
            made.append(_body(TRIGGER, product, known.type, spec))
    return made


def sinks(settings: Settings, url: str) -> list[Object]:
    """Return a Trigger for each tenant that brings every event to `url`."""
    spec: Object = {"broker": "default", "subscriber": {"uri": url}}
    return [_body(TRIGGER, tenant, "sink", spec) for tenant in settings.tenants] if url else []


def _namespace(name: str, labels: dict[str, str]) -> Object:
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def _broker(namespace: str, name: str) -> Object:
    return _body(BROKER, namespace, name, {})


def _body(kind: Kind, namespace: str, name: str, spec: Object) -> Object:
    meta = {"name": name, "namespace": namespace}
    return {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, "spec": spec}


def _kind(body: Object) -> Kind:
    return next(kind for kind in (NAMESPACE, BROKER, TRIGGER) if kind.kind == body["kind"])


def _validate(kind: Kind, body: Object) -> None:
    if kind.group != FUNCTION.group:
        return
    if faults := resource_faults(kind.kind, body):
        raise Refused(faults)
    body["spec"] = defaults(kind.kind) | body["spec"]


def _unwanted(namespace: str, broker: str, message: Message) -> None:
    """Tell of an event that a Broker took and nobody gets: a typing error in its type, as a rule."""
    kind = message.attributes["type"]
    place = f"{namespace}/{broker}"
    if namespace == NAMESPACE_OF_PRODUCT:
        near = difflib.get_close_matches(kind, [known.type for known in TYPES.values() if known.received], 1)
        fields = {"event_id": message.attributes["id"], "event_type": kind, "nearest_type": "".join(near)}
        log.warning("no Trigger of %s takes this event: it is lost", place, extra={"fields": fields})
    elif kind not in TYPES:
        fields = {"event_id": message.attributes["id"], "event_type": kind}
        log.info("no Trigger of %s takes this event", place, extra={"fields": fields})


def _mourn(letter: Object) -> None:
    """Tell of an event that nobody could handle: its sender was answered long before."""
    meta, spec = letter["metadata"], letter["spec"]
    try:
        why = str(json.loads(spec["message"])["detail"])
    except (ValueError, LookupError, TypeError):
        why = spec["message"]
    fields = {
        "event_id": spec["event"].get("id", ""),
        "event_type": spec["event"].get("type", ""),
        "status": spec["code"],
        "why": why,
    }
    log.warning("kept as DeadLetter %s in %s", meta["name"], meta["namespace"], extra={"fields": fields})
