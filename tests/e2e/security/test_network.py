"""Whom a hostile function and a hostile build reach on a network that enforces policies; and whom without them.

The same code knocks at the same addresses both times.
"""

import http.server
import json
import os
import shlex
import subprocess
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.live import HOST, TENANT, Live, within
from support.policies import NEIGHBOUR, PRODUCT, everything_let_through

from knative_lambda.deploy.cluster import FUNCTION, POD
from knative_lambda.schemas import types

KNOCKS = (Path(__file__).parent / "hostile_knocks.py").read_text()
METADATA = "http://169.254.169.254/latest/meta-data/"
INSIDE = {
    "the metadata service": METADATA,
    "the API server": "https://10.96.0.1/version",
    "the API server, by its node": f"https://{HOST}:6443/version",
    "the kubelet": f"https://{HOST}:10250/pods",
}
BUILD_NEEDS = {"the store": f"{os.environ.get('S3_ENDPOINT', '')}/", "the registry": f"http://{HOST}:5000/v2/"}
PODS = (
    "the receiver",
    "the receiver's own port",
    "the dead-letter service",
    "a function of another tenant",
    "that function's own port",
)
"""Addresses of Pods, which are known when they run."""
Knocked = dict[str, str]
pytestmark = pytest.mark.skipif(
    not os.environ.get("CLUSTER_POLICIES"), reason="nothing enforces NetworkPolicies: POLICIES=1 tests/e2e/run.sh"
)


@pytest.fixture(scope="module", autouse=True)
def metadata() -> Iterator[None]:
    """Give the node what a cloud's machine has, where it has it.

    Nothing is needed for etcd: it listens on the node's own loopback.
    """
    address = ["169.254.169.254/32", "dev", "kube0"]
    subprocess.run(["ip", "addr", "replace", *address], check=True)
    try:
        with http.server.ThreadingHTTPServer(("169.254.169.254", 80), http.server.BaseHTTPRequestHandler) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            yield
            server.shutdown()
    finally:
        subprocess.run(["ip", "addr", "del", *address], check=True)


@pytest.fixture(scope="module")
def functions(live: Live) -> Iterator[None]:
    """Have a function that knocks, and one of the other tenant's that is always there to be knocked at."""
    live.start("knocks", runtime="python", source={"inline": {"main.py": KNOCKS}}, scale={"min": 1})
    there = {"tenant": NEIGHBOUR, "name": "knocked", "runtime": "python", "scale": {"min": 1}}
    live.command(types.BUILD_START, {**there, "source": {"inline": {"main.py": KNOCKS}}})
    live.ready("knocks")
    within(180, "the neighbour's runs", lambda: addresses(live, NEIGHBOUR, "knocked"), every=1)
    yield
    live.delete("knocks")
    live.command(types.FUNCTION_DELETE, {"tenant": NEIGHBOUR, "name": "knocked"})
    within(120, "the neighbour's is gone", lambda: not live.cluster.get(FUNCTION, NEIGHBOUR, "knocked"), every=1)


def addresses(live: Live, namespace: str, service: str) -> list[str]:
    """Return where the Pods of a Knative Service are that are ready."""
    pods = live.cluster.list(POD, namespace, {"serving.knative.dev/service": service})
    ready = {"type": "Ready", "status": "True"}
    return [
        pod["status"]["podIP"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any(ready.items() <= each.items() for each in pod["status"].get("conditions", []))
    ]


def pods(live: Live) -> Knocked:
    """Return where the Pods are that nobody should reach; those that are at zero are called by an event each."""
    live.tick()
    live.command(types.BUILD_START, {"tenant": TENANT, "name": "Not A Name"})  # refused, so a dead letter

    def one(namespace: str, service: str) -> str:
        return str(within(60, f"{service} runs", lambda: addresses(live, namespace, service))[0])

    letters, receiver, neighbour = one(PRODUCT, "deadletters"), one(PRODUCT, "receiver"), one(NEIGHBOUR, "knocked")
    by = [(receiver, 8012), (receiver, 8080), (letters, 8012), (neighbour, 8012), (neighbour, 8080)]
    return {name: f"http://{address}:{port}/" for name, (address, port) in zip(PODS, by, strict=True)}


def of_function(live: Live, asked: Knocked, *, closed: bool) -> Knocked:
    """Have the function knock, once the network has taken up what holds now: that is a moment after a change."""

    def ask(urls: Knocked) -> Knocked:
        once = uuid.uuid4().hex
        answer: Knocked = live.answer("knocks", {**urls, once: METADATA}, lambda data: once in data)
        return {name: answer[name] for name in urls}

    within(60, "the network is as it should be", lambda: nothing(ask({"it": METADATA})["it"]) == closed, every=1)
    return ask(asked)


def nothing(knocked: str) -> bool:
    return knocked.startswith("nothing")


def of_build(live: Live, asked: Knocked, *, closed: bool) -> Knocked:
    """Have a Dockerfile's `RUN` knock, and fail: why a build failed is told with its log's last lines."""
    first = METADATA if closed else ""  # a Pod's rules are there a moment after it
    name = f"knocks-{uuid.uuid4().hex[:8]}"
    knock = f"RUN python3 /knocks.py {shlex.quote(json.dumps(asked))} {first} ; false"
    dockerfile = f"FROM {os.environ['PYTHON_BASE']}\nCOPY knocks.py /\n{knock}\n"
    live.start(name, runtime="dockerfile", source={"inline": {"Dockerfile": dockerfile, "knocks.py": KNOCKS}})
    built = within(180, "it ends", lambda: (c := live.condition(name, "Built")).get("status") == "False" and c)
    live.delete(name)
    told = next((line for line in built["message"].splitlines() if line.startswith("KNOCKED ")), "")
    assert told, built["message"]
    knocked: Knocked = json.loads(told.removeprefix("KNOCKED "))
    return knocked


WHO: dict[str, Callable[..., Knocked]] = {"a function": of_function, "a build": of_build}


@pytest.fixture(scope="module", params=WHO)
def who(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def closed(live: Live, functions: None, who: str) -> Knocked:
    """Return what answers to somebody, as the product is installed."""
    return WHO[who](live, {**INSIDE, **BUILD_NEEDS, **pods(live)}, closed=True)


@pytest.fixture(scope="module")
def opened(live: Live, functions: None, who: str) -> Knocked:
    """Return what answers to the same one while everything is let through."""
    with everything_let_through():
        return WHO[who](live, {**INSIDE, **BUILD_NEEDS, **pods(live)}, closed=False)


@pytest.mark.parametrize("address", [*INSIDE, *PODS])
def test_it_reaches_neither_the_machine_nor_the_pods_of_others(closed: Knocked, address: str) -> None:
    assert nothing(closed[address]), closed


@pytest.mark.parametrize("address", BUILD_NEEDS)
def test_a_build_reaches_the_store_and_the_registry_and_a_function_does_not(
    closed: Knocked, who: str, address: str
) -> None:
    assert nothing(closed[address]) == (who == "a function"), closed


def test_without_the_policies_every_one_of_them_answers_it(opened: Knocked) -> None:
    assert [address for address, knocked in opened.items() if nothing(knocked)] == []
