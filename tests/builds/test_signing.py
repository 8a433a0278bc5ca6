"""The keys that sign: which are taken, which are named as useless, and that openssl takes what they make."""

import subprocess
from pathlib import Path

import pytest
from support.papers import COST, keys, sealed, verifies

from knative_lambda.builds.papers import signing
from knative_lambda.builds.papers.signing import Keys, Unusable

BODY = b"some bytes"


def test_openssl_takes_a_signature_and_not_one_of_other_bytes(tmp_path: Path) -> None:
    signature = Keys(keys(tmp_path)).sign(BODY)
    assert verifies(tmp_path, signature, BODY, tmp_path)
    assert not verifies(tmp_path, signature, BODY + b"!", tmp_path)


def test_equal_bytes_get_equal_signatures(tmp_path: Path) -> None:
    assert Keys(keys(tmp_path)).sign(BODY) == Keys(tmp_path).sign(BODY)


def test_what_openssl_has_signed_is_taken_by_its_own_key_alone(tmp_path: Path) -> None:
    folder, other = keys(tmp_path / "one"), keys(tmp_path / "other")
    (tmp_path / "body").write_bytes(BODY)
    command = ["openssl", "dgst", "-sha256", "-sign", folder / "cosign.key", tmp_path / "body"]
    signature = subprocess.run(command, check=True, capture_output=True).stdout
    assert Keys(folder).is_signed(signature, BODY)
    assert not Keys(folder).is_signed(signature, BODY + b"!")
    assert not Keys(folder).is_signed(signature[:-1], BODY)
    assert not Keys(other).is_signed(signature, BODY)
    (other / "second.pub").write_bytes((folder / "cosign.pub").read_bytes())
    assert Keys(other).is_signed(signature, BODY), "any of the keys will do, so that one can follow another"


def test_a_key_that_cosign_has_sealed_opens_with_its_password(tmp_path: Path) -> None:
    """A newline at the end of the file is none of the password's."""
    sealed(keys(tmp_path), b"correct horse")
    (tmp_path / "cosign.password").write_bytes(b"correct horse\n")
    assert verifies(tmp_path, Keys(tmp_path).sign(BODY), BODY, tmp_path)


@pytest.mark.parametrize("factor", ["N", "r", "p"])
def test_a_password_that_costs_more_than_is_taken_is_not_tried(
    tmp_path: Path, factor: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where as much is taken, the same key opens."""
    monkeypatch.setattr(signing, "SCRYPT", 1 << 15)
    sealed(keys(tmp_path), b"correct horse", **{factor: 2 * COST[factor]})
    with pytest.raises(Unusable):
        Keys(tmp_path).sign(BODY)
    monkeypatch.setattr(signing, "SCRYPT", 1 << 16)
    assert Keys(tmp_path).sign(BODY)


def test_a_rotation_is_seen_at_once(tmp_path: Path) -> None:
    found = Keys(keys(tmp_path))
    before = found.sign(BODY)
    keys(tmp_path)
    assert not verifies(tmp_path, before, BODY, tmp_path)
    assert verifies(tmp_path, found.sign(BODY), BODY, tmp_path)


@pytest.mark.parametrize("broken", ["password", "missing", "curve", "text", "json"])
def test_a_key_of_no_use_is_named_and_nothing_of_it_told(tmp_path: Path, broken: str) -> None:
    keys(tmp_path, curve="secp384r1" if broken == "curve" else "prime256v1")
    if broken == "password":
        sealed(tmp_path, b"correct horse")
        (tmp_path / "cosign.password").write_text("wrong horse")
    if broken == "missing":
        (tmp_path / "cosign.key").unlink()
    if broken == "text":
        (tmp_path / "cosign.key").write_text("no key")
    if broken == "json":
        label = "ENCRYPTED SIGSTORE PRIVATE KEY"
        (tmp_path / "cosign.key").write_text(f"-----BEGIN {label}-----\nW10=\n-----END {label}-----\n")
    with pytest.raises(Unusable, match=r"cosign\.key") as told:
        Keys(tmp_path).sign(BODY)
    assert "horse" not in str(told.value)


@pytest.mark.parametrize("text", ["no key", None])
def test_without_a_public_key_of_use_nothing_is_verified(tmp_path: Path, text: str | None) -> None:
    keys(tmp_path)
    if text is None:
        (tmp_path / "cosign.pub").unlink()
    else:
        (tmp_path / "cosign.pub").write_text(text)
    with pytest.raises(Unusable, match="public key"):
        Keys(tmp_path).is_signed(b"signature", BODY)
