"""The `Reviews` port: what a cluster says of a token, and of what somebody may do.

Asked by `handler/access`. `reviews_kubernetes.py` asks an API server; a fake of the tests passes the same contract.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Identity:
    """Whom a cluster knows by a token: all of it, since an authorizer may look at any part."""

    name: str
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """More that the cluster knows, by key."""


@dataclass(frozen=True)
class Right:
    """A verb on one of the product's resources (`functions`, `builds`, `deadletters`), or on another path."""

    verb: str
    resource: str = ""
    namespace: str = ""
    """Where; "" asks for the right everywhere."""
    name: str = ""
    """Of one object; "" asks for the right on all."""
    path: str = ""
    """Of what is served and is no object, such as ``/metrics``; the others are "" then."""


class Reviews(Protocol):
    """What the product asks of a cluster about others.

    Both raise `Unavailable` ("cluster") where there is no answer, or where the product may not ask.
    """

    def who(self, token: str, audience: str) -> Identity | None:
        """Return whom a token made for `audience` stands for, or None where it does for nobody, or no longer.

        "" are the API server's own tokens.
        """

    def may(self, identity: Identity, right: Right) -> bool:
        """Say whether somebody has a right."""
