"""An OCI registry over its HTTP API: what is asked of it, and nothing is pushed.

Joined in `handler/wire.py`, behind `guard.py`. urllib3's own retries are off: trying again is the guard's business.
"""

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin

import urllib3

from knative_lambda.schemas.errors import Refused, Unavailable

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)
PAGES = 100
"""Pages of one list that are read."""
_NEXT = re.compile(r'<([^>]+)>\s*;\s*rel="?next"?')


@dataclass(frozen=True)
class RegistrySettings:
    """How the registry is reached."""

    insecure: bool = False
    """Speak plain HTTP."""
    config: Path | None = None
    """A docker ``config.json`` with the credentials, read anew at each request so that a rotation is seen."""
    timeout: float = 5.0
    """Seconds that one request may take."""


class HttpRegistry:
    """Asks a registry; basic authentication where the config holds the host, none otherwise."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._http = urllib3.PoolManager(timeout=settings.timeout, retries=False, maxsize=10)

    def digest(self, reference: str) -> str | None:
        """See `Registry.digest`."""
        host, repository, version = _split(reference)
        url = f"{self._root(host)}/v2/{repository}/manifests/{version}"
        response = self._send("HEAD", host, url, {"Accept": ACCEPT})
        if response.status == HTTPStatus.NOT_FOUND:
            return None
        digest = response.headers.get("Docker-Content-Digest", "")
        if response.status != HTTPStatus.OK or not digest.startswith("sha256:"):
            raise _unexpected(response, host, repository)
        return digest

    def tags(self, repository: str) -> list[str]:
        """See `Registry.tags`."""
        host, name, _ = _split(repository)
        url, found = f"{self._root(host)}/v2/{name}/tags/list", list[str]()
        for _ in range(PAGES):
            response = self._send("GET", host, url)
            if response.status == HTTPStatus.NOT_FOUND:
                return found
            if response.status != HTTPStatus.OK:
                raise _unexpected(response, host, name)
            found += _tags(response, host, name)
            more = _NEXT.search(response.headers.get("Link", ""))
            if more is None:
                return found
            url = urljoin(url, more[1])
            if not url.startswith(f"{self._root(host)}/"):  # the credentials are for nobody else
                raise Unavailable("registry", f"{host} sends elsewhere for more tags of {name}")
        raise Unavailable("registry", f"{host} has more tags of {name} than anybody reads")

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`."""
        host, name, _ = _split(repository)
        response = self._send("DELETE", host, f"{self._root(host)}/v2/{name}/manifests/{digest}")
        if response.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return
        if response.status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.METHOD_NOT_ALLOWED):
            raise Refused.because("/image", f"{host} answered {response.status} to the removal of {name}@{digest}")
        raise _unexpected(response, host, name)

    def _root(self, host: str) -> str:
        return f"{'http' if self._settings.insecure else 'https'}://{host}"

    def _send(
        self, method: str, host: str, url: str, headers: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        sent = {**(headers or {}), **self._credentials(host)}
        try:
            return self._http.request(method, url, headers=sent, redirect=False)
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("registry", f"{host} did not answer: {type(error).__name__}") from error

    def _credentials(self, host: str) -> dict[str, str]:
        if self._settings.config is None:
            return {}
        entry = json.loads(self._settings.config.read_bytes()).get("auths", {}).get(host, {})
        auth = entry.get("auth") or (
            base64.b64encode(f"{entry['username']}:{entry['password']}".encode()).decode()
            if "username" in entry
            else ""
        )
        return {"Authorization": f"Basic {auth}"} if auth else {}


def _tags(response: urllib3.BaseHTTPResponse, host: str, repository: str) -> list[str]:
    """Return the tags that an answer lists: none of a repository that has lost them all are ``null``."""
    try:
        return [str(tag) for tag in json.loads(response.data)["tags"] or ()]
    except (ValueError, TypeError, KeyError) as error:
        raise Unavailable("registry", f"{host} answered something else than the tags of {repository}") from error


def _unexpected(response: urllib3.BaseHTTPResponse, host: str, repository: str) -> Unavailable:
    return Unavailable("registry", f"{host} answered {response.status} for {repository}")


def _split(reference: str) -> tuple[str, str, str]:
    """Split ``host/repository:tag`` or ``host/repository@digest``."""
    name, _, digest = reference.partition("@")
    host, _, path = name.partition("/")
    repository, _, tag = path.partition(":")
    return host, repository, digest or tag or "latest"
