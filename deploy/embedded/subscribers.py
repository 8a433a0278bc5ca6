"""Where a Trigger's events go: its subscriber or dead-letter sink, found in the cluster and spoken to.

Used by `eventing.py` and `readiness.py`. A Knative Service is asked through `Serving`, everything else by its URL.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from knative_lambda.deploy.cluster import KNATIVE_SERVICE, Cluster, Object
from knative_lambda.deploy.embedded.transport import Request, Response, send

Call = Callable[[str, str, Request], Response]
"""Sends a request to the Knative Service of a namespace and name; may raise `NoAnswer`."""


class Unresolved(Exception):
    """A Destination that leads nowhere; the text says why."""


@dataclass(frozen=True)
class Target:
    """A place that takes events: an URL, the request's path there, and for a Knative Service its namespace and name."""

    url: str
    path: str = "/"
    service: tuple[str, str] | None = None


class Subscribers:
    """Resolves Destinations (`ref`, `uri` or both) and sends requests to them."""

    def __init__(self, cluster: Cluster, call: Call) -> None:
        self._cluster = cluster
        self._call = call

    def resolve(self, destination: Object, namespace: str) -> Target:
        """Return where a Destination of an object in `namespace` leads; raise `Unresolved`."""
        ref, uri = destination.get("ref"), destination.get("uri", "")
        if not ref:
            if not uri:
                raise Unresolved("neither ref nor uri")
            parts = urlsplit(uri)
            return Target(uri, (parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
        if (ref.get("apiVersion"), ref.get("kind")) != (KNATIVE_SERVICE.api_version, KNATIVE_SERVICE.kind):
            raise Unresolved(f"the embedded mode can't send to a {ref.get('apiVersion')} {ref.get('kind')}")
        service = (ref.get("namespace", namespace), ref["name"])
        found = self._cluster.get(KNATIVE_SERVICE, *service)
        if found is None:
            raise Unresolved(f'services.serving.knative.dev "{service[1]}" not found')
        url = found.get("status", {}).get("address", {}).get("url", "")
        if not url:
            raise Unresolved(f"service {'/'.join(service)} has no address yet")
        path = "/" + uri.lstrip("/")
        return Target(url + path if uri else url, path, service)

    def send(self, target: Target, request: Request) -> Response:
        """Send a request to a target, to the path that the target says; raise `NoAnswer`."""
        request = replace(request, path=target.path)
        return self._call(*target.service, request) if target.service else send(target.url, request)
