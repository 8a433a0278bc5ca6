"""The modes ``token`` and ``oidc``: a token of the cluster's in ``Authorization: Bearer``, made for this service.

Knative's identities are tokens of ServiceAccounts, too: the API server knows them, their end, and whether whoever has
one is still there, so no keys are fetched and no library reads them.
"""

import re
from dataclasses import dataclass

from knative_lambda.deploy.reviews import Identity, Reviews
from knative_lambda.handler.access.caller import Attempt, Caller
from knative_lambda.schemas.errors import Unauthenticated

_BEARER = re.compile(r"bearer +([A-Za-z0-9._~+/-]+=*) *", re.IGNORECASE)
CHALLENGE = 'Bearer realm="knative-lambda"'
LONGEST = 16 * 1024
"""Characters of a token at most: one that bears a user's groups has a few thousand."""


@dataclass(frozen=True)
class Tokens:
    """An `Authenticator` of people and tools; the cluster says what each of them may."""

    reviews: Reviews
    audience: str
    """Whom a token must be made for, so that one which is sent here opens nothing else, and the other way round."""
    challenge: str = CHALLENGE

    def caller(self, attempt: Attempt) -> Caller | None:
        """See `Authenticator.caller`."""
        identity = _identity(self.reviews, self.audience, attempt)
        return Caller(identity.name, "token", identity) if identity else None


@dataclass(frozen=True)
class Deliveries:
    """An `Authenticator` of the Brokers of a namespace, which deliver as ServiceAccounts of it.

    That says who brought an event. Who may give one to a Broker is said by the EventPolicy there, so what one of these
    brings is trusted. A token of anybody else is left to the next mode.
    """

    reviews: Reviews
    audience: str
    namespace: str
    """Of the Brokers."""
    challenge: str = CHALLENGE

    def caller(self, attempt: Attempt) -> Caller | None:
        """See `Authenticator.caller`."""
        identity = _identity(self.reviews, self.audience, attempt)
        if identity is None or not identity.name.startswith(f"system:serviceaccount:{self.namespace}:"):
            return None
        return Caller(identity.name, "oidc", identity, trusted=True)


def _identity(reviews: Reviews, audience: str, attempt: Attempt) -> Identity | None:
    header = attempt.headers.get("authorization", "")
    if not header:
        return None
    found = _BEARER.fullmatch(header)
    if found is None or len(header) > LONGEST:
        raise Unauthenticated("the header Authorization holds no bearer token")
    identity = reviews.who(found[1], audience)
    if identity is None:
        raise Unauthenticated("the token is unknown, has ended, or is for somebody else")
    return identity
