"""Files in, a canonical tar out: how untrusted source becomes bytes that hash the same wherever they come from.

Called by `source.py`. Nothing is ever unpacked onto a disk: an archive is decompressed as a bounded stream, every
entry is checked, and the regular files are written again, sorted, without times and owners.
"""

import gzip
import hashlib
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from knative_lambda.schemas.errors import Fault, Refused, TooLarge

CHUNK = 64 * 1024
FAULTS_SHOWN = 50
GZIP_MAGIC = b"\x1f\x8b"


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

    body: bytes
    executable: bool = False


Files = Mapping[str, File]


def unpack(archive: bytes, limits: Limits, where: str) -> dict[str, File]:
    """Return the regular files of a tar.gz by their path.

    Raises `Refused` with every fault of its entries (absolute paths, ``..``, links, devices, duplicates), `TooLarge`
    over a limit. `where` is the JSON pointer that the faults name.
    """
    plain = _decompress(archive, limits, where)
    files: dict[str, File] = {}
    faults: list[Fault] = []
    try:
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:", errors="surrogateescape") as tar:
            for path, member in _members(tar, limits, where):
                fault = _path_fault(path, limits) or _member_fault(member) or ("twice" if path in files else "")
                if fault:
                    faults.append(Fault(where, f"entry {_shown(path)}: {fault}"))
                elif (reader := tar.extractfile(member)) is not None:
                    files[path] = File(reader.read(), bool(member.mode & 0o111))
            if any(plain[tar.offset :]):  # tarfile takes a damaged entry for the archive's end
                faults.append(Fault(where, "the archive is damaged: there is no valid entry where one should be"))
    except (tarfile.TarError, ValueError, OverflowError, EOFError) as error:
        raise Refused.because(where, f"not a tar archive: {error}") from error
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
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path in sorted(files):
            entry = tarfile.TarInfo(path)
            entry.size = len(files[path].body)
            entry.mode = 0o755 if files[path].executable else 0o644
            tar.addfile(entry, io.BytesIO(files[path].body))
    return out.getvalue()


def digest(plain: bytes) -> str:
    """Return ``sha256:…`` of a canonical tar; of the tar and not the gzip, whose bytes depend on the zlib at hand."""
    return "sha256:" + hashlib.sha256(plain).hexdigest()


def compress(plain: bytes) -> bytes:
    """Return the gzip of a canonical tar, without a time in its header."""
    return gzip.compress(plain, compresslevel=6, mtime=0)


def clashes(files: Files, where: str) -> Iterator[Fault]:
    """Yield a fault for each path that is both a file and a folder."""
    folders = {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
    for path in sorted(folders & files.keys()):
        yield Fault(where, f"entry {_shown(path)}: both a file and a folder")


def _members(tar: tarfile.TarFile, limits: Limits, where: str) -> Iterator[tuple[str, tarfile.TarInfo]]:
    for count, member in enumerate(tar, start=1):
        if count > limits.files:
            raise TooLarge.because(where, f"the archive holds more than {limits.files} entries")
        if not member.isdir():
            yield member.name.removeprefix("./"), member


def _decompress(archive: bytes, limits: Limits, where: str) -> bytes:
    out = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(archive)) as stream:
            while chunk := stream.read(CHUNK):
                if out.tell() + len(chunk) > limits.total:
                    raise TooLarge.because(where, f"the archive unpacks to more than {limits.total} bytes")
                out.write(chunk)
    except (OSError, EOFError, zlib.error) as error:
        raise Refused.because(where, f"not a gzip stream: {error}") from error
    return out.getvalue()


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


def _member_fault(member: tarfile.TarInfo) -> str:
    if member.issym() or member.islnk():
        return "links are not taken"
    if not member.isreg() or member.issparse():
        return "only regular files and folders are taken"
    return ""


def _shown(path: str) -> str:
    return ascii(path[:200])[1:-1]
