"""Signatures as Amazon's own examples have them, and the keys that a platform gives."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from storage.conftest import ACCESS_KEY, SECRET_KEY

from knative_lambda.schemas.errors import Unavailable
from knative_lambda.storage.factory import open_store
from knative_lambda.storage.settings import StoreSettings
from knative_lambda.storage.sigv4 import Keys, Request, Signer, encoded

HOST = "examplebucket.s3.amazonaws.com"
EXAMPLE = Signer(
    Keys("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    "us-east-1",
    datetime(2013, 5, 24, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        ({"lifecycle": ""}, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ({"prefix": "J", "max-keys": "2"}, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
)
def test_a_request_is_signed_as_in_amazons_examples(query: dict[str, str], signature: str) -> None:
    """Those of "Authenticating Requests: Using the Authorization Header"."""
    headers = EXAMPLE.headers(Request("GET", HOST, "/", query), b"")
    assert headers["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, "
        f"SignedHeaders=host;x-amz-content-sha256;x-amz-date, Signature={signature}"
    )


def test_an_url_is_signed_as_in_amazons_example() -> None:
    """That of "Authenticating Requests: Using Query Parameters"."""
    signed = EXAMPLE.presigned(Request("GET", HOST, "/test.txt"), 86400)
    expected = "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
    assert signed.query["X-Amz-Signature"] == expected
    assert f"X-Amz-Signature={expected}" in signed.target


def test_lent_keys_and_odd_paths_are_signed_as_botocore_does() -> None:
    """Whose answer is that of most clients."""
    lent, path = Keys("me", "hush", "lent/token=="), encoded("/a=b/~c.d_e-f g")
    theirs = AWSRequest("PUT", f"https://{HOST}{path}?x=1%2F2&empty=", data=b"body")
    S3SigV4Auth(Credentials(lent.access, lent.secret, lent.token), "s3", "eu-west-1").add_auth(theirs)
    moment = datetime.strptime(theirs.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    request = Request("PUT", HOST, path, {"x": "1/2", "empty": ""})
    ours = Signer(lent, "eu-west-1", moment).headers(request, b"body")
    assert ours["x-amz-security-token"] == lent.token
    assert theirs.headers["Authorization"].rpartition("=")[2] == ours["authorization"].rpartition("=")[2]


@pytest.fixture
def no_platform(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Take away whatever may give keys on this machine."""
    for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN", "PROFILE"):
        monkeypatch.delenv(f"AWS_{name}", raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for name in ("CONFIG_FILE", "SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(f"AWS_{name}", str(tmp_path / "none"))
    return monkeypatch


def test_without_keys_those_of_the_platform_are_taken(
    s3_server: tuple[str, Path], no_platform: pytest.MonkeyPatch
) -> None:
    store = open_store("s3://test-bucket", StoreSettings("s3://test-bucket", s3_server[0]))
    with pytest.raises(Unavailable, match="bucket test-bucket: no keys are given"):
        store.put("a", b"x")
    no_platform.setenv("AWS_ACCESS_KEY_ID", ACCESS_KEY)
    no_platform.setenv("AWS_SECRET_ACCESS_KEY", SECRET_KEY)
    store.put("of-the-platform", b"x")
    assert store.get("of-the-platform", limit=1) == b"x"
    store.delete("of-the-platform")
