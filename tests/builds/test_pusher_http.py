"""Pushing to real registries: who is let in, whom we believe, and what happens when it breaks in the middle."""

import json
from functools import partial
from pathlib import Path

import pytest
import urllib3
from support.certificates import Authority
from support.images import BASE, sha256
from support.registry import BASIC, WRONG, Gate, config, gate, patient, push

from knative_lambda.builds.images.pusher import Blob
from knative_lambda.builds.images.pusher_http import SMALL, HttpPusher
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.schemas.errors import NotLetIn, Refused, Unavailable, Untrusted

LAYER = {"digest": sha256(BASE.blobs[0]), "size": len(BASE.blobs[0]), "mediaType": "x/y"}
BODY = b"some bytes of a layer"


@pytest.fixture
def pusher() -> HttpPusher:
    return HttpPusher(patient(insecure=True))


@pytest.fixture
def own(before: Gate, tmp_path: Path) -> str:
    """Return a repository behind the gate that nobody else has."""
    return f"{before.host}/{tmp_path.name.lower()}/own"


def based(host: str, own: str) -> str:
    """Push the base's first layer into a repository beside, and return that."""
    name = f"{own.partition('/')[2]}-base"
    HttpPusher(patient(insecure=True)).put(f"{host}/{name}", Blob.of(BASE.blobs[0]))
    return f"{host}/{name}"


# --- who is let in


def test_a_password_lets_in(guarded: str, tmp_path: Path) -> None:
    reached = patient(insecure=True, config=config(tmp_path, guarded))
    HttpPusher(reached).put(f"{guarded}/acme/hello", Blob.of(BODY))
    assert HttpPusher(reached).blob(f"{guarded}/acme/hello", sha256(BODY)) == BODY


@pytest.mark.parametrize("auth", [WRONG, ""])
def test_a_wrong_password_or_none_is_refused_and_named(guarded: str, tmp_path: Path, auth: str) -> None:
    reached = patient(insecure=True, config=config(tmp_path, guarded, auth))
    with pytest.raises(NotLetIn, match="answered 401"):
        HttpPusher(reached).put(f"{guarded}/acme/wrong", Blob.of(BODY))
    with pytest.raises(NotLetIn, match="answered 401"):
        HttpPusher(reached).manifest(f"{guarded}/acme/wrong:1")


@pytest.mark.parametrize("name", ["https://{}/v1/", "http://{}", "{}/v2/"])
def test_a_config_may_name_a_registry_by_an_url(before: Gate, tmp_path: Path, name: str, own: str) -> None:
    HttpPusher(patient(insecure=True, config=config(tmp_path, name.format(before.host)))).put(own, Blob.of(BODY))
    assert {said for _, _, said in before.asked} == {BASIC}


def test_of_several_credentials_those_of_the_longest_path_are_used(before: Gate, tmp_path: Path, own: str) -> None:
    """What is for another repository is shown to nobody in its place."""
    file, wrong = tmp_path / "config.json", {"auth": WRONG.removeprefix("Basic ")}
    names = [f"{before.host}/other", own[:-1], before.host, own.rpartition("/")[0]]
    file.write_text(json.dumps({"auths": {**dict.fromkeys(names, wrong), own: {"auth": BASIC.removeprefix("Basic ")}}}))
    pusher = HttpPusher(patient(insecure=True, config=file))
    pusher.put(own, Blob.of(BODY))
    assert {said for _, _, said in before.asked} == {BASIC}
    before.asked.clear()
    pusher.put(own.replace("own", "beside"), Blob.of(BODY))
    assert {said for _, _, said in before.asked} == {WRONG}
    before.asked.clear()
    file.write_text(json.dumps({"auths": dict.fromkeys(names[:2], wrong)}))
    pusher.put(own.replace("own", "alone"), Blob.of(BODY))
    assert {said for _, _, said in before.asked} == {""}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("{", "is no JSON"),
        ('{"auths": null}', "not of the form"),
        ('{"auths": {"HOST": null}}', "not of the form"),
        ('{"auths": {"HOST": {"auth": "s3cret!"}}}', "no base64"),
        ('{"auths": {"HOST": {"username": "s3cret"}}}', "no password for HOST"),
        (None, "No such file"),
    ],
)
def test_a_config_that_cannot_be_used_is_named_and_tells_no_secret(
    before: Gate, tmp_path: Path, own: str, text: str | None, why: str
) -> None:
    file = tmp_path / "broken.json"
    if text is not None:
        file.write_text(text.replace("HOST", before.host))
    with pytest.raises(Unavailable, match=why.replace("HOST", before.host)) as told:
        HttpPusher(patient(insecure=True, config=file)).put(own, Blob.of(BODY))
    assert "broken.json" in str(told.value)
    assert "s3cret" not in str(told.value)


def test_a_token_is_got_with_the_password_once_and_used_from_then_on(before: Gate, tmp_path: Path, own: str) -> None:
    before.token, before.basic = "t0ken", BASIC
    pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host)))
    pusher.put(own, Blob.of(BODY))
    pusher.put(own, Blob.of(BODY + b"!"))
    assert [path for _, path, said in before.asked if path.startswith("/token")] == [
        "/token?service=tests&scope=repository%3Ax%3Apull%2Cpush"
    ] * 2, "one to read, one to write"
    before.asked.clear()
    pusher.put(own, Blob.of(BODY + b"?"))
    assert {said for _, _, said in before.asked} == {"Bearer t0ken"}


def test_a_token_that_has_had_its_time_is_got_anew(before: Gate, tmp_path: Path, own: str) -> None:
    before.token, before.basic = "first", BASIC
    pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host)))
    pusher.put(own, Blob.of(BODY))
    before.token = "second"
    pusher.put(own, Blob.of(BODY + b"!"))
    assert before.asked[-1][2] == "Bearer second"


def asked_to_mount(before: Gate, own: str, status: int) -> str:
    """Have a registry answer so to a mount, whether or not it begins an upload; return what may be mounted from."""
    base, name = based(before.host, own), own.partition("/")[2]
    begun = urllib3.request("POST", f"http://{before.behind}/v2/{name}/blobs/uploads/").headers["Location"]
    location = {"Location": begun.replace(before.behind, before.host)} if status == 202 else {}
    before.refuses[f"POST /v2/{name}/blobs/uploads/?mount"] = (status, location)
    return base


@pytest.mark.parametrize("status", [202, 403])
def test_a_copy_piece_by_piece_has_its_token_at_the_first_try(
    before: Gate, tmp_path: Path, own: str, status: int
) -> None:
    base = asked_to_mount(before, own, status)
    before.token, before.basic = "t0ken", BASIC
    HttpPusher(patient(insecure=True, config=config(tmp_path, before.host))).bring(LAYER, base, own)
    assert [said for method, _, said in before.asked if method == "PUT"][-1:] == ["Bearer t0ken"]
    assert whole(before, own, str(LAYER["digest"]))


def test_a_copy_whose_old_token_has_had_its_time_gets_another(before: Gate, tmp_path: Path, own: str) -> None:
    base = asked_to_mount(before, own, 202)
    before.token, before.basic = "first", BASIC
    pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host)))
    pusher.put(own, Blob.of(BODY))
    before.token = "second"
    pusher.bring(LAYER, base, own)
    before.token = ""
    assert whole(before, own, str(LAYER["digest"]))


def test_a_copy_is_begun_again_where_a_token_is_asked_for_only_then(before: Gate, tmp_path: Path, own: str) -> None:
    """A token that ends between the beginning of an upload and what is sent."""
    base = asked_to_mount(before, own, 202)
    pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host)))
    before.later = f"PUT /v2/{own.partition('/')[2]}/blobs", "t0ken"
    before.basic = BASIC
    pusher.bring(LAYER, base, own)
    assert [said for method, _, said in before.asked if method == "PUT"][-2:] == [BASIC, "Bearer t0ken"]
    before.token = ""
    assert whole(before, own, str(LAYER["digest"]))


def test_a_token_that_is_not_given_is_a_refusal(before: Gate, tmp_path: Path, own: str) -> None:
    before.token, before.basic = "t0ken", BASIC
    pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host, WRONG)))
    with pytest.raises(NotLetIn, match="answered 401"):
        pusher.put(own, Blob.of(BODY))


def test_reading_learns_a_token_too(before: Gate, tmp_path: Path, own: str) -> None:
    digest = push(before.behind, own.partition("/")[2], "one-1", b"content")
    before.token, before.basic = "t0ken", BASIC
    registry = HttpRegistry(patient(insecure=True, config=config(tmp_path, before.host)))
    assert registry.digest(f"{own}:one-1") == digest
    assert registry.tags(own) == ["one-1"]


def test_credentials_and_tokens_go_nowhere_else(before: Gate, server: str, tmp_path: Path, own: str) -> None:
    """A blob may lie elsewhere, and an upload go on there: neither is told who we are."""
    with gate(server) as elsewhere:
        name, digest = own.partition("/")[2], sha256(BODY)
        HttpPusher(patient(insecure=True)).put(f"{server}/{name}", Blob.of(BODY))
        there = f"http://{elsewhere.host}/v2/{name}/blobs/{digest}"
        before.token, before.basic = "t0ken", BASIC
        before.refuses[f"GET /v2/{name}/blobs"] = (307, {"Location": there})
        before.refuses[f"POST /v2/{name}/blobs"] = (202, {"Location": f"http://{elsewhere.host}/upload"})
        elsewhere.refuses["PUT /upload"] = (201, {})
        pusher = HttpPusher(patient(insecure=True, config=config(tmp_path, before.host)))
        assert pusher.blob(own, digest) == BODY
        pusher.put(own, Blob.of(BODY + b"!"))
        assert [method for method, _, _ in elsewhere.asked] == ["GET", "PUT"]
        assert {said for _, _, said in elsewhere.asked} == {""}


def test_redirections_without_end_are_given_up(before: Gate, pusher: HttpPusher, own: str) -> None:
    path = f"/v2/{own.partition('/')[2]}/blobs/{sha256(BODY)}"
    before.refuses[f"GET {path}"] = (307, {"Location": path})
    with pytest.raises(Refused, match="307"):
        pusher.blob(own, sha256(BODY))


# --- whom we believe


def test_a_tenants_own_credentials_count_below_its_place_alone(guarded: str, tmp_path: Path) -> None:
    """And there no other ones do."""
    (tmp_path / "none").write_text("{}")
    theirs, none = config(tmp_path, guarded), tmp_path / "none"
    own = HttpPusher(patient(insecure=True, config=none, configs={f"{guarded}/acme/": theirs}))
    own.put(f"{guarded}/acme/hello", Blob.of(BODY))
    for place in (f"{guarded}/acmes/hello", f"{guarded}/other/acme"):
        with pytest.raises(NotLetIn):
            own.put(place, Blob.of(BODY))
    others = HttpPusher(patient(insecure=True, config=theirs, configs={f"{guarded}/acme/": none}))
    others.put(f"{guarded}/other/hello", Blob.of(BODY))
    with pytest.raises(NotLetIn):
        others.put(f"{guarded}/acme/hello", Blob.of(BODY + b"!"))


def test_a_certificate_that_is_named_is_trusted(secure: tuple[str, Path]) -> None:
    host, trust = secure
    pusher = HttpPusher(patient(trust=trust))
    pusher.put(f"{host}/acme/hello", Blob.of(BODY))
    assert pusher.blob(f"{host}/acme/hello", sha256(BODY)) == BODY


def test_certificates_that_cannot_be_read_are_named_and_read_once_they_can(
    secure: tuple[str, Path], tmp_path: Path
) -> None:
    host, trust = secure
    (tmp_path / "ca.crt").write_text("no certificate")
    pusher = HttpPusher(patient(trust=tmp_path))
    with pytest.raises(Unavailable, match=f"certificates in {tmp_path} cannot be read"):
        pusher.put(f"{host}/acme/hello", Blob.of(BODY))
    (tmp_path / "ca.crt").write_bytes((trust / "ca.crt").read_bytes())
    pusher.put(f"{host}/acme/hello", Blob.of(BODY))


@pytest.mark.parametrize("there", [False, True], ids=["missing", "of others"])
def test_certificates_that_are_written_anew_are_read_anew(
    secure: tuple[str, Path], tmp_path: Path, *, there: bool
) -> None:
    host, trust = secure
    folder = Authority.made(tmp_path / "others").folder("client", trusts=there)
    pusher = HttpPusher(patient(trust=folder))
    with pytest.raises(Untrusted):
        pusher.put(f"{host}/acme/hello", Blob.of(BODY))
    (folder / "ca.crt").write_bytes((trust / "ca.crt").read_bytes())
    pusher.put(f"{host}/acme/hello", Blob.of(BODY))


def test_a_certificate_of_nobody_is_not_and_the_error_says_so(secure: tuple[str, Path]) -> None:
    host, _ = secure
    with pytest.raises(Untrusted, match="certificate that is not trusted"):
        HttpPusher(patient()).put(f"{host}/acme/hello", Blob.of(BODY))
    with pytest.raises(Unavailable, match="certificate that is not trusted"):
        HttpRegistry(patient()).digest(f"{host}/acme/hello:1")


def test_plain_http_is_spoken_only_where_that_is_allowed(server: str) -> None:
    with pytest.raises(Unavailable):
        HttpPusher(patient()).put(f"{server}/acme/plain", Blob.of(BODY))


def test_a_registry_may_not_send_the_password_over_plain_http(secure: tuple[str, Path], tmp_path: Path) -> None:
    """A realm without TLS is not asked, nor a place without TLS for a blob."""
    host, trust = secure
    pusher = HttpPusher(patient(trust=trust, config=config(tmp_path, host)))
    with pytest.raises(Unavailable, match="not safe"):
        pusher._client._token('Bearer realm="http://127.0.0.1/token"', {"Authorization": BASIC})


def test_a_registry_may_not_have_a_blob_sent_over_plain_http(
    secure: tuple[str, Path], server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, trust = secure
    with gate(server) as plain:
        pusher = HttpPusher(patient(trust=trust))
        monkeypatch.setattr(pusher, "_begin", lambda *_: f"http://{plain.host}/upload")
        with pytest.raises(Unavailable, match="not safe"):
            pusher.put(f"{host}/acme/hello", Blob.of(BODY + b" to be kept"))
        assert plain.asked == []


# --- what is sent


def test_what_is_there_is_not_sent_again(before: Gate, pusher: HttpPusher, own: str) -> None:
    pusher.put(own, Blob.of(BODY))
    before.asked.clear()
    pusher.put(own, Blob.of(BODY))
    assert [method for method, _, _ in before.asked] == ["HEAD"]


def test_a_blob_of_the_same_registry_is_mounted_and_not_sent(before: Gate, pusher: HttpPusher, own: str) -> None:
    base = based(before.host, own)
    before.asked.clear()
    pusher.bring(LAYER, base, own)
    assert [method for method, _, _ in before.asked] == ["HEAD", "POST"]
    assert pusher.blob(own, LAYER["digest"]) == BASE.blobs[0]  # type: ignore[arg-type]


@pytest.mark.parametrize("status", [403, 404, 405])
def test_a_blob_that_is_not_mounted_is_copied(before: Gate, pusher: HttpPusher, own: str, status: int) -> None:
    base, name = based(before.host, own), own.partition("/")[2]
    before.refuses[f"POST /v2/{name}/blobs/uploads/?mount"] = (status, {})
    pusher.bring(LAYER, base, own)
    assert pusher.blob(own, LAYER["digest"]) == BASE.blobs[0]  # type: ignore[arg-type]


def test_a_blob_of_another_registry_is_copied(before: Gate, server: str, pusher: HttpPusher, own: str) -> None:
    pusher.bring(LAYER, based(server, own), own)
    assert not [path for _, path, _ in before.asked if "mount" in path]
    assert pusher.blob(own, LAYER["digest"]) == BASE.blobs[0]  # type: ignore[arg-type]


# --- what breaks


def whole(before: Gate, own: str, digest: str) -> bool:
    return HttpPusher(patient(insecure=True)).blob(own.replace(before.host, before.behind), digest) is not None


def test_a_connection_cut_in_the_middle_of_a_blob_leaves_no_blob(before: Gate, pusher: HttpPusher, own: str) -> None:
    before.cuts = f"PUT /v2/{own.partition('/')[2]}/blobs"
    with pytest.raises(Unavailable, match="did not answer"):
        pusher.put(own, Blob.of(BODY * 1000))
    assert not whole(before, own, sha256(BODY * 1000))
    before.cuts = ""
    pusher.put(own, Blob.of(BODY * 1000))
    assert whole(before, own, sha256(BODY * 1000))


def test_a_copy_whose_source_breaks_off_leaves_no_blob(before: Gate, server: str, pusher: HttpPusher, own: str) -> None:
    with gate(server) as other:
        base = based(other.host, own)
        other.cuts = f"GET /v2/{base.partition('/')[2]}/blobs"
        with pytest.raises(Unavailable, match="broke off"):
            pusher.bring(LAYER, base, own)
    assert not whole(before, own, str(LAYER["digest"]))


@pytest.mark.parametrize("what", ["copied", "config"])
def test_a_blob_that_comes_changed_is_not_believed(
    before: Gate, server: str, pusher: HttpPusher, own: str, what: str
) -> None:
    with gate(server) as other:
        base = based(other.host, own)
        other.changes = f"GET /v2/{base.partition('/')[2]}/blobs"
        read = partial(pusher.blob, base, str(LAYER["digest"]))
        call = partial(pusher.bring, LAYER, base, own) if what == "copied" else read
        with pytest.raises(Unavailable, match="something else"):
            call()
    assert not whole(before, own, str(LAYER["digest"]))


def test_a_copy_that_takes_too_long_is_given_up(before: Gate, server: str, own: str) -> None:
    pusher = HttpPusher(patient(insecure=True, copying=-1.0))
    with pytest.raises(Unavailable, match="too long"):
        pusher.bring(LAYER, based(server, own), own)
    assert not whole(before, own, str(LAYER["digest"]))


@pytest.mark.parametrize(
    "step",
    [("HEAD", "blobs/sha256"), ("POST", "blobs/uploads"), ("PUT", "blobs/uploads"), ("PUT", "manifests")],
)
@pytest.mark.parametrize(
    ("status", "error"), [(500, Unavailable), (507, Unavailable), (429, Unavailable), (413, Refused), (403, NotLetIn)]
)
def test_each_answer_that_is_none_is_told_by_its_status(
    before: Gate, own: str, step: tuple[str, str], status: int, error: type[Exception]
) -> None:
    """A full registry, one that is overrun, one that does not take it: tried again, or not."""
    (method, path), pusher = step, HttpPusher(patient(insecure=True))
    before.refuses[f"{method} /v2/{own.partition('/')[2]}/{path}"] = (status, {})
    call = (
        partial(pusher.tag, f"{own}:1", BASE.manifest)
        if path == "manifests"
        else partial(pusher.put, own, Blob.of(BODY))
    )
    with pytest.raises(error, match=str(status)) as told:
        call()
    assert method == "HEAD" or "WHY because" in str(told.value)


def test_an_answer_that_is_larger_than_any_config_is_not_read(before: Gate, pusher: HttpPusher, own: str) -> None:
    large = bytes(SMALL + 1)
    pusher.put(own, Blob.of(large))
    with pytest.raises(Refused, match="more than"):
        pusher.blob(own, sha256(large))
    assert pusher.blob(own, sha256(BODY)) is None, "the connection is not used on with what was not read"
