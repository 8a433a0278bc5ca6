"""A `Store` in a bucket of Amazon S3, or of a service that speaks as it does, over urllib3. Opened by `factory.py`.

Of a bucket six things are asked. boto3, which can ask a thousand, loads for half a second before the first one; it is
loaded where no keys are given, to find those of the platform (a pod's role, an instance's, …).
"""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from threading import Lock
from typing import Any
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree as ET

from urllib3 import BaseHTTPResponse, PoolManager, Timeout
from urllib3.exceptions import HTTPError

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage import bounded, keys, sigv4
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.sigv4 import Keys, Request, Signer
from knative_lambda.storage.store import BadKey, Stored

_CONNECTIONS = 32
"""Kept open at most; more than the service has threads."""
_FOLDER = {"ObjectParentIsFile", "ExistingObjectIsDirectory"}
"""What S3 servers over a file system answer where a key is the folder of another."""
_PORTS = {"http": 80, "https": 443}


class S3Store:
    """Keeps objects in `bucket`, under `prefix` (empty, or a key)."""

    def __init__(self, bucket: str, prefix: str, settings: StoreSettings) -> None:
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self._region = settings.region
        self._keys = _Keys(settings)
        self._scheme, self._host, self._root = _place(bucket, settings)
        # The guard retries, so the pool must not.
        self._http = PoolManager(
            timeout=Timeout(connect=settings.connect_timeout, read=settings.read_timeout),
            maxsize=_CONNECTIONS,
            retries=False,
        )

    def put(self, key: str, body: bytes) -> None:
        """See `Store.put`."""
        path = self._path(key)
        with self._answered():
            _require(self._send("PUT", path, body=body))

    def get(self, key: str, *, limit: int) -> bytes | None:
        """See `Store.get`."""
        path = self._path(key)
        with self._answered(), closing(self._send("GET", path, preload_content=False)) as answer:
            try:
                _require(answer)
            except _RefusalError as error:
                if error.code == "NoSuchKey":
                    return None
                raise
            return bounded.read(answer, key, limit)

    def stat(self, key: str) -> Stored | None:
        """See `Store.stat`."""
        path = self._path(key)
        with self._answered():
            answer = self._send("HEAD", path)
            if answer.status == HTTPStatus.NOT_FOUND:
                # An answer to HEAD has no body, and so does not tell a missing key from a missing bucket.
                _require(self._send("HEAD", self._root or "/"))
                return None
            _require(answer)
            size, modified = (answer.headers.get(name, "") for name in ("Content-Length", "Last-Modified"))
            return Stored(key, int(size), parsedate_to_datetime(modified).astimezone(UTC))

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        path = self._path(key)
        with self._answered():
            _require(self._send("DELETE", path))

    def list(self, prefix: str, *, after: str = "") -> Iterator[Stored]:
        """See `Store.list`."""
        keys.check_prefix(prefix)
        query = {"list-type": "2", "encoding-type": "url", "prefix": self._prefix + prefix}
        if after:
            query["start-after"] = self._prefix + after
        while True:
            with self._answered():
                answer = self._send("GET", self._root or "/", query)
                _require(answer)
                page = _page(answer.data)
                found = _stored(page, self._prefix)
            yield from found
            if page.findtext("IsTruncated") != "true":
                return
            query["continuation-token"] = page.findtext("NextContinuationToken") or ""

    def presign(self, key: str, *, seconds: int) -> str:
        """See `Store.presign`."""
        asked = Request("GET", self._host, self._path(key))
        with self._answered():
            return f"{self._scheme}://{self._host}{self._signer().presigned(asked, seconds).target}"

    def _path(self, key: str) -> str:
        keys.check(key)
        return f"{self._root}/{sigv4.encoded(self._prefix + key)}"

    def _signer(self) -> Signer:
        return Signer(self._keys.get(), self._region, datetime.now(UTC))

    def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        preload_content: bool = True,
    ) -> BaseHTTPResponse:
        request = Request(method, self._host, path, query or {})
        return self._http.urlopen(
            method,
            f"{self._scheme}://{self._host}{request.target}",
            body=body if method == "PUT" else None,
            headers=self._signer().headers(request, body),
            redirect=False,
            preload_content=preload_content,
            decode_content=False,
        )

    @contextmanager
    def _answered(self) -> Iterator[None]:
        """Turn what is wrong with an answer, or with finding our keys, into our errors."""
        try:
            yield
        except _RefusalError as error:
            if error.code in _FOLDER:
                raise BadKey("a key is the folder of another") from error
            raise Unavailable("store", f"bucket {self._bucket}: {error}") from error
        except (HTTPError, OSError, ET.ParseError, ValueError, TypeError) as error:
            raise Unavailable("store", f"bucket {self._bucket}: {error}") from error


class _RefusalError(Exception):
    """An answer that is no success, by the server's own code and words."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}" if message else code)
        self.code = code


class _Keys:
    """The keys that requests are signed with: those that are given, or the platform's, which change."""

    def __init__(self, settings: StoreSettings) -> None:
        self._given = Keys(settings.access_key, settings.secret_key) if settings.access_key else None
        self._lock = Lock()
        self._found: Any = None

    def get(self) -> Keys:
        """Return the keys as of now; raise `ValueError` where there are none."""
        if self._given:
            return self._given
        with self._lock:
            if self._found is None:
                self._found = _of_platform()
        try:
            found = self._found.get_frozen_credentials()  # asks for new ones where these are about to end
        except Exception as error:
            raise ValueError(f"the platform gives no keys: {error}") from error
        return Keys(found.access_key, found.secret_key, found.token or "")


def _of_platform() -> Any:
    import boto3.session  # noqa: PLC0415 - see the module's docstring

    try:
        found = boto3.session.Session().get_credentials()
    except Exception as error:
        raise ValueError(f"the platform gives no keys: {error}") from error
    if found is None:
        raise ValueError("no keys are given, and the platform has none")
    return found


def _place(bucket: str, settings: StoreSettings) -> tuple[str, str, str]:
    """Return the scheme, the host as a request names it, and the path of a bucket."""
    if not settings.endpoint:
        domain = "amazonaws.com.cn" if settings.region.startswith("cn-") else "amazonaws.com"
        host = f"s3.{settings.region}.{domain}"
        # a certificate for all buckets is not one for names with dots
        return ("https", host, f"/{bucket}") if "." in bucket else ("https", f"{bucket}.{host}", "")
    parts = urlsplit(settings.endpoint)
    name = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    host = f"{name}:{parts.port}" if parts.port not in (None, _PORTS[parts.scheme]) else f"{name}"
    return parts.scheme, host, f"/{bucket}"


def _require(answer: BaseHTTPResponse) -> None:
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise _refusal(answer)


def _refusal(answer: BaseHTTPResponse) -> _RefusalError:
    try:
        said = _bare(answer.data)
    except ET.ParseError:
        said = ET.Element("Error")
    return _RefusalError(said.findtext("Code") or f"status {answer.status}", said.findtext("Message") or "")


def _page(body: bytes) -> ET.Element:
    page = _bare(body)
    if page.tag != "ListBucketResult" or page.findtext("IsTruncated") not in ("true", "false"):
        raise ValueError("the answer is no list")
    return page


def _stored(page: ET.Element, prefix: str) -> list[Stored]:
    """Return those of a page whose names are keys."""
    is_encoded, stored = page.findtext("EncodingType") == "url", []
    for found in page.iter("Contents"):
        name = found.findtext("Key") or ""
        key = (unquote(name) if is_encoded else name).removeprefix(prefix)
        if keys.is_key(key):
            modified = datetime.fromisoformat(found.findtext("LastModified") or "")
            stored.append(Stored(key, int(found.findtext("Size") or ""), modified.astimezone(UTC)))
    return stored


def _bare(body: bytes) -> ET.Element:
    """Return a document without its namespace, which servers do not agree upon."""
    found = ET.fromstring(body)  # noqa: S314 - of the store that was chosen; expat bounds what entities become
    for element in found.iter():
        element.tag = element.tag.rpartition("}")[2]
    return found
