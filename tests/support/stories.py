"""Every use case, as a story: what there was before, and the one event whose handling is looked at, call by call."""

import atexit
import base64
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.estate import Estate
from support.faults import Killed
from support.papers import keys

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, JOB, SECRET, Object
from knative_lambda.handler import deadletters
from knative_lambda.handler.acts.earlier import AGAIN
from knative_lambda.handler.acts.pause import PAUSE
from knative_lambda.handler.events import Event
from knative_lambda.schemas import names, types

DAY = timedelta(days=1)
IMAGE = "elsewhere/thing@sha256:" + "1" * 64
KNATIVES = {"ce-knativeerrorcode": "500", "ce-knativeerrordest": "http://hello.acme.svc.cluster.local/"}
OLDER = "network.notifi.lambda.build.start"


@dataclass(frozen=True)
class Story:
    """One use case."""

    name: str
    event: Callable[[Estate], Event]
    before: Callable[[Estate], object] = lambda _: None
    commit: str = ""
    """The effect from which on nothing needs the event; "" where a sweep finds all that the event could tell."""
    settings: Mapping[str, Any] = field(default_factory=dict)


def start(version: str = "one", **given: Any) -> Callable[[Estate], Event]:
    """Return a build.start of a function's version; the version is the event's id."""
    source = {"inline": {"main.py": f"def handle(event, context):\n    return {version!r}\n"}}
    data = {"tenant": "acme", "name": "hello", "runtime": "python", "source": source, **given}
    return lambda estate: estate.event(types.BUILD_START, data, id=version)


def again(version: str = "one", **given: Any) -> Callable[[Estate], Event]:
    """Return another event with the source of a version."""
    return lambda estate: replace(start(version, **given)(estate), id=f"{version} again")


def once_more(build: Callable[[Estate], str] = lambda _: "") -> Callable[[Estate], Event]:
    """Return what an action makes: a build.start of a source on record, of a Build or (by default) the Function."""
    data = {"tenant": "acme", "name": "hello"}
    return lambda estate: estate.event(types.BUILD_START, {**data, AGAIN: build(estate)}, id="once more")


def asked_to(what: str) -> Callable[[Estate], Event]:
    """Return what the actions pause and resume make."""
    data = {"tenant": "acme", "name": "hello", PAUSE: what == "pause"}
    return lambda estate: estate.event(types.BUILD_START, data, id=what)


def earliest(estate: Estate) -> str:
    """Return the name of the first Build of hello."""
    builds = estate.cluster.list(BUILD, "acme", {names.FUNCTION_LABEL: "hello"})
    return str(min(builds, key=lambda build: build["metadata"]["creationTimestamp"])["metadata"]["name"])


def older(estate: Estate) -> Event:
    source = {"inline": {"index.js": "exports.handle = async () => 1\n"}}
    return estate.event(OLDER, {"third_party_id": "acme", "parser_id": "hello", "source": source}, id="older")


def cancel(**given: Any) -> Callable[[Estate], Event]:
    return lambda estate: estate.event(types.BUILD_CANCEL, {"tenant": "acme", "name": "hello", **given}, id="cancel")


def delete(estate: Estate) -> Event:
    return estate.event(types.FUNCTION_DELETE, {"tenant": "acme", "name": "hello"}, id="delete")


def tick(estate: Estate) -> Event:
    return estate.event(types.PING, {})


def sent(*events: Callable[[Estate], Event]) -> Callable[[Estate], None]:
    """Return what hands these events over, and lets nothing happen in between."""

    def do(estate: Estate) -> None:
        for event in events:
            estate.deliver(event(estate))
            estate.make_pods()

    return do


def live(*events: Callable[[Estate], Event]) -> Callable[[Estate], None]:
    """Return what hands these events over, and lets the cluster come to rest after each."""

    def do(estate: Estate) -> None:
        for event in events:
            estate.deliver(event(estate))
            estate.rest()

    return do


def then(*steps: Callable[[Estate], object]) -> Callable[[Estate], None]:
    """Return what does one thing after the other."""

    def do(estate: Estate) -> None:
        for step in steps:
            step(estate)

    return do


def build_of(estate: Estate) -> Object:
    found = estate.cluster.get(BUILD, "acme", estate.function()["status"]["latestBuild"])
    assert found is not None
    return found


def job_of(estate: Estate) -> Object:
    [found] = estate.cluster.list(JOB, "acme-builds", {names.BUILD_UID_LABEL: build_of(estate)["metadata"]["uid"]})
    return found


def ended(fate: str) -> Callable[[Estate], Event]:
    """Return the report of the Pod of a build that ended this way."""

    def report(estate: Estate) -> Event:
        return estate.reported("Pod", "acme-builds", estate.end_pod(job_of(estate), fate))

    return report


def reported(kind: str, namespace: str = "acme", name: str = "hello") -> Callable[[Estate], Event]:
    return lambda estate: estate.reported(kind, namespace, name)


def built(estate: Estate) -> None:
    """Bring a function to where its Service was made, and nobody has looked at it yet."""
    sent(start(triggers=[{"type": "demo"}]), ended("ok"))(estate)


def served(why: str = "") -> Callable[[Estate], None]:
    """Return what lets Knative be done with it, or say why not; nobody is told."""

    def do(estate: Estate) -> None:
        built(estate)
        estate.knows_knative["hello"] = why
        estate.serve()

    return do


def applied(source: Object | None = None, name: str = "hello") -> Callable[[Estate], None]:
    """Return what applies a Function as a person does, with kubectl."""

    def do(estate: Estate) -> None:
        spec = {"runtime": "python", "source": source or {"inline": {"main.py": "def handle(event, context): ...\n"}}}
        found = estate.cluster.get(FUNCTION, "acme", name)
        if found is not None:
            estate.cluster.replace(FUNCTION, {**found, "spec": spec})
            return
        meta = {"name": name, "namespace": "acme"}
        body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind, "metadata": meta, "spec": spec}
        estate.cluster.apply(FUNCTION, body)

    return do


def outside(kind: str, **said: Any) -> Callable[[Estate], Event]:
    """Return what an outside builder says of the function's Build."""

    def event(estate: Estate) -> Event:
        estate.registry.known["registry/acme/hello:out"] = "sha256:" + "5" * 64
        return estate.event(kind, {"tenant": "acme", "name": "hello", **said}, id="outside")

    return event


def taken_away(estate: Estate) -> None:
    """Delete a running build's Job by hand, and its Pod with it."""
    sent(start())(estate)
    meta = job_of(estate)["metadata"]
    estate.cluster.delete(JOB, meta["namespace"], meta["name"])


def job_deleted(estate: Estate) -> Event:
    return estate.reported("Job", "acme-builds", f"{build_of(estate)['metadata']['name']}-1")


def untold(*fates: str) -> Callable[[Estate], None]:
    """Return what lets a new version's build end, attempt by attempt, and tells nobody."""

    def do(estate: Estate) -> None:
        then(live(start()), sent(start("two")))(estate)
        estate.fates["hello"] = list(fates)
        estate.end_builds()

    return do


def orphaned(estate: Estate) -> None:
    """Leave a Job whose Build is gone."""
    labels = {names.BUILD_UID_LABEL: "gone", names.BUILD_LABEL: "gone-x"}
    meta = {"name": "gone-x-1", "namespace": "acme-builds", "labels": labels}
    estate.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})


def cut_off(event: Callable[[Estate], Event], after: str) -> Callable[[Estate], None]:
    """Return what lets the handler die right after the first such effect, and the event never come again."""

    def do(estate: Estate) -> None:
        given = event(estate)
        estate.handler.begin((after, "after"))
        with pytest.raises(Killed):
            estate.deliver(given)
        estate.crash()

    return do


def unheard(estate: Estate) -> None:
    """Bring a function up, and remove another one, while the Brokers are down."""
    estate.broker = 503
    live(start(), start("other", name="bye"))(estate)
    estate.deliver(estate.event(types.FUNCTION_DELETE, {"tenant": "acme", "name": "bye"}, id="delete"))
    estate.broker = 202


def vanished(estate: Estate) -> None:
    """Delete the image of the function's Build in the registry."""
    repository, _, digest = build_of(estate)["status"]["image"].partition("@")
    estate.vanish(repository, digest)


def unpulled(estate: Estate) -> None:
    """Let Knative say that an image cannot be pulled, and then say nothing more of it."""
    estate.knows_knative["hello"] = "ImagePullBackOff"
    estate.serve()
    estate.knows_knative["hello"] = ""


def forgotten(estate: Estate) -> None:
    """Leave what nothing needs any more, and let it age."""
    live(start(), start("two"), start("three", name="bye"))(estate)
    estate.deliver(estate.event(types.FUNCTION_DELETE, {"tenant": "acme", "name": "bye"}, id="delete"))
    estate.time = (estate.time + 8 * DAY).replace(minute=1)


def letter(**labels: str) -> Callable[[Estate], None]:
    """Return what leaves a dead letter of the tenant's, with these labels."""

    def do(estate: Estate) -> None:
        headers = {"ce-specversion": "1.0", "ce-id": "lost", "ce-source": "/shop", "ce-type": "demo", **KNATIVES}
        made = deadletters.letter("knative-lambda", "acme", headers, b"", estate.time)
        meta = {
            **made["metadata"],
            "name": "lost",
            "labels": {names.PREFIX + key: value for key, value in labels.items()},
        }
        estate.cluster.create(DEAD_LETTER, {**made, "metadata": meta})

    return do


def aged(days: int) -> Callable[[Estate], None]:
    """Return what lets days go by."""

    def do(estate: Estate) -> None:
        estate.time += days * DAY

    return do


def uninstalled(estate: Estate) -> None:
    """Leave installed dependencies that nobody names any more."""
    live(listing())(estate)
    estate.deliver(delete(estate))
    estate.time = (estate.time + DAY).replace(minute=1)


def kept(estate: Estate) -> None:
    """Have Kaniko keep a layer for the tenant's later builds."""
    live(start())(estate)
    estate.registry.known[f"{names.kept_layers('registry', 'acme')}:{'ab' * 32}"] = "sha256:" + "e" * 64
    estate.time = (estate.time + DAY).replace(minute=1)


ONE_AT_A_TIME = {"builds_per_tenant": 1}
LAYERS = {"layers": True}
KEYS = tempfile.TemporaryDirectory()
atexit.register(KEYS.cleanup)
SIGNED = {**LAYERS, "supply_documents": True, "supply_sign": True, "supply_keys": str(keys(Path(KEYS.name)))}
UNSIGNED = {**LAYERS, "supply_documents": True}
JOB_OF_IT = start(builder="kaniko")
OTHER = start("other", name="other")
REUSED = {"builds_reuse": "tenant"}
OTHERS_SOURCE = start(name="other")


def gives(estate: Estate) -> None:
    """Let the tenant give a Secret to builds."""
    meta = {"name": "pypi", "namespace": "acme", "labels": {names.BUILD_SECRET_LABEL: "true"}}
    estate.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {"netrc": "bWU="}})


GIVEN = {"build_secrets": True}
WITH_SECRET: dict[str, Any] = {"build": {"secrets": ["pypi"]}}


HOOK = "https://ci.example/hook"


def listened() -> Mapping[str, Any]:
    """Return settings with a webhook, and CDEvents for the tenants' Brokers."""
    Path(KEYS.name, "ci").write_text("whsec_" + base64.b64encode(b"k" * 32).decode())
    return {"cdevents": True, "webhooks": {"ci": {"url": HOOK}}, "webhook_keys": KEYS.name}


LISTENED = listened()


def unheeded(estate: Estate) -> None:
    """Bring a function up, and remove another one, while the webhook is down."""
    estate.hooks.answers[HOOK] = 0
    live(start(), start("other", name="bye"))(estate)
    estate.deliver(estate.event(types.FUNCTION_DELETE, {"tenant": "acme", "name": "bye"}, id="delete"))
    estate.hooks.answers.clear()


def listing(version: str = "one", **given: Any) -> Callable[[Estate], Event]:
    """Return a build.start of a version with a dependency."""
    code = {"main.py": f"def handle(event, context):\n    return {version!r}\n"}
    return start(version, source={"inline": {**code, "requirements.txt": "inflection\n"}}, **given)


STORIES = (
    Story("a new function", start(triggers=[{"type": "demo"}]), commit="cluster.create Function"),
    Story("a new version", start("two"), live(start()), "cluster.replace Function"),
    Story("a new version while the older one is built", start("two"), sent(start()), "cluster.replace Function"),
    Story("the same source again", start(), live(start()), "cluster.replace Function"),
    Story("the same source again while it is built", start(), sent(start()), "cluster.replace Function"),
    Story("the same source after it failed", again(), sent(start(), ended("user")), "cluster.replace Function"),
    Story("a retry of what failed", once_more(), sent(start(), ended("user")), "cluster.replace Function"),
    Story(
        "a rollback while a newer version is built",
        once_more(earliest),
        then(live(start()), sent(start("two"))),
        "cluster.replace Function",
    ),
    Story(
        "a rollback to installed dependencies",
        once_more(earliest),
        then(live(listing()), live(listing("two"))),
        "cluster.replace Function",
        LAYERS,
    ),
    Story(
        "a new version once more, after it failed and while the one before runs",
        again("two"),
        then(live(start()), sent(start("two"), ended("user"))),
        "cluster.replace Function",
    ),
    Story(
        "a new version once more, after a cancel and while the one before runs",
        again("two"),
        then(live(start()), sent(start("two")), live(cancel())),
        "cluster.replace Function",
    ),
    Story(
        "a cancel of what waits while the version before runs",
        cancel(),
        then(live(start()), sent(OTHER, start("two"))),
        "cluster.replace Function",
        ONE_AT_A_TIME,
    ),
    Story(
        "the same source again, whose image is gone", start(), then(live(start()), vanished), "cluster.replace Function"
    ),
    Story("a Service whose image is gone", reported("Service"), then(live(start()), vanished, unpulled)),
    Story(
        "the source of another function",
        OTHERS_SOURCE,
        live(start()),
        "cluster.create Function",
        REUSED,
    ),
    Story("the source of what is being built", OTHERS_SOURCE, sent(start()), "cluster.create Function", REUSED),
    Story("an end that others waited for", ended("ok"), sent(start(), OTHERS_SOURCE), settings=REUSED),
    Story("a failure that others waited for", ended("user"), sent(start(), OTHERS_SOURCE), settings=REUSED),
    Story("a delete of what others wait for", delete, sent(start(), OTHERS_SOURCE), "store.put tombstones", REUSED),
    Story(
        "newer source for what others wait for",
        start("two"),
        sent(start(), OTHERS_SOURCE),
        "cluster.replace Function",
        REUSED,
    ),
    Story(
        "a cancel of what waits for another", cancel(), sent(OTHERS_SOURCE, start()), "cluster.replace Function", REUSED
    ),
    Story("a fresh build of the same source", start(rebuild=True), live(start()), "cluster.replace Function"),
    Story("a ready image", start(source={"image": IMAGE}), commit="cluster.create Function"),
    Story("an image in place of a build", start(source={"image": IMAGE}), sent(start()), "cluster.replace Function"),
    Story(
        "other settings alone",
        start(env={"A": "1"}, triggers=[{"type": "b"}]),
        live(start(triggers=[{"type": "a"}])),
        "cluster.replace Function",
    ),
    Story("a pause while a build runs", start("two", paused=True), sent(start()), "cluster.replace Function"),
    Story("a pause that was asked for", asked_to("pause"), sent(start()), "cluster.replace Function"),
    Story(
        "going on as was asked for",
        asked_to("resume"),
        then(live(start()), sent(start("two"), asked_to("pause"))),
        "cluster.replace Function",
    ),
    Story("a pause of what waits", start(paused=True), sent(OTHER, start()), "cluster.replace Function", ONE_AT_A_TIME),
    Story(
        "a ready image while it is paused",
        start(source={"image": IMAGE}, paused=True),
        live(start()),
        "cluster.replace Function",
    ),
    Story(
        "going on after a pause",
        again("two"),
        then(live(start()), sent(start("two", paused=True))),
        "cluster.replace Function",
    ),
    Story("a start after a delete", start("two"), live(start(), delete), "cluster.create Function"),
    Story(
        "an event of an older family",
        older,
        commit="cluster.create Function",
    ),
    Story("a cancel", cancel(), sent(start()), "cluster.replace Function"),
    Story("a cancel of a new version", cancel(), then(live(start()), sent(start("two"))), "cluster.replace Function"),
    Story("a cancel where nothing is built", cancel(), live(start()), "cluster.replace Function"),
    Story("a cancel of what is not there", cancel(), commit="store.put tombstones"),
    Story("a delete", delete, live(start(triggers=[{"type": "demo"}])), "store.put tombstones"),
    Story("a delete of what is built", delete, sent(start()), "store.put tombstones"),
    Story("a delete of what is not there", delete, commit="store.put tombstones"),
    Story("a delete of what a person applied", delete, then(applied(), Estate.rest), "store.put tombstones"),
    Story(
        "the end of an external build",
        outside(types.BUILD_COMPLETE, image="registry/acme/hello:out"),
        sent(start(builder="external")),
        "cluster.replace_status Build",
    ),
    Story(
        "the failure of an external build",
        outside(types.BUILD_FAILED, reason="TheirFault"),
        sent(start(builder="external")),
        "cluster.replace_status Build",
    ),
    Story("a build that ends well", ended("ok"), sent(start())),
    Story("a build that fails by its user's fault", ended("user"), sent(start())),
    Story("a new version that fails", ended("user"), then(live(start()), sent(start("two")))),
    Story("a build that is evicted", ended("evicted"), sent(start())),
    Story("a build that pushed nothing", ended("unpushed"), sent(start())),
    Story("a build whose Job was deleted by hand", job_deleted, taken_away),
    Story("a Service that is ready", reported("Service"), served()),
    Story("a Service that does not become ready", reported("Service"), served("RevisionFailed")),
    Story(
        "the same again of what did not become ready",
        again(triggers=[{"type": "demo"}]),
        then(served("RevisionFailed"), sent(reported("Service"))),
        "cluster.replace Function",
    ),
    Story("a Function that a person applied", reported("Function"), applied()),
    Story(
        "a source of a person's that cannot be taken",
        reported("Function"),
        then(sent(start()), applied({"object": "memory://world/elsewhere"})),
    ),
    Story("a sweep after a build of which nobody told", tick, untold("ok")),
    Story("a sweep after a failure of which nobody told", tick, untold("user")),
    Story("a sweep after an eviction of which nobody told", tick, untold("evicted")),
    Story("a sweep of a Service of which nobody told", tick, served()),
    Story("a sweep of what a person applied", tick, applied()),
    Story("a sweep of a Job whose Build is gone", tick, orphaned),
    Story(
        "a sweep after a delete that was cut off", tick, then(live(start()), cut_off(delete, "store.put tombstones"))
    ),
    Story("a sweep after the Brokers were down", tick, unheard),
    Story("a sweep that collects", tick, forgotten),
    Story("a new function of which others are told", start(), commit="cluster.create Function", settings=LISTENED),
    Story("the end of a build of which others are told", ended("ok"), sent(start()), settings=LISTENED),
    Story("a delete of which others are told", delete, live(start()), "store.put tombstones", LISTENED),
    Story("a sweep after a webhook was down", tick, unheeded, settings=LISTENED),
    Story("a sweep after the Brokers were down, and the webhook was not", tick, unheard, settings=LISTENED),
    Story(
        "a new function of code alone",
        start(triggers=[{"type": "demo"}]),
        commit="cluster.create Function",
        settings=LAYERS,
    ),
    Story("a code change", start("two"), live(start()), "cluster.replace Function", LAYERS),
    Story(
        "a code change while a Job builds the version before",
        start("two"),
        sent(JOB_OF_IT),
        "cluster.replace Function",
        LAYERS,
    ),
    Story("the same code again", start(), live(start()), "cluster.replace Function", LAYERS),
    Story("a fresh build of the same code", start(rebuild=True), live(start()), "cluster.replace Function", LAYERS),
    Story("code that a person applied", reported("Function"), applied(), settings=LAYERS),
    Story("a delete of code alone", delete, live(start()), "store.put tombstones", LAYERS),
    Story(
        "a sweep after a layer that was cut off",
        tick,
        cut_off(start(), "pusher.put"),
        settings=LAYERS,
    ),
    Story(
        "code that is laid, with papers that nobody signs", start(), commit="cluster.create Function", settings=UNSIGNED
    ),
    Story("the end of a Job whose image's papers nobody signs", ended("ok"), sent(JOB_OF_IT), settings=UNSIGNED),
    Story("code that is laid and signed", start("two"), live(start()), "cluster.replace Function", SIGNED),
    Story("the end of a Job whose image is signed", ended("ok"), sent(JOB_OF_IT), settings=SIGNED),
    Story(
        "a sweep after a signature that was cut off",
        tick,
        cut_off(start(), "pusher.attach"),
        settings=SIGNED,
    ),
    Story(
        "the source of an image that is signed",
        OTHERS_SOURCE,
        live(start()),
        "cluster.create Function",
        {**SIGNED, **REUSED, "layers": False},
    ),
    Story("a new function with dependencies", listing(), commit="cluster.create Function", settings=LAYERS),
    Story("the end of a Job that installs dependencies", ended("ok"), sent(listing()), settings=LAYERS),
    Story("dependencies that cannot be installed", ended("user"), sent(listing()), settings=LAYERS),
    Story("an eviction while dependencies are installed", ended("evicted"), sent(listing()), settings=LAYERS),
    Story("a code change beside dependencies", listing("two"), live(listing()), "cluster.replace Function", LAYERS),
    Story(
        "a code change while dependencies are installed",
        listing("two"),
        sent(listing()),
        "cluster.replace Function",
        LAYERS,
    ),
    Story(
        "a fresh build with dependencies", listing(rebuild=True), live(listing()), "cluster.replace Function", LAYERS
    ),
    Story("a cancel while dependencies are installed", cancel(), sent(listing()), "cluster.replace Function", LAYERS),
    Story(
        "another function with dependencies that are being installed",
        listing("other", name="other"),
        sent(listing()),
        "cluster.create Function",
        LAYERS,
    ),
    Story(
        "the end of a Job that another function waits for",
        ended("ok"),
        sent(listing(), listing("other", name="other")),
        settings=LAYERS,
    ),
    Story(
        "a sweep after a layer upon dependencies that was cut off",
        tick,
        then(sent(listing()), cut_off(ended("ok"), "pusher.put")),
        settings=LAYERS,
    ),
    Story(
        "dependencies that wait for a slot",
        ended("ok"),
        sent(OTHER, listing()),
        "",
        {**LAYERS, **ONE_AT_A_TIME},
    ),
    Story("a sweep that finds dependencies which nobody names", tick, uninstalled, settings=LAYERS),
    Story(
        "a sweep that removes dependencies which nobody names",
        tick,
        then(uninstalled, Estate.collect, aged(2)),
        settings=LAYERS,
    ),
    Story("a sweep that finds a layer which Kaniko keeps", tick, kept),
    Story("a sweep that removes a layer whose time is over", tick, then(kept, Estate.collect, aged(15))),
    Story("a function whose build is given a Secret", start(**WITH_SECRET), gives, "cluster.create Function", GIVEN),
    Story("a function whose Secret is missing", start(**WITH_SECRET), commit="cluster.create Function", settings=GIVEN),
    Story("the end of a build with a Secret", ended("ok"), then(gives, sent(start(**WITH_SECRET))), settings=GIVEN),
    Story("a start that waits for a slot", OTHER, sent(start()), "cluster.create Function", ONE_AT_A_TIME),
    Story("an end that lets another build", ended("ok"), sent(start(), OTHER), "", ONE_AT_A_TIME),
    Story(
        "a cancel that lets another build", cancel(), sent(start(), OTHER), "cluster.replace Function", ONE_AT_A_TIME
    ),
    Story("a cancel of what waits", cancel(), sent(OTHER, start()), "cluster.replace Function", ONE_AT_A_TIME),
    Story("a delete that lets another build", delete, sent(start(), OTHER), "store.put tombstones", ONE_AT_A_TIME),
    Story("a delete of what waits", delete, sent(OTHER, start()), "store.put tombstones", ONE_AT_A_TIME),
    Story("newer source for what waits", start("two"), sent(OTHER, start()), "cluster.replace Function", ONE_AT_A_TIME),
    Story("a dead letter that is to be sent again", reported("DeadLetter", name="lost"), letter(resend="true")),
    Story(
        "a dead letter that its tenant is told of", reported("DeadLetter", name="lost"), letter(owes="function.error")
    ),
    Story("a sweep of dead letters", tick, then(letter(), aged(8))),
)
