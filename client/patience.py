"""How long one who waits bears that nobody answers: a service that begins anew is back in a moment.

Called by `client.py`, `stream.py` and `commands/logs.py`, for what was answered before.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from knative_lambda.client.errors import Away

T = TypeVar("T")
AGAIN = 1.0
"""Seconds until the next question, where an answer does not say."""
MISSED = 30
"""Questions in a row that nobody answers, before it is given up."""
SECONDS = 120.0
"""Seconds without an answer after which no other question is asked, where each one hangs."""


def patiently(look: Callable[[], T], sleep: Callable[[float], None]) -> T:
    """Return what is seen, by as many looks as that takes; raise `Away` where too many in a row see nobody."""
    end = time.monotonic() + SECONDS
    for _ in range(MISSED - 1):
        try:
            return look()
        except Away:
            if time.monotonic() > end:
                raise
            sleep(AGAIN)
    return look()
