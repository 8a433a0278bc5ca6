"""A data folder belongs to one process at a time: its SQLite files and the functions' processes have one owner.

Called by `options.py` before anything is started. The kernel keeps the lock, so it ends however its holder ends.
"""

import fcntl
import os
import time
from pathlib import Path
from typing import IO

PATIENCE = 15.0
"""Seconds to wait for what a killed process has left: its worker finishes the requests in flight first."""
POLL = 0.1


class InUse(Exception):
    """The folder is another process'; the text says whose."""


def claim(folder: Path, patience: float = PATIENCE) -> IO[str]:
    """Make the folder and return a file that keeps it ours, until it is closed here and in every fork of this process.

    Raises `InUse`, or `OSError` where the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    owner = (folder / "owner").open("a+", encoding="ascii")
    try:
        _lock(owner, time.monotonic() + patience)
        owner.truncate(0)
        owner.write(str(os.getpid()))
        owner.flush()
    except BaseException:
        owner.close()
        raise
    return owner


def _lock(owner: IO[str], deadline: float) -> None:
    while True:
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner.seek(0)
            said = owner.read()
            if (said.isdigit() and _runs(int(said))) or time.monotonic() > deadline:
                raise InUse(f"already used by process {said}") from None
            time.sleep(POLL)
        else:
            return


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is there, and somebody else's
        return True
    return True
