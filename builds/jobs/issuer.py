"""The `Issuer` port: what says to a registry who may do what there, and for how long.

Called by `kaniko.py`, for what a build's Pod holds, and by `registry_client.py`, for each request of our own. There is
one where the registry believes tokens that we sign (`issuer_jwt.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

PULL = ("pull",)
PUSH = ("pull", "push")
DELETE = ("pull", "delete")


@dataclass(frozen=True)
class Grant:
    """What may be done with one repository; `repository` is its name in the registry, without the host."""

    repository: str
    actions: tuple[str, ...] = PULL


class Issuer(Protocol):
    """Mints tokens for one registry, without asking anybody."""

    @property
    def host(self) -> str:
        """Return the host, with its port, of the registry that believes the tokens."""

    def token(self, grants: Sequence[Grant], *, seconds: int) -> str:
        """Return a token for just these, `seconds` from now on.

        Raises `Unavailable` ("registry") where the key cannot be read.
        """
