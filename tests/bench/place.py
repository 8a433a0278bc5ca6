"""Where the run takes place: its namespaces, the cluster's API and routes; and how nothing of it is left there."""

import base64
import json
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bench.calls import PATIENCE, Line, NoAnswer, Ready, until_answer

from knative_lambda.deploy.cluster import POD, Kind, Object
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import ProductError

TENANT = "bench"
BUILDS = names.builds_namespace(TENANT)
HAND = "bench-hand"
"""Where by hand is built, and JobSink makes its Jobs."""
PRODUCT = "knative-lambda"
SERVICES = "apis/serving.knative.dev/v1"
OURS = "apis/knative-lambda.dev/v1alpha1"
DEPLOYMENT = Kind("apps", "v1", "Deployment", "deployments")
QUOTA = Kind("", "v1", "ResourceQuota", "resourcequotas")
SERVICE = Kind("", "v1", "Service", "services")


def kubectl(*arguments: str, given: Any = None) -> str:
    """Call kubectl, with objects on its standard input where there are some; return what it prints."""
    text = None if given is None else given if isinstance(given, str) else json.dumps(given)
    done = subprocess.run(["kubectl", *arguments], input=text, capture_output=True, text=True, check=False)
    if done.returncode:
        raise NoAnswer(f"kubectl {' '.join(arguments[:4])}: {done.stderr.strip()[-500:]}")
    return done.stdout


def forget(path: str, labels: str = "") -> None:
    """Delete all objects of a collection, and in the background what they own."""
    query = f"?propagationPolicy=Background&labelSelector={labels}"
    with suppress(NoAnswer):  # already gone, with its namespace
        kubectl("delete", "--raw", f"/{path}{query}")


def within(seconds: float, what: str, look: Callable[[], Any], every: float = 0.2) -> Any:
    """Return what `look` finds once it finds something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with suppress(ProductError):
            if found := look():
                return found
        time.sleep(every)
    raise NoAnswer(f"{what}: not within {seconds:.0f} s")


class Place:
    """The cluster, as the rows of the run see it."""

    def __init__(self, broker_ingress: str, say: Callable[[str], None]) -> None:
        self.cluster = KubernetesCluster(KubernetesSettings(timeout=60.0))  # patient: it is busy on purpose
        self.say = say
        self.ready = Ready(TENANT)
        self.routes = self.address("kourier-system", "kourier-internal")
        self.ingress = broker_ingress.removeprefix("http://").rstrip("/")

    def close(self) -> None:
        """Stop watching."""
        self.ready.close()
        self.cluster.close()

    def address(self, namespace: str, service: str) -> str:
        """Return the address that a Kubernetes Service has within the cluster."""
        found = self.cluster.get(SERVICE, namespace, service)
        if found is None:
            raise NoAnswer(f"there is no Service {namespace}/{service}")
        return str(found["spec"]["clusterIP"])

    def line(self, name: str, namespace: str = TENANT) -> Line:
        """Return a connection to a Knative Service, by its route in the cluster."""
        return Line(self.routes, f"{name}.{namespace}.svc.cluster.local")

    def receiver(self) -> Line:
        """Return a connection to the receiver, by its route."""
        return self.line("receiver", PRODUCT)

    def to_broker(self, kind: str, data: Any) -> None:
        """Send the product an event by its Broker, as users do."""
        with Line(self.ingress) as line:
            status, _ = line.post(f"/{PRODUCT}/default", kind, data)
        if status != 202:
            raise NoAnswer(f"the Broker answers {status}")

    def start(self, name: str, **data: Any) -> None:
        """Send the build.start of a function to the Broker."""
        self.to_broker(types.BUILD_START, {"tenant": TENANT, "name": name, **data})

    def first_answer(self, name: str, version: str, put: Callable[[], None]) -> float:
        """Return the seconds from `put` to the first answer of that version of a function."""
        before = self.ready.now(name)
        start = time.monotonic()
        put()
        self.ready.wait(name, before, PATIENCE)
        with self.line(name) as line:
            until_answer(line, version)
        return time.monotonic() - start

    @contextmanager
    def warm(self) -> Iterator[None]:
        """Keep the receiver from zero."""
        stop = threading.Event()

        def ask() -> None:
            with self.receiver() as line:
                while not stop.is_set():
                    line.ask("GET", "/health/live")
                    stop.wait(3)

        with self.receiver() as line:
            within(120, "the receiver answers", lambda: line.ask("GET", "/health/live")[0] == 200)
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def at_zero(self, name: str, namespace: str) -> bool:
        """Say whether nothing of a Knative Service runs: no Pod, but for those that are ending."""
        pods = self.cluster.list(POD, namespace, {"serving.knative.dev/service": name})
        return all("deletionTimestamp" in pod["metadata"] for pod in pods)

    @contextmanager
    def no_pods(self, *namespaces: str) -> Iterator[None]:
        """Let no Pod be made in these namespaces: to count Jobs is not to run them."""
        bodies = [
            {
                "apiVersion": "v1",
                "kind": "ResourceQuota",
                "metadata": {"name": "bench-none", "namespace": namespace},
                "spec": {"hard": {"pods": "0"}},
            }
            for namespace in namespaces
        ]
        try:
            for body in bodies:
                self.cluster.apply(QUOTA, body)
            yield
        finally:
            for body in bodies:
                self.cluster.delete(QUOTA, body["metadata"]["namespace"], "bench-none")

    def clear(self) -> None:
        """Delete what the product has made in the run's tenant, its slots too."""
        forget(f"{OURS}/namespaces/{TENANT}/functions")
        forget(f"{OURS}/namespaces/{TENANT}/builds")
        forget(f"{SERVICES}/namespaces/{TENANT}/services")
        forget(f"apis/batch/v1/namespaces/{BUILDS}/jobs")
        forget(f"apis/batch/v1/namespaces/{HAND}/jobs")
        forget(f"apis/coordination.k8s.io/v1/namespaces/{BUILDS}/leases")
        forget(f"apis/coordination.k8s.io/v1/namespaces/{PRODUCT}/leases", f"{names.TENANT_LABEL}={TENANT}")

    def until_clear(self, seconds: float = 120) -> None:
        """Wait until nothing of the run's tenant takes time from what is measured next."""
        with suppress(NoAnswer):
            within(seconds, "no Pod runs", lambda: not self.running(), every=0.5)

    def running(self) -> list[Object]:
        """Return the Pods of the run's namespaces that are not ending."""
        pods = [pod for place in (TENANT, BUILDS, HAND) for pod in self.cluster.list(POD, place)]
        return [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]


def code(version: str, first: str = "") -> str:
    """Return a function that answers with its version."""
    return f"{first}def handle(event, context):\n    return {{'version': {version!r}}}\n"


def fresh() -> str:
    """Return a word that was never used."""
    return uuid.uuid4().hex[:8]


def base64_of(data: bytes) -> str:
    """Return bytes as JSON can carry them."""
    return base64.b64encode(data).decode()
