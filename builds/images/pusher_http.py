"""The write side of an OCI registry over its HTTP API.

Joined in `handler/wire.py`, behind `guard.py`. The requests are those of the OCI distribution specification 1.1:
https://github.com/opencontainers/distribution-spec/blob/v1.1.0/spec.md#push
"""

import hashlib
import json
import time
from collections.abc import Iterator
from functools import partial
from http import HTTPStatus
from urllib.parse import urlencode

import urllib3

from knative_lambda.builds.images.pusher import Blob, Descriptor, Manifest
from knative_lambda.builds.images.registry_client import DENIED, Client, Place, RegistrySettings, unexpected
from knative_lambda.builds.images.registry_http import ACCEPT
from knative_lambda.schemas.errors import NotLetIn, Refused, Unavailable

SMALL = 4 * 1024 * 1024
"""Bytes of a manifest, or of a config: registries take no manifest that is larger."""
CHUNK = 64 * 1024
SHOWN = 300
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)


class HttpPusher:
    """Pushes to a registry; see `Client` for how it says who is pushing."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._client = Client(settings)
        self._longest = settings.copying

    def manifest(self, reference: str) -> Manifest | None:
        """See `Pusher.manifest`."""
        place = Place.of(reference)
        path = f"manifests/{place.version}"
        answer = self._client.read(place, path, headers={"Accept": ACCEPT})
        body = self._small(answer, place)
        if body is None:
            return None
        if place.version.startswith("sha256:"):
            _check(body, place.version, place)
        return Manifest(answer.headers.get("Content-Type", "").partition(";")[0].strip(), body)

    def blob(self, repository: str, digest: str) -> bytes | None:
        """See `Pusher.blob`."""
        place = Place.of(repository)
        body = self._small(self._client.read(place, f"blobs/{digest}"), place)
        return None if body is None else _check(body, digest, place)

    def bring(self, blob: Descriptor, source: str, target: str) -> None:
        """See `Pusher.bring`. A registry that does not mount begins an upload in its place: that is gone on with."""
        place, origin, digest = Place.of(target), Place.of(source), str(blob["digest"])
        if self._has(place, digest):
            return
        mount = {"mount": digest, "from": origin.repository} if origin.host == place.host else {}
        where = self._begin(place, mount)
        if where:
            self._upload(place, where, Blob(digest, int(blob["size"]), partial(self._passed_on, origin, digest)))

    def put(self, repository: str, blob: Blob) -> None:
        """See `Pusher.put`."""
        place = Place.of(repository)
        if not self._has(place, blob.digest):
            self._upload(place, self._begin(place, {}), blob)

    def tag(self, reference: str, manifest: Manifest) -> None:
        """See `Pusher.tag`."""
        self._name(reference, manifest)

    def attach(self, repository: str, manifest: Manifest) -> bool:
        """See `Pusher.attach`. A registry that lists what refers to an image says so with a header."""
        answer = self._name(f"{repository}@{Blob.of(manifest.body).digest}", manifest)
        return "OCI-Subject" in answer.headers

    def _name(self, reference: str, manifest: Manifest) -> urllib3.BaseHTTPResponse:
        place = Place.of(reference)
        headers = {"Content-Type": manifest.media_type}
        answer = self._client.send("PUT", place, f"manifests/{place.version}", headers=headers, body=manifest.body)
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.OK, HTTPStatus.ACCEPTED):
            raise _error(answer, place, "the manifest", answer.data)
        return answer

    def _has(self, place: Place, digest: str) -> bool:
        answer = self._client.send("HEAD", place, f"blobs/{digest}")
        if answer.status == HTTPStatus.NOT_FOUND:
            return False
        if answer.status == HTTPStatus.OK or answer.get_redirect_location():
            return True
        raise _error(answer, place, "the question for a blob")

    def _begin(self, place: Place, mount: dict[str, str]) -> str:
        """Begin an upload, and return where it goes on; "" where the blob was mounted and nothing is left to do."""
        query = f"?{urlencode(mount)}" if mount else ""
        answer = self._client.send("POST", place, f"blobs/uploads/{query}", headers={"Content-Length": "0"})
        if answer.status == HTTPStatus.CREATED and mount:
            return ""
        where = answer.headers.get("Location", "")
        if answer.status == HTTPStatus.ACCEPTED and where:
            return where
        if mount and not _may_pass(answer):  # what it does not mount it may still take
            return self._begin(place, {})
        raise _error(answer, place, "an upload", answer.data)

    def _upload(self, place: Place, where: str, blob: Blob) -> None:
        """Send a blob in one request; the registry keeps it only where it has the digest."""
        joined = "&" if "?" in where else "?"
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)}
        url = f"{where}{joined}{urlencode({'digest': blob.digest})}"
        answer = self._client.send("PUT", place, url, headers=headers, body=blob.pieces)
        if answer.status not in (HTTPStatus.CREATED, HTTPStatus.OK, HTTPStatus.NO_CONTENT):
            raise _error(answer, place, "a blob", answer.data)

    def _passed_on(self, place: Place, digest: str) -> Iterator[bytes]:
        """Yield a blob as it comes; raise `Unavailable` where it breaks off, is another, or takes too long."""
        end, seen = time.monotonic() + self._longest, hashlib.sha256()
        answer = self._client.read(place, f"blobs/{digest}")
        try:
            if answer.status != HTTPStatus.OK:
                raise unexpected(answer, place)
            for chunk in answer.stream(CHUNK):
                seen.update(chunk)
                if time.monotonic() > end:
                    raise Unavailable("registry", f"{place.host} takes too long for a blob of {place.repository}")
                yield chunk
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("registry", f"{place.host} broke off in the middle of {digest}") from error
        finally:
            answer.close()
        if f"sha256:{seen.hexdigest()}" != digest:
            raise Unavailable("registry", f"{place.host} sent something else than {digest}")

    def _small(self, answer: urllib3.BaseHTTPResponse, place: Place) -> bytes | None:
        """Return the body of an answer, or None where there is no such thing."""
        try:
            body, more = answer.read(SMALL), answer.read(1)
        except urllib3.exceptions.HTTPError as error:
            answer.close()
            raise Unavailable("registry", f"{place.host} broke off in the middle of its answer") from error
        if more:
            answer.close()
            raise Refused.because("/registry", f"{place.repository} has a config of more than {SMALL} bytes")
        answer.release_conn()
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status != HTTPStatus.OK:
            raise _error(answer, place, "a question", body)
        return body


def _may_pass(answer: urllib3.BaseHTTPResponse) -> bool:
    return answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status in _PASSING


def _error(answer: urllib3.BaseHTTPResponse, place: Place, what: str, body: bytes = b"") -> Refused | Unavailable:
    """Return the error for an answer: refused where it will be the same next time, whoever asks."""
    said = f"{place.host} answered {answer.status} to {what} of {place.repository}{_why(body)}"
    if answer.status in DENIED:
        return NotLetIn("registry", said)
    if _may_pass(answer):
        return Unavailable("registry", said)
    return Refused.because("/registry", said)


def _why(body: bytes) -> str:
    """Return what a registry says of its reasons, as the specification has errors."""
    try:
        errors = json.loads(body)["errors"]
        return ": " + "; ".join(f"{error['code']} {error.get('message', '')}".strip() for error in errors)[:SHOWN]
    except (ValueError, TypeError, KeyError):
        return ""


def _check(body: bytes, digest: str, place: Place) -> bytes:
    if Blob.of(body).digest != digest:
        raise Unavailable("registry", f"{place.host} sent something else than {digest}")
    return body
