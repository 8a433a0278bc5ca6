"""The `Store` port: where contexts, logs and tombstones lie.

Called by `builds` (contexts, logs) and `handler` (tombstones). Each vendor has a file of its own
beside this one; `factory.py` chooses by URL, and one contract suite runs on them all.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Stored:
    """What a store knows of an object: its key, its size in bytes, when it was last written (UTC)."""

    key: str
    size: int
    modified: datetime


DENIED = frozenset(
    {
        "AccessDenied",
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "ExpiredToken",
        "InvalidToken",
        "XAdminUserNotFound",
        "401",
        "403",
    }
)
"""What S3 servers answer to keys that they do not take; the answer to a HEAD says only the status."""


class Store(Protocol):
    """A flat map of keys to bytes.

    A key is one or more segments of ``[A-Za-z0-9._=-]`` joined by ``/``; no segment is ``.`` or ``..``. `BadKey`
    otherwise, before anything is sent. No key may be the folder of another: a store on a file system raises `BadKey`.
    Every method raises `Unavailable` ("store") when the store does not answer, `NotLetIn` where it does not take our
    keys; "not found" is an answer.
    """

    def put(self, key: str, body: bytes) -> None:
        """Write `body` under `key`; a reader sees the old bytes or the new ones, never a part."""

    def get(self, key: str, *, limit: int) -> bytes | None:
        """Return the bytes under `key`, or None; raise `TooLarge` where there are more than `limit`."""

    def stat(self, key: str) -> Stored | None:
        """Return what is known of `key`, or None."""

    def delete(self, key: str) -> None:
        """Remove `key`; already gone is success."""

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """Yield what lies under the keys that start with `prefix` and follow `after`, in the keys' order, page by page.

        A name in the store that is no key is left out. What is written or deleted meanwhile may be seen or not.
        """

    def presign(self, key: str, *, seconds: int) -> str:
        """Return an URL that reads `key` and nothing else for `seconds` (at most 7 days), without credentials.

        It reaches as far as the store does: a folder's is ``file://…``, and one in memory only names the key.
        """


class BadKey(ValueError):
    """A key that no store could hold: a bug of the caller, or an id that was not checked."""
