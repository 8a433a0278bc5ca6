"""What attackers write into every field: refused by the field's name, or it arrives as it is, and as data alone."""

import gzip
import io
import json
import re
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support.site import Site
from support.world import PYTHON
from werkzeug.test import TestResponse

from knative_lambda.builds.builder import Attempt
from knative_lambda.builds.jobs import kaniko_job
from knative_lambda.builds.jobs.kaniko_job import KanikoSettings
from knative_lambda.deploy.cluster import FUNCTION, KNATIVE_SERVICE, TRIGGER, Object
from knative_lambda.handler.access import modes
from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.events import Event
from knative_lambda.handler.receive import app as http
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.router import handle
from knative_lambda.schemas import types
from knative_lambda.schemas.catalogue import resource_faults
from knative_lambda.schemas.redaction import redact
from knative_lambda.schemas.types import NOTIFI
from knative_lambda.storage import keys

CORPUS = Path(__file__).parents[1] / "support" / "injections.json"
TEXTS: list[str] = [text for texts in json.loads(CORPUS.read_text("utf-8")).values() for text in texts]
"""By what they are meant for: a shell, a Dockerfile, YAML, a template, a header, a path, a reader of Unicode."""
START: dict[str, Any] = {"tenant": "acme", "name": "hello", "runtime": "python", "source": {"inline": PYTHON}}
DERIVED = re.compile(
    r"-[a-z2-7]{16}\b|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{64}|uid-\d+|(?<=activeDeadlineSeconds\": )\d+"
)
"""What is named after an input, hashes of it, and what is left of its time."""
WORD = re.compile(r"[A-Za-z0-9]+")
"""What is a name wherever one is asked for, whatever YAML takes it for."""
LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")


@dataclass(frozen=True)
class Field:
    """A place for a text in the data of an event."""

    where: str
    """Where its fault is."""
    put: Callable[[str], dict[str, Any]]
    find: Callable[[Site], Any] | None = None
    """Where what is taken arrives; None: nothing of the corpus is taken."""
    free: bool = False
    """Whether all is taken but what no object can hold."""


def function(site: Site) -> Object:
    found = site.cluster.get(FUNCTION, "acme", "hello")
    assert found is not None
    return found


def container(site: Site) -> Any:
    service = site.cluster.get(KNATIVE_SERVICE, "acme", "hello")
    assert service is not None
    return service["spec"]["template"]["spec"]["containers"][0]


def variables(site: Site) -> dict[str, str]:
    """Return a function's environment as Kubernetes makes it of its container: ``$$`` is a ``$``."""
    given = {entry["name"]: entry["value"] for entry in container(site)["env"]}
    assert all(re.fullmatch(r"([^$]|\$\$)*", value) for value in given.values()), "none is expanded"
    return {name: value.replace("$$", "$") for name, value in given.items()}


def filters(site: Site) -> list[dict[str, str]]:
    return [each["spec"]["filter"]["attributes"] for each in site.cluster.list(TRIGGER, "acme")]


def context(site: Site) -> dict[str, bytes]:
    """Return the files of the function's build context by their paths."""
    digest = json.loads(function(site)["metadata"]["annotations"]["knative-lambda.dev/input"])["context"]
    body = site.store.get(keys.context("acme", "hello", digest.removeprefix("sha256:")), limit=1 << 20)
    assert body is not None
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar if entry.isfile()}  # type: ignore[union-attr]


def git(**said: str) -> dict[str, Any]:
    return {"source": {"git": {"url": "https://git.test/x", **said}}}


FIELDS = {
    "tenant": Field("/data/tenant", lambda text: {"tenant": text}),
    "name": Field("/data/name", lambda text: {"name": text}),
    "runtime": Field("/data/runtime", lambda text: {"runtime": text}),
    "entrypoint": Field("/data/entrypoint", lambda text: {"entrypoint": text}),
    "entrypoint of go": Field("/data/entrypoint", lambda text: {"entrypoint": text, "runtime": "go"}),
    "builder": Field("/data/builder", lambda text: {"builder": text}),
    "timeout": Field("/data/timeout", lambda text: {"timeout": text}),
    "memory": Field("/data/resources", lambda text: {"resources": {"limits": {"memory": text}}}),
    "resource": Field("/data/resources", lambda text: {"resources": {"limits": {text: "1"}}}),
    "secret": Field("/data/secrets", lambda text: {"secrets": [text]}),
    "variable": Field("/data/env", lambda text: {"env": {text: "x"}}, lambda site: list(variables(site))),
    "value": Field(
        "/data/env", lambda text: {"env": {"VALUE": text}}, lambda site: [variables(site)["VALUE"]], free=True
    ),
    "attribute": Field(
        "/data/triggers",
        lambda text: {"triggers": [{text: "x"}]},
        lambda site: [name for one in filters(site) for name in one],
    ),
    "filter": Field(
        "/data/triggers",
        lambda text: {"triggers": [{"type": text}]},
        lambda site: [one["type"] for one in filters(site)],
        free=True,
    ),
    "path": Field(
        "/data/source",
        lambda text: {"source": {"inline": PYTHON | {text: "x"}}},
        lambda site: [path.removeprefix("function/") for path in context(site)],
    ),
    "text": Field(
        "/data/source",
        lambda text: {"source": {"inline": PYTHON | {"data": text}}},
        lambda site: [context(site)["function/data"].decode()],
        free=True,
    ),
    "archive": Field("/data/source", lambda text: {"source": {"archive": text}}),
    "object": Field("/data/source", lambda text: {"source": {"object": text}}),
    "object of the store": Field("/data/source", lambda text: {"source": {"object": f"memory://world/{text}"}}),
    "upload": Field("/data/source", lambda text: {"source": {"object": f"memory://world/uploads/acme/{text}"}}),
    "repository": Field("/data/source", lambda text: git(url=text)),
    "revision": Field("/data/source", lambda text: git(revision=text)),
    "folder": Field("/data/source", lambda text: git(path=text)),
    "secret of git": Field("/data/source", lambda text: git(secret=text)),
    "image": Field("/data/source", lambda text: {"source": {"image": text}}),
    "host of an image": Field("/data/source", lambda text: {"source": {"image": f"{text}/a:1"}}),
    "tag": Field(
        "/data/source",
        lambda text: {"source": {"image": f"registry.test/a:{text}"}},
        lambda site: [container(site)["image"].removeprefix("registry.test/a:")],
    ),
    "secret of a build": Field("/data/build", lambda text: {"build": {"secrets": [text]}}),
    "secret of an index": Field("/data/build", lambda text: {"build": {"indexes": {"secret": text}}}),
    "host of an index": Field("/data/build", lambda text: {"build": {"indexes": {"url": f"https://{text}/"}}}),
    "another index": Field("/data/build", lambda text: {"build": {"indexes": {"extra": [f"https://{text}/"]}}}),
    "private modules": Field("/data/build", lambda text: {"build": {"indexes": {"private": [text]}}}),
    "sequence": Field("/data/sequence", lambda text: {"sequence": text}),
    "rebuild": Field("/data/rebuild", lambda text: {"rebuild": text}),
    "field": Field("/data", lambda text: {text: "x"}),
}


class Door:
    """One door to the sites of all texts: making it takes longer than all else."""

    def __init__(self) -> None:
        self.site = Site()
        self.client = http.create_app(self, HttpSettings()).test_client()
        self.read = None

    @property
    def access(self) -> Entrances:
        return modes.opened(self.site.product)

    def receive(self, event: Event) -> None:
        handle(event, self.site.product)

    def answered(self) -> None:
        """Send nothing."""

    def dependencies(self) -> dict[str, str]:
        return {}

    def post(self, kind: str = types.BUILD_START, **data: Any) -> TestResponse:
        """Send an event in structured mode to the site."""
        return self.send(self.site.event(kind, **data))

    def send(self, event: dict[str, Any]) -> TestResponse:
        return self.client.post("/events", data=json.dumps(event), content_type="application/cloudevents+json")

    def anew(self) -> Site:
        self.site = Site()
        return self.site


@pytest.fixture(scope="module")
def door() -> Door:
    return Door()


def faults(answer: TestResponse) -> list[str]:
    """Return where the faults of a refusal are; fail for what is none."""
    assert answer.status_code in (400, 413, 422), answer.get_data(as_text=True)
    where = [fault["where"] for fault in answer.get_json()["faults"]]
    assert where
    return where


def shapes(site: Site) -> set[str]:
    """Return the Jobs that there are, without what is named after their inputs."""
    return {DERIVED.sub("*", json.dumps(job["spec"], sort_keys=True)) for job in site.jobs()}


def ready(site: Site) -> None:
    """Let the build end well, where there is one, so that the function's children are made."""
    for job in site.jobs():
        site.exits(job, digest="sha256:" + "d" * 64)
    site.tick()


@pytest.fixture(scope="module")
def plain() -> set[str]:
    site = Site()
    assert site.post().status_code == 202
    return shapes(site)


def test_the_corpus_is_wide() -> None:
    assert len(set(TEXTS)) >= 200


@pytest.mark.parametrize("field", FIELDS.values(), ids=FIELDS)
def test_in_a_start_it_is_refused_by_its_field_or_arrives_as_it_is(field: Field, plain: set[str], door: Door) -> None:
    taken, site = [], door.anew()
    for text in TEXTS:
        answer = door.post(**field.put(text))
        if answer.status_code != 202:
            assert all(where.startswith((field.where, "body")) for where in faults(answer)), text
            assert not site.jobs()
            assert site.cluster.get(FUNCTION, "acme", "hello") is None
            continue
        taken.append(text)
        if field.find is None:
            assert WORD.fullmatch(text), f"{text!r} was taken"
            site = door.anew()
            continue
        assert shapes(site) <= plain, f"{text!r} has changed the Job"
        ready(site)
        assert text in field.find(site)
        site = door.anew()
    if field.free:
        assert set(TEXTS) - set(taken) <= {text for text in TEXTS if "\0" in text}


def test_the_recipe_of_a_build_is_the_runtimes_own_whatever_is_in_the_source(door: Door) -> None:
    recipes = set()
    for text in TEXTS:
        site = door.anew()
        answer = door.post(source={"inline": PYTHON | {"data": text}}, env={"A": text.replace("\0", "")})
        assert answer.status_code == 202
        recipes.add(context(site)["Dockerfile"])
    assert len(recipes) == 1
    [recipe] = recipes
    assert b"COPY function/ /function/" in recipe


@pytest.mark.parametrize("runtime", ["python", "go", "dockerfile"])
@pytest.mark.parametrize("part", ["name", "value"])
def test_a_variable_of_a_build_is_one_argument_and_in_recipes_a_word(part: str, runtime: str, door: Door) -> None:
    """Whatever its value is: as the container gets it, once a kubelet has expanded what it takes for variables."""
    files = {
        "python": PYTHON | {"requirements.txt": "x"},
        "go": {"handle.go": ""},
        "dockerfile": {"Dockerfile": "FROM x"},
    }
    start = {"runtime": runtime, "source": {"inline": files[runtime]}}
    site = door.anew()
    assert door.post(**start).status_code == 202
    usual, recipes = arguments(site), {name: body for name, body in context(site).items() if "Dockerfile" in name}
    taken = []
    for text in TEXTS:
        site, name, value = door.anew(), "NAME", "x"
        name, value = (text, value) if part == "name" else (name, text)
        answer = door.post(**start, build={"env": {name: value}})
        if answer.status_code != 202:
            assert all(where.startswith("/data/build/env") for where in faults(answer)), text
            continue
        taken.append(text)
        assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name)
        assert sorted(arguments(site)) == sorted([*usual, DERIVED.sub("*", f"--build-arg={name}={value}")])
        for recipe, body in recipes.items():
            assert context(site)[recipe].replace(f"ARG {name}\n".encode(), b"") == body
    if part == "value":
        looks = {text for text in TEXTS if redact(text) != text}
        assert set(TEXTS) - set(taken) <= {text for text in TEXTS if "\0" in text} | looks


def arguments(site: Site) -> list[str]:
    """Return the arguments of what builds, without what is derived from its input; none is expanded."""
    [args] = [one["args"] for one in site.job()["spec"]["template"]["spec"]["containers"]]
    assert all(re.fullmatch(r"([^$]|\$\$)*", argument, re.DOTALL) for argument in args)
    return [DERIVED.sub("*", argument.replace("$$", "$")) for argument in args]


def test_an_entrypoint_that_is_taken_stands_in_no_recipe_and_in_no_command() -> None:
    """It is what a variable of the function says, or a file that the compiler reads."""
    for runtime, files, entrypoint in (
        ("python", {"a/b_1.py": "x"}, "a.b_1.Handle_2"),
        ("go", {"other.go": "package function"}, "other.Handle_2"),
    ):
        site = Site()
        assert site.post(runtime=runtime, source={"inline": files}, entrypoint=entrypoint).status_code == 202
        assert entrypoint not in json.dumps(site.job())
        assert entrypoint.encode() not in context(site)["Dockerfile"]


@pytest.mark.parametrize("kind", [types.BUILD_CANCEL, types.FUNCTION_DELETE, types.BUILD_COMPLETE, types.BUILD_FAILED])
@pytest.mark.parametrize("field", ["tenant", "name", "build", "image", "reason", "message", "third"])
def test_in_the_other_events_it_is_refused_or_changes_nothing_that_runs(kind: str, field: str, door: Door) -> None:
    whole = {"build": "b", "image": "registry/acme/hello:1", "reason": "Broken"}
    site = door.anew()
    assert door.post().status_code == 202
    before = function(site)["spec"], shapes(site)
    asked = whole if kind in (types.BUILD_COMPLETE, types.BUILD_FAILED) else {"name": "another"}
    for text in TEXTS:
        answer = door.post(kind, **{**asked, field: text})
        if answer.status_code != 202:
            faults(answer)
    assert (function(site)["spec"], shapes(site)) == before


@pytest.mark.parametrize("field", ["third_party_id", "parser_id"])
def test_ids_of_the_older_families_become_labels_and_arrive_as_filters(field: str, door: Door) -> None:
    for text in TEXTS:
        site = door.anew()
        ids = {"third_party_id": "shop", "parser_id": "p", field: text}
        source = {"inline": {"index.js": "exports.handle = () => {}"}}
        answer = door.post(f"{NOTIFI}build.start", tenant=None, name=None, source=source, **ids)
        if answer.status_code != 202:
            faults(answer)
            continue
        [made] = site.cluster.list(FUNCTION, "acme")
        assert LABEL.fullmatch(made["metadata"]["name"])
        assert len(made["metadata"]["name"]) <= 63
        [filtered] = made["spec"]["triggers"]
        assert filtered["subject"] == ids["parser_id"]
        assert filtered["source"].endswith(ids["third_party_id"]) or filtered["source"] == "/tests"
        recipe = DERIVED.sub("*", json.dumps(site.jobs()[0]["spec"]["template"]["spec"]["containers"][0]["args"]))
        assert recipe.replace(made["metadata"]["name"], "*").isascii()


@pytest.mark.parametrize("attribute", ["id", "source", "type", "subject", "time", "dataschema", "ext", "specversion"])
@pytest.mark.parametrize("mode", ["structured", "binary"])
def test_in_an_attribute_it_is_refused_or_let_in_and_never_a_fault_of_ours(
    attribute: str, mode: str, door: Door
) -> None:
    for text in TEXTS:
        event = {**door.anew().event(), attribute: text}
        if mode == "structured":
            answer = door.send(event)
        else:
            if not text.isascii() or not text.isprintable():  # no client sends it so
                continue
            headers = {f"ce-{name}": value for name, value in event.items() if name != "data"}
            answer = door.client.post("/events", json=event["data"], headers=headers)
        assert answer.status_code in (202, 400, 413, 422), (text, answer.get_data(as_text=True))
        assert "\n" not in str(answer.headers.get("Content-Type"))


def slots() -> Iterator[tuple[str, Callable[[str], Attempt]]]:
    """Yield what of an attempt could be a stranger's, each with one that holds a text there."""
    whole = {
        "tenant": "acme",
        "function": "hello",
        "build": "hello-1",
        "build_uid": "1",
        "number": 1,
        "runtime": "python",
        "context": "contexts/acme/hello/1.tar.gz",
        "destination": "registry/acme/hello:1",
        "cache": "registry/acme/layers.kaniko",
    }
    for name in ("destination", "cache", "context", "recipe"):
        yield name, lambda text, name=name: Attempt(**{**whole, name: text})  # type: ignore[misc]
    yield "build_args", lambda text: Attempt(**whole, build_args={"BASE": text})  # type: ignore[arg-type]


@pytest.mark.parametrize(("slot", "attempt"), list(slots()))
def test_a_job_runs_no_shell_and_has_as_many_arguments_whatever_stands_in_them(
    slot: str, attempt: Callable[[str], Attempt]
) -> None:
    """Were something ever to get so far, it would still be one argument, with its option's name before it."""
    decided = KanikoSettings(image="registry/kaniko", fetch_image="registry/product")
    usual = kaniko_job.job(attempt("x"), "http://store.test/x", decided)["spec"]["template"]["spec"]
    for text in TEXTS:
        made = kaniko_job.job(attempt(text), "http://store.test/x", decided)["spec"]["template"]["spec"]
        for part in ("initContainers", "containers"):
            [one], [other] = made[part], usual[part]
            assert one.get("command") == other.get("command")
            assert len(one["args"]) == len(other["args"])
            options = [[argument.partition("=")[0] for argument in each["args"]] for each in (one, other)]
            assert slot == "context" or options[0] == options[1]
        assert made["volumes"] == usual["volumes"]


def spec_fields() -> dict[str, Callable[[str], dict[str, Any]]]:
    """Return the textual fields of a Function's spec, each with a spec that holds a text there."""
    inline = {"runtime": "python", "source": {"inline": PYTHON}}
    return {
        "runtime": lambda text: {**inline, "runtime": text},
        "image": lambda text: {**inline, "source": {"image": text}},
        "context": lambda text: {**inline, "source": {"context": {"hash": text}}},
        "entrypoint": lambda text: {**inline, "entrypoint": text},
        "secrets": lambda text: {**inline, "secrets": [text]},
        "timeout": lambda text: {**inline, "timeout": text},
        "builder": lambda text: {**inline, "builder": text},
        "secret of a build": lambda text: {**inline, "build": {"secrets": [text]}},
        "secret of an index": lambda text: {**inline, "build": {"indexes": {"secret": text}}},
        "index": lambda text: {**inline, "build": {"indexes": {"url": f"https://{text}/"}}},
        "another index": lambda text: {**inline, "build": {"indexes": {"extra": [f"https://{text}/"]}}},
        "memory": lambda text: {**inline, "resources": {"requests": {"memory": text}}},
    }


@pytest.mark.parametrize("put", spec_fields().values(), ids=spec_fields())
def test_in_a_function_that_is_applied_the_schema_refuses_it(put: Callable[[str], dict[str, Any]]) -> None:
    """Paths, names of variables and of attributes are refused by rules that only an API server evaluates."""
    taken = [text for text in TEXTS if not resource_faults("Function", {"spec": put(text)})]
    assert [text for text in taken if not WORD.fullmatch(text)] == []
