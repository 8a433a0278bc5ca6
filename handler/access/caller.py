"""Who asks: the port `Authenticator`, what it looks at, and what it says.

Each mode (`open.py`, `tokens.py`, `signatures.py`) is one; `entrance.py` tries those of an entrance in turn.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from knative_lambda.deploy.reviews import Identity


@dataclass(frozen=True)
class Attempt:
    """A request before it is known who sent it."""

    headers: Mapping[str, str]
    """By name, in small letters."""
    body: Callable[[], bytes]
    """Reads the body, once; not before somebody needs it. Raises `Refused` where it is too large or has no end."""


@dataclass(frozen=True)
class Caller:
    """Whoever asks, as far as it is known."""

    name: str
    mode: str
    """How it is known."""
    identity: Identity | None = None
    """Of whom the cluster knows, and says what they may."""
    tenants: frozenset[str] = frozenset()
    """For whom the caller may do everything, without asking the cluster."""
    trusted: bool = False
    """Whether everything is allowed: somebody else has judged it before it came here."""
    is_first: Callable[[], bool] | None = field(default=None, compare=False)
    """Says whether what they sent came for the first time, where that has to be known; it costs the cluster a write."""


class Authenticator(Protocol):
    """One mode of saying who one is."""

    @property
    def challenge(self) -> str:
        """Return what ``WWW-Authenticate`` says of it, "" where nothing is asked."""

    def caller(self, attempt: Attempt) -> Caller | None:
        """Return who asks, None where the request says nothing in this mode; raise `Unauthenticated` if it is wrong."""
