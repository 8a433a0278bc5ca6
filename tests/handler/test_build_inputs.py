"""What a build is given beside its source: its tenant's Secrets, and when that makes another input of it."""

import base64
import json
from typing import Any

import pytest
from support.asked import AskedEstate
from support.estate import Estate
from support.faults import Killed
from support.stories import job_of, start
from support.world import World

from knative_lambda.builds import handed
from knative_lambda.deploy.cluster import FUNCTION, JOB, SECRET, Object
from knative_lambda.handler.earlier import AGAIN
from knative_lambda.schemas import names, redaction, types
from knative_lambda.schemas.errors import Refused

GIVEN = {names.BUILD_SECRET_LABEL: "true"}
NETRC = "machine pypi.test\nlogin me\npassword opensesame-4711\n"
ASKS: dict[str, Any] = {"build": {"secrets": ["pypi"]}}


def secret(world: World, name: str = "pypi", text: str = NETRC, labels: dict[str, str] | None = None) -> None:
    """Let the tenant have a Secret of this name, as it is given to builds unless `labels` say otherwise."""
    meta = {"name": name, "namespace": "acme", "labels": GIVEN if labels is None else labels}
    data = {"netrc": base64.b64encode(text.encode()).decode()}
    world.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})


def copies(world: World) -> list[Object]:
    """Return the copies of a tenant's Secrets; the token that a build pushes with is none."""
    found = world.cluster.list(SECRET, "acme-builds")
    return [one for one in found if one["type"] == "Opaque"]


@pytest.fixture
def estate() -> Estate:
    return Estate(build_secrets=True)


def test_a_build_gets_its_tenants_secret_as_files_for_as_long_as_its_attempt_takes(estate: Estate) -> None:
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    [copy], job = copies(estate), job_of(estate)
    assert base64.b64decode(copy["data"]["netrc"]).decode() == NETRC
    assert [owner["uid"] for owner in copy["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]
    pod = job["spec"]["template"]["spec"]
    [volume] = [one for one in pod["volumes"] if one.get("secret", {}).get("secretName") == copy["metadata"]["name"]]
    [mounted] = [one for one in pod["containers"][0]["volumeMounts"] if one["name"] == volume["name"]]
    assert (mounted["mountPath"], mounted["readOnly"]) == (handed.folder("pypi"), True)
    assert mounted["name"] not in str(pod["initContainers"]), "what fetches the context has no use for it"
    estate.rest()
    assert estate.condition("Built")[0] == "True"
    assert not copies(estate)


def test_what_it_holds_is_in_no_argument_no_variable_and_no_layer_that_is_kept(estate: Estate) -> None:
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    job = json.dumps(job_of(estate))
    assert "opensesame" not in job
    assert base64.b64encode(NETRC.encode()).decode() not in job
    assert "--cache=false" in job
    estate.deliver(start("two")(estate))
    assert "--cache=true" in json.dumps(job_of(estate)), "the counterpart: a build without"


def test_two_secrets_are_two_folders(estate: Estate) -> None:
    secret(estate)
    secret(estate, "npm")
    estate.deliver(start(build={"secrets": ["pypi", "npm"]})(estate))
    mounts = job_of(estate)["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert {handed.folder("pypi"), handed.folder("npm")} <= {one["mountPath"] for one in mounts}
    assert len({one["name"] for one in mounts}) == len(mounts)


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        (None, "there is no Secret pypi in acme"),
        ({}, "the Secret pypi is not given to builds: it has no label knative-lambda.dev/build-secret=true"),
        ({names.BUILD_SECRET_LABEL: "false"}, "the Secret pypi is not given to builds"),
    ],
    ids=["none", "without the label", "with another one"],
)
def test_a_secret_that_may_not_be_had_ends_the_build_and_is_named(
    labels: dict[str, str] | None, said: str, estate: Estate
) -> None:
    """And stays so, until it is given: then that is another input, which whoever looks next finds."""
    if labels is not None:
        secret(estate, labels=labels)
    estate.deliver(start(**ASKS)(estate))
    estate.rest()
    status, reason, message = estate.condition("Built")
    assert (status, reason) == ("False", "SecretMissing")
    assert said in message
    assert not estate.cluster.list(JOB, "acme-builds")
    for _ in range(2):
        estate.tick()
    assert len(estate.builds()) == 1
    secret(estate)
    estate.tick()
    estate.rest()
    assert estate.condition("Built")[0] == "True"
    assert len(estate.builds()) == 2


def test_a_secret_that_is_gone_when_a_start_is_repeated_ends_the_build_too(estate: Estate) -> None:
    secret(estate)
    estate.handler.begin(("cluster.create Job", "after"))
    with pytest.raises(Killed):
        estate.deliver(start(**ASKS)(estate))
    estate.crash()
    estate.cluster.delete(SECRET, "acme", "pypi")
    estate.tick()
    estate.rest()
    assert estate.condition("Built")[:2] == ("False", "SecretMissing")


def test_a_secret_that_was_exchanged_is_another_input_with_the_next_event(estate: Estate) -> None:
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    estate.rest()
    [first] = estate.builds()
    estate.tick()
    assert len(estate.builds()) == 1
    estate.deliver(start(**ASKS)(estate))
    assert len(estate.builds()) == 1, "the counterpart: the same source, the same Secret"
    secret(estate, text=NETRC.replace("4711", "4712"))
    estate.tick()
    assert len(estate.builds()) == 1, "it rebuilds nothing by itself"
    estate.deliver(start("one", **ASKS)(estate))
    estate.rest()
    inputs = {one["spec"]["inputHash"] for one in estate.builds()}
    assert len(inputs) == 2
    assert first["spec"]["build"] == {"secrets": ["pypi"]}


def test_an_earlier_build_comes_back_with_the_secret_that_it_had(estate: Estate) -> None:
    """Its very image: that the Secret was exchanged since says nothing about that one."""
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    estate.rest()
    first = estate.build()
    secret(estate, text="exchanged")
    estate.deliver(start("two", build={})(estate))
    estate.rest()
    estate.deliver(
        estate.event(types.BUILD_START, {"tenant": "acme", "name": "hello", AGAIN: first["metadata"]["name"]})
    )
    estate.rest()
    assert estate.function()["spec"]["build"] == {"secrets": ["pypi"]}
    assert estate.build()["metadata"]["name"] == first["metadata"]["name"]
    assert len(estate.builds()) == 2


def test_of_two_tenants_secrets_alike_in_all_a_build_is_not_the_others(estate: Estate) -> None:
    """By their UIDs: what one has built with its own serves no other, whatever they share."""
    secret(estate)
    before = handed.versions({"build": {"secrets": ["pypi"]}}, "acme", estate.cluster)
    estate.cluster.delete(SECRET, "acme", "pypi")
    secret(estate)
    assert handed.versions({"build": {"secrets": ["pypi"]}}, "acme", estate.cluster) != before


def test_dependencies_are_installed_with_the_secret_and_code_is_laid_without() -> None:
    estate = Estate(build_secrets=True, layers=True)
    secret(estate)
    listed = {"inline": {"main.py": "def handle(event, context): ...\n", "requirements.txt": "inflection\n"}}
    estate.deliver(start(source=listed, **ASKS)(estate))
    with_it = estate.builds()[0]["spec"]["dependencies"]
    assert copies(estate)
    estate.rest()
    assert not copies(estate)
    assert estate.condition("Built")[0] == "True"
    estate.deliver(start("two", source=listed)(estate))
    without = estate.build()["spec"]["dependencies"]
    assert with_it != without, "what was installed with a Secret serves no function that names none"


def test_code_alone_is_laid_without_looking_for_a_secret() -> None:
    """Nothing is run, so there is nothing that could read it."""
    estate = Estate(build_secrets=True, layers=True)
    estate.deliver(start(**ASKS)(estate))
    assert estate.condition("Built")[0] == "True"
    assert "build" not in estate.build()["spec"]


def test_what_builds_say_of_a_secret_is_hidden_whoever_reads_their_log(estate: Estate) -> None:
    """Also a process that has not seen the Secret before."""
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    estate.make_pods()
    pod = estate.end_pod(job_of(estate), "user")
    estate.cluster.logs[("acme-builds", pod, "kaniko")] = b"$ cat netrc\nlogin me password opensesame-4711\nfailed\n"
    redaction._learnt[True].clear()
    redaction._forms.clear()
    estate.deliver(estate.reported("Pod", "acme-builds", pod))
    build = estate.build()
    kept = estate.store.get(build["status"]["log"], limit=1 << 20)
    assert kept is not None
    assert b"failed" in kept
    assert b"opensesame" not in kept
    assert "opensesame" not in json.dumps([build, estate.function()])


def test_where_builds_are_given_no_secrets_asking_for_one_is_refused() -> None:
    world = World()
    secret(world)
    with pytest.raises(Refused, match="this installation gives builds no Secrets"):
        world.start(**ASKS)
    World(build_secrets=True).start(**ASKS)


def test_the_platforms_own_secrets_are_given_to_no_build() -> None:
    world = World(build_secrets=True, registry_pull_secret="pypi")
    secret(world)
    with pytest.raises(Refused, match="pypi is a Secret of the platform's own"):
        world.start(**ASKS)


def test_a_function_that_a_person_applies_is_given_the_same(estate: Estate) -> None:
    source = {"inline": {"main.py": "def handle(event, context): ...\n"}}
    spec = {"runtime": "python", "source": source, **ASKS}
    meta = {"name": "hello", "namespace": "acme"}
    body = {"apiVersion": FUNCTION.api_version, "kind": "Function", "metadata": meta, "spec": spec}
    estate.cluster.create(FUNCTION, body)
    estate.rest()
    estate.tick()
    assert estate.condition("Built")[:2] == ("False", "SecretMissing")
    secret(estate)
    estate.tick()
    assert copies(estate)


def test_a_source_that_names_no_secret_asks_for_none() -> None:
    estate = AskedEstate(build_secrets=True)
    estate.deliver(start()(estate))
    estate.rest()
    assert ("tenant", "secrets", "get") not in estate.asked
