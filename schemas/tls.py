"""Whom the product believes, and how it says who it is, when it speaks TLS to somebody.

All of it lies in a folder, as a mounted Secret of type kubernetes.io/tls has it: ``ca.crt``, certificates to trust
beside the system's, and where the other side asks who we are ``tls.crt`` and ``tls.key``. Each may be missing.
"""

import ssl
from collections.abc import Callable
from pathlib import Path

import urllib3

NOWHERE = Path()
"""No folder: the system's certificates alone."""
AUTHORITIES, CERTIFICATE, KEY = "ca.crt", "tls.crt", "tls.key"
CONNECTIONS = 10


def context(folder: Path) -> ssl.SSLContext:
    """Return how a client speaks TLS; raise `OSError` (as ssl's own errors are) for what cannot be read or is none."""
    made = ssl.create_default_context()
    if folder.name:
        if (folder / AUTHORITIES).exists():
            made.load_verify_locations(folder / AUTHORITIES)
        if (folder / CERTIFICATE).exists():
            made.load_cert_chain(folder / CERTIFICATE, folder / KEY)
    return made


def written(folder: Path) -> tuple[int, ...]:
    """Return when each of the files was written, 0 for one that is missing: it changes with a rotation."""
    files = [folder / name for name in (AUTHORITIES, CERTIFICATE, KEY)] if folder.name else []
    return tuple(file.stat().st_mtime_ns if file.exists() else 0 for file in files)


class Connections:
    """A client's connections, made anew where its files were written since.

    `timeout` is in seconds, for a request as a whole where it is no more than a number; `pool` makes a pool, of
    urllib3's options. The system's certificates are read once for a pool where `https` is spoken, or a folder is given.
    """

    def __init__(
        self,
        folder: Path = NOWHERE,
        timeout: float | urllib3.Timeout = 3.0,
        *,
        https: bool = False,
        pool: Callable[..., urllib3.PoolManager] = urllib3.PoolManager,
    ) -> None:
        self._folder, self._https, self._pool = folder, https or bool(folder.name), pool
        self._timeout = timeout if isinstance(timeout, urllib3.Timeout) else urllib3.Timeout(total=timeout)
        self._made: tuple[tuple[int, ...], urllib3.PoolManager] | None = None

    @property
    def pool(self) -> urllib3.PoolManager:
        """Return the pool, which tries nothing twice; raise `OSError` where the files cannot be used."""
        now = written(self._folder)
        if self._made is None or self._made[0] != now:
            pool = self._pool(
                timeout=self._timeout,
                retries=False,
                maxsize=CONNECTIONS,
                ssl_context=context(self._folder) if self._https else None,
            )
            self._made = now, pool
        return self._made[1]
