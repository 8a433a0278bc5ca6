"""The keys that images are signed with, and what a signature is: ECDSA over P-256 and SHA-256, as cosign makes them.

Called by `attest.py`, which signs, and `trust.py`, which verifies. The one file that knows cryptographic libraries,
which are imported where a key is used. Keys are files, read anew at each use, so that a rotation is seen. Equal bytes
get equal signatures (RFC 6979), so whoever signs twice pushes nothing new.

https://github.com/secure-systems-lab/dsse/blob/v1.0.2/protocol.md is what an envelope is.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knative_lambda.schemas.errors import Temporary
from knative_lambda.schemas.redaction import learn

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

PRIVATE, PASSWORD, PUBLIC = "cosign.key", "cosign.password", "*.pub"
STATEMENT = "application/vnd.in-toto+json"
SCRYPT = 1 << 17
"""The greatest cost of a password that is taken: 128 MiB, once."""
_SEALED = ("ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY")


class Unusable(Temporary):
    """A key cannot be used as it is; whoever mounts it can mend that. The message holds nothing of the key."""


@dataclass(frozen=True)
class Keys:
    """A folder: ``cosign.key`` to sign with, its ``cosign.password`` if it has one, and ``*.pub`` to verify with."""

    folder: Path

    def sign(self, body: bytes) -> bytes:
        """Return the signature of some bytes; raise `Unusable`."""
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415 - where no key is, nobody loads it
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        return self._private().sign(body, ec.ECDSA(hashes.SHA256(), deterministic_signing=True))

    def envelope(self, statement: bytes) -> dict[str, Any]:
        """Return an in-toto statement in a signed DSSE envelope; raise `Unusable`."""
        said = {"sig": base64.b64encode(self.sign(encoded(STATEMENT, statement))).decode()}
        return {"payloadType": STATEMENT, "payload": base64.b64encode(statement).decode(), "signatures": [said]}

    def is_signed(self, signature: bytes, body: bytes) -> bool:
        """Say whether one of the public keys made a signature of these bytes; raise `Unusable` where there is none."""
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415
        from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
        from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

        for pem in self.public():
            try:
                _public(pem).verify(signature, body, ec.ECDSA(hashes.SHA256()))
            except InvalidSignature:
                continue
            return True
        return False

    def public(self) -> tuple[bytes, ...]:
        """Return the public keys, PEM; raise `Unusable` where there is none."""
        try:
            found = tuple(file.read_bytes() for file in sorted(self.folder.glob(PUBLIC)))
        except OSError as error:
            raise Unusable(f"a public key in {self.folder} cannot be read: {error.strerror}") from None
        if not found:
            raise Unusable(f"there is no public key ({PUBLIC}) in {self.folder}")
        return found

    def _private(self) -> "EllipticCurvePrivateKey":
        password = self.folder / PASSWORD
        try:
            pem = (self.folder / PRIVATE).read_bytes()
            secret = password.read_bytes().rstrip(b"\r\n") if password.exists() else b""
            learn(secret.decode(errors="replace"))
        except OSError as error:
            raise Unusable(f"the key {self.folder / PRIVATE} cannot be read: {error.strerror}") from None
        return _loaded(pem, secret)


def encoded(kind: str, body: bytes) -> bytes:
    """Return what of an envelope is signed: DSSE's pre-authentication encoding."""
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(body), body)


@lru_cache(maxsize=1)
def _loaded(pem: bytes, password: bytes) -> "EllipticCurvePrivateKey":
    """Return a private key; cosign's way from a password to one takes a while, so the last one is kept."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    label, sealed = _unwrapped(pem)
    try:
        if label in _SEALED:
            found = serialization.load_der_private_key(_opened(sealed, password), None)
        else:
            found = serialization.load_pem_private_key(pem, password or None)
    except (ValueError, TypeError):  # their words may quote the key
        raise Unusable(f"{PRIVATE} is no private key in PEM, or {PASSWORD} is not its password") from None
    if not isinstance(found, ec.EllipticCurvePrivateKey) or not isinstance(found.curve, ec.SECP256R1):
        raise Unusable(f"{PRIVATE} is no key of ECDSA over P-256")
    return found


def _unwrapped(pem: bytes) -> tuple[str, bytes]:
    """Return a PEM's label and its bytes; a broken one is none."""
    lines = pem.decode(errors="replace").strip().splitlines()
    label = lines[0].removeprefix("-----BEGIN ").removesuffix("-----") if lines else ""
    try:
        return label, base64.b64decode("".join(lines[1:-1]), validate=True)
    except binascii.Error:
        return label, b""


def _opened(sealed: bytes, password: bytes) -> bytes:
    """Return the key, DER, inside what ``cosign generate-key-pair`` writes; raise `ValueError`, `TypeError`."""
    from nacl.exceptions import CryptoError  # noqa: PLC0415
    from nacl.secret import SecretBox  # noqa: PLC0415

    try:
        said = json.loads(sealed)
        kdf, cipher = said["kdf"], said["cipher"]
        cost = kdf["params"]
        is_dear = cost["N"] * cost["r"] * cost["p"] > 8 * SCRYPT
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox") or is_dear:
            raise ValueError("sealed in another way")
        salt, nonce, body = (base64.b64decode(one) for one in (kdf["salt"], cipher["nonce"], said["ciphertext"]))
        most = 256 * cost["N"] * cost["r"]
        key = hashlib.scrypt(password, salt=salt, n=cost["N"], r=cost["r"], p=cost["p"], maxmem=most, dklen=32)
        return SecretBox(key).decrypt(body, nonce)
    except (KeyError, CryptoError) as error:
        raise ValueError("sealed in another way, or with another password") from error


@lru_cache(maxsize=16)
def _public(pem: bytes) -> "EllipticCurvePublicKey":
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    try:
        found = serialization.load_pem_public_key(pem)
    except ValueError:
        raise Unusable("a public key is no PEM") from None
    if not isinstance(found, ec.EllipticCurvePublicKey) or not isinstance(found.curve, ec.SECP256R1):
        raise Unusable("a public key is none of ECDSA over P-256")
    return found
