"""The doctor, of a place where all is well but for one thing: that is what it finds, and what to do about just that."""

import contextlib
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from werkzeug.exceptions import NotFound

from knative_lambda.client import Client
from knative_lambda.client.checks import RIGHTS, Check, checks
from knative_lambda.client.cluster import ACTIVATOR, API, EVENTING, SERVING, Cluster
from knative_lambda.client.command import main
from knative_lambda.client.kubeconfig import access
from knative_lambda.client.models import EVENT_ANNOTATION
from knative_lambda.handler.observe.census import REASONS
from knative_lambda.handler.receive import problems, requests
from knative_lambda.schemas.errors import ProductError, Refused, Unauthenticated, Unavailable

FUNCTIONS = f"{API}/namespaces/demo/functions"
RECEIVER = f"{SERVING}/namespaces/knative-lambda/services/receiver"
REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
READY = {"Built": ("True", ""), "Deployed": ("True", ""), "Ready": ("True", "")}
OF_THE_SERVICE = "/v1/tenants/demo/functions/"
TRIAL = "registry and store: a function is built and answers"
UNCALLED = f"[--] {TRIAL}: it is ready, and was not called from here"
Said = tuple[int, Any]
MISSING: Said = (404, "404 page not found\n")
FORBIDDEN: Said = (403, {"message": 'User "ada" cannot do that'})


def ready(status: str = "True", reason: str = "", message: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": status, "reason": reason, "message": message}
    return {"metadata": {"name": "it"}, "status": {"conditions": [condition], "latestReadyRevisionName": "it-1"}}


def broker(namespace: str, name: str) -> str:
    return f"{EVENTING}/namespaces/{namespace}/brokers/{name}"


class Place:
    """A cluster's API server, or a service, where all is well but for what is said of a path."""

    def __init__(self) -> None:
        self.said: dict[str, Said] = {}
        """What is answered otherwise, by method and how the path begins."""
        self.denied: set[tuple[str, str]] = set()
        self.conditions: dict[str, tuple[str, str]] = READY
        """Status and reason of what the product says of a function; {} while it says nothing."""
        self.functions: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, body: Any) -> Said:
        for start, said in self.said.items():
            if f"{method} {path}".startswith(start):
                return said
        if path == REVIEW:
            asked = body["spec"]["resourceAttributes"]
            return 201, {"status": {"allowed": (asked["verb"], asked["resource"]) not in self.denied}}
        if path == "/":
            return self._event(body)
        if path.startswith(OF_THE_SERVICE):
            return self._function(method, path.removeprefix(OF_THE_SERVICE), body)
        if path.startswith(FUNCTIONS):
            return self._function(method, path.removeprefix(FUNCTIONS).removeprefix("/"), body)
        return 200, {**ready(), "items": [], "dependencies": {}}

    def _event(self, event: Any) -> Said:
        name, annotations = event["data"]["name"], {EVENT_ANNOTATION: json.dumps({"id": event["id"]})}
        return self._function("POST", "", {"metadata": {"name": name, "annotations": annotations}})

    def _function(self, method: str, name: str, body: Any) -> Said:
        if name.endswith("/delete"):
            method, name = "DELETE", name.removesuffix("/delete")
        if method == "POST":
            body["metadata"]["generation"] = 1
            told = [{"type": kind, "status": said[0], "reason": said[1]} for kind, said in self.conditions.items()]
            body |= {"status": {"observedGeneration": 1, "conditions": told}} if told else {}
            self.functions[body["metadata"]["name"]] = body
            return 201, body
        if method == "DELETE":
            del self.functions[name]
            return 200, {}
        return (200, self.functions[name]) if name in self.functions else (404, {"detail": "no"})

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        place = self

        class Handler(BaseHTTPRequestHandler):
            def do(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                path = self.path.partition("?")[0]
                status, said = place.answer(self.command, path, json.loads(body) if body else None)
                self.send_response(status)
                if path.startswith((ACTIVATOR, "/functions/")) and status == 200:
                    self.send_header("ce-id", "1")
                self.end_headers()
                self.wfile.write((said if isinstance(said, str) else json.dumps(said)).encode())

            def do_GET(self) -> None:
                self.do()

            def do_POST(self) -> None:
                self.do()

            def do_DELETE(self) -> None:
                self.do()

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def place() -> Place:
    return Place()


def kubeconfig(folder: Path, server: str) -> str:
    said = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": "production", "context": {"cluster": "it", "user": "me", "namespace": "demo"}}],
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(said))
    return str(folder / "kubeconfig")


def said(result: Result) -> list[Check]:
    """Return the faults that the doctor tells, each with its hint."""
    found = re.findall(r"^\[!!\] (.*)\n     (.*)\n(?:     hint: (.*)\n)?", result.stdout, re.MULTILINE)
    return [Check(*each) for each in found]


def doctor(folder: Path, server: str) -> Result:
    return CliRunner().invoke(main, ["doctor", "--kubeconfig", kubeconfig(folder, server)])


def test_where_all_is_well_it_finds_nothing_and_leaves_nothing(place: Place, tmp_path: Path) -> None:
    with place.served() as server:
        done = doctor(tmp_path, server)
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line[:5] for line in done.stdout.splitlines()] == ["[ok] "] * 12
    assert place.functions == {}


def test_a_cluster_that_does_not_answer(tmp_path: Path) -> None:
    [check] = said(doctor(tmp_path, "http://127.0.0.1:1"))
    assert (check.what, "Connection refused" in check.fault) == ("API server", True)
    assert "is its cluster up" in check.hint


BROKEN: dict[str, tuple[str, Said, str, str, str]] = {
    "who asks": ("GET /version", (401, {"message": "Unauthorized"}), "API server", "Unauthorized", "log in anew"),
    "the chart": (f"GET {API}", MISSING, "custom resources", "is not served there", "`make deploy`"),
    "Serving": (f"GET {SERVING}", MISSING, "Knative Serving", "is not served there", "install Knative Serving"),
    "Eventing": (f"GET {EVENTING}", MISSING, "Knative Eventing", "is not served there", "install Knative Eventing"),
    "receiver": (
        f"GET {RECEIVER}",
        (200, ready("False", "RevisionFailed", "no image")),
        "receiver",
        "it is not ready: RevisionFailed: no image",
        "kubectl describe ksvc receiver -n knative-lambda",
    ),
    "no receiver": (f"GET {RECEIVER}", (404, {"message": "no", "detail": "no"}), "receiver", "no", "describe ksvc"),
    "a new receiver": (f"GET {RECEIVER}", (200, {"metadata": {}}), "receiver", "it has no status yet", "describe ksvc"),
    "people's Broker": (
        f"GET {broker('demo', 'default')}",
        FORBIDDEN,
        "Broker demo/default",
        "cannot do that",
        "is demo a tenant? `tenant list` has them",
    ),
    "create": (
        f"POST {FUNCTIONS}",
        (403, {"message": "exceeded quota: functions"}),
        TRIAL,
        "exceeded",
        "describe quota",
    ),
    "the activator": (f"POST {ACTIVATOR}", (502, "no"), TRIAL, "does not answer an event: status 502", "activator"),
    "no event": (f"POST {ACTIVATOR}", (202, ""), TRIAL, "does not answer an event: status 202", "activator"),
    **{
        f"Broker {namespace}/{name}": (
            f"GET {broker(namespace, name)}",
            (200, ready("False", "Filter", "not up")),
            f"Broker {namespace}/{name}",
            "it is not ready: Filter: not up",
            f"kubectl describe broker {name} -n {namespace}",
        )
        for namespace, name in (("knative-lambda", "default"), ("knative-lambda", "cluster"), ("demo", "default"))
    },
}
"""What is answered otherwise, and by whom → the check that tells it, its fault and its hint."""


@pytest.mark.parametrize("broken", BROKEN)
def test_one_thing_that_is_broken_is_what_it_finds(place: Place, tmp_path: Path, broken: str) -> None:
    path, answer, what, fault, hint = BROKEN[broken]
    place.said[path] = answer
    with place.served() as server:
        done = doctor(tmp_path, server)
    [check] = said(done)
    assert (check.what, fault in check.fault, hint in check.hint) == (what, True, True), check
    assert done.exit_code == 1
    assert place.functions == {}


@pytest.mark.parametrize(
    ("resource", "verb"), [(resource, verb) for _, resource, verbs in RIGHTS for verb in verbs], ids="-".join
)
def test_a_right_that_is_not_given_is_named(place: Place, tmp_path: Path, resource: str, verb: str) -> None:
    place.denied.add((verb, resource))
    with place.served() as server:
        [check] = said(doctor(tmp_path, server))
    assert check.what.endswith(f" {resource} in demo")
    assert check.fault == f"you may not {verb} {resource}"
    assert check.hint == "whoever gives rights in demo can add you to `people` in the chart's values"


def test_what_a_tenants_people_may_not_see_of_the_product_is_no_fault(place: Place, tmp_path: Path) -> None:
    """Nor is that they may not call a function by the API server; that it answers is not said then, either."""
    for path in (f"GET {RECEIVER}", f"GET {EVENTING}/namespaces/knative-lambda/", f"POST {ACTIVATOR}"):
        place.said[path] = FORBIDDEN
    with place.served() as server:
        done = doctor(tmp_path, server)
    assert (done.exit_code, said(done)) == (0, [])
    hidden = [line for line in done.stdout.splitlines() if not line.startswith("[ok] ")]
    parts = ("receiver", "Broker knative-lambda/default", "Broker knative-lambda/cluster")
    assert hidden == [*(f"[--] {part}: not yours to see" for part in parts), UNCALLED]


FAILURES = {
    "RegistryRefused": "the Secret to push with",
    "RegistryUnavailable": "look at `registry` in the chart's values",
    "RegistryUntrusted": "its certificate",
    "BaseMissing": "look at `registry` in the chart's values",
    "ImageMissing": "look at `registry` in the chart's values",
    "ContextNotFetched": "look at `storage` in the chart's values",
    "ErrImagePull": "nodes cannot pull what was pushed",
    "ImagePullBackOff": "nodes cannot pull what was pushed",
    "QuotaExceeded": "`kubectl describe quota`",
    "PodNotStarted": "kubectl logs -l serving.knative.dev/service=receiver",
}
"""Why a function of ours may fail, pushing and pulling and storing, in the product's words → what to do."""


@pytest.mark.parametrize("reason", FAILURES)
def test_what_keeps_a_function_from_answering_has_its_own_hint(place: Place, tmp_path: Path, reason: str) -> None:
    assert reason in REASONS, "the product says it so"
    kind = "Ready" if "Pull" in reason else "Built"
    place.conditions = {**READY, kind: ("False", reason)}
    with place.served() as server:
        [check] = said(doctor(tmp_path, server))
    assert (check.what, check.fault) == (TRIAL, f"{kind} is False: {reason}")
    assert FAILURES[reason] in check.hint
    assert place.functions == {}


@pytest.mark.parametrize(
    ("conditions", "fault", "hint"),
    [
        ({}, "after 0 s: nobody has noticed it", "its store is away"),
        ({"Built": ("Unknown", "Queued")}, "after 0 s: Built is Unknown: Queued", "the receiver's log"),
        ({**READY, "Ready": ("Unknown", "Deploying")}, "after 0 s: Ready is Unknown: Deploying", ""),
    ],
)
def test_what_takes_too_long_is_told_by_how_far_it_came(
    place: Place, tmp_path: Path, conditions: dict[str, tuple[str, str]], fault: str, hint: str
) -> None:
    place.conditions = conditions
    with place.served() as server:
        client = Client(Cluster(access(kubeconfig(tmp_path, server))), sleep=lambda _: None)
        [check] = [each for each in checks(client, "demo", trial=True, seconds=0) if each.fault]
    assert (check.what, check.fault, hint in check.hint) == (TRIAL, fault, True)
    assert place.functions == {}


@pytest.mark.parametrize("conditions", [READY, {"Built": ("False", "RegistryRefused")}])
def test_a_function_that_cannot_be_removed_is_told_and_hides_nothing(
    place: Place, tmp_path: Path, conditions: dict[str, tuple[str, str]]
) -> None:
    place.conditions = conditions
    place.said[f"DELETE {FUNCTIONS}"] = (500, {"message": "etcd is away"})
    with place.served() as server:
        *others, left = said(doctor(tmp_path, server))
    [name] = place.functions
    assert left == Check(f"{name} is removed", "etcd is away", f"try it again: `delete {name} -n demo`")
    assert [each.fault for each in others] == ["Built is False: RegistryRefused"] * (conditions is not READY)


def test_who_stops_it_leaves_no_function(place: Place, tmp_path: Path) -> None:
    place.conditions = {}

    def stop(_seconds: float) -> None:
        assert place.functions
        raise KeyboardInterrupt

    with place.served() as server, pytest.raises(KeyboardInterrupt):
        list(checks(Client(Cluster(access(kubeconfig(tmp_path, server))), stop), "demo", trial=True))
    assert place.functions == {}


OF_A_SERVICE: dict[str, tuple[str, ProductError, str, str, str]] = {
    "who asks": ("GET /v1", Unauthenticated("?", "Bearer"), "service", "not known here who asks", "--token"),
    "the store": ("POST /", Unavailable("store", "no answer"), TRIAL, "store: no answer", "`storage` in the chart's"),
    "the registry": ("POST /", Unavailable("registry", "no"), TRIAL, "registry: no", "`registry` in the chart's"),
    "a refusal": ("POST /", Refused.because("/data", "no python here"), TRIAL, "/data: no python here", ""),
}
"""What is answered otherwise, with which error of the product's → the check that tells it, its fault and its hint."""


@pytest.mark.parametrize("broken", OF_A_SERVICE)
def test_a_service_is_looked_at_like_a_cluster(place: Place, broken: str) -> None:
    path, error, what, fault, hint = OF_A_SERVICE[broken]
    problem = problems.of(error)
    place.said[path] = (problem.status, problem.body("1"))
    with place.served() as server:
        [check] = said(CliRunner().invoke(main, ["doctor", "--url", server]))
    assert (check.what, fault in check.fault, hint in check.hint) == (what, True, True), check


@pytest.mark.parametrize("away", ["store", "registry", "cluster"])
def test_what_a_service_says_is_away_is_told_before_anything_is_tried(place: Place, away: str) -> None:
    states = {"cluster": "closed", "store": "closed", "registry": "closed", away: "open"}
    place.said["GET /health/dependencies"] = (503, {"status": "degraded", "dependencies": states})
    with place.served() as server:
        done = CliRunner().invoke(main, ["doctor", "--url", server])
    [check] = said(done)
    assert check.what == f"{away} of the service"
    assert {"store": "`storage`", "registry": "`registry`"}.get(away, "the receiver's log") in check.hint
    assert done.stdout.count("[ok]") == 3
    assert TRIAL not in done.stdout


@pytest.mark.parametrize("where", ["embedded", "receiver", "function"])
def test_a_function_is_called_where_the_service_passes_calls_on(place: Place, where: str) -> None:
    """A receiver does not; a function's own 404 is another thing."""
    nowhere = requests.failed(NotFound()).body("1") if where == "receiver" else "no such page"
    if where != "embedded":
        place.said["POST /functions/"] = (404, nowhere)
    with place.served() as server:
        done = CliRunner().invoke(main, ["doctor", "--url", server])
        assert place.functions == {}
        place.functions["hello"] = {"metadata": {"name": "hello"}, "spec": {}, "status": {"url": "http://hello"}}
        invoked = CliRunner().invoke(main, ["invoke", "hello", "--url", server])
    faults = ["the function runs, and does not answer an event: status 404"] if where == "function" else []
    assert [check.fault for check in said(done)] == faults
    assert [line for line in done.stdout.splitlines() if TRIAL in line] == [
        {"embedded": f"[ok] {TRIAL}", "receiver": UNCALLED, "function": f"[!!] {TRIAL}"}[where]
    ]
    assert invoked.exit_code == {"embedded": 0, "receiver": 4, "function": 1}[where]
    assert ("passes no calls on" in invoked.stderr) == (where == "receiver"), invoked.stderr


def test_a_tenant_that_a_service_does_not_have(place: Place) -> None:
    place.said["GET /v1"] = (404, {"detail": "There is no tenant nope."})
    with place.served() as server:
        [check] = said(CliRunner().invoke(main, ["doctor", "--url", server, "-n", "nope"]))
    assert (check.fault, "-n names another tenant" in check.hint) == ("There is no tenant nope.", True)


@pytest.mark.parametrize("answer", [[], {}, {"dependencies": None}, {"dependencies": {"store": None}}, "busy"])
def test_who_answers_otherwise_than_a_service_of_ours_is_told_so(place: Place, answer: Any) -> None:
    place.said["GET /health/dependencies"] = (503, answer)
    with place.served() as server:
        [check] = said(CliRunner().invoke(main, ["doctor", "--url", server]))
    assert check.what == "what the service needs"
    assert check.fault.startswith("it does not answer as knative-lambda does")


def test_what_a_service_needs_is_told_also_where_it_does_not_serve_v1(place: Place) -> None:
    place.said["GET /v1"] = (404, requests.failed(NotFound("The records under /v1 are not enabled here.")).body("1"))
    place.said["GET /health/dependencies"] = (503, {"dependencies": {"store": "open", "registry": "closed"}})
    with place.served() as server:
        done = CliRunner().invoke(main, ["doctor", "--url", server])
    closed, store = said(done)
    assert ("`receiver.api: false`" in closed.hint, store.what) == (True, "store of the service")
    assert "[ok] registry of the service\n" in done.stdout


def test_a_service_that_does_not_answer_is_told_once() -> None:
    [check] = said(CliRunner().invoke(main, ["doctor", "--url", "http://127.0.0.1:1"]))
    assert (check.what, "Connection refused" in check.fault) == ("service", True)
