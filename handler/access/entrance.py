"""An entrance, and who is let in there: its modes tried in turn, then whether they come again, then the rights.

Called by `app.py` alone, at one place for events and one for ``/v1``.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from knative_lambda.deploy.reviews import Reviews, Right
from knative_lambda.handler.access.caller import Attempt, Authenticator, Caller
from knative_lambda.handler.access.open import Open
from knative_lambda.handler.access.operations import Operation
from knative_lambda.schemas.errors import Forbidden, Unauthenticated


@dataclass(frozen=True)
class Entrance:
    """The modes of one entrance, and who says what a known caller may (None where no mode asks the cluster)."""

    modes: Sequence[Authenticator]
    reviews: Reviews | None = None

    def caller(self, attempt: Attempt) -> Caller:
        """Return who asks, by the first mode that the request says something in.

        Raises `Unauthenticated` where it says nothing, or something wrong: a wrong answer is never made good by none.
        """
        try:
            for mode in self.modes:
                if caller := mode.caller(attempt):
                    return caller
        except Unauthenticated as error:
            raise Unauthenticated(str(error), self._challenge()) from error
        raise Unauthenticated("the request does not say who sent it", self._challenge())

    def once(self, caller: Caller) -> None:
        """Raise `Unauthenticated` where what a caller sent came before, and may come but once."""
        if caller.is_first is not None and not caller.is_first():
            raise Unauthenticated(f"a request of {caller.name} came again", self._challenge())

    def require(self, caller: Caller, operation: Operation | None, granted: set[Right] | None = None) -> None:
        """Raise `Forbidden` where a caller may not do that; None is what only those may who are trusted.

        What was `granted` before for the same request is not asked again, and what is granted now is added to it.
        """
        if not self._allows(caller, operation, set() if granted is None else granted):
            what = f"{'/'.join(operation.verbs)} {operation.resource} in {operation.tenant!r}" if operation else "this"
            raise Forbidden(f"{caller.name} ({caller.mode}) may not {what}")

    def _allows(self, caller: Caller, operation: Operation | None, granted: set[Right]) -> bool:
        if caller.trusted or operation is None:
            return caller.trusted
        if caller.identity is None or self.reviews is None:
            return operation.tenant in caller.tenants
        for right in operation.rights:
            if right not in granted and not self.reviews.may(caller.identity, right):
                return False
            granted.add(right)
        return True

    def _challenge(self) -> str:
        return ", ".join(dict.fromkeys(mode.challenge for mode in self.modes))


OPEN = Entrance((Open(),))
