"""The `Hook` port: where webhooks are posted to, and the signature that says who posts.

Called by `courier.py` alone, in a thread of each webhook's own. Signed as Standard Webhooks 1.0 has it
(https://www.standardwebhooks.com), and in CloudEvents' structured mode: the signature is over the body, and so over the
whole event.
"""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import urllib3

from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.handler.access import keys
from knative_lambda.handler.tell import telling
from knative_lambda.schemas.errors import Temporary, Unsent
from knative_lambda.schemas.tls import NOWHERE, Connections

TIMEOUT = 5.0
"""Seconds that a webhook has to answer."""


class Hook(Protocol):
    """What the product asks of webhooks."""

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Post an event and return the status of the answer, whatever it is.

        Raises `Temporary` where there was none, or the address may not be reached from here.
        """


class HttpHook:
    """A `Hook` over HTTP; it follows no redirect, and reads of an answer its status alone.

    `reach` says which addresses it may be, and `trust` is as in `tls.py`.
    """

    def __init__(self, reach: Reach, trust: Path = NOWHERE, timeout: float = TIMEOUT) -> None:
        self._connections = Connections(trust, timeout, https=True, pool=reach.pool)

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """See `Hook.post`."""
        try:
            answer = self._connections.pool.request(
                "POST", url, headers=headers, body=body, redirect=False, preload_content=False
            )
        except Unsent as error:
            raise Temporary(error.faults[0].message) from error
        except OSError as error:
            raise Temporary(f"the certificates cannot be read: {error.strerror}") from error
        except urllib3.exceptions.HTTPError as error:
            raise Temporary(f"no answer from {urlsplit(url).netloc}: {type(error).__name__}") from error
        answer.close()
        return int(answer.status)


def secrets(folder: Path, name: str) -> list[bytes]:
    """Return the secrets that a webhook's events are signed with: a ``whsec_…`` a line, read anew each time.

    Raises `Temporary` where there is none that can be used: it may be on its way.
    """
    try:
        found = [keys.secret(line) for line in (folder / name).read_text().split()]
    except (OSError, ValueError) as error:
        raise Temporary(f"its key cannot be read: {type(error).__name__}") from None  # it would quote the key
    if not found:
        raise Temporary("its key is empty")
    return found


def signed(identity: str, moment: datetime, body: bytes, by: Sequence[bytes]) -> dict[str, str]:
    """Return the headers of an event in structured mode, signed by each of these secrets.

    `identity` is the same however often the event is sent, and has no full stop: that separates what is signed.
    """
    seconds = str(int(moment.timestamp()))
    text = b".".join((identity.encode(), seconds.encode(), body))
    made = [base64.b64encode(hmac.digest(secret, text, hashlib.sha256)).decode() for secret in by]
    return {
        "content-type": telling.STRUCTURED,
        "webhook-id": identity,
        "webhook-timestamp": seconds,
        "webhook-signature": " ".join(f"v1,{each}" for each in made),
        "user-agent": "knative-lambda",
    }
