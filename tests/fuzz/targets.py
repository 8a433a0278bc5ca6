"""What is fuzzed: each takes any bytes, and fails where they are neither read as they should be nor refused."""

import gzip
import io
import re
import tarfile
from collections.abc import Callable
from functools import cache

from flask.testing import FlaskClient
from support.site import Site

from knative_lambda.builds.inputs.archive import Limits, unpack
from knative_lambda.builds.inputs.source import RUNTIMES, Objects, context
from knative_lambda.handler.acts.aliases import label
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import ProductError, Refused
from knative_lambda.storage.memory import MemoryStore

LIMITS = Limits(files=50, total=200_000)
OBJECTS = Objects(MemoryStore("world"), "memory://world", ("uploads/acme/",))
RECIPES = {"Dockerfile", "dependencies.Dockerfile", "entrypoint"}
LISTS = {"requirements.txt", "package.json", "package-lock.json", "npm-shrinkwrap.json"}
LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
REQUEST = re.compile(rb"([A-Z]{1,8}) (/[!-~]*)\n((?:[!-9;-~]+: ?[ -~\x80-\xff]*\n)*)\n(.*)", re.DOTALL)


@cache
def _client() -> FlaskClient:
    site = Site()
    assert site.post().status_code == 202
    return site.http()


def request(data: bytes) -> None:
    """Ask the product: method and path, headers, an empty line, a body. No answer is a fault of ours."""
    read = REQUEST.fullmatch(data)
    if read is None:
        return
    method, path, lines, body = read.groups()
    headers = [line.decode("latin-1").split(":", 1) for line in lines.splitlines()]
    told = [(name, value.strip()) for name, value in headers if name.lower() != "content-length"]
    answer = _client().open(path.decode(), method=method.decode(), headers=told, data=body)
    assert answer.status_code < 500, answer.data


def archive(data: bytes) -> None:
    """Read a tar: it is refused, or means what a reader that is not ours reads in it."""
    try:
        found = unpack(gzip.compress(data, 1), LIMITS, "")
    except ProductError:
        return
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        others = {
            member.name.removeprefix("./"): reader.read()
            for member in tar
            if member.isreg() and (reader := tar.extractfile(member))
        }
    assert {path: file.body for path, file in found.items()} == others


def recipe(data: bytes) -> None:
    """Make the context of a source: runtime, then paths and texts, a NUL between. No text of it is in its recipe."""
    runtime, *rest = data.decode(errors="replace").split("\0")
    if runtime not in RUNTIMES or not RUNTIMES[runtime].modules:
        return
    files = dict(zip(rest[::2], rest[1::2], strict=False)) | {RUNTIMES[runtime].single: "x"}
    found = _context(runtime, files)
    if found is None:
        return
    below = {path.removeprefix("function/"): body for path, body in found.items() if path.startswith("function/")}
    assert below == {path: text.encode() for path, text in files.items()}
    assert found.keys() - {f"function/{path}" for path in files} <= RECIPES
    assert not any(part in ("", ".", "..") for path in found for part in path.split("/"))
    bare = {path: files[path] if path in LISTS else "" for path in files if path in LISTS}
    assert found["Dockerfile"] == (_context(runtime, bare | {RUNTIMES[runtime].single: ""}) or {})["Dockerfile"]


def _context(runtime: str, files: dict[str, str]) -> dict[str, bytes] | None:
    try:
        body = context({"runtime": runtime, "source": {"inline": files}}, OBJECTS, LIMITS, "/data").body
    except Refused:
        return None
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
        return {entry.name: tar.extractfile(entry).read() for entry in tar}  # type: ignore[union-attr]


def name(data: bytes) -> None:
    """Name things by any two texts, a NUL between: each is a DNS label, and others have another."""
    one, _, other = data.decode(errors="replace").partition("\0")
    if not one or not other:
        return
    found = label(one, other)
    assert LABEL.fullmatch(found)
    assert (found == label(other, one)) == (one == other)
    assert found != label(one, other + "x")
    made = names.build_name(found, one, other, "")
    assert LABEL.fullmatch(f"{made}-100")
    assert made != names.build_name(found, one, other, "again")
    assert LABEL.fullmatch(names.trigger_name(found, {one: other}))


TARGETS: dict[str, Callable[[bytes], None]] = {
    "request": request,
    "archive": archive,
    "recipe": recipe,
    "name": name,
}
