"""What a build context holds: its files by their hashes, and the packages that its lists name.

Called by `attest.py`. Pure. A list says what was asked for: where it pins nothing, nobody here knows which version a
package manager took. Lists are strangers' texts: one that cannot be read names nothing.
"""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from knative_lambda.builds.inputs import tar_reader
from knative_lambda.builds.inputs.source import CODE
from knative_lambda.builds.inputs.tar_reader import Damaged

LIST = 4 * 1024 * 1024
"""Bytes of a list that is read."""
_PIP = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?[ \t]*(?:===?[ \t]*([^\s;#,\\]+))?")
_EXACT = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+[0-9A-Za-z.+-]*")
_GO = re.compile(r"^[ \t]*(?:require[ \t]+)?([^\s/]+\.[^\s/]+/\S+)[ \t]+(v[0-9]\S*)", re.MULTILINE)


@dataclass(frozen=True, order=True)
class Package:
    """A package that a list names."""

    kind: str
    """``pypi``, ``npm`` or ``golang``, as package URLs have it."""
    name: str
    version: str
    """"" where the list leaves it open."""


@dataclass(frozen=True)
class Contents:
    """What of the user's is in an image."""

    files: Mapping[str, str] = field(default_factory=dict)
    """By path, the SHA-256 of each, in hex."""
    packages: tuple[Package, ...] = ()


def read(context: bytes) -> Contents:
    """Return what a packed build context holds; nothing of one that cannot be read."""
    files, lists = dict[str, str](), dict[str, bytes]()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(context)) as source:
            for entry, body in tar_reader.entries(source.read):
                path = entry.path.encode("utf-8", "surrogateescape").decode(errors="replace")
                seen, kept = hashlib.sha256(), bytearray()
                is_list = entry.size <= LIST and _reader(path.removeprefix(CODE)) is not None
                for piece in body:
                    seen.update(piece)
                    if is_list:
                        kept += piece
                files[path] = seen.hexdigest()
                if is_list:
                    lists[path.removeprefix(CODE)] = bytes(kept)
    except (Damaged, OSError, EOFError, zlib.error):
        return Contents()
    code = {path: digest for path, digest in files.items() if path.startswith(CODE)}
    return Contents(code or files, tuple(sorted(set(_listed(lists)))))


def _listed(lists: Mapping[str, bytes]) -> Iterator[Package]:
    locked = "package-lock.json" in lists or "npm-shrinkwrap.json" in lists
    for path, body in lists.items():
        reader = _reader(path)
        if reader is not None and not (locked and path == "package.json"):
            yield from reader(body.decode(errors="replace"))


def _reader(path: str) -> Callable[[str], list[Package]] | None:
    return next((reader for pattern, reader in READERS.items() if fnmatchcase(path, pattern)), None)


def _pip(text: str) -> list[Package]:
    found = (_PIP.match(line) for line in text.splitlines())
    return [Package("pypi", re.sub(r"[-_.]+", "-", one[1]).lower(), one[2] or "") for one in found if one]


def _npm_lock(text: str) -> list[Package]:
    packages = _json(text, "packages").items()
    return [
        Package("npm", path.rpartition("node_modules/")[2], str(said.get("version", "")))
        for path, said in packages
        if "node_modules/" in path and isinstance(said, dict) and not said.get("dev") and not said.get("link")
    ]


def _npm(text: str) -> list[Package]:
    wanted = _json(text, "dependencies").items()
    return [Package("npm", name, said if _EXACT.fullmatch(str(said)) else "") for name, said in wanted]


def _go(text: str) -> list[Package]:
    return [Package("golang", name, version) for name, version in _GO.findall(text)]


def _json(text: str, key: str) -> dict[str, Any]:
    try:
        found = json.loads(text)[key]
    except (ValueError, RecursionError, TypeError, KeyError):
        return {}
    return found if isinstance(found, dict) else {}


READERS: Mapping[str, Callable[[str], list[Package]]] = {
    "requirements*.txt": _pip,
    "package-lock.json": _npm_lock,
    "npm-shrinkwrap.json": _npm_lock,
    "package.json": _npm,
    "go.mod": _go,
}
"""What reads a list, by its path below the code."""
