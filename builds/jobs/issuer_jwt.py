"""Tokens signed here, that a registry believes by our certificate: no service beside it is asked, or has to be up.

Joined in `handler/wire.py`. What is signed, and how the certificate comes with it, is
https://distribution.github.io/distribution/spec/auth/jwt/: ``x5c`` is what every version of it reads.
"""

import base64
import json
import secrets
import ssl
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from knative_lambda.builds.jobs.issuer import Grant
from knative_lambda.schemas.errors import Unavailable
from knative_lambda.schemas.redaction import learn

if TYPE_CHECKING:
    from Crypto.PublicKey.ECC import EccKey
    from Crypto.PublicKey.RSA import RsaKey

_END = "-----END CERTIFICATE-----"


@dataclass(frozen=True)
class IssuerSettings:
    """Whom the registry believes; as its own configuration says under ``auth.token``."""

    host: str
    """The registry's host, with its port."""
    folder: Path
    """With ``tls.crt`` and ``tls.key``, as a Secret of type kubernetes.io/tls has them: P-256, or RSA."""
    issuer: str = "knative-lambda"
    """What the registry calls ``issuer``."""
    service: str = ""
    """What the registry calls ``service``; "" is its host."""


@dataclass(frozen=True)
class JwtIssuer:
    """Mints a token in about a millisecond. The key is read anew where it was written since."""

    settings: IssuerSettings
    clock: Callable[[], float] = time.time
    _signers: dict[int, "_Signer"] = field(default_factory=dict, repr=False, compare=False)

    @property
    def host(self) -> str:
        """See `Issuer.host`."""
        return self.settings.host

    def token(self, grants: Sequence[Grant], *, seconds: int) -> str:
        """See `Issuer.token`."""
        now, signer = int(self.clock()), self._signer()
        claims = {
            "iss": self.settings.issuer,
            "aud": self.settings.service or self.settings.host,
            "sub": "knative-lambda",
            "iat": now,
            "nbf": now,
            "exp": now + seconds,
            "jti": secrets.token_hex(16),
            "access": [
                {"type": "repository", "name": each.repository, "actions": list(each.actions)} for each in grants
            ],
        }
        said = f"{_encoded(signer.header)}.{_encoded(claims)}"
        return learn(f"{said}.{_base64(signer.sign(said.encode()))}", passing=True)

    def _signer(self) -> "_Signer":
        folder = self.settings.folder
        try:
            written = (folder / "tls.key").stat().st_mtime_ns
            found = self._signers.get(written)
            if found is None:
                found = _signer(learn((folder / "tls.key").read_text().strip()), (folder / "tls.crt").read_text())
                self._signers.clear()
                self._signers[written] = found
        except OSError as error:
            raise Unavailable("registry", f"the key for its tokens cannot be read: {error.strerror}") from None
        except (ValueError, IndexError, TypeError):  # say what they have read, in part
            raise Unavailable("registry", "the key for its tokens is none, or of no kind that is known") from None
        return found


@dataclass(frozen=True)
class _Signer:
    header: Mapping[str, Any]
    sign: Callable[[bytes], bytes]


def _signer(key: str, certificates: str) -> _Signer:
    # loaded where there is something to sign: nobody else waits for them
    from Crypto.Hash import SHA256  # noqa: PLC0415
    from Crypto.PublicKey import ECC, RSA  # noqa: PLC0415
    from Crypto.Signature import DSS, pkcs1_15  # noqa: PLC0415

    chain = [
        base64.b64encode(ssl.PEM_cert_to_DER_cert(part[part.index("-----BEGIN") :] + _END)).decode()
        for part in certificates.split(_END)[:-1]
    ]
    if not chain:
        raise ValueError("no certificate")
    try:
        curve: EccKey = ECC.import_key(key)
    except ValueError:
        number: RsaKey = RSA.import_key(key)
        header = {"typ": "JWT", "alg": "RS256", "x5c": chain}
        return _Signer(header, lambda said: pkcs1_15.new(number).sign(SHA256.new(said)))
    if curve.curve not in ("NIST P-256", "p256"):
        raise ValueError("another curve")
    return _Signer(
        {"typ": "JWT", "alg": "ES256", "x5c": chain},
        lambda said: DSS.new(curve, "fips-186-3").sign(SHA256.new(said)),
    )


def _encoded(value: Mapping[str, Any]) -> str:
    return _base64(json.dumps(value, separators=(",", ":")).encode())


def _base64(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()
