"""The SDK: what one can ask of functions, wherever they are, in a dozen methods.

    client = Client.at("http://127.0.0.1:8480")             # the embedded mode, or a receiver that serves /v1
    client = Client.on(context="production")                # a cluster, by a kubeconfig alone
    sent = client.deploy("demo", "hello", "python", {"inline": {"main.py": code}})
    client.wait("demo", "hello", sent)
    client.invoke("demo", "hello", event("demo.hello", {"name": "ada"})).event

Every method raises a `ClientError`; what its kinds mean is at the top of `errors.py`.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from knative_lambda.client import kubeconfig
from knative_lambda.client.cluster import Cluster
from knative_lambda.client.door import PRODUCT, Door, Note, Sent
from knative_lambda.client.errors import Away, ClientError, NotThere, Paused, TimedOut, Unreachable
from knative_lambda.client.http import ERRORS, Answer
from knative_lambda.client.models import PAUSED, Build, Condition, DeadLetter, Event, Function, Object, Reply
from knative_lambda.client.patience import patiently
from knative_lambda.client.service import Service
from knative_lambda.schemas.names import FUNCTION_LABEL

POLL = 0.2
"""Seconds between two looks at a record that is waited for."""
PATIENCE = 600.0
NOTICED = 10.0
"""Seconds within which the product notices what was written."""
MISSING = ("ConfigMapMissing", "KeyMissing", "PersistentVolumeClaimMissing", "SecretMissing")
"""Reasons of what waits for something that somebody else makes."""
Told = Callable[[Function], None]


def _silent(_text: str) -> None:
    """Be told, and do nothing."""


def _nobody(_function: Function) -> None:
    """Be told, and do nothing."""


class Client:
    """Functions behind a `Door`; `sleep` waits between two looks."""

    def __init__(self, door: Door, sleep: Callable[[float], None] = time.sleep) -> None:
        self.door = door
        self._sleep = sleep

    @classmethod
    def at(cls, url: str, token: str = "") -> "Client":
        """Return a client of a service at an URL; `token` says who asks, where the service wants to know."""
        return cls(Service(url, token))

    @classmethod
    def on(cls, kubeconfig_file: str = "", context: str = "") -> "Client":
        """Return a client of a cluster; "": the kubeconfig and the context that kubectl would take."""
        return cls(Cluster(kubeconfig.access(kubeconfig_file, context)))

    def functions(self, tenant: str) -> list[Function]:
        """Return a tenant's functions, by name."""
        return sorted(map(Function, self.door.find_all("functions", tenant)), key=lambda each: each.name)

    def function(self, tenant: str, name: str) -> Function:
        """Return a function; raise `NotThere`."""
        return Function(self.door.find("functions", tenant, name))

    def builds(self, tenant: str, function: str = "") -> list[Build]:
        """Return a tenant's Builds, or a function's; the newest first."""
        found = map(Build, self.door.find_all("builds", tenant, {FUNCTION_LABEL: function} if function else None))
        return sorted(found, key=lambda each: each.order, reverse=True)

    def build(self, tenant: str, name: str, function: str = "") -> Build:
        """Return a Build; raise `NotThere`, also where it is of another than the function that is named."""
        found = Build(self.door.find("builds", tenant, name))
        if function and found.function != function:
            raise NotThere(f"{name} is no build of {function}")
        return found

    def letters(self, namespace: str) -> list[DeadLetter]:
        """Return the events that nobody could handle, of a tenant or of the product; the newest first."""
        found = map(DeadLetter, self.door.find_all("deadletters", namespace))
        return sorted(found, key=lambda each: str(each.spec.get("time", "")), reverse=True)

    def letter(self, namespace: str, name: str) -> DeadLetter:
        """Return one of them whole; raise `NotThere`."""
        return DeadLetter(self.door.find("deadletters", namespace, name))

    def resend(self, namespace: str, name: str) -> None:
        """Have one of them sent again."""
        self.door.resend(namespace, name)

    def deploy(
        self, tenant: str, name: str, runtime: str, source: Object, *, note: Note = _silent, **options: Any
    ) -> Sent:
        """Have a function run; `options` are the other fields of a ``build.start``. Returns what to `wait` for.

        One that is paused stays so, unless `paused` is among the options, or nobody here can see that it is: `note` is
        told then.
        """
        if "paused" not in options and self._is_paused(tenant, name, note):
            options["paused"] = True
        return self.door.start(tenant, name, {"runtime": runtime, "source": source, **options})

    def retry(self, tenant: str, name: str) -> Sent:
        """Have the wanted source built once more. Returns what to `wait` for."""
        return self.door.retry(tenant, name)

    def rollback(self, tenant: str, name: str, build: str = "") -> tuple[Build, Sent]:
        """Have what an earlier Build made run again.

        It is the one named; or else the one that answers, where newer source is wanted, or the one before that. Returns
        it, and what to `wait` for; raises `ClientError` where there is none.
        """
        chosen = self.build(tenant, build, name) if build else self._before(tenant, name)
        if chosen.phase != "Succeeded":
            raise ClientError(f"{chosen.name} is no build of {name} that has an image")
        return chosen, self.door.rollback(tenant, name, chosen)

    def cancel(self, tenant: str, name: str, build: str = "") -> None:
        """Have what is being built stopped: all that is wanted of a function, or one Build.

        Raises `ClientError` where nothing is: a late cancel would stop what is built of that source later.
        """
        function = self.function(tenant, name)
        for _ in () if build else self._looks(NOTICED):  # what was wanted just now has no Build yet
            if (function := self.function(tenant, name)).is_current:
                break
        chosen = build or function.build
        if not chosen or self.build(tenant, chosen, name).is_over:
            raise ClientError(f"nothing of {name} is being built" if not build else f"{build} is not being built")
        self.door.cancel(tenant, name, chosen)

    def pause(self, tenant: str, name: str) -> None:
        """Have nothing new of a function built or deployed until it is resumed; what runs goes on."""
        if not self.function(tenant, name).is_paused:
            self.door.pause(tenant, name, paused=True)

    def resume(self, tenant: str, name: str) -> Sent:
        """Have a function go on with its newest source. Returns what to `wait` for."""
        function = self.function(tenant, name)
        return (
            self.door.pause(tenant, name, paused=False) if function.is_paused else Sent(generation=function.generation)
        )

    def delete(self, tenant: str, name: str) -> None:
        """Have a function removed; raise `NotThere`."""
        self.door.delete(tenant, name)

    def wait(self, tenant: str, name: str, sent: Sent, *, told: Told = _nobody, seconds: float = PATIENCE) -> Function:
        """Return the function once what was sent answers; `told` gets each state on the way.

        Raises `ClientError` with the reason where it does not come to that, `TimedOut` where it takes longer.
        A service that does not answer for a moment is asked again.
        """
        for _ in self._looks(seconds):
            function = patiently(lambda: self._found(tenant, name, sent), self._sleep)
            if function is None:
                continue
            told(function)
            if failed := function.failure:
                words = f"{failed.type} is {failed.status}: {failed.reason}: {failed.message}".rstrip(": ")
                raise (Paused if failed.reason == PAUSED[1] else ClientError)(words, _advice(name, failed))
            if function.answers:
                return function
        raise TimedOut(f"{name} does not answer yet; `describe {name}` tells how far it is")

    def wait_gone(self, tenant: str, name: str, *, seconds: float = PATIENCE) -> None:
        """Return once there is no such function; raise `TimedOut`."""
        for _ in self._looks(seconds):
            try:
                patiently(lambda: self.function(tenant, name), self._sleep)
            except NotThere:
                return
        raise TimedOut(f"{name} is still there")

    def logs(self, tenant: str, build: str, *, follow: bool = False, note: Note = _silent) -> Iterator[str]:
        """Yield the lines of a Build's log; with `follow` also those that come, until it has ended.

        `note` is told what is to be known of them, such as why there are none yet. Raises `NotThere` without any.
        """
        said, found = "", self.build(tenant, build)
        for _ in self._looks(PATIENCE):
            try:
                yield from self.door.log(tenant, found, follow=follow, note=note)
            except NotThere as error:
                if not follow or found.is_over:
                    raise
                if str(error) != said:
                    said = str(error)
                    note(said)
            else:
                return
            found = patiently(lambda: self.build(tenant, build), self._sleep)
        raise TimedOut(f"there is still no log of {build}; `describe build {build}` tells how far it is")

    def output(self, tenant: str, name: str, *, follow: bool = False) -> Iterator[str]:
        """Yield the lines that a function prints where it runs; raise `NotThere` where it does not."""
        return self.door.output(tenant, name, follow=follow)

    def invoke(self, tenant: str, name: str, event: Event) -> Reply:
        """Send a function an event, and return what it answers."""
        headers = {f"ce-{key}": value for key, value in event.attributes.items() if key != "datacontenttype"}
        headers["content-type"] = event.attributes.get("datacontenttype", "application/json")
        body = b"" if event.data is None else json.dumps(event.data).encode()
        return _reply(self.door.call(tenant, name, headers, body))

    def _is_paused(self, tenant: str, name: str, note: Note) -> bool:
        """Say whether a function is paused, as far as who asks may see: who may have it built need not see it."""
        try:
            return self.function(tenant, name).is_paused
        except NotThere:
            return False
        except Away:
            raise
        except Unreachable as error:
            note(f"{name} goes on if it was paused, which could not be seen: {error}")
            return False

    def _before(self, tenant: str, name: str) -> Build:
        function = self.function(tenant, name)
        before = function.ready_build if function.ready_build != function.build else function.previous_build
        if not before:
            raise ClientError(f"{name} has no version to go back to", f"`builds {name}` lists what was built")
        return self.build(tenant, before)

    def _found(self, tenant: str, name: str, sent: Sent) -> Function | None:
        """Return the function once its record is of what was sent; raise `ClientError` where that was refused."""
        try:
            function = self.function(tenant, name)
        except NotThere:
            function = None
        if function is not None and sent.is_in(function):
            return function
        if sent.is_receipt:
            raise ClientError(f"nothing changes: {name} has seen something newer")
        for letter in self.letters(PRODUCT) if sent.event else ():
            if letter.event.get("id") == sent.event:
                raise ClientError(f"it was refused: {letter.spec.get('message', '')}")
        return None

    def _looks(self, seconds: float) -> Iterator[None]:
        """Yield for each look until the time is over."""
        end = time.monotonic() + seconds
        while True:
            yield
            if time.monotonic() > end:
                return
            self._sleep(POLL)


def _advice(name: str, failed: Condition) -> str:
    """Return what to do about a step that has failed, or waits."""
    if failed.reason == PAUSED[1]:
        return f"`resume {name}` lets it go on"
    if failed.type == "Built":
        return f"`logs {name}` has what the build said; `retry {name}` builds the same once more"
    if failed.reason in MISSING:
        return "it comes up once that is there; if it was given up before, deploy it again (a minute apart)"
    return f"`describe {name}` tells how far it is; once it is mended, deploy it again"


def _reply(answer: Answer) -> Reply:
    text = answer.body.decode(errors="replace")
    attributes = {key[3:]: value for key, value in answer.headers.items() if key.startswith("ce-")}
    if not attributes or answer.status >= ERRORS:
        return Reply(answer.status, None, text)
    kind = answer.headers.get("content-type", "")
    data = json.loads(text) if text and "json" in kind else text or None
    return Reply(answer.status, Event({**attributes, "datacontenttype": kind}, data), text)
