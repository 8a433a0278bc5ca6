"""What looks like a secret, or is known to be one, is told to nobody; all else is told as it is."""

import base64
import json
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.schemas import redaction
from knative_lambda.schemas.redaction import HIDDEN, MOST, SHORTEST, learn, redact

KEY = 'kJ8+x/Qz"w\\7=v &1'
LOOKS = {
    "Authorization: Bearer abcdef0123456789abcdef": "abcdef0123456789abcdef",
    "{'Authorization': 'Basic dXNlcjpodXNoaHVzaA=='}": "dXNlcjpodXNoaHVzaA",
    "https://me:hushhush@host/path": "hushhush",
    "s3+https://hushtoken@host": "hushtoken",
    "GET /b/k?X-Amz-Credential=AKIA%2Fx&X-Amz-Expires=60&X-Amz-Signature=0123abcd HTTP/1.1": "0123abcd",
    "/b/k?X-Amz-Security-Token=hush%2Fhush&a=b": "hush%2Fhush",
    '{"auths": {"r": {"auth": "dXNlcjpodXNo"}}}': "dXNlcjpodXNo",
    json.dumps({"said": '{"auths": {"r": {"auth": "dXNlcjpodXNo"}}}'}): "dXNlcjpodXNo",
    '{"token": 1, "access_token": "opaque-hush"}': "opaque-hush",
    "Webhook-Signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=": "K5oZfzN95Z9UVu1E",
    "signature=sha256=" + "ab" * 32: "ab" * 32,
    "a key of whsec_C2FVsBQIhrscChlQIMV0b35t was read": "C2FVsBQIhrscChlQ",
    "cannot read -----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIhush\n-----END EC PRIVATE KEY-----\n": "MHcCAQEEIhush",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJodXNoIn0.c2lnbmF0dXJl": "eyJzdWIiOiJodXNoIn0",
}
INNOCENT = (
    "the breaker of store is open",
    "https://host/path?revision=main&X-Amz-Expires=60",
    "registry/acme/hello@sha256:" + "d" * 64,
    "Bearer tokens are asked for, and basic authentication",
    "attempt 1 of 3: 503 https://registry.test:5000/v2/acme/hello/manifests/1",
    "mail me@host, or see http://host/@me",
    '{"signature": "missing", "author": "me"}',
)


@pytest.mark.parametrize(("text", "secret"), LOOKS.items())
def test_what_looks_like_a_secret_is_hidden(text: str, secret: str) -> None:
    assert secret in text
    assert secret not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize("text", INNOCENT)
def test_what_does_not_is_told_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_a_value_that_was_learnt_is_hidden_however_it_is_written() -> None:
    writings = (KEY, json.dumps(KEY), quote(KEY), quote(KEY, safe=""), base64.b64encode(KEY.encode()).decode())
    shown = [f"{{{writing}}}" for writing in writings if writing != quote(KEY)]
    assert [redact(each) for each in shown] == shown
    assert learn(KEY) == KEY
    assert [redact(each) for each in shown] == ["{***}", '{"***"}', "{***}", "{***}"]


def test_a_short_value_is_not_learnt_since_it_would_take_words_apart() -> None:
    assert learn("a" * (SHORTEST - 1)) == "aaaaaaa"
    assert redact("aaaaaaa bc") == "aaaaaaa bc"


def test_tokens_of_minutes_push_out_no_password_and_do_not_grow() -> None:
    learn("the password itself")
    for number in range(5 * MOST):
        learn(f"token number {number}.", passing=True)
    assert redact("the password itself") == HIDDEN
    assert redact(f"token number {5 * MOST - 1}.") == HIDDEN
    assert redact("token number 0.") == "token number 0."
    assert len(redaction._forms) <= 2 * MOST * 5


@given(st.recursive(st.text('abc "\\\n{}') | st.none() | st.floats(0, 1), st.lists))
def test_what_holds_no_secret_keeps_its_form(value: object) -> None:
    assert json.loads(json.dumps(redaction.redacted({"said": value}))) == {"said": value}


@given(st.text(min_size=SHORTEST), st.text())
def test_a_learnt_value_never_passes(secret: str, around: str) -> None:
    learn(secret, passing=True)
    said = redaction.redacted({"said": [f"{around}{secret}{around}"], secret: 1, "other": KeyError(secret)})
    for told in (*said, *said["said"], said["other"]):
        assert secret not in told.replace(HIDDEN, "")
