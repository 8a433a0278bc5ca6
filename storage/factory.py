"""Which store an URL means. Called once for each store, by whoever joins the service.

    s3://bucket/prefix                         Amazon S3, or the service at `StoreSettings.endpoint`
    minio://host:port/bucket/prefix            MinIO over https; with ``?secure=false`` over http
    file:///abs/path                           a folder of this machine, made where it is missing
    memory://name                              this process's memory, a new one at each call

A vendor's library is imported when its store is first asked, and no other's: boto3 alone takes as long to load as all
the rest of the service.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import SplitResult, unquote, urlsplit

from knative_lambda.storage import keys
from knative_lambda.storage.deferred import DeferredStore, Keys
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.store import Store

LONGEST_PREFIX = 120
"""Characters of a store's own prefix: what a server's limit leaves beside `keys.LONGEST`."""


def open_store(url: str, settings: StoreSettings) -> Store:
    """Return the store that `url` means, without speaking to it; raise `ValueError` naming all that is wrong with it.

    The error quotes neither the URL nor the keys, since either may hold a secret.
    """
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError as error:
        raise ValueError(f"the store's URL cannot be read: {error}") from error
    if parts.scheme not in _VENDORS:
        raise ValueError(f"the store's URL has scheme {parts.scheme!r}, which is none of {', '.join(_VENDORS)}")
    faults_of, opened = _VENDORS[parts.scheme]
    faults = [*_faults_of_any(parts), *faults_of(parts, settings)]
    if faults:
        raise ValueError(f"the store's {parts.scheme}:// URL and settings cannot be used: {'; '.join(faults)}")
    return opened(parts, settings)


def _faults_of_any(parts: SplitResult) -> list[str]:
    faults = []
    if "@" in parts.netloc:
        faults.append("credentials do not belong into the URL but into the settings")
    if parts.fragment:
        faults.append("an URL of a store has no fragment (#)")
    if parts.query and parts.scheme != "minio":
        faults.append("only minio:// takes a query (?)")
    return faults


def _faults_of_s3(parts: SplitResult, settings: StoreSettings) -> list[str]:
    faults = [*_faults_of_bucket(parts.netloc.rpartition("@")[2]), *_faults_of_prefix(parts.path.strip("/"))]
    if bool(settings.access_key) != bool(settings.secret_key):
        faults.append("access key and secret key belong together: only one is set")
    if settings.endpoint:
        faults += _faults_of_endpoint(settings.endpoint)
    return faults


def _open_s3(parts: SplitResult, settings: StoreSettings) -> Store:
    def opened(keys: Keys) -> Store:
        from knative_lambda.storage.s3 import S3Store  # noqa: PLC0415 - see the module's docstring

        return S3Store(parts.netloc, parts.path.strip("/"), _with(settings, keys))

    return DeferredStore(opened, _keys(settings), settings.trust)


def _faults_of_minio(parts: SplitResult, settings: StoreSettings) -> list[str]:
    bucket, _, prefix = parts.path.strip("/").partition("/")
    faults = [*_faults_of_bucket(bucket), *_faults_of_prefix(prefix)]
    if not parts.hostname:
        faults.append("the server's host is missing: minio://host:port/bucket")
    if parts.query and parts.query not in {"secure=true", "secure=false"}:
        faults.append("the query can only be secure=true or secure=false")
    if not (settings.access_key and settings.secret_key) and settings.keys is None:
        faults.append("access key and secret key are needed")
    return faults


def _open_minio(parts: SplitResult, settings: StoreSettings) -> Store:
    bucket, _, prefix = parts.path.strip("/").partition("/")

    def opened(keys: Keys) -> Store:
        from knative_lambda.storage.minio import MinioStore  # noqa: PLC0415 - see the module's docstring

        return MinioStore(parts.netloc, bucket, prefix, _with(settings, keys), secure=parts.query != "secure=false")

    return DeferredStore(opened, _keys(settings), settings.trust)


def _keys(settings: StoreSettings) -> Callable[[], Keys]:
    return settings.keys or (lambda: (settings.access_key, settings.secret_key))


def _with(settings: StoreSettings, keys: Keys) -> StoreSettings:
    return replace(settings, access_key=keys[0], secret_key=keys[1])


def _faults_of_file(parts: SplitResult, _settings: StoreSettings) -> list[str]:
    faults = []
    if parts.netloc:
        faults.append("a folder has no host: file:/// and an absolute path")
    if not parts.path.strip("/"):
        faults.append("the folder is missing")
    if ".." in unquote(parts.path).split("/"):
        faults.append("the path must not contain ..")
    return faults


def _open_file(parts: SplitResult, _settings: StoreSettings) -> Store:
    from knative_lambda.storage.file import FileStore  # noqa: PLC0415 - see the module's docstring

    return FileStore(Path(unquote(parts.path)))


def _faults_of_memory(parts: SplitResult, _settings: StoreSettings) -> list[str]:
    faults = []
    if not parts.netloc or not keys.is_key(parts.netloc):
        faults.append("the name is missing, or has other characters than a key")
    if parts.path.strip("/"):
        faults.append("a store in memory has a name and no path")
    return faults


def _open_memory(parts: SplitResult, _settings: StoreSettings) -> Store:
    from knative_lambda.storage.memory import MemoryStore  # noqa: PLC0415 - see the module's docstring

    return MemoryStore(parts.netloc)


_Vendor = tuple[Callable[[SplitResult, StoreSettings], list[str]], Callable[[SplitResult, StoreSettings], Store]]
_VENDORS: dict[str, _Vendor] = {
    "s3": (_faults_of_s3, _open_s3),
    "minio": (_faults_of_minio, _open_minio),
    "file": (_faults_of_file, _open_file),
    "memory": (_faults_of_memory, _open_memory),
}


def _faults_of_bucket(name: str) -> list[str]:
    """Return what is wrong with a bucket's name, by the rules of S3's user guide for general purpose buckets."""
    rules = {
        "has 3 to 63 characters": 3 <= len(name) <= 63,  # noqa: PLR2004 - the rule's own numbers
        "has lowercase letters, digits, . and - only": bool(re.fullmatch(r"[a-z0-9.-]*", name)),
        "begins and ends with a letter or digit": bool(re.fullmatch(r"[^.-](.*[^.-])?", name)),
        "has no two dots side by side": ".." not in name,
        "is no IP address": not re.fullmatch(r"\d+\.\d+\.\d+\.\d+", name),
        "does not begin with xn--, sthree- or amzn-s3-demo-": not name.startswith(("xn--", "sthree-", "amzn-s3-demo-")),
        "does not end with -s3alias, --ol-s3, .mrap or --x-s3": not name.endswith(
            ("-s3alias", "--ol-s3", ".mrap", "--x-s3")
        ),
    }
    return [f"bucket {name!r}: a bucket's name {rule}" for rule, kept in rules.items() if not kept]


def _faults_of_prefix(prefix: str) -> list[str]:
    if prefix and not (keys.is_key(prefix) and len(prefix) <= LONGEST_PREFIX):
        return [f"prefix {prefix!r} is no key of at most {LONGEST_PREFIX} characters"]
    return []


def _faults_of_endpoint(endpoint: str) -> list[str]:
    wrong = ["the endpoint must be http(s)://host or http(s)://host:port, and nothing more"]
    try:
        parts = urlsplit(endpoint)
        parts.port  # noqa: B018 - reading it is what checks it
    except ValueError:
        return wrong
    more = parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc
    return wrong if parts.scheme not in {"http", "https"} or not parts.hostname or more else []
