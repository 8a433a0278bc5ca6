"""What a build is given beside its source: Secrets, variables, package indexes; and when that is another input."""

import base64
import gzip
import io
import json
import tarfile
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.asked import AskedEstate
from support.estate import Estate
from support.faults import Killed
from support.stories import job_of, start
from support.world import DIGEST, PYTHON, World

from knative_lambda.builds import record
from knative_lambda.builds.builder import Ended
from knative_lambda.builds.jobs import given, handed, kaniko
from knative_lambda.deploy.cluster import FUNCTION, JOB, SECRET, Object
from knative_lambda.handler.acts.earlier import AGAIN
from knative_lambda.handler.settings import Settings
from knative_lambda.handler.upkeep import bases
from knative_lambda.handler.wire import proxies
from knative_lambda.schemas import names, redaction, types
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.errors import Refused

GIVEN = {names.BUILD_SECRET_LABEL: "true"}
NETRC = "machine packages.test\nlogin me\npassword opensesame-4711\n"
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


def test_what_builds_say_of_a_secret_is_hidden_whoever_reads_their_log(
    estate: Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also a process that has not seen the Secret before."""
    monkeypatch.setattr(kaniko, "REMEMBERED", 0)
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    estate.make_pods()
    pod = estate.end_pod(job_of(estate), "user")
    estate.cluster.logs[("acme-builds", pod, "kaniko")] = b"$ cat netrc\nlogin me password opensesame-4711\nfailed\n"
    estate.deliver(estate.reported("Pod", "acme-builds", pod))
    build = estate.build()
    kept = estate.store.get(build["status"]["log"], limit=1 << 20)
    assert kept is not None
    assert b"failed" in kept
    assert b"opensesame" not in kept
    assert "opensesame" not in json.dumps([build, estate.function()])


def test_every_line_of_a_secret_is_hidden_in_its_builds_log_and_nothing_is_for_anybody_else(estate: Estate) -> None:
    """What one tenant writes into a Secret must rewrite no other's log, audit trail, or notifications."""
    lines = [f"machine host{number} login me password Pa55word-number-{number}" for number in range(100)]
    secret(estate, text="\n".join([*lines, "checkout-service", "line of a bundle"]))
    estate.deliver(start(**ASKS)(estate))
    estate.make_pods()
    pod = estate.end_pod(job_of(estate), "user")
    told = [f"pip says: Pa55word-number-{number}\n" for number in range(100)]
    estate.cluster.logs[("acme-builds", pod, "kaniko")] = "".join([*told, *lines, "\nfailed\n"]).encode()
    estate.deliver(estate.reported("Pod", "acme-builds", pod))
    kept = estate.store.get(estate.build()["status"]["log"], limit=1 << 20)
    assert kept is not None
    assert b"failed" in kept
    assert b"Pa55word" not in kept
    assert "Pa55word" not in json.dumps([estate.build(), estate.function()])
    said = {"tenant": "other", "name": "checkout-service", "password": "Pa55word-number-1 of theirs"}
    assert redaction.redacted(said) == said
    build = {"env": {"MOTD": "line of a bundle"}}
    assert given.faults({"runtime": "python", "build": build}, "/build") == [], "and nobody is told that they guessed"


def test_what_was_exchanged_while_a_build_ran_is_hidden_in_its_log(estate: Estate) -> None:
    secret(estate)
    estate.deliver(start(**ASKS)(estate))
    estate.make_pods()
    pod = estate.end_pod(job_of(estate), "user")
    estate.cluster.logs[("acme-builds", pod, "kaniko")] = b"password opensesame-4711\nfailed\n"
    secret(estate, text="machine packages.test login me password another-4712")
    estate.deliver(estate.reported("Pod", "acme-builds", pod))
    kept = estate.store.get(estate.build()["status"]["log"], limit=1 << 20)
    assert kept is not None
    assert b"opensesame" not in kept


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


LISTED = {"inline": {"main.py": "def handle(event, context): ...\n", "requirements.txt": "inflection\n"}}
NODE = {"inline": {"index.js": "exports.handle = () => 1\n", "package.json": '{"dependencies": {"left-pad": "1"}}'}}
GO = {"inline": {"handle.go": "package function\n"}}
DOCKER = {"inline": {"Dockerfile": "FROM scratch\n"}}
SOURCES = {"python": LISTED, "node": NODE, "go": GO, "dockerfile": DOCKER}


def arguments(world: Estate) -> dict[str, str]:
    """Return the build arguments of the function's Job, as its container gets them."""
    args = job_of(world)["spec"]["template"]["spec"]["containers"][0]["args"]
    said = [arg.replace("$$", "$").partition("=")[2] for arg in args if arg.startswith("--build-arg=")]
    return {name: value for name, _, value in (one.partition("=") for one in said) if name != "BASE"}


def recipes(world: World, name: str = "hello") -> dict[str, list[str]]:
    """Return the lines of each recipe in the function's context."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(context_of(world, name)))) as tar:
        files = {entry.name: tar.extractfile(entry) for entry in tar if entry.name.endswith("Dockerfile")}
        return {name: file.read().decode().splitlines() for name, file in files.items() if file is not None}


def context_of(world: World, name: str) -> bytes:
    found = world.store.get(record.context(world.build(name)), limit=1 << 20)
    assert found is not None
    return found


@pytest.mark.parametrize("runtime", ["python", "node", "go"])
def test_variables_are_arguments_whose_names_alone_stand_in_the_recipe(runtime: str, estate: Estate) -> None:
    value = "it's $(CONTEXT_URL) \n RUN id"
    estate.deliver(start(runtime=runtime, source=SOURCES[runtime], build={"env": {"CFLAGS": value}})(estate))
    assert arguments(estate)["CFLAGS"] == value
    asked = [lines for lines in recipes(estate).values() if any(line.startswith("RUN") for line in lines)]
    assert asked
    assert all("ARG CFLAGS" in lines for lines in asked)
    assert "CONTEXT_URL" not in str(recipes(estate))


def test_a_dockerfile_is_given_variables_for_its_own_arguments_and_stays_as_it_is(estate: Estate) -> None:
    estate.deliver(start(runtime="dockerfile", source=DOCKER, build={"env": {"VERSION": "1"}})(estate))
    assert arguments(estate) == {"VERSION": "1"}
    assert recipes(estate) == {"Dockerfile": ["FROM scratch"]}


def test_a_variable_is_part_of_the_input_where_something_is_run() -> None:
    for source, differ in ((LISTED, True), ({"inline": PYTHON}, False)):
        seen = set()
        for value in ("1", "2"):
            world = World(layers=True)
            world.start(source=source, build={"env": {"CFLAGS": value}})
            seen.add((world.build()["spec"]["inputHash"], world.build()["spec"].get("dependencies", "")))
        assert (len(seen) == 2) is differ


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PYPI_TOKEN", "x"),
        ("password", "x"),
        ("AWS_SECRET", "x"),
        ("MY_API_KEY", "x"),
        # pragma: allowlist nextline secret
        ("INDEX", "https://me:opensesame@packages.test/simple"),
        ("AUTH", "Bearer abcdefgh12345678"),
    ],
)
def test_what_looks_like_a_secret_is_no_variable(name: str, value: str) -> None:
    world = World()
    with pytest.raises(Refused, match=f"/data/build/env/{name}.* a secret"):
        world.start(build={"env": {name: value}})


@pytest.mark.parametrize("name", ["TOKENIZERS_PARALLELISM", "CFLAGS", "MONKEY", "SECRETS_OF_THE_SEA"])
def test_what_only_sounds_like_one_is(name: str) -> None:
    World().start(build={"env": {name: "1"}})


@pytest.mark.parametrize(
    "name", ["BASE", "PATH", "HOME", "K_SERVICE", "LAMBDA_X", "http_proxy", "HTTPS_PROXY", "a-b", ""]
)
def test_what_belongs_to_the_platform_and_what_is_no_name_is_no_variable(name: str) -> None:
    data = {"tenant": "acme", "name": "hello", "runtime": "python", "source": LISTED, "build": {"env": {name: "1"}}}
    assert event_faults("build.start", data)


INDEX = "https://packages.acme.test/simple"


@pytest.mark.parametrize(
    ("runtime", "index", "wanted"),
    [
        ("python", {"url": INDEX}, {"PIP_INDEX_URL": INDEX}),
        (
            "python",
            {"url": "http://packages.test:8080/simple", "extra": [INDEX, f"{INDEX}/two"], "secret": "pypi"},
            {
                "PIP_INDEX_URL": "http://packages.test:8080/simple",
                "PIP_EXTRA_INDEX_URL": f"{INDEX} {INDEX}/two",
                "PIP_TRUSTED_HOST": "packages.test:8080",
                "PIP_CONFIG_FILE": "/run/secrets/pypi/pip.conf",
                "NETRC": "/run/secrets/pypi/netrc",
            },
        ),
        (
            "node",
            {"url": INDEX, "secret": "pypi"},
            {"NPM_CONFIG_REGISTRY": INDEX, "NPM_CONFIG_USERCONFIG": "/run/secrets/pypi/.npmrc"},
        ),
        (
            "go",
            {"url": INDEX, "extra": [f"{INDEX}/two"], "private": ["acme.test/*"], "secret": "pypi"},
            {"BUILD_GOPROXY": f"{INDEX},{INDEX}/two", "GONOSUMDB": "acme.test/*", "NETRC": "/run/secrets/pypi/netrc"},
        ),
        ("go", {"private": ["acme.test/*"]}, {"GOPRIVATE": "acme.test/*"}),
    ],
)
def test_packages_come_from_the_index_that_a_function_names(
    runtime: str, index: dict[str, Any], wanted: dict[str, str], estate: Estate
) -> None:
    """And its recipe asks for every variable that says so: none is lost on the way."""
    secret(estate)
    estate.deliver(start(runtime=runtime, source=SOURCES[runtime], build={"indexes": index})(estate))
    assert arguments(estate) == wanted
    assert len(copies(estate)) == ("secret" in index)
    for lines in recipes(estate).values():
        if any(line.startswith("RUN") for line in lines):
            assert {f"ARG {name}" for name in wanted} <= {*lines}


@pytest.mark.parametrize(
    ("runtime", "field"), [("python", "private"), ("node", "extra"), ("node", "private"), ("dockerfile", "url")]
)
def test_what_a_runtimes_packages_do_not_know_is_refused(runtime: str, field: str) -> None:
    index = {field: INDEX if field == "url" else [INDEX if field == "extra" else "acme.test"]}
    with pytest.raises(Refused, match=f"/data/build/indexes/{field}"):
        World().start(runtime=runtime, source=SOURCES[runtime], build={"indexes": index})


PLAIN = "http://packages.acme.test"


@pytest.mark.parametrize("more", [{}, {"extra": [PLAIN]}])
def test_a_password_that_go_would_say_to_nobody_is_refused(more: dict[str, Any]) -> None:
    """Go keeps it from addresses without TLS, and says nothing of that; pip does not."""
    world, index = World(build_secrets=True), {"url": PLAIN, "secret": "pypi"}
    with pytest.raises(Refused, match="/data/build/indexes/secret: go says no password to an address without TLS"):
        world.start(runtime="go", source=SOURCES["go"], build={"indexes": {**index, **more}})
    world.start(source=LISTED, build={"indexes": index})


@pytest.mark.parametrize(
    "index",
    [
        {"url": PLAIN, "extra": [INDEX], "secret": "pypi"},
        {"url": PLAIN},
        {"private": ["acme.test/*"], "secret": "pypi"},
    ],
)
def test_go_has_an_index_without_tls_that_asks_for_no_password(index: dict[str, Any]) -> None:
    World(build_secrets=True).start(runtime="go", source=SOURCES["go"], build={"indexes": index})


@pytest.mark.parametrize(
    "url",
    [
        # pragma: allowlist nextline secret
        "https://me:pw@packages.test/",
        "ftp://packages.test/",
        "https://a b/",
        "https://a,direct",
        "file:///etc/passwd",
        "https://a?b",
        "",
    ],
)
def test_what_is_no_plain_address_is_no_index(url: str) -> None:
    data = {
        "tenant": "acme",
        "name": "hello",
        "runtime": "python",
        "source": LISTED,
        "build": {"indexes": {"url": url}},
    }
    assert event_faults("build.start", data)


def test_an_index_lies_where_registries_and_images_may() -> None:
    world, allowed = World(), World(reach_allowed=("packages.acme.test",))
    for each in (world, allowed):
        each.addresses["packages.acme.test"] = ["10.1.2.3"]
    with pytest.raises(Refused, match=r"/data/build/indexes: packages.acme.test is not reached from here"):
        world.start(source=LISTED, build={"indexes": {"extra": [INDEX]}})
    allowed.start(source=LISTED, build={"indexes": {"extra": [INDEX]}})


def test_an_installation_has_an_index_for_those_who_name_none_and_a_tenant_one_of_its_own() -> None:
    own, of_all, named = ({"url": f"https://{who}.test/"} for who in ("own", "all", "named"))
    settings = {"build_indexes": {"python": of_all}, "build_tenant_indexes": {"acme": {"python": own}}}
    for with_settings, tenant, build, wanted in (
        (settings, "acme", {}, own),
        (settings, "other", {}, of_all),
        (settings, "acme", {"indexes": named}, named),
        ({}, "acme", {}, None),
    ):
        world = World(**with_settings)
        world.start(tenant=tenant, source=LISTED, build=build)
        [built] = world.builds(tenant)
        assert built["spec"].get("build", {}).get("indexes") == wanted


def test_the_installations_index_rebuilds_nothing_when_it_moves_but_what_comes_after_uses_it() -> None:
    world = World(build_indexes={"python": {"url": "https://one.test/"}})
    world.live(source=LISTED)
    moved = replace(world.settings, build_indexes={"python": {"url": "https://two.test/"}})
    world.product = replace(world.product, settings=moved)
    world.tick()
    assert len(world.builds()) == 1
    world.start(source=LISTED)
    assert world.build()["spec"]["build"]["indexes"] == {"url": "https://two.test/"}


def test_a_proxy_is_for_what_is_neither_the_registry_nor_the_store_and_no_part_of_an_input() -> None:
    given = {"https": "http://proxy:3128", "no": ".local"}
    settings = Settings(registry="r.test:5000/x", store_endpoint="http://store.test:9000", build_proxies=given)
    assert proxies(settings) == {"https": "http://proxy:3128", "no": ".local,r.test,store.test"}
    assert (
        proxies(replace(settings, registry="r.test/x", build_proxies={"http": "http://p"}))["no"] == "r.test,store.test"
    )
    assert proxies(Settings()) == {}
    inputs = set()
    for with_proxy in ({}, {"build_proxies": given, "build_ca": "authorities"}):
        world = World(**with_proxy)
        world.start(source=LISTED)
        inputs.add(world.build()["spec"]["inputHash"])
    assert len(inputs) == 1


def test_a_function_without_packages_is_given_no_index() -> None:
    world = World(layers=True, build_indexes={"python": {"url": "https://one.test/"}})
    world.start()
    assert "build" not in world.build()["spec"]


NEW = "sha256:" + "e" * 64
FOLLOWS: dict[str, Any] = {"build": {"onBaseChange": "rebuild"}}


def move(world: World, digest: str = NEW) -> None:
    """Let the tag of Python's base name another image, some minutes later."""
    world.registry.known["registry/python:1"] = digest
    world.time += timedelta(minutes=5)


def test_a_function_that_asks_for_it_is_built_upon_its_base_when_that_has_moved() -> None:
    world = World()
    world.live(**FOLLOWS)
    first = world.build()
    world.tick()
    assert len(world.builds()) == 1, "nothing has moved"
    move(world)
    world.tick()
    second = world.build()
    assert second["metadata"]["name"] != first["metadata"]["name"]
    assert second["spec"]["base"].endswith(NEW)
    assert second["spec"]["context"] == first["spec"]["context"]
    told = {one["type"]: one["message"] for one in second["status"]["conditions"]}
    assert told["BaseMoved"] == f"{first['spec']['base']} is {second['spec']['base']} now"
    world.finish(digest="sha256:" + "f" * 64)
    world.knative()
    world.time += timedelta(minutes=5)
    world.tick()
    assert len(world.builds()) == 2, "once"
    assert world.condition("Ready")[0] == "True"


@pytest.mark.parametrize("build", [{}, {"onBaseChange": "keep"}, {"env": {"A": "1"}}])
def test_who_does_not_ask_stays_upon_the_base_that_it_has(build: dict[str, Any]) -> None:
    world = World()
    world.live(build=build)
    move(world)
    world.tick()
    assert len(world.builds()) == 1


def test_a_paused_function_stays_upon_its_base_until_it_goes_on() -> None:
    """Its record says nothing else either: what goes on then follows by itself."""
    world = World()
    world.live(**FOLLOWS)
    world.start(**FOLLOWS, paused=True)
    move(world)
    noted = world.function()["metadata"]["annotations"]
    world.tick()
    assert world.function()["metadata"]["annotations"] == noted
    assert len(world.builds()) == 1
    world.start(**FOLLOWS, paused=False)
    world.time += timedelta(minutes=5)
    world.tick()
    assert len(world.builds()) == 2


def test_asking_for_it_is_no_part_of_the_input() -> None:
    world = World()
    world.live()
    move(world)
    world.start(**FOLLOWS)
    assert len(world.builds()) == 1, "it is said with the same source, which keeps its base"
    world.time += timedelta(minutes=5)
    world.tick()
    assert len(world.builds()) == 2


def test_an_upgrade_of_the_chart_that_names_another_digest_is_the_same() -> None:
    world = World(python_base=f"registry/python@{DIGEST}")
    world.live(**FOLLOWS)
    world.time += timedelta(minutes=5)
    upgraded = replace(world.settings, python_base=f"registry/python@{NEW}")
    world.product = replace(world.product, settings=upgraded)
    world.tick()
    assert world.build()["spec"]["base"] == f"registry/python@{NEW}"


def test_a_base_that_comes_back_brings_its_image_back_without_a_build() -> None:
    world = World()
    world.live(**FOLLOWS)
    move(world)
    world.tick()
    world.finish(digest="sha256:" + "f" * 64)
    move(world, DIGEST)
    world.tick()
    assert len(world.builds()) == 2
    assert world.service_image().endswith(DIGEST)


def test_a_build_that_fails_upon_the_new_base_is_not_tried_again_and_the_older_version_stays() -> None:
    world = World()
    world.live(**FOLLOWS)
    move(world)
    world.tick()
    world.fail(Ended(1, "user", "BuildFailed", "no such package"))
    for _ in range(3):
        world.time += timedelta(minutes=5)
        world.tick()
    assert len(world.builds()) == 2
    assert world.service_image().endswith(DIGEST)


def test_what_is_being_built_is_left_alone() -> None:
    world = World()
    world.start(**FOLLOWS)
    move(world)
    world.tick()
    assert len(world.builds()) == 1


def test_a_sweep_moves_a_few_of_a_tenant_and_asks_the_registry_once() -> None:
    world = World()
    for number in range(bases.MOST + 2):
        world.live(f"hello-{number}", **FOLLOWS)
    move(world)
    asked = world.registry.asked = []
    before = len(world.builds())
    world.tick()
    assert len(world.builds()) == before + bases.MOST
    assert asked.count("registry/python:1") == 1
    world.time += timedelta(minutes=5)
    world.tick()
    assert len(world.builds()) == before + bases.MOST + 2


def test_where_nobody_can_say_what_the_base_is_nothing_follows_and_the_sweep_goes_on() -> None:
    world = World()
    world.live(**FOLLOWS)
    del world.registry.known["registry/python:1"]
    world.time += timedelta(minutes=5)
    world.tick()
    assert len(world.builds()) == 1


def test_a_rollback_stays_upon_the_base_that_its_image_has(estate: Estate) -> None:
    estate.deliver(start(**FOLLOWS)(estate))
    estate.rest()
    first = estate.build()["metadata"]["name"]
    move(estate)
    estate.tick()
    estate.rest()
    assert estate.build()["metadata"]["name"] != first
    estate.deliver(estate.event(types.BUILD_START, {"tenant": "acme", "name": "hello", AGAIN: first}))
    estate.time += timedelta(minutes=5)
    estate.tick()
    assert estate.build()["metadata"]["name"] == first


@pytest.mark.parametrize(
    ("runtime", "name"), [("python", "PIP_INDEX_URL"), ("node", "NPM_CONFIG_REGISTRY"), ("go", "BUILD_GOPROXY")]
)
def test_a_variable_that_the_index_would_overwrite_is_refused(runtime: str, name: str) -> None:
    def faults(variable: str) -> list[str]:
        build = {"env": {variable: "https://mine.test/simple"}}
        return [fault.where for fault in given.faults({"runtime": runtime, "build": build}, "/build")]

    assert faults(name) == [f"/build/env/{name}"]
    assert faults("CFLAGS") == []
