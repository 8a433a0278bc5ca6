"""Secrets planted wherever the product meets one; then everything that it tells is looked through.

Whole stories through the HTTP door, and one of their calls fails with an exception whose text holds all that its
library could know. What is meant to hold a secret is named in `BELONGS`; anywhere else there is none.
"""

import base64
import gzip
import io
import json
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import generate_latest
from support.door import Site
from support.estate import Estate
from support.registry import patient
from support.stories import LISTENED, Story, again, cancel, delete, ended, live, sent, start, tick

from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.deploy.cluster import FUNCTION, SECRET
from knative_lambda.deploy.kubernetes import KubernetesCluster, KubernetesSettings
from knative_lambda.handler import deadletters
from knative_lambda.handler.audit.sink_http import HttpSink
from knative_lambda.handler.audit.trail import Trail
from knative_lambda.handler.events import Event
from knative_lambda.handler.observe import logs
from knative_lambda.handler.observe.metrics import Metrics
from knative_lambda.handler.settings import credentials
from knative_lambda.schemas import names, redaction
from knative_lambda.schemas.errors import ProductError, Refused, Unavailable
from knative_lambda.schemas.tls import NOWHERE

PLANTED = {
    name: f"planted-{name}-9f3A"
    for name in (
        *("store-key", "registry-password", "api-token", "sink-password"),
        *("registry-token", "userinfo", "signature", "env", "source", "build-secret"),
    )
}
AUTHORIZATION, WEBHOOK = "cGxhbnRlZC1hdXRob3JpemF0aW9uLTlmM0E", "cGxhbnRlZC13ZWJob29rLXNpZ25hdHVyZS05ZjNB"
LEAK = (
    f"PUT https://me:{PLANTED['userinfo']}@store/key?X-Amz-Signature={PLANTED['signature']} by {PLANTED['store-key']},"
    f" {{'Authorization': 'Bearer {PLANTED['registry-token']}'}}, {PLANTED['registry-password']},"
    f" {PLANTED['api-token']}, {PLANTED['sink-password']}"
)
"""What a library's exception may say at its worst."""
BELONGS: Mapping[str, tuple[str, ...]] = {
    "env": ("Function spec", "Service spec", "DeadLetter event"),
    "source": ("store contexts", "image", "DeadLetter event"),
}
"""What is a tenant's own, and where it is kept as the tenant gave it."""
ERRORS: Mapping[str, Callable[[], Exception]] = {
    "away": lambda: Unavailable("store", LEAK),
    "refused": lambda: Refused.because("/registry", LEAK),
    "bug": lambda: KeyError(LEAK),
}
GIVEN: dict[str, Any] = {
    "env": {"KEY": PLANTED["env"]},
    "source": {"inline": {"main.py": f"def handle(event, context):\n    return {PLANTED['source']!r}\n"}},
}


def given(estate: Estate) -> None:
    """Begin a build that is given a Secret of its tenant's."""
    meta = {"name": "pypi", "namespace": "acme", "labels": {names.BUILD_SECRET_LABEL: "true"}}
    data = {"netrc": base64.b64encode(f"machine x login me password {PLANTED['build-secret']}\n".encode()).decode()}
    estate.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    sent(start(build={"secrets": ["pypi"]}, **GIVEN))(estate)


def blabbed(estate: Estate) -> Event:
    """Let such a build print what it was given, and fail."""
    event = ended("user")(estate)
    told = f"looking in indexes: https://packages.test\npassword: {PLANTED['build-secret']}\n"
    estate.cluster.logs[("acme-builds", event.data["name"], "kaniko")] = told.encode()
    return event


HEADERS = {"Authorization": f"Basic {AUTHORIZATION}", "Webhook_Signature": f"v1,{WEBHOOK}="}
STORIES = (
    Story("a new function", start(**GIVEN)),
    Story("a code change", start("two", **GIVEN), live(start()), settings={"layers": True}),
    Story("the same source after it failed", again("one", **GIVEN), sent(start("one", **GIVEN), ended("user"))),
    Story("a build that ends well", ended("ok"), sent(start(**GIVEN))),
    Story("a build that is evicted", ended("evicted"), sent(start(**GIVEN))),
    Story("a failure of which others are told", ended("user"), sent(start(**GIVEN)), settings=LISTENED),
    Story("a cancel", cancel(), sent(start(**GIVEN))),
    Story("a delete", delete, live(start(**GIVEN))),
    Story("a sweep", tick, sent(start(**GIVEN))),
    Story("a build that prints the Secret which it was given", blabbed, given, settings={"build_secrets": True}),
)


@pytest.fixture
def told() -> Iterator[io.StringIO]:
    """Yield what the process logs, as machines read it."""
    stream, root = io.StringIO(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    logs.configure(stream, verbose=True)
    yield stream
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the product read its secrets where it does, from files; nobody answers behind any of them."""
    files = {
        "access-key": "me",
        "secret-key": PLANTED["store-key"],
        "token": PLANTED["api-token"],
        "ca.crt": (Path(__file__).parent / "nowhere").name,
        "username": "me",
        "password": PLANTED["sink-password"],
        "config.json": json.dumps(
            {"auths": {"127.0.0.1:1": {"username": "me", "password": PLANTED["registry-password"]}}}
        ),
    }
    for name, text in files.items():
        (tmp_path / name).write_text(f"{text}\n")
    credentials(str(tmp_path))
    registry = HttpRegistry(patient(insecure=True, config=tmp_path / "config.json"))
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "127.0.0.1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "1")
    cluster = KubernetesCluster(KubernetesSettings(account=str(tmp_path)))
    for ask in (
        lambda: registry.digest("127.0.0.1:1/acme/hello:1"),
        lambda: cluster.get(FUNCTION, "acme", "hello"),
        lambda: HttpSink("http://127.0.0.1:1/", tmp_path, NOWHERE, "audit").write(b""),
    ):
        with suppress(ProductError):
            ask()


@dataclass
class Outputs:
    """All that the product has told, by where."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def found(self) -> set[tuple[str, str]]:
        """Return each planted secret with where it was found and does not belong."""
        secrets = {**PLANTED, "authorization": AUTHORIZATION, "webhook": WEBHOOK}
        return {
            (name, where)
            for name, secret in secrets.items()
            for where, text in self.said
            if secret in text and where not in BELONGS.get(name, ())
        }

    def places(self, name: str) -> set[str]:
        """Return all the places where a planted secret is."""
        return {where for where, text in self.said if PLANTED[name] in text}


@dataclass
class Written:
    """A sink that keeps what it gets."""

    text: str = ""

    def write(self, lines: bytes) -> None:
        self.text += lines.decode()


def played(story: Story, log: io.StringIO, failing: int = 0, error: str = "away") -> tuple[Outputs, int]:
    """Play a story through the door, the call of this number failing; return all that is told, and the calls made."""
    estate = Estate(**story.settings)
    sink, metrics = Written(), Metrics()
    site = Site(estate, trail=Trail(sink, [metrics.audited]), listeners=[metrics.handled])
    story.before(estate)
    event = story.event(estate)
    estate.handler.begin()
    calls = [0]

    def interrupt(number: int) -> None:
        calls[0] = number
        if number == failing:
            met = ERRORS[error]()
            raise met

    estate.handler.interrupt = interrupt
    answer = site.send(event.type, event.data, event.id, **HEADERS)
    made = calls[0]
    estate.handler.interrupt = lambda _: None
    outputs = Outputs([("answer", f"{answer.headers}{answer.get_data(as_text=True)}")])
    buried = {"ce-type": event.type, "ce-id": event.id, "ce-source": "/shop", "content-type": "application/json"}
    why = {"ce-knativeerrorcode": str(answer.status_code), "ce-knativeerrordata": answer.get_data(as_text=True) + LEAK}
    headers = {**buried, **why, **{name.replace("_", "-"): value for name, value in HEADERS.items()}}
    letter = deadletters.letter("knative-lambda", "acme", headers, json.dumps(event.data).encode(), estate.time)
    deadletters.keep(letter, estate.cluster)
    outputs.said += objects(estate)  # before anything is made good
    with suppress(AssertionError):  # what was refused for good does not come to rest in every story
        estate.rest()
    outputs.said += objects(estate)
    assert site.trail is not None
    site.trail.deliver()
    outputs.said += [
        ("log", log.getvalue()),
        ("audit", sink.text),
        ("metrics", generate_latest(metrics.registry).decode()),
        ("notifications", json.dumps(estate.told)),
        ("webhooks", str(estate.hooks.got)),
    ]
    for stored in estate.store.list(""):
        body = estate.store.get(stored.key, limit=1 << 22) or b""
        outputs.said.append((f"store {stored.key.partition('/')[0]}", f"{stored.key} {unpacked(body)}"))
    for repository, manifests in estate.pusher.manifests.items():
        outputs.said += [("manifest", f"{repository} {manifest}") for manifest in manifests.values()]
        outputs.said += [("image", unpacked(blob)) for blob in estate.pusher.blobs.get(repository, {}).values()]
    return outputs, made


def objects(estate: Estate) -> Iterator[tuple[str, str]]:
    """Yield what the cluster holds, the tenant's part of each object by itself."""
    for kind, body in estate.objects():
        tenants = {"Function": "spec", "Service": "spec"}.get(kind.kind, "")
        spec = dict(body.get("spec", {}))
        if kind.kind == "DeadLetter":
            yield "DeadLetter event", json.dumps(spec.pop("event", {}).get("data"))
        if tenants:
            yield f"{kind.kind} spec", json.dumps(spec)
            spec = {}
        yield kind.kind, json.dumps({**body, "spec": spec})


def unpacked(body: bytes) -> str:
    with suppress(OSError, EOFError):
        return gzip.decompress(body).decode("utf-8", "replace")
    return body.decode("utf-8", "replace")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.name)
@pytest.mark.usefixtures("read")
def test_whatever_call_fails_with_whatever_it_knows_no_secret_is_told(story: Story, told: io.StringIO) -> None:
    outputs, calls = played(story, told)
    assert outputs.found() == set()
    kinds = list(ERRORS)
    for number in range(1, calls + 1):
        told.seek(0)
        told.truncate()
        outputs, _ = played(story, told, number, kinds[number % len(kinds)])
        assert outputs.found() == set(), number


@pytest.mark.usefixtures("read")
def test_what_is_the_tenants_own_is_where_it_belongs(told: io.StringIO) -> None:
    outputs, _ = played(Story("laid", start(**GIVEN), settings={"layers": True}), told)
    assert outputs.places("env") == {"Function spec", "Service spec", "DeadLetter event"}
    assert outputs.places("source") == {"store contexts", "image", "DeadLetter event"}


@pytest.mark.parametrize(("error", "leaks"), [("away", {"answer", "log"}), ("refused", {"answer"}), ("bug", {"log"})])
def test_without_the_gate_they_are_told(
    monkeypatch: pytest.MonkeyPatch, told: io.StringIO, error: str, leaks: set[str]
) -> None:
    """So the stories above look where it would be seen."""
    monkeypatch.setattr(redaction, "_PATTERNS", ())
    found: set[tuple[str, str]] = set()
    for number in range(1, 12):
        found |= played(STORIES[0], told, number, error)[0].found()
    assert leaks <= {where for _, where in found}
