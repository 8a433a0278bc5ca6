"""Sources that are git repositories: what is taken, which commit is built, and what a Build says of it."""

import base64
import json
from datetime import timedelta
from typing import Any

import pytest
from support.estate import Estate
from support.stories import job_of, start
from support.world import World

from knative_lambda.builds.builder import Ended, Running
from knative_lambda.builds.jobs import diagnosis, handed
from knative_lambda.deploy.cluster import FUNCTION, POD, SECRET
from knative_lambda.handler.acts.earlier import AGAIN
from knative_lambda.handler.events import Event
from knative_lambda.handler.router import handle
from knative_lambda.schemas import names, types
from knative_lambda.schemas.catalogue import event_faults, resource_faults
from knative_lambda.schemas.errors import Refused

FIRST, SECOND = "1" * 40, "2" * 40
URL = "https://git.example.com/acme/hello.git"
SETTINGS: dict[str, Any] = {"git_image": "registry/knative-lambda-git@sha256:1", "build_secrets": True}


@pytest.fixture
def world() -> World:
    return World(**SETTINGS)


def git(**wanted: str) -> dict[str, Any]:
    return {"source": {"git": {"url": URL, **wanted}}}


def knows(world: World, commit: str) -> None:
    """Let servers say that every revision is this commit; "" for servers that say nothing."""
    object.__setattr__(world.product, "refs", lambda _url, _revision: commit)


def clones(world: World, commit: str) -> None:
    """Let the running attempt tell that it has cloned this commit."""
    attempt = world.attempt()
    world.builder.ends[attempt] = Running(commit=commit)  # type: ignore[assignment]
    world.report("Job", "acme-builds", attempt)


def test_a_repository_is_built_in_a_job_and_its_build_says_the_commit(world: World) -> None:
    world.start(**git(revision="main", path="functions/hello"))
    build = world.build()
    attempt = world.builder.started[world.attempt()]
    assert attempt.git == {"url": URL, "revision": "main", "path": "functions/hello"}
    assert build["spec"]["builder"] == "kaniko"
    assert not list(world.store.list("contexts/")), "the receiver clones nothing"
    clones(world, FIRST)
    assert world.build()["status"]["commit"] == FIRST
    told = {one["type"]: (one["status"], one["message"]) for one in world.build()["status"]["conditions"]}
    assert told["SourceCloned"] == ("True", FIRST)
    assert "ContextStored" not in told
    world.finish()
    assert world.condition("Built")[0] == "True"
    assert world.build()["status"]["commit"] == FIRST


def test_a_retry_takes_the_commit_that_was_found(world: World) -> None:
    world.start(**git())
    clones(world, FIRST)
    world.fail(Ended(1, "platform", "Evicted", commit=FIRST))
    world.time += timedelta(minutes=2)
    world.tick()
    assert world.build()["status"]["attempt"] == 2
    assert world.builder.started[world.attempt()].git["commit"] == FIRST


def test_who_asks_again_for_what_failed_gets_the_same_commit(world: World) -> None:
    world.start(**git())
    world.fail(Ended(1, "user", "BuildFailed", commit=FIRST))
    failed = world.build()["metadata"]["name"]
    world.time = world.time.replace(minute=5)
    again = {"tenant": "acme", "name": "hello", AGAIN: ""}
    _send(world, again)
    assert world.build()["metadata"]["name"] != failed
    assert world.builder.started[world.attempt()].git["commit"] == FIRST


def test_an_earlier_build_brings_back_its_very_commit(world: World) -> None:
    world.start(**git(revision="main"))
    world.builder.ends[world.attempt()] = Running(commit=FIRST)  # type: ignore[assignment]
    clones(world, FIRST)
    world.finish()
    earlier = world.build()["metadata"]["name"]
    world.start(**git(revision="main"))
    clones(world, SECOND)
    world.finish()
    assert world.build()["metadata"]["name"] != earlier
    starts = world.builder.starts
    _send(world, {"tenant": "acme", "name": "hello", AGAIN: earlier})
    assert world.function()["spec"]["source"]["git"]["revision"] == FIRST
    assert (world.build()["metadata"]["name"], world.builder.starts) == (earlier, starts)


def test_a_person_who_writes_an_earlier_commit_gets_what_was_built_of_it(world: World) -> None:
    """Of another commit, or with another key, nothing is known."""
    for commit in (FIRST, SECOND):
        world.start(**git(revision="main", path="hello"))
        world.builder.ends[world.attempt()] = Running(commit=commit)  # type: ignore[assignment]
        clones(world, commit)
        world.finish()
    [earlier] = [one for one in world.builds() if one["status"]["commit"] == FIRST]
    starts = world.builder.starts
    _write(world, git(revision=FIRST, path="hello"))
    assert (world.build()["metadata"]["name"], world.builder.starts) == (earlier["metadata"]["name"], starts)
    for other in (
        git(revision="3" * 40, path="hello"),
        git(revision=FIRST, path="hello", secret="key"),
        git(revision=FIRST),
    ):
        _write(world, other)
        assert world.builder.starts == (starts := starts + 1)


def test_the_same_commit_again_makes_no_build_where_anybody_may_ask_for_it(world: World) -> None:
    knows(world, FIRST)
    world.live(**git(revision="main"))
    assert world.build()["spec"]["git"]["commit"] == FIRST
    world.start(**git(revision="main"))
    assert len(world.builds()) == 1
    knows(world, SECOND)
    world.start(**git(revision="main"))
    assert len(world.builds()) == 2
    assert world.builder.started[world.attempt()].git["commit"] == SECOND


def test_where_nobody_says_the_commit_each_start_builds(world: World) -> None:
    knows(world, "")
    world.live(**git(revision="main"))
    world.start(**git(revision="main"))
    assert len(world.builds()) == 2


def test_with_a_secret_nobody_is_asked_before_the_build(world: World) -> None:
    knows(world, FIRST)
    world.start(**git(secret="key"))
    assert "commit" not in world.build()["spec"]["git"]


def test_a_whole_commit_is_known_without_asking(world: World) -> None:
    world.live(**git(revision=FIRST))
    world.start(**git(revision=FIRST))
    assert len(world.builds()) == 1


@pytest.mark.parametrize(
    ("wanted", "where", "said"),
    [
        # pragma: allowlist nextline secret
        ({"url": "https://me:secret@git.example.com/a.git"}, "url", "an address is"),
        ({"url": "https://token@git.example.com/a.git"}, "url", "credentials are named by `secret`"),
        ({"url": "file:///etc"}, "url", "an address is"),
        ({"url": "ext::sh"}, "url", "an address is"),
        ({"url": "-oProxyCommand=id"}, "url", "an address is"),
        ({"url": "ssh://-oProxyCommand=id/a"}, "url", "an address is"),
        ({"url": "http://git.example.com/a.git"}, "url", "plain http is not taken"),
        ({"url": "git@git.example.com:acme/hello.git"}, "secret", "ssh needs a Secret"),
        ({"revision": "a..b"}, "revision", "a revision is"),
        ({"path": "functions/../../etc"}, "path", "no segment"),
        ({"url": "https://inside.test/a.git"}, "url", "10.0.0.1 is not public"),
    ],
)
def test_what_is_no_repository_or_not_to_be_reached_is_refused(
    wanted: dict[str, str], where: str, said: str, world: World
) -> None:
    world.addresses["inside.test"] = ["10.0.0.1"]
    with pytest.raises(Refused, match=f"/data/source/git/{where}: .*{said}"):
        world.start(**git(**wanted))
    assert not world.functions()


@pytest.mark.parametrize(
    ("settings", "wanted", "said"),
    [
        ({"git_image": ""}, {}, "git: this installation clones no repositories$"),
        ({"git_hosts": ("elsewhere.test",)}, {}, "no repositories are taken from git.example.com"),
        ({"build_secrets": False}, {"secret": "key"}, "this installation gives builds no Secrets"),
        ({"registry_pull_secret": "key"}, {"secret": "key"}, "key .*platform"),
    ],
)
def test_what_an_installation_does_not_allow_is_refused(
    settings: dict[str, Any], wanted: dict[str, str], said: str
) -> None:
    with pytest.raises(Refused, match=said):
        World(**{**SETTINGS, **settings}).start(**git(**wanted))
    World(**SETTINGS).start(**git(**wanted))


def test_no_layer_is_laid_of_it_and_its_key_is_not_given_to_what_builds(world: World) -> None:
    with pytest.raises(Refused, match="no layer can be made of it: it is cloned in a Job"):
        world.start(**git(), builder="layer")
    with pytest.raises(Refused, match="what opens a repository is not given to what builds"):
        world.start(**git(secret="key"), build={"secrets": ["key"]})


def test_a_function_that_a_person_applies_is_cloned_too_and_told_what_is_wrong(world: World) -> None:
    meta = {"name": "hello", "namespace": "acme"}
    body = {"apiVersion": FUNCTION.api_version, "kind": FUNCTION.kind, "metadata": meta}
    world.cluster.create(FUNCTION, {**body, "spec": {"runtime": "python", **git()}})
    world.report("Function", "acme", "hello")
    assert world.builder.started[world.attempt()].git == {"url": URL}
    meta["name"] = "wrong"
    world.cluster.create(FUNCTION, {**body, "spec": {"runtime": "python", **git(url="file:///etc")}})
    world.report("Function", "acme", "wrong")
    status, reason, message = world.condition("Built", "wrong")
    assert (status, reason) == ("False", "SourceRefused")
    assert "an address is" in message


@pytest.mark.parametrize("revision", ["--upload-pack=id", "a:b", "a b", "", "+main", "a^{}"])
def test_a_revision_that_git_could_take_for_something_else_is_let_in_by_neither_way(revision: str) -> None:
    whole = {"tenant": "acme", "name": "hello", "runtime": "python", **git(revision=revision)}
    assert event_faults(types.TYPES[types.BUILD_START].schema, whole)
    function = {
        "apiVersion": FUNCTION.api_version,
        "kind": FUNCTION.kind,
        "metadata": {"name": "hello", "namespace": "acme"},
        "spec": {"runtime": "python", **git(revision=revision)},
    }
    assert resource_faults("function", function)


def test_the_pod_that_clones_alone_has_the_key_and_no_rights() -> None:
    estate = Estate(**SETTINGS)
    meta = {"name": "key", "namespace": "acme", "labels": {names.BUILD_SECRET_LABEL: "true"}}
    data = {"token": base64.b64encode(b"opensesame-4711").decode()}
    estate.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    estate.deliver(start(**git(secret="key"))(estate))
    pod = job_of(estate)["spec"]["template"]["spec"]
    [cloner], [executor] = pod["initContainers"], pod["containers"]
    asked = json.loads(cloner["env"][0]["value"])
    assert asked["git"] == {"url": URL}
    assert asked["secret"] == handed.folder("key")
    assert handed.folder("key") in [one["mountPath"] for one in cloner["volumeMounts"]]
    assert {one["mountPath"] for one in executor["volumeMounts"]}.isdisjoint({handed.folder("key"), "/clone"})
    assert cloner["securityContext"]["runAsNonRoot"] is True
    assert cloner["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert "opensesame" not in json.dumps(job_of(estate))


@pytest.mark.parametrize(
    ("told", "whose", "reason"),
    [
        ('{"reason": "RevisionUnknown", "message": "there is none"}', "user", "RevisionUnknown"),
        ('{"reason": "CredentialsRefused", "message": "no"}', "user", "CredentialsRefused"),
        ('{"reason": "GitUnavailable", "message": "timed out"}', "platform", "GitUnavailable"),
        ("", "platform", "ContextNotFetched"),
        ("no JSON", "platform", "ContextNotFetched"),
    ],
)
def test_what_the_pod_tells_of_a_clone_says_whose_failure_it_is(told: str, whose: str, reason: str) -> None:

    ended = {"terminated": {"exitCode": 1, "message": told}}
    pod = {
        "kind": POD.kind,
        "metadata": {"name": "p"},
        "status": {"initContainerStatuses": [{"name": "fetch", "state": ended}]},
    }
    end = diagnosis.pod_ended(pod)
    assert end is not None
    assert (end.whose, end.reason) == (whose, reason)
    assert diagnosis.commit(pod) == ""


def _write(world: World, spec: dict[str, Any]) -> None:
    """Write a source into the Function, as a person does."""
    found = world.function()
    world.cluster.replace(FUNCTION, {**found, "spec": {**found["spec"], **spec}})
    world.report("Function", "acme", "hello")


def _send(world: World, data: dict[str, Any]) -> None:
    """Hand in what the gate would not let in: an action under /v1 makes it."""
    kind = types.BUILD_START
    at = world.time = world.time.replace(minute=world.time.minute + 1)
    handle(
        Event(id=f"again-{at:%H%M%S}", source="/tests", type=kind, received_type=kind, data=data, time=at),
        world.product,
    )
    world.tell()
