"""A tar of a stranger, read once from front to back: which entries it has, and their bytes as they pass by.

Called by `archive.py`. The standard library's reader is not made for strangers: it recurses for every chained header,
keeps whatever extensions say, and takes a damaged header for the end. Here each header is read by itself, an entry has
each extension once at most, and what is no header ends everything. What is read is ustar (POSIX.1-1988), pax
(POSIX.1-2001) and GNU's long names.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

BLOCK = 512
CHUNK = 64 * 1024
EXTENSION = 1024 * 1024
"""Bytes of an extension at most: a pax header may carry a Mac's attributes."""

Kind = Literal["file", "folder", "link", "other"]
Read = Callable[[int], bytes]
"""Returns so many bytes; fewer only where there are no more."""

_KINDS: dict[bytes, Kind] = {b"0": "file", b"\0": "file", b"7": "file", b"5": "folder", b"1": "link", b"2": "link"}
_BODILESS = (b"1", b"2", b"3", b"4", b"5", b"6")
_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL = b"L", b"K", b"x", b"g"
_NUMBERS = [(100, 108), (108, 116), (116, 124), (124, 136), (136, 148), (329, 337), (337, 345)]
_OCTAL = re.compile(rb" *([0-7]*) *")
_RECORD = re.compile(rb"([1-9][0-9]{0,6}) ([^=\n\0]+)=")
_SIZE = re.compile(rb"[0-9]{1,19}")


class Damaged(ValueError):
    """The bytes are no tar, or only begin as one; the message says what is wrong."""


@dataclass(frozen=True)
class Entry:
    """What a header says, with its extensions."""

    path: str
    """Bytes that are no UTF-8 are lone surrogates in it."""
    kind: Kind
    executable: bool
    size: int
    """Bytes of its body."""


@dataclass
class _Extra:
    """What extension headers say of the entry that follows."""

    seen: bytes = b""
    path: bytes | None = None
    size: int | None = None
    sparse: bool = False

    def take(self, kind: bytes, body: bytes) -> None:
        if kind in self.seen:
            raise Damaged("an entry has the same extension header twice")
        self.seen += kind
        if kind == _LONG_NAME:
            self._set_path(body.partition(b"\0")[0])
        for keyword, value in _records(body) if kind in _PAX + _GLOBAL else ():
            shaping = keyword in (b"path", b"size") or keyword.startswith(b"GNU.sparse.")
            if shaping and kind == _GLOBAL:
                raise Damaged("a global header sets what each entry has of its own")
            if keyword == b"path":
                self._set_path(value)
            elif keyword == b"size":
                self._set_size(value)
            elif shaping:
                self.sparse = True

    def _set_path(self, path: bytes) -> None:
        if self.path is not None:
            raise Damaged("an entry has two long names")
        self.path = path

    def _set_size(self, value: bytes) -> None:
        if self.size is not None or not _SIZE.fullmatch(value):
            raise Damaged("an extension header says no size, or two")
        self.size = int(value)


def entries(read: Read) -> Iterator[tuple[Entry, Iterator[bytes]]]:
    """Yield each entry with its bytes, which are there until the next entry is asked for.

    Raises `Damaged` where a header or a body is not whole, and where anything but zeros follows the end.
    """
    extra = _Extra()
    while any(block := read(BLOCK)):
        kind, size = _checked(block)
        if kind in (_LONG_NAME, _LONG_LINK, _PAX, _GLOBAL):
            if size > EXTENSION:
                raise Damaged(f"an extension header has more than {EXTENSION} bytes")
            extra.take(kind, b"".join(_body(read, size)))
            continue
        entry = _entry(block, kind, extra, size if extra.size is None else extra.size)
        body = _body(read, entry.size)
        yield entry, body
        for _ in body:
            pass
        extra = _Extra()
    if extra.seen:
        raise Damaged("the last entry is missing")
    while rest := read(CHUNK):
        if rest.count(0) != len(rest):
            raise Damaged("something follows the end")


def _checked(block: bytes) -> tuple[bytes, int]:
    """Return the type and the size that a header says, once its checksum is right."""
    bare = block[:148] + b" " * 8 + block[156:]
    sums = (sum(bare), sum(bare) - 256 * sum(byte > 127 for byte in bare))  # noqa: PLR2004 - old tars add signed bytes
    if len(block) < BLOCK or _number(block[148:156]) not in sums:
        raise Damaged("there is no valid entry where one should be")
    _, _, _, size, *_ = (_number(block[start:end]) for start, end in _NUMBERS)
    if size < 0:
        raise Damaged("an entry has less than no bytes")
    return block[156:157], size


def _entry(block: bytes, kind: bytes, extra: _Extra, size: int) -> Entry:
    name, prefix = _text(block[:100]), _text(block[345:500])
    if extra.path is not None:
        name = extra.path
    elif prefix:
        if block[257:263] != b"ustar\0":  # some readers would put it before the name, and others not
            raise Damaged("a path has two meanings")
        name = prefix + b"/" + name
    shape = "other" if extra.sparse else _KINDS.get(kind, "other")
    if kind == b"\0" and name.endswith(b"/"):  # how tars before POSIX say folder
        shape = "folder"
    size = 0 if kind in _BODILESS or shape == "folder" else size
    return Entry(name.decode("utf-8", "surrogateescape"), shape, bool(_number(block[100:108]) & 0o111), size)


def _body(read: Read, size: int) -> Iterator[bytes]:
    left = size
    while left:
        chunk = read(min(CHUNK, left))
        if not chunk:
            raise Damaged("the last entry is not whole")
        left -= len(chunk)
        yield chunk
    padding = -size % BLOCK
    if len(read(padding)) < padding:
        raise Damaged("the last entry is not whole")


def _records(body: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the keywords and values of a pax header: lines of ``<length> <keyword>=<value>``."""
    at = 0
    while at < len(body):
        found = _RECORD.match(body, at)
        end = at + int(found[1]) if found else 0
        if not found or not found.end() < end <= len(body) or body[end - 1 : end] != b"\n":
            raise Damaged("a pax header is not as it should be")
        yield found[2], body[found.end() : end - 1]
        at = end


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _number(field: bytes) -> int:
    """Return a field's number: octal digits, or GNU's binary form for what octal is too short for."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    if field[:1] == b"\xff":
        return int.from_bytes(field, "big", signed=True)
    octal = _OCTAL.fullmatch(_text(field))
    if not octal:
        raise Damaged("a header has a field that is no number")
    return int(octal[1] or b"0", 8)
