"""`Reviews` that know what they are told; `deploy/test_reviews_contract.py` holds them to the real ones."""

from dataclasses import dataclass, field

from knative_lambda.deploy.reviews import Identity, Right
from knative_lambda.schemas.errors import Unavailable


def account(namespace: str, name: str) -> Identity:
    """Return whom the cluster knows by a token of a ServiceAccount."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return Identity(f"system:serviceaccount:{namespace}:{name}", f"uid-of-{name}", groups)


@dataclass
class FakeReviews:
    """Tokens and rights of a cluster."""

    tokens: dict[tuple[str, str], Identity] = field(default_factory=dict)
    """By the token, and whom it is for."""
    rights: set[tuple[str, str, str, str]] = field(default_factory=set)
    """User, verb, resource or path, namespace ("" for all of them)."""
    asked: list[object] = field(default_factory=list)
    is_away: bool = False

    def give(self, identity: Identity, audience: str) -> str:
        """Return a token."""
        token = f"token-{len(self.tokens)}.{identity.name.rpartition(':')[2]}"
        self.tokens[token, audience] = identity
        return token

    def allow(self, identity: Identity, verb: str, resource: str, namespace: str) -> None:
        self.rights.add((identity.name, verb, resource, namespace))

    def who(self, token: str, audience: str) -> Identity | None:
        self._ask(token)
        return self.tokens.get((token, audience))

    def may(self, identity: Identity, right: Right) -> bool:
        self._ask(right)
        places = {right.namespace, ""}
        return any((identity.name, right.verb, right.resource or right.path, place) in self.rights for place in places)

    def _ask(self, question: object) -> None:
        self.asked.append(question)
        if self.is_away:
            raise Unavailable("cluster", "it is down")
