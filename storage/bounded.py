"""Reading no more than was asked for. Called by every store's `get`."""

from typing import Protocol

from knative_lambda.schemas.errors import TooLarge

_CHUNK = 1 << 20


class Readable(Protocol):
    """What bytes are read from."""

    def read(self, amount: int, /) -> bytes:
        """Return at most `amount` bytes, none at the end."""


def read(body: Readable, key: str, limit: int) -> bytes:
    """Return all of `body`, read piece by piece; raise `TooLarge` as soon as it has more than `limit` bytes."""
    pieces = []
    left = limit + 1
    while piece := body.read(min(left, _CHUNK)):
        pieces.append(piece)
        left -= len(piece)
        if left <= 0:
            raise TooLarge.because(key, f"has more than {limit} bytes")
    return b"".join(pieces)
