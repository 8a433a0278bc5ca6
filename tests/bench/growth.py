"""What an event, a list and a sweep cost with one function there, and with thousands.

They are records: a Function, its Build and its Knative Service, each with the status of one that is settled, copied
from one that is. So that nobody makes Pods of them, Knative's serving controller rests meanwhile, and so that a report
of each is not what is measured, the sources do while the records are written.
"""

import copy
import json
import re
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from statistics import median
from typing import Any

from bench.calls import Line, NoAnswer
from bench.place import DEPLOYMENT, OURS, PRODUCT, SERVICES, TENANT, Place, code, forget, fresh, kubectl, within
from bench.plan import COSTS, SIZES
from bench.rounds import Chosen, Measured, attempt

from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, Cluster, Kind, Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Unavailable

WRITERS, TRIES = 8, 3
EVENTS = 10
"""Events of each sort in a round."""
SERVING, CONTROLLER = "knative-serving", "controller"
EXCLUDE = "webhooks.knative.dev/exclude"
SOURCES = Kind("sources.knative.dev", "v1", "ApiServerSource", "apiserversources")
OF_THE_PRODUCT = re.compile(
    r'^apiserver_request_total\{.*\b(group="knative-lambda\.dev"|verb="LIST")(?!.*verb="WATCH")'
)


def growth(place: Place, runs: int, chosen: Chosen) -> Generator[Measured, None, None]:
    """Yield every row of the group, size by size, each measured in so many rounds."""
    sizes = [n for n in SIZES if any(f"growth.{cost}_{n}" in chosen for cost, _, _ in COSTS)]
    name = f"grow-{fresh()}"
    with ExitStack() as stack:
        stack.callback(place.clear)
        stack.enter_context(place.warm())
        same, changed = (_settled(place, each) for each in (name, f"change-{name}"))
        template = Template(place.cluster, TENANT, name)
        stack.enter_context(resting_controller(place))
        there = 2
        for size in sizes:
            place.say(f"records: {size:,}")
            with resting_sources(place):
                template.copy(range(there, size), place.say)
            there = max(there, size)
            for number in range(1, runs + 1):
                for cost, step in _steps(place, same, changed).items():
                    key = f"growth.{cost}_{size}"
                    if key in chosen:
                        yield from attempt(place, number, key, partial(_named, step, size))


def _settled(place: Place, name: str) -> dict[str, Any]:
    """Return the build.start of a function that is made of it, once it is settled."""
    data = {"tenant": TENANT, "name": name, "runtime": "python", "source": _source("one")}
    place.first_answer(name, "one", lambda: place.to_broker(types.BUILD_START, data))
    within(60, f"{name} is settled", lambda: _is_settled(place.cluster.get(FUNCTION, TENANT, name)))
    return data


def _named(step: Callable[[], dict[str, float]], size: int) -> dict[str, float]:
    return {f"growth.{cost}_{size}": value for cost, value in step().items()}


def _steps(place: Place, same: dict[str, Any], changed: dict[str, Any]) -> dict[str, Callable[[], dict[str, float]]]:
    def event() -> dict[str, float]:
        return {"event": _events(place, lambda _: same)}

    def change() -> dict[str, float]:
        return {"change": _events(place, lambda n: {**changed, "source": _source(f"{fresh()}{n}")})}

    def page() -> dict[str, float]:
        return {"page": _ask(f"/{OURS}/namespaces/{TENANT}/functions?limit=500")}

    def whole() -> dict[str, float]:
        start = time.perf_counter()
        kubectl("get", "functions", "-n", TENANT, "--chunk-size=500")
        return {"list": (time.perf_counter() - start) * 1000}

    def sweep() -> dict[str, float]:
        before = requests()
        took = _sweep(place)
        return {"sweep": took, "requests": requests() - before}

    return {"event": event, "change": change, "page": page, "list": whole, "sweep": sweep}


def _source(version: str) -> dict[str, Any]:
    return {"inline": {"main.py": code(version)}}


def _events(place: Place, data: Callable[[int], object]) -> float:
    with place.receiver() as line:
        return median(_took(line, data(number)) for number in range(EVENTS))


def _took(line: Line, data: object) -> float:
    start = time.perf_counter()
    status, body = line.post("/", types.BUILD_START, data)
    if status != 202:
        raise NoAnswer(f"the receiver answers {status}: {body[:200]!r}")
    return (time.perf_counter() - start) * 1000


def _ask(path: str) -> float:
    """Return the milliseconds that the API server takes for what kubectl would show, kubectl's own start included."""
    start = time.perf_counter()
    kubectl("get", "--raw", path)
    return (time.perf_counter() - start) * 1000


def _sweep(place: Place) -> float:
    """Return the milliseconds until a tick is answered, one at which nothing is collected."""
    tick = datetime.now(UTC).replace(minute=30).isoformat()
    start = time.perf_counter()
    with place.receiver() as line:
        status, body = line.post("/", types.PING, {}, time=tick)
    if status != 202:
        raise NoAnswer(f"the sweep is answered {status}: {body[:200]!r}")
    return (time.perf_counter() - start) * 1000


def requests() -> float:
    """Return how many requests the API server has had for the product's own objects, and for lists of any."""
    lines = kubectl("get", "--raw", "/metrics").splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if OF_THE_PRODUCT.match(line))


class Template:
    """A function that is settled, and copies of its records."""

    def __init__(self, cluster: Cluster, tenant: str, name: str) -> None:
        """Read the records of a function that has one Build."""
        self.cluster, self.name = cluster, name
        [build] = cluster.list(BUILD, tenant, {names.FUNCTION_LABEL: name})
        found = {kind: cluster.get(kind, tenant, name) for kind in (FUNCTION, KNATIVE_SERVICE)}
        self.objects = {kind: one for kind, one in found.items() if one} | {BUILD: build}

    def copy(self, numbers: range, say: Callable[[str], None]) -> None:
        """Write the records of so many functions more."""
        with ThreadPoolExecutor(WRITERS) as threads:
            for done, _ in enumerate(threads.map(self._write, numbers), 1):
                if done % 500 == 0:
                    say(f"{done:,} of {len(numbers):,} written")

    def _write(self, number: int, tries: int = TRIES) -> None:
        """Write the records of one function; again where the API server was too busy for one of them."""
        try:
            self._write_once(number)
        except (Unavailable, Conflict):
            if tries == 1:
                raise
            self._write(number, tries - 1)

    def _write_once(self, number: int) -> None:
        name = f"{self.name}-{number:05}"
        function = self._put(FUNCTION, name, None)
        self._put(BUILD, name, function)
        self._put(KNATIVE_SERVICE, name, function)

    def _put(self, kind: Kind, name: str, owner: Object | None) -> Object:
        """Write a copy of one record, every name in it replaced, and its status."""
        text = json.dumps(self.objects[kind]).replace(self.name, name)
        found = json.loads(text)
        meta = {key: found["metadata"].get(key, {}) for key in ("name", "namespace", "labels", "annotations")}
        if owner:
            reference = found["metadata"]["ownerReferences"][0]
            meta["ownerReferences"] = [{**reference, "uid": owner["metadata"]["uid"]}]
            if "functionUID" in found["spec"]:
                found["spec"]["functionUID"] = owner["metadata"]["uid"]
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "metadata": meta, "spec": found["spec"]}
        try:
            made = self.cluster.create(kind, copy.deepcopy(body))
        except AlreadyExists:  # written, and its answer lost
            made = self.cluster.get(kind, meta["namespace"], name) or {}
        status = {key: value for key, value in found["status"].items() if key != "outbox"}
        if "observedGeneration" in status:
            status["observedGeneration"] = made["metadata"]["generation"]
        return self.cluster.replace_status(kind, {**made, "status": status})


def _is_settled(function: Object | None) -> bool:
    return condition(function or {}, "Ready")["status"] == "True" and not (function or {})["status"].get("outbox")


@contextmanager
def resting_controller(place: Place) -> Iterator[None]:
    """Let Knative's serving controller rest, and its webhooks leave the tenant alone, until the records are gone."""
    scale = ("scale", "deployment", "-n", SERVING, CONTROLLER)
    try:
        kubectl("label", "namespace", TENANT, f"{EXCLUDE}=true", "--overwrite")
        kubectl(*scale, "--replicas=0")
        pods = ("get", "pods", "-n", SERVING, "-l", "app=controller", "-o", "name")
        within(60, "the serving controller rests", lambda: not kubectl(*pods).strip())
        yield
    finally:
        place.say("taking the records away")
        with resting_sources(place):
            remove(place)
        kubectl(*scale, "--replicas=1")
        kubectl("label", "namespace", TENANT, f"{EXCLUDE}-")
        within(
            120,
            "the serving controller is back",
            lambda: _is_available(place.cluster.get(DEPLOYMENT, SERVING, CONTROLLER)),
        )


def remove(place: Place) -> None:
    """Delete all records."""
    forget(f"{SERVICES}/namespaces/{TENANT}/services")
    forget(f"{OURS}/namespaces/{TENANT}/builds")
    forget(f"{OURS}/namespaces/{TENANT}/functions")
    within(120, "no record is left", lambda: not place.cluster.heads(KNATIVE_SERVICE, TENANT), 1)


def _is_available(deployment: Object | None) -> bool:
    return bool((deployment or {}).get("status", {}).get("availableReplicas"))


@contextmanager
def resting_sources(place: Place) -> Iterator[None]:
    """Take the product's ApiServerSources away for a while: what changes meanwhile is told to nobody."""
    found = place.cluster.list(SOURCES, PRODUCT)
    try:
        for source in found:
            place.cluster.delete(SOURCES, PRODUCT, source["metadata"]["name"])
        adapters = (
            "get",
            "pods",
            "-n",
            PRODUCT,
            "-l",
            "eventing.knative.dev/source=apiserver-source-controller",
            "-o",
            "name",
        )
        within(90, "the sources rest", lambda: not kubectl(*adapters).strip())
        yield
    finally:
        for source in found:
            meta = {key: source["metadata"].get(key, {}) for key in ("name", "namespace", "labels", "annotations")}
            place.cluster.create(
                SOURCES, {key: source[key] for key in ("apiVersion", "kind", "spec")} | {"metadata": meta}
            )
        within(120, "the sources are back", lambda: all(_is_ready(one) for one in place.cluster.list(SOURCES, PRODUCT)))


def _is_ready(source: Object) -> bool:
    return condition(source, "Ready")["status"] == "True"
