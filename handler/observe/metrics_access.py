"""The metrics behind the cluster's own yes: whoever reads them shows a token, and may ``get`` the path ``/metrics``.

Joined in `__main__.py` where that is wanted. It is what Prometheus and others of the cluster's tools know: the token is
the API server's own, and the right that of a ClusterRole with ``nonResourceURLs: ["/metrics"]``.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

from knative_lambda.deploy.reviews import Reviews, Right
from knative_lambda.handler.access.caller import Attempt
from knative_lambda.handler.access.tokens import CHALLENGE, Tokens
from knative_lambda.schemas.errors import ProductError, Unauthenticated

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
READ = Right("get", path="/metrics")
OWN = ""
"""The audience of the API server's own tokens."""
log = logging.getLogger(__name__)


def behind(reviews: Reviews, app: App) -> App:
    """Return an application that answers 401 or 403 to who may not, 503 where nobody can say, and else as `app`."""
    tokens = Tokens(reviews, OWN)

    def guarded(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        headers = {"authorization": environ.get("HTTP_AUTHORIZATION", "")}
        try:
            caller = tokens.caller(Attempt(headers, bytes))
            status = "401 Unauthorized"
            if caller is not None and caller.identity is not None:
                status = "" if reviews.may(caller.identity, READ) else "403 Forbidden"
        except Unauthenticated:
            status = "401 Unauthorized"
        except ProductError as error:
            log.warning("nobody says who may read the metrics: %s", error)
            status = "503 Service Unavailable"
        if not status:
            return app(environ, start_response)
        challenge = [("WWW-Authenticate", CHALLENGE)] if status.startswith("401") else []
        start_response(status, [("Content-Type", "text/plain"), *challenge])
        return [f"{status}\n".encode()]

    return guarded
