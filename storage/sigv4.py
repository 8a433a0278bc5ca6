"""Amazon's Signature Version 4 for S3, as pure functions. Called by `s3.py` for every request.

Sources: AWS, "Authenticating Requests: Using the Authorization Header" and "… Using Query Parameters"
(docs.aws.amazon.com/AmazonS3/latest/API/sigv4-auth-using-authorization-header.html, sigv4-query-string-auth.html).
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNSIGNED = "UNSIGNED-PAYLOAD"


@dataclass(frozen=True)
class Keys:
    """Who signs."""

    access: str
    secret: str = field(repr=False)
    token: str = field(default="", repr=False)
    """Of credentials that are lent for a while; "" for others."""


@dataclass(frozen=True)
class Request:
    """What is signed: a request to `host` (with its port, where that is not the scheme's own)."""

    method: str
    host: str
    path: str
    """Percent-encoded, as `encoded` does it."""
    query: Mapping[str, str] = field(default_factory=dict)

    @property
    def target(self) -> str:
        """Return path and query as they are to be sent."""
        return f"{self.path}?{_query(self.query)}" if self.query else self.path


def encoded(path: str) -> str:
    """Return a path as S3 wants it encoded: all but the unreserved characters and its slashes, once."""
    return quote(path, safe="/-_.~")


@dataclass(frozen=True)
class Signer:
    """Signs what is sent at a moment (UTC) to a region."""

    keys: Keys
    region: str
    now: datetime

    def headers(self, request: Request, body: bytes) -> dict[str, str]:
        """Return the headers that sign a request and its body; they have to be sent as they are."""
        digest = hashlib.sha256(body).hexdigest()
        signed = {"host": request.host, "x-amz-content-sha256": digest, "x-amz-date": self._moment}
        if self.keys.token:
            signed["x-amz-security-token"] = self.keys.token
        said = {
            "Credential": f"{self.keys.access}/{self._scope}",
            "SignedHeaders": ";".join(sorted(signed)),
            "Signature": self._signature(request, signed, digest),
        }
        pairs = ", ".join(f"{name}={value}" for name, value in said.items())
        return signed | {"authorization": f"{_ALGORITHM} {pairs}"}

    def presigned(self, request: Request, seconds: int) -> Request:
        """Return the request with a query that lets anyone send it for so many seconds."""
        query = {
            **request.query,
            "X-Amz-Algorithm": _ALGORITHM,
            "X-Amz-Credential": f"{self.keys.access}/{self._scope}",
            "X-Amz-Date": self._moment,
            "X-Amz-Expires": str(seconds),
            "X-Amz-SignedHeaders": "host",
        }
        if self.keys.token:
            query["X-Amz-Security-Token"] = self.keys.token
        signature = self._signature(replace(request, query=query), {"host": request.host}, _UNSIGNED)
        return replace(request, query=query | {"X-Amz-Signature": signature})

    def _signature(self, request: Request, signed: Mapping[str, str], digest: str) -> str:
        lines = [f"{name}:{signed[name]}" for name in sorted(signed)]
        names, query = ";".join(sorted(signed)), _query(request.query)
        canonical = "\n".join([request.method, request.path, query, *lines, "", names, digest])
        key = f"AWS4{self.keys.secret}".encode()
        for part in self._scope.split("/"):
            key = hmac.digest(key, part.encode(), "sha256")
        hashed = hashlib.sha256(canonical.encode()).hexdigest()
        text = f"{_ALGORITHM}\n{self._moment}\n{self._scope}\n{hashed}"
        return hmac.digest(key, text.encode(), "sha256").hex()

    @property
    def _scope(self) -> str:
        return f"{self.now:%Y%m%d}/{self.region}/s3/aws4_request"

    @property
    def _moment(self) -> str:
        return f"{self.now:%Y%m%dT%H%M%SZ}"


def _query(query: Mapping[str, str]) -> str:
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    return "&".join(f"{name}={value}" for name, value in pairs)
