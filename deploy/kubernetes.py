"""The `Cluster` port over a Kubernetes API server.

Joined by `handler` when it runs on a cluster. Objects travel as plain JSON over urllib3, and the API server validates
them (`fieldValidation=Strict`): the models of the `kubernetes` package refuse fields that they don't know, and cost
memory and time (decision 34). Nothing is retried here, and every request ends in time.
"""

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import islice
from pathlib import Path
from urllib.parse import urlencode

from urllib3 import BaseHTTPResponse, Timeout
from urllib3.exceptions import HTTPError

from knative_lambda.deploy import access
from knative_lambda.deploy.answers import Answer, lean
from knative_lambda.deploy.cluster import POD, Kind, Object, Page
from knative_lambda.deploy.objects import check, check_address, check_labels, check_new, check_read
from knative_lambda.schemas.errors import Conflict, Unavailable

_HEADERS = {"User-Agent": "knative-lambda", "Accept": "application/json", "Content-Type": "application/json"}
_WRITE = {"fieldManager": "knative-lambda", "fieldValidation": "Strict"}
_HEADS_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_PAGE = 500
_CHUNK_BYTES = 64 * 1024
# the first: nothing was written yet; the second: the container has not started
_NO_LOG = (HTTPStatus.NO_CONTENT, HTTPStatus.BAD_REQUEST, HTTPStatus.NOT_FOUND)


@dataclass(frozen=True)
class KubernetesSettings:
    """Which API server, and how it is spoken to."""

    kubeconfig: str = ""
    """Path of a kubeconfig. Default: the pod's own ServiceAccount or, outside of a pod, what kubectl would take."""
    context: str = ""
    """Name of a context in the kubeconfig. Default: its current one."""
    timeout: float = 10.0
    """Seconds that the API server has to answer: less than a Trigger's 30, so that there is time left to say 503."""
    connections: int = 16
    """Connections kept open: no fewer than the threads that call, or some connect anew for every request."""
    account: str = access.ACCOUNT
    """The folder of the pod's ServiceAccount."""


class KubernetesCluster:
    """A `Cluster` that is one; any thread may call it."""

    def __init__(self, settings: KubernetesSettings | None = None) -> None:
        settings = settings or KubernetesSettings()
        self._timeout = Timeout(total=settings.timeout)
        self._access = _access(settings)

    def close(self) -> None:
        """Close the connections."""
        self._access.connections.clear()

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None where there is none or it may not be seen."""
        answer = self._send("GET", _path(kind, namespace, name))
        return None if answer.is_missing or answer.is_hidden else answer.object()

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that `list` does, of each its kind and metadata alone."""
        return list(self._items(kind, namespace, labels or {}, {"Accept": _HEADS_ALONE}, _PAGE))

    def page(self, kind: Kind, namespace: str, labels: Mapping[str, str], *, most: int, after: str = "") -> Page:
        """Return `most` of the objects that `list` does, from where an earlier page says."""
        return self._page(kind, namespace, labels, {}, (most, after))

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        """Return the objects of a namespace whose labels include `labels`, by name: the first `most`, all for 0."""
        return list(islice(self._items(kind, namespace, labels or {}, {}, most or _PAGE), most or None))

    def create(self, kind: Kind, body: Object) -> Object:
        """Create the object and return it as stored; raise `AlreadyExists` where the name is taken."""
        namespace, _ = check_new(kind, body)
        return self._send("POST", _path(kind, namespace), _WRITE, body).object()

    def replace(self, kind: Kind, body: Object) -> Object:
        """Write metadata and spec of an object that was read before."""
        return self._put(_path(kind, *check_read(kind, body)), body)

    def replace_status(self, kind: Kind, body: Object) -> Object:
        """Write the status of an object that was read before, and nothing else."""
        return self._put(_path(kind, *check_read(kind, body)) + "/status", body)

    def apply(self, kind: Kind, body: Object) -> Object:
        """Write the fields of `body` as ours."""
        path, query = _path(kind, *check(kind, body)), _WRITE | {"force": "true"}
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self._send("PATCH", path, query, body, headers).object()

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, version: str = "") -> None:
        """Delete the object and, in the background, what it owns; already gone is success."""
        # without a policy a Job leaves its Pod behind, running
        options: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        preconditions = {"uid": uid, "resourceVersion": version}
        options["preconditions"] = {key: value for key, value in preconditions.items() if value}
        answer = self._send("DELETE", _path(kind, namespace, name), body=options)
        if not answer.is_missing:
            answer.object()

    def pod_log(self, namespace: str, pod: str, container: str, *, limit: int, seconds: int = 0) -> bytes | None:
        """Return the last `limit` bytes at most of a container's log, or None where there is none to read."""
        # limitBytes would give the first bytes; as a line has at least one byte, the last `limit` lines are enough
        query = {"container": container, "tailLines": str(limit), "sinceSeconds": str(seconds or "")}
        with self._open("GET", _path(POD, namespace, pod) + "/log", query) as response:
            if response.status in _NO_LOG:
                return None
            if response.status != HTTPStatus.OK:
                raise Answer.parse(response.status, response.headers, response.data).error()
            tail = bytearray()
            for chunk in response.stream(_CHUNK_BYTES):
                tail += chunk
                del tail[: max(0, len(tail) - limit)]
            return bytes(tail)

    def review(self, kind: Kind, spec: Object) -> Object:
        """Return the status of a review, a question that the API server answers and does not keep."""
        body = {"apiVersion": kind.api_version, "kind": kind.kind, "spec": spec}
        status: Object = self._send("POST", _path(kind, ""), _WRITE, body).object()["status"]
        return status

    def _items(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], headers: Mapping[str, str], page_size: int
    ) -> Iterator[Object]:
        page = self._page(kind, namespace, labels, headers, (page_size, ""))
        yield from page.items
        while page.after:
            page = self._page(kind, namespace, labels, headers, (page_size, page.after))
            yield from page.items

    def _page(
        self,
        kind: Kind,
        namespace: str,
        labels: Mapping[str, str],
        headers: Mapping[str, str],
        place: tuple[int, str],
    ) -> Page:
        check_labels(labels)
        selector = ",".join(f"{key}={value}" for key, value in labels.items())
        query = {"limit": str(place[0]), "labelSelector": selector, "continue": place[1]}
        answer = self._send("GET", _path(kind, namespace), query, headers=headers)
        if answer.status == HTTPStatus.GONE and (now := (answer.body.get("metadata") or {}).get("continue")):
            # what there was when the first page was read is forgotten after minutes: go on with what there is now
            answer = self._send("GET", _path(kind, namespace), query | {"continue": now}, headers=headers)
        found = answer.object()
        # an item of a list does not say what it is, and one without its content calls itself something else
        items = [lean(item) | {"apiVersion": kind.api_version, "kind": kind.kind} for item in found["items"] or ()]
        return Page(items, found["metadata"].get("continue", ""))

    def _put(self, path: str, body: Object) -> Object:
        answer = self._send("PUT", path, _WRITE, body)
        if answer.is_missing:
            raise Conflict(answer.message)
        return answer.object()

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        with self._open(method, path, query, body, headers) as response:
            return Answer.parse(response.status, response.headers, response.data)

    @contextlib.contextmanager
    def _open(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Object | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Iterator[BaseHTTPResponse]:
        given = urlencode({key: value for key, value in (query or {}).items() if value})
        url = f"{self._access.url}{path}?{given}"
        sent = None if body is None else json.dumps(body).encode()
        try:
            whole = _HEADERS | dict(headers or {}) | {"Authorization": self._access.authorization()}
            response = self._access.connections.request(
                method,
                url,
                body=sent,
                headers={name: value for name, value in whole.items() if value},
                timeout=self._timeout,
                redirect=False,
                preload_content=False,
            )
            with contextlib.closing(response):
                yield response
        except (HTTPError, OSError) as error:
            raise Unavailable("cluster", f"{method} {path}: {error}") from error


def _access(settings: KubernetesSettings) -> access.Access:
    if not settings.kubeconfig and (found := access.of_pod(Path(settings.account), settings.connections)):
        return found
    return access.of_kubeconfig(settings.kubeconfig, settings.context, settings.connections)


def _path(kind: Kind, namespace: str, name: str | None = None) -> str:
    check_address(kind, namespace, name)
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    place = f"/namespaces/{namespace}" if kind.namespaced else ""
    return f"{root}{place}/{kind.plural}" + (f"/{name}" if name else "")
