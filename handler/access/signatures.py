"""The mode ``hmac``: requests that outside senders sign, as Standard Webhooks 1.0 has it (standardwebhooks.com).

``webhook-signature`` holds ``v1,<base64>`` of HMAC-SHA256 over ``<webhook-id>.<webhook-timestamp>.<body>``. The body
must hold the whole event, so CloudEvents' structured and batched modes are taken and binary mode, whose attributes are
headers that nobody signed, is not.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from knative_lambda.handler.access import keys
from knative_lambda.handler.access.caller import Attempt, Caller
from knative_lambda.handler.access.keys import Sender
from knative_lambda.handler.receive import intake
from knative_lambda.schemas.errors import Unauthenticated

WINDOW = 300
"""Seconds that the sender's clock and ours may differ, the way of the request included."""
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
SIGNATURES = 16
"""Signatures of one request at most: one for each key while a sender changes them."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
_SECONDS = re.compile(r"[0-9]{1,12}")


@dataclass(frozen=True)
class Signatures:
    """An `Authenticator` of whoever has a key; each signature is good for one request, see `Caller.is_first`."""

    folder: str
    """Of the keys; see `keys.py`."""
    is_first: Callable[[str], bool]
    """Takes the hash of what was signed and says whether it is the first time, in all processes; see `replays.py`."""
    now: Callable[[], datetime]
    challenge: str = 'Webhook-Signature realm="knative-lambda"'

    def caller(self, attempt: Attempt) -> Caller | None:
        """See `Authenticator.caller`."""
        if not any(name in attempt.headers for name in HEADERS):
            return None
        identifier, timestamp, given = (attempt.headers.get(name, "") for name in HEADERS)
        if not _ID.fullmatch(identifier) or not _SECONDS.fullmatch(timestamp):
            raise Unauthenticated("the headers of the signature are no such")
        if abs(self.now().timestamp() - int(timestamp)) > WINDOW:
            raise Unauthenticated("the signature is too old, or from a clock that is wrong")
        if not intake.is_structured(attempt.headers.get("content-type", "")):
            raise Unauthenticated("a signed event is in structured mode")
        signed = b".".join((identifier.encode(), timestamp.encode(), attempt.body()))
        sender = self._sender(signed, given)
        if sender is None:
            raise Unauthenticated("no key made this signature")
        digest = hashlib.sha256(b"\n".join((sender.name.encode(), signed))).hexdigest()
        return Caller(sender.name, "hmac", tenants=sender.tenants, is_first=partial(self.is_first, digest))

    def _sender(self, signed: bytes, given: str) -> Sender | None:
        """Return whose key made one of the signatures, looking at all of them whatever is found."""
        told = [one.removeprefix("v1,").encode() for one in given.split(" ") if one.startswith("v1,")][:SIGNATURES]
        found: Sender | None = None
        for sender in keys.senders(self.folder):
            for secret in sender.secrets:
                right = base64.b64encode(hmac.digest(secret, signed, "sha256"))
                if sum(hmac.compare_digest(right, one) for one in told) and found is None:
                    found = sender
        return found
