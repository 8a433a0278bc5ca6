"""The `Door` to a service by HTTP: the embedded mode, or a cluster's receiver that serves ``/v1``.

Reads come from ``/v1``; what is wanted of a function goes to the receiver as an event or as an action, and is answered
once it is on record.
"""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from itertools import takewhile
from typing import Any
from urllib.parse import quote

from knative_lambda.client.door import Kind, Note, Sent, event, selector
from knative_lambda.client.errors import ClientError, NotServed, Unreachable
from knative_lambda.client.http import Advice, Answer, Http
from knative_lambda.client.models import Build, Event, Function, Object
from knative_lambda.client.stream import Told, watch
from knative_lambda.schemas.types import BUILD_START

ADVICE = Advice(
    silent="start it with `knative-lambda dev`, or say where: --url of a service, --context or KUBECONFIG of a cluster",
    unknown="say who asks with --token, or KN_LAMBDA_TOKEN: `kubectl create token` makes one of a ServiceAccount",
    forbidden="it takes the rights that kubectl would: whoever gives them in this tenant can add you to its `people`",
    absent="is it a knative-lambda? One that serves no /v1 has `receiver.api: false`, or is older than this command",
    later="try again in a moment; /health/dependencies of the service names what is away",
)
CALLS = "--context or KUBECONFIG of its cluster calls them; so does an event for the tenant's Broker"
PAGE = 500
STRUCTURED = {"Content-Type": "application/cloudevents+json"}


class Service:
    """A service at an URL; `token` is shown where it is given."""

    namespace = "demo"

    def __init__(self, url: str, token: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        self._sleep = sleep
        self._http = Http(url.rstrip("/"), authorization=lambda: f"Bearer {token}" if token else "", advice=ADVICE)

    def find_all(self, kind: Kind, tenant: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return all of a kind that bear the labels."""
        found: list[Object] = []
        query = {"limit": str(PAGE), "labelSelector": selector(labels), "sort": "name"}
        while True:
            page = self._http.get(_path(tenant, kind), query)
            found += page["items"]
            query["continue"] = page.get("metadata", {}).get("continue", "")
            if not query["continue"]:
                return found

    def find(self, kind: Kind, tenant: str, name: str) -> Object:
        """Return one."""
        found: Object = self._http.get(_path(tenant, kind, name))
        return found

    def start(self, tenant: str, name: str, wanted: Mapping[str, Any]) -> Sent:
        """Send a ``build.start``."""
        return self._tell(event(BUILD_START, {"tenant": tenant, "name": name, **wanted}))

    def cancel(self, tenant: str, name: str, build: str) -> None:  # noqa: ARG002 - the Build knows its function
        """Ask for the action: it is refused where the Build has ended."""
        self._http.send("POST", _path(tenant, "builds", build, "cancel"))

    def retry(self, tenant: str, name: str) -> Sent:
        """Ask for the action."""
        return self._act(tenant, name, "retry", {})

    def rollback(self, tenant: str, name: str, build: Build) -> Sent:
        """Ask for the action."""
        return self._act(tenant, name, "rollback", {"build": build.name})

    def pause(self, tenant: str, name: str, *, paused: bool) -> Sent:
        """Ask for the action."""
        return self._act(tenant, name, "pause" if paused else "resume", {})

    def delete(self, tenant: str, name: str) -> None:
        """Ask for the action, but of what is being deleted already; what is not there is said to be so."""
        if not self.find("functions", tenant, name)["metadata"].get("deletionTimestamp"):
            self._http.send("POST", _path(tenant, "functions", name, "delete"))

    def resend(self, tenant: str, name: str) -> None:
        """Ask for the action."""
        self._http.send("POST", _path(tenant, "deadletters", name, "resend"))

    def log(self, tenant: str, build: Build, *, follow: bool, note: Note) -> Iterator[str]:
        """Yield the log that was kept, or what is told of it while it comes; raise `NotThere` where there is none."""
        path = _path(tenant, "builds", build.name)
        if not follow or build.is_over:
            return self._http.lines(f"{path}/log")
        told = watch(self._http, f"{path}/events", self._sleep)
        return _lines(takewhile(lambda each: each.kind != "end", told), note)

    def output(self, tenant: str, name: str, *, follow: bool) -> Iterator[str]:  # noqa: ARG002 - nothing of it is served
        """Raise `ClientError`: it is not served."""
        raise ClientError("what a function prints is not served", self.printed(tenant, name))

    def printed(self, tenant: str, name: str) -> str:
        """Name the file of the embedded mode, the one service that passes calls on."""
        return f"`knative-lambda dev` has what {name} printed below its --data: functions/logs/{tenant}/{name}.log"

    def call(self, tenant: str, name: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post to the function where the embedded mode serves it; raise `NotServed` elsewhere."""
        path = f"/functions/{quote(tenant, safe='')}/{quote(name, safe='')}"
        answer = self._http.ask("POST", path, None, body, headers)
        if answer.is_nowhere:
            raise NotServed(f"{self._http.url} passes no calls on to functions", CALLS)
        return answer

    def dependencies(self) -> Mapping[str, str]:
        """Return the state of each thing that the service needs: ``closed`` where it answers.

        Raises `Unreachable` where that is not what is said there.
        """
        answer = self._http.ask("GET", "/health/dependencies")
        if answer.status != HTTPStatus.SERVICE_UNAVAILABLE:
            answer.checked()
        said = answer.json()
        states = said.get("dependencies") if isinstance(said, dict) else None
        if not isinstance(states, dict) or not all(isinstance(state, str) for state in states.values()):
            raise Unreachable("it does not answer as knative-lambda does: it names nothing that it needs")
        return states

    def _tell(self, told: Event) -> Sent:
        body = json.dumps(told.structured()).encode()
        self._http.ask("POST", "/", body=body, headers=STRUCTURED).checked()
        return Sent(event=told.attributes["id"], is_receipt=True)

    def _act(self, tenant: str, name: str, action: str, body: Object) -> Sent:
        then = Function(self._http.send("POST", _path(tenant, "functions", name, action), body))
        return Sent(event=then.event, generation=then.generation, is_receipt=True)


def _lines(told: Iterator[Told], note: Note) -> Iterator[str]:
    """Yield the lines of a log; `note` is told where some were lost."""
    for each in told:
        if each.kind == "log":
            yield each.data["line"]
        elif each.kind == "gap":
            note(str(each.data["message"]))


def _path(tenant: str, *rest: str) -> str:
    return "/".join(("/v1/tenants", *(quote(part, safe="") for part in (tenant, *rest))))
