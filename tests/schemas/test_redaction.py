"""What looks like a secret, or is known to be one, is told to nobody; all else is told as it is."""

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative_lambda.schemas import redaction
from knative_lambda.schemas.redaction import ALIKE, HIDDEN, MOST, SHORTEST, Hiding, learn, looks_secret, redact

KEY = 'kJ8+x/Qz"w\\7=v &1'
LOOKS = {
    "Authorization: Bearer abcdef0123456789abcdef": "abcdef0123456789abcdef",
    "{'Authorization': 'Basic dXNlcjpodXNoaHVzaA=='}": "dXNlcjpodXNoaHVzaA",
    # pragma: allowlist nextline secret
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
    # pragma: allowlist nextline secret
    "cannot read -----BEGIN EC PRIVATE KEY-----\nMHcCAQEEIhush\n-----END EC PRIVATE KEY-----\n": "MHcCAQEEIhush",
    # pragma: allowlist nextline secret
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


def written(value: str) -> dict[str, str]:
    """Return how a value may be written, by who writes it so."""
    raw = value.encode()
    return {
        "as it is": value,
        "json": json.dumps(value)[1:-1],
        "json in UTF-8": json.dumps(value, ensure_ascii=False)[1:-1],
        "python": repr(value)[1:-1],
        "a query": quote(value, safe=""),
        "a path": quote(value),
        "a form": quote_plus(value),
        "a query in small letters": "".join(f"%{byte:02x}" if byte in b"\"\\+/= '&?>" else chr(byte) for byte in raw),
        "base64": base64.b64encode(raw).decode(),
        "base64 for URLs": base64.urlsafe_b64encode(raw).decode(),
        "base64 of tokens": base64.urlsafe_b64encode(raw).decode().rstrip("="),
        "hex": raw.hex(),
        "HEX": raw.hex().upper(),
    }


@pytest.mark.parametrize("who", written(KEY))
@pytest.mark.parametrize("value", [KEY, "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "a key's + / ?>?>?>?>"])
def test_a_value_that_was_learnt_is_hidden_however_it_is_written(who: str, value: str) -> None:
    told = f"{{{written(value)[who]}}}"
    assert redact(told) == told
    assert learn(value) == value
    assert redact(told) == f"{{{HIDDEN}}}"


@pytest.mark.parametrize("who", ["json", "json in UTF-8", "python", "a path", "base64 for URLs", "hex"])
def test_so_is_one_that_is_not_ascii(who: str) -> None:
    value = learn("schl\u00fcssel \u00fcber \u00bf\u00bf?")
    assert redact(f"{{{written(value)[who]}}}") == f"{{{HIDDEN}}}"


def test_what_was_learnt_is_hidden_in_texts_of_every_length() -> None:
    """There are two ways to look, by which is shorter: the text, or the list of what was learnt."""
    for number in range(MOST):
        learn(f"value number {number}!")
    for around in ("", "x", "x" * 5000):
        assert redact(f"{around}value number 7!{around}value number 8!") == f"{around}{HIDDEN}{around}{HIDDEN}"


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
    assert len(redaction._forms) <= 2 * MOST * 12


@given(st.recursive(st.text('abc "\\\n{}') | st.none() | st.floats(0, 1), st.lists))
def test_what_holds_no_secret_keeps_its_form(value: object) -> None:
    assert json.loads(json.dumps(redaction.redacted({"said": value}))) == {"said": value}


@given(st.text(min_size=SHORTEST), st.text())
def test_a_learnt_value_never_passes(secret: str, around: str) -> None:
    learn(secret, passing=True)
    said = redaction.redacted({"said": [f"{around}{secret}{around}"], secret: 1, "other": KeyError(secret)})
    for told in (*said, *said["said"], said["other"]):
        assert secret not in told.replace(HIDDEN, "")


@given(st.lists(st.text(KEY, min_size=SHORTEST, max_size=40), min_size=1, max_size=20))
def test_what_is_hidden_for_one_is_hidden_however_it_is_written_and_told_to_all_others(values: list[str]) -> None:
    """However many values there are."""
    some = Hiding(values)
    assert {some.hide(form) for value in values for form in written(value).values()} == {HIDDEN}
    assert Hiding([]).hide(values[0]) == values[0]
    assert Hiding(["opensesame"] * 2).hide("an opensesame, and opensesam") == f"an {HIDDEN}, and opensesam"


def test_of_many_values_that_begin_alike_the_rest_of_the_line_is_hidden() -> None:
    many = [f"password{number}" for number in range(ALIKE + 1)]
    assert Hiding(many).hide("a password7 b\nc") == f"a {HIDDEN}\nc"
    assert Hiding(many[1:]).hide("a password7 b\nc") == f"a {HIDDEN} b\nc"


def test_whether_a_text_looks_secret_does_not_hang_on_what_is_known() -> None:
    learn("known-and-harmless")
    assert not looks_secret("known-and-harmless")
    assert looks_secret("Bearer abcdef0123456789abcdef")
