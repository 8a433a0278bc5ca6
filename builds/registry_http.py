"""An OCI registry over its HTTP API: the one question that is asked of it, with a HEAD.

Joined in `handler/wire.py`, behind the guard. urllib3's own retries are off: trying again is the guard's business.
"""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

import urllib3

from knative_lambda.schemas.errors import Unavailable

ACCEPT = ", ".join(
    f"application/vnd.{kind}+json"
    for kind in (
        "oci.image.manifest.v1",
        "oci.image.index.v1",
        "docker.distribution.manifest.v2",
        "docker.distribution.manifest.list.v2",
    )
)


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
        scheme = "http" if self._settings.insecure else "https"
        url = f"{scheme}://{host}/v2/{repository}/manifests/{version}"
        try:
            response = self._http.request("HEAD", url, headers={"Accept": ACCEPT, **self._credentials(host)})
        except urllib3.exceptions.HTTPError as error:
            raise Unavailable("registry", f"{host} did not answer: {type(error).__name__}") from error
        if response.status == 404:  # noqa: PLR2004 (the registry's "there is none")
            return None
        digest = response.headers.get("Docker-Content-Digest", "")
        if response.status >= 300 or not digest.startswith("sha256:"):  # noqa: PLR2004 (whatever is no success)
            raise Unavailable("registry", f"{host} answered {response.status} for {repository}")
        return digest

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


def _split(reference: str) -> tuple[str, str, str]:
    """Split ``host/repository:tag`` or ``host/repository@digest``."""
    name, _, digest = reference.partition("@")
    host, _, path = name.partition("/")
    repository, _, tag = path.partition(":")
    return host, repository, digest or tag or "latest"
