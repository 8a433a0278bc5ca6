"""The errors every room raises, named for what the caller should do next.

    ProductError
    ├── Refused          the same request will never be accepted: mend it (422)
    │   ├── Malformed    it is not even a CloudEvent (400)
    │   ├── TooLarge     it is over a limit (413)
    │   └── Unsent       no dependency was asked about it
    ├── Denied           who asks may not, whatever the request says; they are told no more
    │   ├── Unauthenticated  nobody here knows who asks (401)
    │   └── Forbidden    who asks has no right to it (403)
    ├── NotNow           not to the thing as it is: look at it again (409)
    └── Temporary        the same request may be accepted later: send it again (503)
        ├── Unavailable  a dependency did not answer, or its breaker is open
        │   ├── Untrusted  somebody answered of whom nobody here says who it is
        │   └── NotLetIn   it answered that it does not know us, or not for this: credentials may be on their way
        ├── TooMany      more came at once than may (429)
        ├── Conflict     somebody else wrote the object first
        └── AlreadyExists  the name is taken

Anything else that is raised is a bug (500). Vendor exceptions end in the adapter that called the vendor.
"""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a request.

    `where` is a CloudEvents attribute name, or a JSON pointer into the event's data (``/data/source``).
    """

    where: str
    message: str


class ProductError(Exception):
    """The root of all errors that the product raises on purpose."""


class Refused(ProductError):
    """The request can never be accepted as it is; `faults` names everything that is wrong with it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.where}: {fault.message}" for fault in self.faults))

    @classmethod
    def because(cls, where: str, message: str) -> "Refused":
        """Return the error for a single fault."""
        return cls([Fault(where, message)])


class Malformed(Refused):
    """The request is no CloudEvent."""


class TooLarge(Refused):
    """The request, or something that it carries, is over a limit."""


class Unsent(Refused):
    """Refused before anything was sent: it says nothing about the dependency that would have been asked."""


class Denied(ProductError):
    """Who asks may not; its text is for the log alone."""


class Unauthenticated(Denied):
    """It is not known who asks; `challenge` is what a ``WWW-Authenticate`` says of how they could tell."""

    def __init__(self, message: str, challenge: str = "") -> None:
        self.challenge = challenge
        super().__init__(message)


class Forbidden(Denied):
    """It is known who asks, and they have no right to it, whether or not it is there."""


class NotNow(ProductError):
    """What is asked for cannot be done to the thing as it is; `allowed` are the actions that can."""

    def __init__(self, message: str, allowed: Sequence[str]) -> None:
        self.allowed = tuple(allowed)
        super().__init__(message)


class Temporary(ProductError):
    """The request may succeed later; `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 5) -> None:
        self.retry_after = retry_after
        super().__init__(message)


class Unavailable(Temporary):
    """A dependency (one of `guard.DEPENDENCIES`) did not answer, or its breaker is open."""

    def __init__(self, dependency: str, message: str, *, retry_after: int = 5) -> None:
        self.dependency = dependency
        super().__init__(f"{dependency}: {message}", retry_after=retry_after)


class Untrusted(Unavailable):
    """Who answers in a dependency's place shows a certificate from nobody that is trusted here."""


class TooMany(Temporary):
    """More came than may at once, of this sort or in all."""


class NotLetIn(Unavailable):
    """A dependency answered, and does not take our credentials; those that replace them may arrive within a minute."""


class Conflict(Temporary):
    """The object was changed since it was read: read it again."""


class AlreadyExists(Temporary):
    """An object of that name exists: read it, and see whose it is."""
