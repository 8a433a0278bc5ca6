"""What the answers of a Kubernetes API server mean to the product, as values.

Called by `kubernetes.py` alone. The texts looked for were seen on Kubernetes 1.34: some permanent refusals have no
other mark, and come with a status that promises better.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from knative_lambda.deploy.cluster import Object
from knative_lambda.schemas.errors import (
    AlreadyExists,
    Conflict,
    Fault,
    ProductError,
    Refused,
    Temporary,
    TooLarge,
    Unavailable,
)

OVER_ETCD_LIMIT = "request is too large"
"""Of an object over 1.5 MiB; status 500."""
NOT_IN_SCHEMA = "failed to create typed patch object"
"""Of an `apply` with an unknown field, or a value of another type; status 500."""
QUOTA_PASSES = ("exceeded quota", "status unknown for quota")
"""Of an object too many, and of one that nobody has counted yet: for minutes after a quota is made; status 403."""

_RETRY_SECONDS = 5


@dataclass(frozen=True)
class Answer:
    """A status, and the object that came with it: the one asked for, or a `Status` that says why not."""

    status: int
    body: Object
    retry_after: str = ""

    @classmethod
    def parse(cls, status: int, headers: Mapping[str, str], body: bytes) -> "Answer":
        """Return the answer that these bytes are; what is no object comes from something in front of the API server."""
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        if isinstance(parsed, dict):
            return cls(status, parsed, headers.get("Retry-After", ""))
        status = HTTPStatus.BAD_GATEWAY if _is_success(status) else status
        return cls(status, {"message": f"{status} {body[:200].decode(errors='replace')}"})

    @property
    def is_missing(self) -> bool:
        """Say whether there is no such object, or no such place."""
        return self.status == HTTPStatus.NOT_FOUND

    @property
    def is_hidden(self) -> bool:
        """Say whether the object may not be seen."""
        return self.status == HTTPStatus.FORBIDDEN

    @property
    def message(self) -> str:
        """Return the API server's own words."""
        return str(self.body.get("message") or f"status {self.status}")

    def object(self) -> Object:
        """Return the object; raise what else the answer means."""
        if not _is_success(self.status):
            raise self.error()
        return lean(self.body)

    def error(self) -> ProductError:
        """Return what an answer without the object means."""
        causes = (self.body.get("details") or {}).get("causes") or []
        if self.body.get("reason") == "AlreadyExists":
            return AlreadyExists(self.message)
        if self.status == HTTPStatus.CONFLICT or any(cause.get("field") == "metadata.uid" for cause in causes):
            return Conflict(self.message)
        if self.is_hidden and (any(words in self.message for words in QUOTA_PASSES) or _is_terminating(causes)):
            return Temporary(self.message)
        if self.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or OVER_ETCD_LIMIT in self.message:
            return TooLarge.because("cluster", self.message)
        if self._is_unavailable():
            wait = int(self.retry_after) if self.retry_after.isdecimal() else _RETRY_SECONDS
            return Unavailable("cluster", self.message, retry_after=wait)
        told = [Fault(cause.get("field") or "cluster", cause.get("message", "")) for cause in causes]
        return Refused(list(dict.fromkeys([Fault("cluster", self.message), *told])))

    def _is_unavailable(self) -> bool:
        """Say whether the API server was not able to judge: a token was rotated just now, a list has grown old."""
        passing = (HTTPStatus.UNAUTHORIZED, HTTPStatus.GONE, HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
        judged = HTTPStatus.BAD_REQUEST <= self.status < HTTPStatus.INTERNAL_SERVER_ERROR
        return self.status in passing or not (judged or NOT_IN_SCHEMA in self.message)


def lean(obj: Object) -> Object:
    """Return the object without the bookkeeping of who set which field, which is most of its bytes."""
    metadata = {key: value for key, value in (obj.get("metadata") or {}).items() if key != "managedFields"}
    return obj | {"metadata": metadata}


def _is_success(status: int) -> bool:
    return HTTPStatus.OK <= status < HTTPStatus.MULTIPLE_CHOICES


def _is_terminating(causes: list[Object]) -> bool:
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
