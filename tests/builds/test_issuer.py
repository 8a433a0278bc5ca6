"""Tokens that we sign, before a real registry that believes them: each opens what it names, and nothing beside it."""

import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import urllib3
from support.images import BASE, Made, sha256
from support.registry import patient, real_registry
from support.tokens import RSA, SERVICE, keys, trusting

from knative_lambda.builds.images.pusher import Blob
from knative_lambda.builds.images.pusher_http import HttpPusher
from knative_lambda.builds.images.registry_http import HttpRegistry
from knative_lambda.builds.jobs.issuer import DELETE, PULL, PUSH, Grant
from knative_lambda.builds.jobs.issuer_jwt import IssuerSettings, JwtIssuer
from knative_lambda.schemas.errors import Refused, Unavailable
from knative_lambda.schemas.redaction import redact

LEEWAY = 60
"""Seconds that a registry allows for clocks that disagree."""
Ask = Callable[..., int]


@pytest.fixture
def ask(tokened: JwtIssuer) -> Ask:
    """Return what asks the registry with a token for these grants, and gives the answer's status."""
    http = urllib3.PoolManager(retries=False)

    def asked(method: str, path: str, *grants: Grant, issuer: JwtIssuer = tokened, seconds: int = 60) -> int:
        headers = {"Authorization": f"Bearer {issuer.token(grants, seconds=seconds)}"} if grants else {}
        return http.request(method, f"http://{tokened.host}/v2/{path}", headers=headers).status

    return asked


def test_a_token_opens_the_repository_that_it_names_and_no_other(ask: Ask) -> None:
    own = Grant("acme/hello", PUSH)
    assert ask("POST", "acme/hello/blobs/uploads/", own) == 202
    for other in ("other/hello", "acme/hello2", "acme", "python"):
        assert ask("POST", f"{other}/blobs/uploads/", own) == 401
        assert ask("GET", f"{other}/tags/list", own) == 401
        assert ask("POST", f"{other}/blobs/uploads/", Grant(other, PUSH)) == 202


def test_who_may_pull_does_not_push_and_who_may_push_does_not_delete(ask: Ask) -> None:
    assert ask("POST", "acme/hello/blobs/uploads/", Grant("acme/hello", PULL)) == 401
    gone = f"acme/hello/manifests/sha256:{'0' * 64}"
    assert ask("DELETE", gone, Grant("acme/hello", PUSH)) == 401
    assert ask("DELETE", gone, Grant("acme/hello", DELETE)) == 404


def test_without_a_token_nothing_opens(ask: Ask) -> None:
    assert ask("GET", "acme/hello/tags/list") == 401


def test_a_token_ends_with_its_seconds(ask: Ask, tokened: JwtIssuer) -> None:
    then = replace(tokened, clock=lambda: time.time() - LEEWAY - 20)
    assert ask("POST", "acme/hello/blobs/uploads/", Grant("acme/hello", PUSH), issuer=then, seconds=10) == 401
    assert ask("POST", "acme/hello/blobs/uploads/", Grant("acme/hello", PUSH), issuer=then, seconds=600) == 202


@pytest.mark.parametrize("wrong", ["issuer", "service", "key"])
def test_a_token_of_another_issuer_for_another_service_or_by_another_key_opens_nothing(
    wrong: str, ask: Ask, tokened: JwtIssuer, tmp_path: Path
) -> None:
    keys(tmp_path)
    change = {"issuer": {"issuer": "x"}, "service": {"service": "x"}, "key": {"folder": tmp_path}}[wrong]
    strange = JwtIssuer(replace(tokened.settings, **change))
    assert ask("GET", "acme/hello/tags/list", Grant("acme/hello", PULL), issuer=strange) == 401


def pushed(pusher: HttpPusher, repository: str, image: Made) -> None:
    for body in image.blobs:
        pusher.put(repository, Blob.of(body))
    pusher.tag(f"{repository}:1", image.manifest)


def test_our_own_requests_carry_a_token_each(tokened: JwtIssuer) -> None:
    """Pushed, laid from another repository, asked for, listed, removed: with no credentials in any file."""
    reached = patient(insecure=True, issuer=tokened)
    pusher, registry, base, own = (
        HttpPusher(reached),
        HttpRegistry(reached),
        *(f"{tokened.host}/acme/{name}" for name in ("base", "own")),
    )
    pushed(pusher, base, BASE)
    layer = {"digest": sha256(BASE.blobs[0]), "size": len(BASE.blobs[0])}
    pusher.bring(layer, base, own)
    assert pusher.blob(own, layer["digest"]) == BASE.blobs[0]
    assert registry.digest(f"{base}:1") == BASE.digest
    assert registry.tags(base) == ["1"]
    registry.delete(base, BASE.digest)
    assert registry.digest(f"{base}:1") is None
    with pytest.raises((Refused, Unavailable)):
        HttpRegistry(replace(reached, issuer=None)).digest(f"{base}:1")


def test_another_registry_gets_no_token_of_this_one(tokened: JwtIssuer, server: str) -> None:
    registry = HttpRegistry(patient(insecure=True, issuer=tokened))
    assert registry.digest(f"{server}/nothing/here:1") is None


def test_a_key_that_is_exchanged_signs_from_then_on(registry_program: str, tmp_path: Path) -> None:
    """RSA, too. While both are believed, nothing is refused, and nothing is started again."""
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    keys(tmp_path / "old", RSA)
    keys(tmp_path / "new")
    place = tmp_path / "now"
    place.symlink_to("old")
    both = tmp_path / "both.crt"
    both.write_text("".join((tmp_path / name / "tls.crt").read_text() for name in ("old", "new")))
    with real_registry(registry_program, tmp_path, auth=trusting(both)) as host:
        issuer = JwtIssuer(IssuerSettings(host, place, service=SERVICE))
        registry = HttpRegistry(patient(insecure=True, issuer=issuer))
        assert registry.tags(f"{host}/acme/hello") == []
        before = issuer.token([], seconds=1).partition(".")[0]
        place.unlink()
        place.symlink_to("new")
        assert registry.tags(f"{host}/acme/hello") == []
        assert issuer.token([], seconds=1).partition(".")[0] != before


# pragma: allowlist nextline secret
@pytest.mark.parametrize("said", [None, "", "-----BEGIN PRIVATE KEY-----\nsecret\n-----END PRIVATE KEY-----\n"])
def test_a_key_that_cannot_be_used_is_an_outage_and_is_not_told(said: str | None, tmp_path: Path) -> None:
    keys(tmp_path)
    (tmp_path / "tls.key").unlink() if said is None else (tmp_path / "tls.key").write_text(said)
    with pytest.raises(Unavailable) as caught:
        JwtIssuer(IssuerSettings("registry", tmp_path)).token([], seconds=1)
    assert "secret" not in str(caught.value)


def test_a_certificate_that_is_none_is_an_outage(tmp_path: Path) -> None:
    keys(tmp_path)
    (tmp_path / "tls.crt").write_text("")
    with pytest.raises(Unavailable, match="the key for its tokens"):
        JwtIssuer(IssuerSettings("registry", tmp_path)).token([], seconds=1)


def test_a_token_and_its_key_are_told_to_nobody(tmp_path: Path) -> None:
    folder = tmp_path
    keys(folder)
    token = JwtIssuer(IssuerSettings("r.test", folder)).token([], seconds=60)
    key = (folder / "tls.key").read_text().strip()
    for told in (token, f"{token}x", token.encode().hex(), json.dumps(key), repr(key)):
        assert len(redact(f"it was {told}")) < 20


def test_how_long_a_token_takes(tokened: JwtIssuer, record_property: Callable[[str, object], None]) -> None:
    """Told with the results; the first of all loads its library."""
    taken = []
    for _ in range(200):
        began = time.perf_counter()
        tokened.token([Grant("acme/hello", PUSH), Grant("acme/layers", PUSH)], seconds=60)
        taken.append(time.perf_counter() - began)
    record_property("mint_p95_ms", round(statistics.quantiles(taken, n=20)[-1] * 1000, 2))
