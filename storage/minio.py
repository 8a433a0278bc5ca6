"""A `Store` in a bucket of MinIO, through minio-py. Opened by `factory.py`.

Every argument is passed by keyword: releases of the library disagree about which may be positional.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from xml.etree.ElementTree import ParseError

from minio import Minio
from minio.error import MinioException, S3Error
from urllib3 import PoolManager, Timeout
from urllib3.exceptions import HTTPError

from knative_lambda.schemas.errors import NotLetIn, Unavailable
from knative_lambda.schemas.tls import context
from knative_lambda.storage import bounded, keys
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import DENIED, BadKey, Stored

_CONNECTIONS = 32
"""Kept open at most; more than the service has threads."""
_SMALLEST_PART = 5 << 20
_FOLDER = {"ObjectParentIsFile", "ExistingObjectIsDirectory", "XMinioParentIsObject", "XMinioObjectExistsAsDirectory"}
"""What S3 servers over a file system answer where a key is the folder of another."""


class MinioStore:
    """Keeps objects in `bucket` of the server at `host` (``name:port``), under `prefix` (empty, or a key)."""

    def __init__(self, host: str, bucket: str, prefix: str, settings: StoreSettings, *, secure: bool = True) -> None:
        try:
            trusted = context(settings.trust) if secure else None
        except OSError as error:
            raise Unavailable(
                "store", f"the certificates in {settings.trust} cannot be read: {error.strerror}"
            ) from error
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = Minio(
            endpoint=host,
            access_key=settings.access_key,
            secret_key=settings.secret_key,
            region=settings.region,
            secure=secure,
            # The guard retries, so the pool must not.
            http_client=PoolManager(
                timeout=Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
                maxsize=_CONNECTIONS,
                retries=False,
                ssl_context=trusted,
            ),
        )

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        keys.check(key)
        with self._answered():
            self._client.put_object(
                bucket_name=self._bucket,
                object_name=self._prefix + key,
                data=io.BytesIO(body),
                length=len(body),
                part_size=max(len(body), _SMALLEST_PART),  # one request, whatever the size
            )

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        keys.check(key)
        with self._answered():
            try:
                answer = self._client.get_object(bucket_name=self._bucket, object_name=self._prefix + key)
            except S3Error as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            try:
                return bounded.read(answer, key, limit)
            finally:
                answer.close()
                answer.release_conn()

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        keys.check(key)
        with self._answered():
            try:
                found = self._client.stat_object(bucket_name=self._bucket, object_name=self._prefix + key)
            except S3Error as error:
                if error.code != "NoSuchKey":
                    raise
                # An answer to HEAD has no body, and so does not tell a missing key from a missing bucket.
                if not self._client.bucket_exists(bucket_name=self._bucket):
                    raise Unavailable("store", f"bucket {self._bucket} does not exist") from error
                return None
            return _stored(key, found.size, found.last_modified)

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        keys.check(key)
        with self._answered():
            self._client.remove_object(bucket_name=self._bucket, object_name=self._prefix + key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        keys.check_prefix(prefix)
        with self._answered():
            for found in self._client.list_objects(
                bucket_name=self._bucket,
                prefix=self._prefix + prefix,
                recursive=True,
                start_after=self._prefix + after if after else None,
            ):
                key = (found.object_name or "").removeprefix(self._prefix)
                if keys.is_key(key):
                    yield _stored(key, found.size, found.last_modified)

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        keys.check(key)
        return str(
            self._client.presigned_get_object(
                bucket_name=self._bucket, object_name=self._prefix + key, expires=timedelta(seconds=seconds)
            )
        )

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what minio-py raises into our errors: an answer that it cannot read ends as an error of its parser."""
        try:
            yield
        except S3Error as error:
            if error.code in _FOLDER:
                raise BadKey("a key is the folder of another") from error
            kind = NotLetIn if error.code in DENIED else Unavailable
            raise kind("store", f"bucket {self._bucket}: {error.code}: {error.message}") from error
        except (MinioException, HTTPError, ParseError, ValueError) as error:
            raise Unavailable("store", f"bucket {self._bucket}: {error}") from error


def _stored(key: str, size: int | None, modified: datetime | None) -> Stored:
    if size is None or modified is None:
        raise ValueError(f"the server does not say how large {key} is and when it was written")
    return Stored(key, size, modified.astimezone(UTC))
