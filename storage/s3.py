"""A `Store` in a bucket of Amazon S3, or of a service that speaks as it does, through boto3. Opened by `factory.py`."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

import boto3.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from knative_lambda.schemas.errors import NotLetIn, Unavailable
from knative_lambda.schemas.tls import AUTHORITIES, CERTIFICATE, KEY
from knative_lambda.storage import bounded, keys
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import DENIED, BadKey, Stored

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECTIONS = 32
"""Kept open at most; more than the service has threads."""
_MISSING = {"NoSuchKey", "NotFound", "404"}
_FOLDER = {"ObjectParentIsFile", "ExistingObjectIsDirectory"}
"""What S3 servers over a file system answer where a key is the folder of another."""


class S3Store:
    """Keeps objects in `bucket`, under `prefix` (empty, or a key)."""

    def __init__(self, bucket: str, prefix: str, settings: StoreSettings) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._client = _client(settings)

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        keys.check(key)
        with self._answered():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + key, Body=body)

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        keys.check(key)
        with self._answered():
            try:
                answer = self._client.get_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if _code(error) in _MISSING:
                    return None
                raise
            with closing(answer["Body"]) as body:  # as a context manager of its own it does not check the length
                return bounded.read(body, key, limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        keys.check(key)
        with self._answered():
            try:
                answer = self._client.head_object(Bucket=self._bucket, Key=self._prefix + key)
            except ClientError as error:
                if _code(error) not in _MISSING:
                    raise
                # An answer to HEAD has no body, and so does not tell a missing key from a missing bucket.
                self._client.head_bucket(Bucket=self._bucket)
                return None
            return _stored(key, answer.get("ContentLength"), answer.get("LastModified"))

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        keys.check(key)
        with self._answered():
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        keys.check_prefix(prefix)
        start = self._prefix + after if after else ""
        with self._answered():
            pages = self._client.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self._bucket, Prefix=self._prefix + prefix, StartAfter=start):
                if "IsTruncated" not in page:  # boto3 takes anything for a list, and then for an empty one
                    raise Unavailable("store", f"bucket {self._bucket}: the answer is no list")
                for found in page.get("Contents", ()):
                    key = found["Key"].removeprefix(self._prefix)
                    if keys.is_key(key):
                        yield _stored(key, found.get("Size"), found.get("LastModified"))

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        keys.check(key)
        with self._answered():
            return self._client.generate_presigned_url(
                "get_object", Params={"Bucket": self._bucket, "Key": self._prefix + key}, ExpiresIn=seconds
            )

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what boto3 raises into our errors: an answer that it cannot read ends as an error of its parser."""
        try:
            yield
        except ClientError as error:
            if _code(error) in _FOLDER:
                raise BadKey("a key is the folder of another") from error
            kind = NotLetIn if _code(error) in DENIED else Unavailable
            raise kind("store", f"bucket {self._bucket}: {error}") from error
        except (BotoCoreError, ValueError) as error:
            raise Unavailable("store", f"bucket {self._bucket}: {error}") from error


def _client(settings: StoreSettings) -> "S3Client":
    # Not boto3.client(): its session is shared by the whole process. The guard retries, so boto3 must not.
    custom = bool(settings.endpoint)
    checksums: Literal["when_required", "when_supported"] = "when_required" if custom else "when_supported"
    authorities, certificate = settings.trust / AUTHORITIES, settings.trust / CERTIFICATE
    return boto3.session.Session().client(
        "s3",
        endpoint_url=settings.endpoint or None,
        region_name=settings.region,
        aws_access_key_id=settings.access_key or None,
        aws_secret_access_key=settings.secret_key or None,
        verify=str(authorities) if authorities.is_file() else None,
        config=Config(
            signature_version="s3v4",
            user_agent="knative-lambda",  # its own, of ten parts, is made anew for each request: a tenth of its cost
            connect_timeout=settings.connect_timeout,
            read_timeout=settings.read_timeout,
            retries={"total_max_attempts": 1, "mode": "standard"},
            max_pool_connections=_CONNECTIONS,
            request_checksum_calculation=checksums,
            response_checksum_validation=checksums,
            client_cert=(str(certificate), str(settings.trust / KEY)) if certificate.is_file() else None,
            s3={"addressing_style": "path" if custom else "auto"},
        ),
    )


def _stored(key: str, size: int | None, modified: datetime | None) -> Stored:
    if size is None or modified is None:
        raise ValueError(f"the server does not say how large {key} is and when it was written")
    return Stored(key, size, modified.astimezone(UTC))


def _code(error: ClientError) -> str:
    return error.response.get("Error", {}).get("Code", "")
