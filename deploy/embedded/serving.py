"""Knative Serving as seen from outside: Services become revisions, which run as processes, from zero to zero.

Joined by `handler` for `knative-lambda dev`. A new revision is started once to see that it is ready; until it is, the
old one keeps serving.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from knative_lambda.deploy.cluster import KNATIVE_SERVICE, NAMESPACE, Cluster, Kind, Object
from knative_lambda.deploy.conditions import Saying
from knative_lambda.deploy.embedded import programs
from knative_lambda.deploy.embedded.ledger import Ledger, Made, Revisions
from knative_lambda.deploy.embedded.process import FunctionLog, StartFailed
from knative_lambda.deploy.embedded.programs import Images
from knative_lambda.deploy.embedded.revision import Retired, Revision
from knative_lambda.deploy.embedded.statuses import YES, service_status
from knative_lambda.deploy.embedded.transport import NoAnswer, Request, Response, TimedOut
from knative_lambda.deploy.embedded.workqueue import WorkQueue

Key = tuple[str, str]
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServingSettings:
    """How functions run in the embedded mode."""

    folder: Path
    """Below it lie unpacked images, logs, homes, secrets and the revisions' ledger."""
    url: str
    """Where this process takes requests: a service's own URL is ``<url>/functions/<namespace>/<name>``."""
    idle: float = 60.0
    """Seconds without a request after which a function's process ends."""
    start_timeout: float = 60.0
    """Seconds that a new process may take to become ready."""
    threads: int = 4
    """Revisions that are started at once."""


@dataclass
class _Service:
    """What runs of one service, and why the newest revision does not where it doesn't."""

    current: Revision | None = None
    starting: tuple[Object, Revision] | None = None
    failed: str = ""
    """The newest revision, where it has failed."""
    failure: Saying = YES
    """What its condition says then."""
    lacking: bool = False
    """Whether the newest revision could not even be started, for want of a Secret or an image that may still come."""
    retired: list[Revision] = field(default_factory=list)

    def close(self) -> None:
        for revision in (self.current, self.starting and self.starting[1], *self.retired):
            if revision is not None:
                revision.close()


class Serving:
    """Runs the Services of `cluster`, whose changes are told to `changed`; `echo` gets what functions print."""

    def __init__(
        self,
        cluster: Cluster,
        images: Images,
        settings: ServingSettings,
        *,
        echo: Callable[[str, str], None] = lambda _function, _line: None,
    ) -> None:
        self._cluster = cluster
        self._images = images
        self._settings = settings
        self._echo = echo
        self._ledger = Ledger(settings.folder / "revisions")
        self._lock = threading.Lock()
        self._services: dict[Key, _Service] = {}
        self._closed = threading.Event()
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile, threads=settings.threads)
        self._scaler = threading.Thread(target=self._scale, name="scale-to-zero", daemon=True)

    def start(self) -> None:
        """Take up the Services that are there, and begin to scale."""
        unpacked = self._settings.folder / "images"
        for image in unpacked.iterdir() if unpacked.is_dir() else ():
            if f"sha256:{image.name}" not in self._ledger.images():
                shutil.rmtree(image, ignore_errors=True)
        for namespace in self._cluster.list(NAMESPACE, ""):
            for service in self._cluster.list(KNATIVE_SERVICE, namespace["metadata"]["name"]):
                self._queue.add(_key(service))
        self._scaler.start()

    def changed(self, _verb: str, kind: Kind, obj: Object) -> None:
        """Take note that an object has changed: to be hooked to the cluster."""
        if kind != KNATIVE_SERVICE:
            return
        with self._lock:
            service = self._services.get(_key(obj))
            starting = service.starting if service else None
        if starting and starting[0] != obj["spec"]["template"]:
            starting[1].cancel()
        self._queue.add(_key(obj))

    def retry(self) -> None:
        """Look again for what revisions lack: to be called from time to time."""
        with self._lock:
            lacking = [key for key, service in self._services.items() if service.lacking]
        for key in lacking:
            self._queue.add(key)

    def call(self, namespace: str, name: str, request: Request) -> Response:
        """Send a request to a service and return its answer, or what Knative's gateway would say in its place."""
        deadline = time.monotonic() + request.timeout
        while (revision := self._current(namespace, name)) is not None:
            try:
                return revision.send(replace(request, timeout=max(0.0, deadline - time.monotonic())))
            except Retired:
                continue
            except StartFailed as error:
                return _said(503, str(error))
            except TimedOut as error:
                return _said(504, str(error))
            except NoAnswer as error:
                return _said(502, str(error))
        if self._cluster.get(KNATIVE_SERVICE, namespace, name) is None:
            return _said(404, f"there is no service {namespace}/{name}")
        return _said(503, f"no revision of {namespace}/{name} is ready")

    def settled(self, timeout: float) -> bool:
        """Wait until every change that was told has been acted on; return whether that came in `timeout` seconds."""
        return self._queue.idle(timeout)

    def close(self) -> None:
        """End all processes."""
        self._closed.set()
        for _ in range(2):  # what was being started when the first round went by ends in the second
            with self._lock:
                services = list(self._services.values())
            with ThreadPoolExecutor() as pool:
                list(pool.map(_Service.close, services))
            self._queue.close()
        if self._scaler.is_alive():
            self._scaler.join()

    def _current(self, namespace: str, name: str) -> Revision | None:
        with self._lock:
            service = self._services.get((namespace, name))
            return service.current if service else None

    def _reconcile(self, key: Key) -> None:
        if self._closed.is_set():
            return
        obj = self._cluster.get(KNATIVE_SERVICE, *key)
        if obj is None:
            self._drop(key)
            return
        known = self._ledger.read(*key)
        if known is not None and known.uid != obj["metadata"]["uid"]:
            self._drop(key)
            known = None
        revisions = known or Revisions(obj["metadata"]["uid"])
        with self._lock:
            service = self._services.setdefault(key, _Service())
        template = obj["spec"]["template"]
        if revisions.created is None or revisions.created.template != template:
            number = revisions.number + 1
            made = Made(f"{key[1]}-{number:05}", template)
            revisions = replace(revisions, number=number, created=made)
            self._ledger.write(*key, revisions)
        if service.current is None and revisions.ready is not None:
            try:
                service.current = self._revision(key, revisions.ready)
            except StartFailed:  # its image or a Secret went while we were away
                revisions = replace(revisions, ready=None)
        revisions = self._bring_up(key, service, obj, revisions)
        self._tell(obj, revisions, service.failure)

    def _bring_up(self, key: Key, service: _Service, obj: Object, revisions: Revisions) -> Revisions:
        """Start the newest revision where it has neither been ready nor failed; it takes over when it is ready."""
        made = revisions.created
        if made is None or made == revisions.ready or (service.failed == made.name and not service.lacking):
            return revisions
        if service.failed != made.name:
            service.failed, service.failure = "", YES
            self._tell(obj, revisions, YES)
        service.lacking = True
        try:
            revision = self._revision(key, made)
            service.lacking = False
            with self._lock:
                service.starting = (obj["spec"]["template"], revision)
            revision.start()
        except StartFailed as error:
            service.failed = made.name
            service.failure = ("False", error.reason, f'Revision "{made.name}" failed with message: {error}.')
            return revisions
        finally:
            with self._lock:
                service.starting = None
        service.failed, service.failure = "", YES
        revisions = replace(revisions, ready=made)
        self._ledger.write(*key, revisions)
        with self._lock:
            before, service.current = service.current, revision
        if before is not None:
            service.retired.append(before)
            threading.Thread(target=self._retire, args=(service, before), name="drain", daemon=True).start()
        return revisions

    def _retire(self, service: _Service, revision: Revision) -> None:
        revision.retire()
        service.retired.remove(revision)

    def _revision(self, key: Key, made: Made) -> Revision:
        settings = self._settings
        program = programs.program(made.template, (*key, made.name), self._images, settings.folder)
        name = "/".join(key)
        output = FunctionLog(settings.folder / "logs" / f"{name}.log", echo=lambda line: self._echo(name, line))
        limits = programs.limits(made.template, idle=settings.idle, start_timeout=settings.start_timeout)
        return Revision(program, output, limits)

    def _tell(self, obj: Object, revisions: Revisions, failure: Saying) -> None:
        """Write the Service's status as Knative has it, where it differs; a newer generation has its own turn."""
        key = _key(obj)
        live = self._cluster.get(KNATIVE_SERVICE, *key)
        if live is None or any(live["metadata"][each] != obj["metadata"][each] for each in ("uid", "generation")):
            return
        url = f"{self._settings.url}/functions/{'/'.join(key)}"
        status = service_status(live, revisions, failure, url, datetime.now(UTC))
        if status != live.get("status"):
            self._cluster.replace_status(KNATIVE_SERVICE, {**live, "status": status})

    def _drop(self, key: Key) -> None:
        with self._lock:
            service = self._services.pop(key, None)
        self._ledger.forget(*key)
        if service is not None:
            service.close()

    def _scale(self) -> None:
        while not self._closed.wait(min(1.0, self._settings.idle / 4)):
            with self._lock:
                revisions = [service.current for service in self._services.values() if service.current]
            for revision in revisions:
                try:
                    revision.scale()
                except StartFailed as error:
                    log.warning("a process that should always be there can't start: %s", error)


def _key(obj: Object) -> Key:
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def _said(status: int, text: str) -> Response:
    return Response(status, {"content-type": "text/plain; charset=utf-8"}, text.encode())
