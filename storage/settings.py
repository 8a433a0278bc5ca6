"""The settings of a store.

Filled in by whoever reads the environment; used by `factory.py`, the stores and `guard.py`. Nothing here is logged:
the keys do not even show in the representation.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from knative_lambda.schemas.tls import NOWHERE


@dataclass(frozen=True)
class StoreSettings:
    """Where the store is, how to get in, and how patient to be with it."""

    url: str
    """The installation's store: ``s3://bucket/prefix``, ``minio://host:port/bucket/prefix``, ``file:///path`` or
    ``memory://name``. Whoever opens a store of a tenant's own hands its URL to `open_store` instead."""
    endpoint: str = ""
    """For ``s3://`` on another service than Amazon's: its URL, such as ``http://10.0.0.1:7070``."""
    region: str = "us-east-1"
    """The bucket's region. Services other than Amazon's mostly take the default."""
    access_key: str = field(default="", repr=False)
    """With `secret_key`, who we are. Both empty: for ``s3://``, boto3 looks where it always does (the pod's role, …);
    ``minio://`` needs them. The rights needed are to get, put and delete objects, and to list the bucket."""
    secret_key: str = field(default="", repr=False)
    """The secret that belongs to `access_key`; read from a file or the environment by the caller."""
    trust: Path = NOWHERE
    """A folder as in `schemas/tls.py`: whom we believe to be the store, and how it is told who we are."""
    keys: Callable[[], tuple[str, str]] | None = field(default=None, repr=False)
    """Gives both anew, asked at each call: where they are exchanged while the store is open. None: those above."""
    connect_timeout: float = 2.0
    """Seconds to wait for a connection: a store lies close by."""
    read_timeout: float = 5.0
    """Seconds to wait for the next bytes of an answer."""
    attempts: int = 3
    """Attempts of one call, when the store does not answer."""
    deadline: float = 15.0
    """Seconds after which a call has ended, retries and pauses included. A broker waits 30 s for an event's answer."""
    failures: int = 5
    """Failed attempts in a row after which the store is not asked for a while."""
    reset: float = 10.0
    """Seconds until it is asked again, by one call alone."""
