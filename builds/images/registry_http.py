"""An OCI registry over its HTTP API: what is asked of it, and nothing is pushed (`pusher_http.py` does).

Joined in `handler/wire.py`, behind `guard.py`.
"""

import json
import re
from http import HTTPStatus
from urllib.parse import urljoin

import urllib3

from knative_lambda.builds.images.registry_client import DENIED, Client, Place, RegistrySettings, denied, unexpected
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


class HttpRegistry:
    """Asks a registry; see `Client` for how it says who is asking."""

    def __init__(self, settings: RegistrySettings) -> None:
        self._client = Client(settings)

    def digest(self, reference: str) -> str | None:
        """See `Registry.digest`."""
        place = Place.of(reference)
        answer = self._client.send("HEAD", place, f"manifests/{place.version}", headers={"Accept": ACCEPT})
        if answer.status == HTTPStatus.NOT_FOUND:
            return None
        if answer.status in DENIED:
            raise denied(answer, place)
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status != HTTPStatus.OK or not digest.startswith("sha256:"):
            raise unexpected(answer, place)
        return digest

    def tags(self, repository: str) -> list[str]:
        """See `Registry.tags`."""
        place, found = Place.of(repository), list[str]()
        root = f"{self._client.root(place.host)}/"
        url = f"{root}v2/{place.repository}/tags/list"
        for _ in range(PAGES):
            answer = self._client.send("GET", place, url)
            if answer.status == HTTPStatus.NOT_FOUND:
                return found
            if answer.status in DENIED:
                raise denied(answer, place)
            if answer.status != HTTPStatus.OK:
                raise unexpected(answer, place)
            found += _tags(answer, place)
            more = _NEXT.search(answer.headers.get("Link", ""))
            if more is None:
                return found
            url = urljoin(url, more[1])
            if not url.startswith(root):
                raise Unavailable("registry", f"{place.host} sends elsewhere for more tags of {place.repository}")
        raise Unavailable("registry", f"{place.host} has more tags of {place.repository} than anybody reads")

    def referrers(self, repository: str, digest: str) -> list[str]:
        """See `Registry.referrers`. A registry without such lists answers with 404, and some with an empty one."""
        place = Place.of(repository)
        for path in (f"referrers/{digest}", f"manifests/{digest.replace(':', '-')}"):
            answer = self._client.send("GET", place, path, headers={"Accept": ACCEPT})
            if answer.status in DENIED:
                raise denied(answer, place)
            if answer.status not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
                raise unexpected(answer, place)
            if answer.status == HTTPStatus.OK and (found := _listed(answer, place)):
                return found
        return []

    def delete(self, repository: str, digest: str) -> None:
        """See `Registry.delete`."""
        place = Place.of(repository)
        answer = self._client.send("DELETE", place, f"manifests/{digest}")
        if answer.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT, HTTPStatus.NOT_FOUND):
            return
        if answer.status in (*DENIED, HTTPStatus.METHOD_NOT_ALLOWED):
            what = f"{place.repository}@{digest}"
            raise Refused.because("/image", f"{place.host} answered {answer.status} to the removal of {what}")
        raise unexpected(answer, place)


def _tags(answer: urllib3.BaseHTTPResponse, place: Place) -> list[str]:
    """Return the tags that an answer lists: none of a repository that has lost them all are ``null``."""
    try:
        return [str(tag) for tag in json.loads(answer.data)["tags"] or ()]
    except (ValueError, TypeError, KeyError) as error:
        raise Unavailable(
            "registry", f"{place.host} answered something else than the tags of {place.repository}"
        ) from error


def _listed(answer: urllib3.BaseHTTPResponse, place: Place) -> list[str]:
    """Return the digests in an index that an answer is."""
    try:
        return [str(entry["digest"]) for entry in json.loads(answer.data)["manifests"] or ()]
    except (ValueError, TypeError, KeyError) as error:
        said = f"{place.host} answered something else than what refers to an image of {place.repository}"
        raise Unavailable("registry", said) from error
