"""The body of a request, up to a limit; what is beyond is read and thrown away.

Called by `app.py` and `deadletters.py`. A client that is still sending when it is answered may see a broken connection
instead of the answer, and a Broker takes that for no answer: it would bring the same too large event again and again.
"""

from contextlib import suppress
from typing import IO

from knative_lambda.schemas.errors import Malformed, TooLarge

PIECE = 64 * 1024
THROWN_AWAY = 64 * 1024 * 1024
"""Bytes beyond the limit that are read, so that the answer is heard."""


def whole(stream: IO[bytes], said: int | None, limit: int) -> bytes:
    """Return a body that is all there, never holding much beyond `limit` bytes, whatever its length is `said` to be.

    Raises `TooLarge` where it is over the limit, `Malformed` where it ends too soon.
    """
    too_large = TooLarge.because("body", f"is larger than {limit} bytes")
    if said is not None and said > limit:
        if said <= limit + THROWN_AWAY:
            throw_away(stream)
        raise too_large
    try:
        body, is_more = read(stream, limit)
    except Exception as error:  # the server's own exceptions of a client that stalled, left, or broke its chunks
        raise Malformed.because("body", "the request ended before its body did") from error
    if is_more:
        raise too_large
    if said is not None and len(body) < said:
        raise Malformed.because("body", "the request ended before its body did")
    return body


def read(stream: IO[bytes], limit: int) -> tuple[bytes, bool]:
    """Return the first `limit` bytes of a body, and whether there were more; raise what the stream raises till then."""
    body = bytearray()
    while len(body) <= limit and (piece := stream.read(PIECE)):
        body += piece
    if len(body) <= limit:
        return bytes(body), False
    throw_away(stream)
    return bytes(body[:limit]), True


def throw_away(stream: IO[bytes]) -> None:
    """Read what is left of a body, as far as anybody should; how that ends does not matter."""
    left = THROWN_AWAY
    with suppress(Exception):
        while left > 0 and (piece := stream.read(PIECE)):
            left -= len(piece)
