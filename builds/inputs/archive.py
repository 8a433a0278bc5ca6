"""Files in, a canonical tar out: how untrusted source becomes bytes that hash the same wherever they come from.

Called by `source.py`. Nothing is ever unpacked onto a disk: an archive is decompressed as a bounded stream, every
entry is checked, and the regular files are written again, sorted, without times and owners. Of a large one there is
one copy, its files'.
"""

import gzip
import hashlib
import io
import mmap
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from knative_lambda.builds.inputs import tar_reader
from knative_lambda.builds.inputs.tar_reader import Damaged, Entry, Read
from knative_lambda.schemas.errors import Fault, Refused, TooLarge

GZIP_MAGIC = b"\x1f\x8b"
FAULTS_SHOWN = 50


@dataclass(frozen=True)
class Limits:
    """What an archive may hold."""

    files: int = 5000
    """Entries, folders included."""
    total: int = 64 * 1024 * 1024
    """Bytes of the whole archive once decompressed: a bomb ends here."""
    path: int = 512
    """Characters of one path."""


@dataclass(frozen=True)
class File:
    """One regular file: its bytes, and whether it may be executed."""

    body: bytes | memoryview
    executable: bool = False


Files = Mapping[str, File]


@dataclass(frozen=True)
class Packed:
    """A canonical tar as it is kept."""

    digest: str
    """``sha256:…`` of the tar; of the tar and not the gzip, whose bytes depend on the zlib at hand."""
    body: bytes
    """Its gzip."""
    size: int = 0
    """Bytes of the tar."""


def unpack(
    archive: bytes, limits: Limits, where: str, hold: Callable[[int], object] = lambda _size: None
) -> dict[str, File]:
    """Return the regular files of a tar.gz by their path.

    Raises `Refused` with every fault of its entries (absolute paths, ``..``, links, devices, duplicates), `TooLarge`
    over a limit. `where` is the JSON pointer that the faults name; `hold` is told how many bytes are to be held,
    before they are.
    """
    files: dict[str, File] = {}
    faults: list[Fault] = []
    # Not from the heap: its pages are taken when written, and the system has them back with the last file.
    room = memoryview(mmap.mmap(-1, limits.total))
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as stream:
            for path, entry, body in _members(_bounded(stream, limits, where, hold), limits, where):
                fault = _path_fault(path, limits) or _entry_fault(entry) or ("twice" if path in files else "")
                if fault:
                    faults.append(Fault(where, f"entry {_shown(path)}: {fault}"))
                else:
                    size = _fill(room, body)
                    files[path] = File(room[:size].toreadonly(), entry.executable)
                    room = room[size:]
    except Damaged as error:
        faults.append(Fault(where, f"the archive is damaged: {error}"))
    except (OSError, EOFError, zlib.error) as error:
        raise Refused.because(where, f"not a gzip stream: {error}") from error
    faults += clashes(files, where)
    if faults:
        raise Refused(faults[:FAULTS_SHOWN])
    if not files:
        raise Refused.because(where, "the archive holds no file")
    return files


def inline(texts: Mapping[str, str], limits: Limits, where: str) -> dict[str, File]:
    """Return the files of a path → text mapping; raises `Refused` naming each path that no archive may hold."""
    faults = [Fault(f"{where}/{_shown(path)}", fault) for path in sorted(texts) if (fault := _path_fault(path, limits))]
    files: dict[str, File] = {}
    for path, text in texts.items():
        try:
            files[path] = File(text.encode())
        except UnicodeEncodeError:
            faults.append(Fault(f"{where}/{_shown(path)}", "the text holds half of a surrogate pair"))
    faults += clashes(files, where)
    if faults:
        raise Refused(faults)
    return files


def canonical(files: Files) -> bytes:
    """Return the one tar of these files: sorted by path, mode 0644 or 0755, no times, no owners."""
    out = io.BytesIO()
    _write(files, out)
    return out.getvalue()


def pack(files: Files) -> Packed:
    """Return the canonical tar of these files as it is kept; the tar itself is never held whole."""
    out = io.BytesIO()
    with gzip.GzipFile(filename="", fileobj=out, mode="wb", compresslevel=6, mtime=0) as stream:
        hashed = _Hashed(stream)
        _write(files, hashed)
    return Packed("sha256:" + hashed.hash.hexdigest(), out.getvalue(), hashed.size)


def clashes(files: Files, where: str) -> Iterator[Fault]:
    """Yield a fault for each path that is both a file and a folder."""
    folders = {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
    for path in sorted(folders & files.keys()):
        yield Fault(where, f"entry {_shown(path)}: both a file and a folder")


class _Hashed:
    """Passes on what is written, hashes it, and counts."""

    def __init__(self, sink: gzip.GzipFile) -> None:
        self._sink = sink
        self.hash = hashlib.sha256()
        self.size = 0

    def write(self, data: bytes | memoryview) -> int:
        self.hash.update(data)
        self.size += len(data)
        return self._sink.write(data)


def _write(files: Files, sink: io.BytesIO | _Hashed) -> None:
    written = 0
    for path in sorted(files):
        body = files[path].body
        entry = tarfile.TarInfo(path)
        entry.size = len(body)
        entry.mode = 0o755 if files[path].executable else 0o644
        header = entry.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
        for part in (header, body, bytes(-len(body) % tarfile.BLOCKSIZE)):
            written += sink.write(part)
    sink.write(bytes(2 * tarfile.BLOCKSIZE + -(written + 2 * tarfile.BLOCKSIZE) % tarfile.RECORDSIZE))


def _members(read: Read, limits: Limits, where: str) -> Iterator[tuple[str, Entry, Iterator[bytes]]]:
    for count, (entry, body) in enumerate(tar_reader.entries(read), start=1):
        if count > limits.files:
            raise TooLarge.because(where, f"the archive holds more than {limits.files} entries")
        if entry.kind != "folder":
            yield entry.path.removeprefix("./"), entry, body


def _bounded(stream: gzip.GzipFile, limits: Limits, where: str, hold: Callable[[int], object]) -> Read:
    total = 0

    def read(size: int) -> bytes:
        nonlocal total
        hold(total + size)
        chunk = stream.read(size)
        total += len(chunk)
        if total > limits.total:
            raise TooLarge.because(where, f"the archive unpacks to more than {limits.total} bytes")
        return chunk

    return read


def _fill(room: memoryview, chunks: Iterable[bytes]) -> int:
    size = 0
    for chunk in chunks:
        room[size : size + len(chunk)] = chunk
        size += len(chunk)
    return size


def _path_fault(path: str, limits: Limits) -> str:
    if not path or len(path) > limits.path:
        return f"a path has 1 to {limits.path} characters"
    if path.startswith("/"):
        return "the path is absolute"
    if any(segment in ("", ".", "..") for segment in path.split("/")):
        return "a segment of the path is empty, . or .."
    if "\\" in path or not path.isprintable():
        return "the path holds a backslash, a control character or no valid UTF-8"
    return ""


def _entry_fault(entry: Entry) -> str:
    if entry.kind == "link":
        return "links are not taken"
    return "" if entry.kind == "file" else "only regular files and folders are taken"


def _shown(path: str) -> str:
    return ascii(path[:200])[1:-1]
