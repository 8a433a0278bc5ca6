"""The papers of images: who gets them, what happens where they cannot be made, and what does not run without."""

import base64
import json
from datetime import timedelta
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import pytest
from support.images import Made, made, sha256, tarred
from support.papers import keys, listed, signed, statement, verifies
from support.world import World

from knative_lambda.builds.images import referrers
from knative_lambda.builds.papers.attest import BILL
from knative_lambda.builds.papers.signing import STATEMENT, Keys, encoded
from knative_lambda.builds.papers.trust import Trust
from knative_lambda.builds.record import phase
from knative_lambda.deploy.cluster import BUILD, KNATIVE_SERVICE
from knative_lambda.deploy.conditions import condition
from knative_lambda.handler import papers
from knative_lambda.handler.tell.senders import Senders
from knative_lambda.handler.wire import join
from knative_lambda.schemas.errors import Refused, Unavailable

GIVEN = made(tarred(ready="made"))
LIST = "requests==2.32.0\n"


def world(folder: Path | None = None, **settings: Any) -> World:
    """Return a world whose images get papers, signed with a folder's key where there is one."""
    sign = {"supply_keys": str(folder), "supply_sign": True} if folder else {}
    made = World(**{"supply_documents": True, "layers": True, **sign, **settings})
    made.pusher.lists = False
    return made


def finish(world: World, image: Made = GIVEN) -> str:
    """Let the Job of the wanted Build push an image that is really there; return it by digest."""
    repository = world.build()["spec"]["destination"]
    world.pusher.add(repository, image)
    world.finish(digest=image.digest)
    return f"{repository}@{image.digest}"


def step(world: World, kind: str) -> tuple[str, str, str]:
    found = world.build()["status"]["conditions"]
    return next(
        ((one["status"], one["reason"], one["message"]) for one in found if one["type"] == kind), ("Unknown", "", "")
    )


def test_an_image_that_is_laid_has_its_papers_before_it_is_deployed(tmp_path: Path) -> None:
    folder = keys(tmp_path)
    acme = world(folder)
    acme.start()
    image = acme.service_image()
    assert step(acme, "Attested") == ("True", "Attested", "bill of materials, provenance, signature")
    [(payload, signature)] = signed(image, acme.pusher)
    assert verifies(folder, signature, payload, tmp_path)
    critical = json.loads(payload)["critical"]
    assert f"{critical['identity']['docker-reference']}@{critical['image']['docker-manifest-digest']}" == image
    papers = listed(image, acme.pusher)
    assert set(papers) == {BILL, STATEMENT}
    envelope = json.loads(papers[STATEMENT])
    [by] = envelope["signatures"]
    said = encoded(envelope["payloadType"], base64.b64decode(envelope["payload"]))
    assert verifies(folder, base64.b64decode(by["sig"]), said, tmp_path)


def test_the_statement_says_where_an_image_came_from() -> None:
    acme = world(kaniko_image="kaniko@sha256:" + "a" * 64)
    acme.start(builder="kaniko")
    began = acme.build()["status"]["startTime"]
    image = finish(acme)
    papers, build = listed(image, acme.pusher), acme.build()
    said = statement(papers[STATEMENT])
    assert said["subject"] == [{"name": image.partition("@")[0], "digest": {"sha256": GIVEN.digest[7:]}}]
    defined, ran = said["predicate"]["buildDefinition"], said["predicate"]["runDetails"]
    assert defined["internalParameters"]["inputHash"] == build["spec"]["inputHash"]
    assert [one["digest"]["sha256"] for one in defined["resolvedDependencies"]] == [
        build["spec"]["context"][7:],
        build["spec"]["base"].rpartition(":")[2],
    ]
    assert ran["builder"]["id"].endswith("/builders/kaniko")
    assert ran["builder"]["builderDependencies"] == [{"uri": "oci://kaniko", "digest": {"sha256": "a" * 64}}]
    assert ran["metadata"]["invocationId"] == build["metadata"]["uid"]
    assert ran["metadata"]["startedOn"] == began < ran["metadata"]["finishedOn"]
    assert ran["byproducts"][0]["digest"]["sha256"] == sha256(papers[BILL])[7:]


def test_the_bill_names_base_dependencies_and_the_functions_own_files() -> None:
    acme = world()
    body = "def handle(event, context):\n    return {}\n"
    acme.start(source={"inline": {"main.py": body, "requirements.txt": LIST}}, builder="kaniko")
    parts = json.loads(listed(finish(acme), acme.pusher)[BILL])["components"]
    assert ("library", "requests", "pkg:pypi/requests@2.32.0") in [
        (one["type"], one["name"], one.get("purl")) for one in parts
    ]
    assert acme.build()["spec"]["base"].partition("@") in [
        (one["name"], "@", one["version"]) for one in parts if one["type"] == "container"
    ]
    files = {one["name"]: one["hashes"][0]["content"] for one in parts if one["type"] == "file"}
    assert files["function/main.py"] == sha256(body.encode())[7:]


def test_without_a_key_the_papers_are_unsigned_and_their_want_holds_nothing_back() -> None:
    """A registry that takes images and no documents: said, and deployed all the same."""
    acme = world()
    acme.pusher.breaks["attach"] = Refused.because("/registry", "what is a subject?")
    acme.start()
    assert step(acme, "Attested")[:2] == ("False", "RegistryRefused")
    assert phase(acme.build()) == "Succeeded"
    assert acme.service_image().startswith("registry/acme/hello@")
    assert signed(acme.service_image(), acme.pusher) == []


def test_with_a_key_what_cannot_have_its_papers_is_not_deployed(tmp_path: Path) -> None:
    acme = world(keys(tmp_path))
    acme.pusher.breaks["attach"] = Refused.because("/registry", "what is a subject?")
    acme.start()
    assert acme.condition("Built")[:2] == ("False", "RegistryRefused")
    assert acme.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None


@pytest.mark.parametrize("method", ["attach", "tag", "put"])
@pytest.mark.parametrize("builder", ["kaniko", "layer"])
def test_a_registry_that_fails_between_the_pushes_is_gone_on_with(tmp_path: Path, method: str, builder: str) -> None:
    """Its Job runs once; when the registry is back all is there, each of it once."""
    acme = world(keys(tmp_path))
    real = getattr(acme.pusher, method)
    pushed = {"tag": 1 if builder == "layer" else 0, "put": 2 if builder == "layer" else 0, "attach": 0}[method]
    calls = 0

    def broken(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > pushed:
            raise Unavailable("registry", "it went away")
        return real(*args)

    setattr(acme.pusher, method, broken)
    acme.start(builder=builder)
    if builder == "kaniko":
        finish(acme)
    assert step(acme, "Attested")[:2] == ("Unknown", "RegistryUnavailable")
    assert acme.condition("Built")[:2] == ("Unknown", "RegistryUnavailable")
    assert acme.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None
    setattr(acme.pusher, method, real)
    acme.tick()
    image = acme.service_image()
    assert len(signed(image, acme.pusher)) == 1
    assert len(listed(image, acme.pusher)) == 2
    assert acme.build()["status"]["attempt"] == 1
    assert acme.builder.starts == (builder == "kaniko")


def test_a_registry_that_never_takes_them_ends_the_build_in_time(tmp_path: Path) -> None:
    acme = world(keys(tmp_path))
    acme.pusher.breaks["attach"] = Unavailable("registry", "it is away")
    acme.start()
    acme.time += timedelta(seconds=acme.settings.build_deadline)
    acme.tick()
    assert acme.condition("Built")[:2] == ("False", "RegistryUnavailable")


def test_nothing_waits_for_papers_that_nobody_signs(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the event is answered its function is deployed, and nothing was asked of the registry for papers."""
    acme, attached = world(), []
    real = acme.pusher.attach
    acme.pusher.attach = lambda *args: attached.append(args) or real(*args)  # type: ignore[method-assign]
    with monkeypatch.context() as unanswered:
        unanswered.setattr(acme, "tell", lambda: None)
        acme.start()
    assert acme.service_image() == acme.build()["status"]["image"]
    assert step(acme, "Attested")[:2] == ("Unknown", "DeployedFirst")
    assert attached == []
    acme.tell()
    assert step(acme, "Attested") == ("True", "Attested", "bill of materials, provenance")
    acme.tick()
    assert len(attached) == 2


def test_papers_that_sign_are_there_before_the_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acme = world(keys(tmp_path))
    monkeypatch.setattr(acme, "tell", lambda: None)
    acme.start()
    assert step(acme, "Attested")[0] == "True"
    assert len(signed(acme.service_image(), acme.pusher)) == 1


def test_papers_that_nobody_signs_are_tried_for_a_moment_only() -> None:
    acme = world()
    acme.pusher.breaks["attach"] = Unavailable("registry", "it is away")
    acme.start()
    assert phase(acme.build()) == "Succeeded"
    assert acme.condition("Deployed")[0] == "True"
    assert step(acme, "Attested")[:2] == ("Unknown", "RegistryUnavailable")
    acme.time += timedelta(minutes=1)
    acme.tick()
    assert step(acme, "Attested")[:2] == ("False", "RegistryUnavailable")


@pytest.mark.parametrize("replaced", [False, True], ids=["in use", "replaced since"])
def test_papers_that_a_process_died_over_are_made_by_the_sweep(*, replaced: bool) -> None:
    """Also those of an image that no function runs any more."""
    acme = world()
    real, acme.pusher.attach = acme.pusher.attach, died  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        acme.start()
    image = acme.service_image()
    acme.pusher.attach = real  # type: ignore[method-assign]
    if replaced:
        acme.start(source={"image": "elsewhere/thing:1"})
    assert listed(image, acme.pusher) == {}
    acme.tick()
    assert all(condition(build, "Attested")["status"] == "True" for build in acme.builds())
    assert len(listed(image, acme.pusher)) == 2


def test_whoever_makes_them_begins_when_the_answer_is_out() -> None:
    """The service as it is joined: nothing is asked for papers while a request is held, and then it is."""
    acme, attached = world(), SimpleQueue[str]()
    real = acme.pusher.attach
    acme.pusher.attach = lambda *args: attached.put(args[0]) or real(*args)  # type: ignore[func-returns-value,method-assign]
    senders = Senders.over(acme.cluster, acme.store, acme.settings, acme._post)
    acme.product = join(acme.settings, acme.product.workshop, senders)
    senders.hold()
    acme.start()
    assert attached.empty()
    senders.release()
    assert attached.get(timeout=60) == "registry/acme/hello"


def test_papers_whose_build_is_gone_are_not_made() -> None:
    acme = world()
    papers.make("acme", "gone", acme.product)
    assert acme.pusher.manifests.keys() == world().pusher.manifests.keys()


def test_papers_find_what_others_have_written_of_their_build_meanwhile() -> None:
    acme = world()
    real, acme.pusher.attach = acme.pusher.attach, died  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        acme.start()

    def changed(*args: Any) -> bool:
        acme.pusher.attach = real  # type: ignore[method-assign]
        build = acme.build()
        acme.cluster.replace_status(BUILD, {**build, "status": {**build["status"], "log": "logs/acme/hello/x"}})
        return real(*args)

    acme.pusher.attach = changed  # type: ignore[method-assign]
    papers.make("acme", acme.build()["metadata"]["name"], acme.product)
    assert step(acme, "Attested")[0] == "True"
    assert acme.build()["status"]["log"] == "logs/acme/hello/x"
    assert len(listed(acme.service_image(), acme.pusher)) == 2


def died(*_: Any) -> None:
    raise KeyboardInterrupt


def test_a_key_that_is_of_no_use_is_named_and_may_be_mended(tmp_path: Path) -> None:
    folder = keys(tmp_path / "keys")
    key = (folder / "cosign.key").read_text()
    (folder / "cosign.key").write_text(key[:60])
    acme = world(folder)
    acme.start()
    assert acme.condition("Built")[:2] == ("Unknown", "KeyUnusable")
    assert key[30:60] not in acme.condition("Built")[2]
    (folder / "cosign.key").write_text(key)
    acme.tick()
    assert len(signed(acme.service_image(), acme.pusher)) == 1


def test_done_twice_it_is_the_same(tmp_path: Path) -> None:
    acme = world(keys(tmp_path))
    acme.start()
    build, image = acme.build(), acme.service_image()
    before = json.dumps(acme.registry.known), list(acme.pusher.sent)
    attestor = acme.product.workshop.attestor
    assert attestor is not None
    attestor.attest(build, image)
    assert (json.dumps(acme.registry.known), acme.pusher.sent) == before


def test_a_signature_that_somebody_else_has_made_stays(tmp_path: Path) -> None:
    acme = world(keys(tmp_path))
    image = f"registry/acme/hello@{GIVEN.digest}"
    acme.pusher.add("registry/acme/hello", GIVEN)
    referrers.sign(image, b"theirs", b"signature", acme.pusher)
    acme.start(builder="kaniko")
    finish(acme)
    (first, _), _ = signed(image, acme.pusher)
    assert first == b"theirs"


# --- what does not run without


def verifying(tmp_path: Path, whose: str = "own", **settings: Any) -> World:
    return world(keys(tmp_path / "keys"), supply_verify=whose, **settings)


def test_what_is_signed_runs(tmp_path: Path) -> None:
    acme = verifying(tmp_path)
    acme.start()
    assert acme.condition("Deployed")[0] == "True"


@pytest.mark.parametrize(("whose", "runs"), [("own", False), ("none", True)])
def test_what_was_signed_with_another_key_does_not_run_and_the_version_before_goes_on(
    tmp_path: Path, *, whose: str, runs: bool
) -> None:
    acme = verifying(tmp_path, whose)
    acme.start()
    acme.knative()
    before = acme.service_image()
    other = keys(tmp_path / "other")
    (tmp_path / "keys" / "cosign.key").write_bytes((other / "cosign.key").read_bytes())
    acme.start(source={"inline": {"main.py": "def handle(event, context):\n    return 2\n"}})
    assert (acme.service_image() != before) == runs
    if not runs:
        assert acme.condition("Deployed")[:2] == ("False", "SignatureWrong")
        (tmp_path / "keys" / "new.pub").write_bytes((other / "cosign.pub").read_bytes())  # the key is trusted, too
        acme.tick()
        assert acme.condition("Deployed")[0] == "True"
        assert acme.service_image() != before


def test_a_key_that_is_withdrawn_counts_no_more_for_what_it_let_run_before(tmp_path: Path) -> None:
    acme = verifying(tmp_path)
    acme.start()
    image = acme.service_image()
    trust = Trust(acme.pusher, Keys(tmp_path / "keys"), "all")
    trust.require(image, "layer")
    mine = (tmp_path / "keys" / "cosign.pub").read_bytes()
    (tmp_path / "keys" / "cosign.pub").write_bytes((keys(tmp_path / "other") / "cosign.pub").read_bytes())
    for _ in range(2):
        with pytest.raises(Refused, match="by a trusted key"):
            trust.require(image, "layer")
    (tmp_path / "keys" / "cosign.pub").write_bytes(mine)
    trust.require(image, "layer")


def test_what_is_not_signed_at_all_does_not_run(tmp_path: Path) -> None:
    acme = verifying(tmp_path, supply_sign=False)
    acme.start()
    assert acme.condition("Deployed")[:2] == ("False", "SignatureMissing")
    assert acme.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None


def test_without_a_key_to_verify_with_nothing_runs_and_that_is_said(tmp_path: Path) -> None:
    acme = verifying(tmp_path)
    (tmp_path / "keys" / "cosign.pub").unlink()
    acme.start()
    assert acme.condition("Deployed")[:2] == ("False", "KeyUnusable")


def test_a_signature_of_another_image_is_none_of_this_one(tmp_path: Path) -> None:
    """By the right key, and laid under this image's tag: what was signed is looked at."""
    acme = verifying(tmp_path, "all")
    own = Keys(tmp_path / "keys")
    image, other = f"elsewhere/thing@{GIVEN.digest}", "sha256:" + "1" * 64
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": other}}}).encode()
    referrers.sign(image, payload, own.sign(payload), acme.pusher)
    acme.start(source={"image": image})
    assert acme.condition("Deployed")[:2] == ("False", "SignatureWrong")


def test_a_tampered_payload_is_none(tmp_path: Path) -> None:
    acme = verifying(tmp_path, "all")
    own = Keys(tmp_path / "keys")
    image = f"elsewhere/thing@{GIVEN.digest}"
    payload = json.dumps({"critical": {"image": {"docker-manifest-digest": GIVEN.digest}}}).encode()
    referrers.sign(image, payload + b" ", own.sign(payload), acme.pusher)
    acme.start(source={"image": image})
    assert acme.condition("Deployed")[:2] == ("False", "SignatureWrong")
    referrers.sign(image, payload, own.sign(payload), acme.pusher)
    acme.tick()
    assert acme.condition("Deployed")[0] == "True"


@pytest.mark.parametrize(("whose", "runs"), [("all", False), ("own", True)])
def test_a_ready_image_needs_a_signature_where_all_do(tmp_path: Path, *, whose: str, runs: bool) -> None:
    acme = verifying(tmp_path, whose)
    acme.start(source={"image": f"elsewhere/thing@{GIVEN.digest}"})
    assert (acme.condition("Deployed")[0] == "True") == runs
    assert acme.condition("Deployed")[1] == ("Applied" if runs else "SignatureMissing")


@pytest.mark.parametrize(("whose", "runs"), [("all", False), ("own", True)])
def test_a_ready_image_by_a_tag_can_bear_none(tmp_path: Path, *, whose: str, runs: bool) -> None:
    acme = verifying(tmp_path, whose)
    acme.start(source={"image": "elsewhere/thing:1"})
    assert acme.condition("Deployed")[1] == ("Applied" if runs else "DigestRequired")


# --- and they go with their images


def test_papers_of_an_image_in_use_stay_and_those_of_one_that_goes_go(tmp_path: Path) -> None:
    acme = world(keys(tmp_path), builds_kept=0)
    acme.start()
    acme.knative()
    old = acme.service_image()
    acme.start(source={"inline": {"main.py": "def handle(event, context):\n    return 2\n"}})
    acme.knative()
    new = acme.service_image()
    for _ in range(3):
        acme.time = (acme.time + timedelta(days=2)).replace(minute=1)
        acme.tick()
    tags = acme.registry.tags("registry/acme/hello")
    assert {tag for tag in tags if tag.startswith("sha256-")} == {
        f"{new.partition('@')[2].replace(':', '-')}{suffix}" for suffix in ("", ".att", ".sig")
    }
    assert acme.registry.digest(old) is None
    assert acme.registry.referrers(*old.split("@")) == []
    assert len(acme.registry.referrers(*new.split("@"))) == 2


def test_papers_of_an_image_in_use_stay_whatever_is_listed_with_one_that_goes(tmp_path: Path) -> None:
    """A build may push to its function's repository, and so list there, or tag, what is of another image."""
    acme = world(keys(tmp_path), builds_kept=0)
    repository = "registry/acme/hello"
    acme.start()
    acme.knative()
    old = acme.service_image().partition("@")[2]
    acme.start(source={"inline": {"main.py": "def handle(event, context):\n    return 2\n"}})
    acme.knative()
    new = acme.service_image().partition("@")[2]
    signature, statements = (
        acme.registry.digest(referrers.tag(f"{repository}@{new}", end)) for end in (".sig", ".att")
    )
    documents = acme.registry.referrers(repository, new)
    assert signature is not None
    assert len(documents) == 2
    acme.registry.known[referrers.tag(f"{repository}@{old}", ".sig")] = signature
    acme.registry.listed[f"{repository}@{old}"] = [*documents, signature, new]
    for _ in range(3):
        acme.time = (acme.time + timedelta(days=2)).replace(minute=1)
        acme.tick()
    assert acme.registry.digest(f"{repository}@{old}") is None
    assert acme.registry.digest(f"{repository}@{new}") == new
    assert acme.registry.digest(referrers.tag(f"{repository}@{new}", ".sig")) == signature
    assert acme.registry.digest(referrers.tag(f"{repository}@{new}", ".att")) == statements
    assert acme.registry.referrers(repository, new) == documents
