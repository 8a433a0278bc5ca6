"""JSON from strangers: bounded before it is parsed, and refused where two readers could take it for two things.

Called by `intake.py` for envelopes and for data. It knows nothing of events.
"""

import json
import math
import re
from collections import Counter
from typing import Any

INTEGER_DIGITS = 64
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class NotJson(ValueError):
    """The bytes are no JSON that we take; the message says why and where."""


class TooManyValues(ValueError):
    """There are more values in it than we take."""


def parse(body: bytes, *, depth: int, values: int) -> Any:
    """Return what `body` says: UTF-8 (RFC 8259), nested `depth` deep at most, with about `values` values at most.

    Raises `NotJson` and `TooManyValues`; both limits are measured on the bytes, before anything is built from them.
    NaN, Infinity, numbers that become one, integers of more than 64 digits, duplicate keys and lone surrogates are
    no JSON here.
    """
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise NotJson(f"is not UTF-8 at byte {error.start}") from error
    _measure(body, depth, values)
    try:
        value = _DECODER.decode(text)
        if _SURROGATE.search(body):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise NotJson(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from error
    except UnicodeEncodeError as error:
        raise NotJson("holds half of a surrogate pair") from error
    return value


def _measure(body: bytes, depth: int, values: int) -> None:
    """Raise where the brackets nest too deep, or the values are too many, counted outside the strings.

    With the escaped backslashes gone, and then the escaped quotes, every other piece between quotes is outside.
    Up to its first error a text is cut as the parser would cut it, and beyond its first error it is not parsed.
    """
    bare = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    if bare.count(b'"') > 4 * values + 2:
        raise TooManyValues(f"holds more than {values} values")
    outside = b"".join(bare.split(b'"')[::2])
    opened = outside.count(b"[") + outside.count(b"{")
    if outside.count(b",") + opened > values:
        raise TooManyValues(f"holds more than {values} values")
    if opened <= depth:
        return
    brackets = outside.translate(_ONE_KIND, _NO_BRACKETS)
    for _ in range(depth):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise NotJson(f"is nested deeper than {depth} levels, or a bracket is missing")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise NotJson(f"has the key {twice[:64]!r} twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > INTEGER_DIGITS:
        raise NotJson(f"has an integer of more than {INTEGER_DIGITS} digits")
    return int(digits)


def _float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise NotJson(f"has a number that no double can hold: {digits[:32]}")
    return value


def _constant(name: str) -> float:
    raise NotJson(f"has {name}, which is no JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
