"""A `Store` in a folder of this machine, for the embedded mode and for tests. Opened by `factory.py`.

An object is a file; it appears, whole, by being renamed, and is on the disk before `put` returns. Folders come and go
with the files in them, so threads and processes that share the folder need no lock.
"""

import os
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage import bounded, keys
from knative_lambda.storage.store import BadKey, Stored

_WRITING = "+writing"
"""The folder of files that are being written: ``+`` stands in no key. A crash may leave some there."""
_RACES = 100
"""How often a folder may be pruned by others between its making and its use."""


class FileStore:
    """Keeps objects in `root`, which is made where it is missing: later on, a missing folder is an outage."""

    def __init__(self, root: Path) -> None:
        self._root = root
        with _os_errors():
            (root / _WRITING).mkdir(parents=True, exist_ok=True)

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        keys.check(key)
        target = self._root / key
        with _os_errors(), tempfile.NamedTemporaryFile(dir=self._root / _WRITING, delete=False) as file:
            try:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
                self._rename(Path(file.name), target)
            except BaseException:
                Path(file.name).unlink(missing_ok=True)
                raise

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        keys.check(key)
        with _os_errors():
            try:
                with (self._root / key).open("rb") as file:
                    return bounded.read(file, key, limit)
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                self._check_root()
                return None

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        keys.check(key)
        with _os_errors():
            found = _stored(self._root / key, key)
            if found is None:
                self._check_root()
            return found

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        keys.check(key)
        path = self._root / key
        with _os_errors():
            try:
                path.unlink()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
                if path.is_file():
                    raise
                self._check_root()
        with suppress(OSError):  # a folder that is not empty stays, and so do those that it is in
            for folder in path.parents[: key.count("/")]:
                folder.rmdir()

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        keys.check_prefix(prefix)
        with _os_errors():
            self._check_root()
            yield from self._walk("", prefix, after)

    def presign(self, key: str, *, seconds: int) -> str:  # noqa: ARG002 - a file's URL does not expire
        """Return the file's own URL, for whoever may read the folder."""
        keys.check(key)
        return (self._root / key).absolute().as_uri()

    def _rename(self, source: Path, target: Path) -> None:
        for _ in range(_RACES):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                source.replace(target)
            except (FileNotFoundError, FileExistsError) as error:
                if target.parent.is_file():
                    raise BadKey(f"{target} lies in another key") from error
                continue  # pruned meanwhile
            except (NotADirectoryError, IsADirectoryError) as error:
                raise BadKey(f"{target} lies in another key, or is the folder of one") from error
            _sync_folder(target.parent)
            return
        raise Unavailable("store", f"{target.parent} disappears again and again")

    def _check_root(self) -> None:
        """Raise where not only the object is missing, but the whole store."""
        if not (self._root / _WRITING).is_dir():
            raise Unavailable("store", f"the folder {self._root} is gone")

    def _walk(self, folder: str, prefix: str, after: str) -> Iterator[Stored]:
        """Yield what is in `folder` (empty, or ending in ``/``) in the order of keys: ``a-b/c`` before ``a/c``."""
        try:
            with os.scandir(self._root / folder) as entries:
                names = sorted(entry.name + "/" * entry.is_dir(follow_symlinks=False) for entry in entries)
        except (FileNotFoundError, NotADirectoryError):
            return  # pruned meanwhile
        for name in names:
            path = folder + name
            if not keys.is_key(path.removesuffix("/")) or not path.startswith(prefix[: len(path)]):
                continue
            if not name.endswith("/"):
                if path.startswith(prefix) and path > after and (stored := _stored(self._root / path, path)):
                    yield stored
            elif path > after or after.startswith(path):
                yield from self._walk(path, prefix, after)


def _stored(path: Path, key: str) -> Stored | None:
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    if not stat.S_ISREG(status.st_mode):
        return None
    return Stored(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))


def _sync_folder(folder: Path) -> None:
    """Bring a folder's new entry to the disk."""
    with suppress(FileNotFoundError):  # pruned meanwhile: so is the file
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextmanager
def _os_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Unavailable("store", str(error)) from error
