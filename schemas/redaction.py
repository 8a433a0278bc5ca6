"""What must not be told, taken out of what is told: the one place that knows how secrets look.

`redact` (for JSON, `redacted`) is called at the gates by which words leave the process: lines of log, conditions,
notifications, dead letters, problems, audit records. Two things are taken out: the values that whoever reads a secret
has named by `learn`, however they are written, and what looks like a secret wherever it comes from. The first are kept
for the whole process, as the log is for all of it: a value that was read in one place may turn up in another's
exception. They are the platform's own, therefore: what a tenant may choose would be taken out of what others are told.
It is hidden in what is told of that tenant's own by a `Hiding`.
"""

import base64
import json
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

HIDDEN = "***"
SHORTEST = 8
"""Characters of a value that is learnt: shorter ones would take words apart everywhere."""
MOST = 64
"""Values of each sort that are kept, the latest learnt: those that were rotated away long ago go."""
ALIKE = 64
"""How many forms of a `Hiding` may begin alike: of more, everything is hidden from there to the end of the line."""
_PARAMETERS = (
    "x-amz-signature|x-amz-credential|x-amz-security-token|x-goog-signature|x-goog-credential|awsaccesskeyid|signature|"
    "sig|access_token|refresh_token|id_token|token|password|passwd|secret|client_secret|api_key|apikey|key"
)
_FIELDS = "auth|password|passwd|identitytoken|registrytoken|access_token|refresh_token|secret_?key|client_secret"
_PATTERNS = tuple(
    (signs, re.compile(pattern), rf"\1{HIDDEN}")
    for signs, pattern in (
        (("bearer", "basic"), r"\b((?i:bearer|basic)\s+)(?=\S*[0-9A-Z=])[A-Za-z0-9._~+/-]{12,}=*"),
        (("=",), rf"(?i)([?&;](?:{_PARAMETERS})=)[^&;\s\"'<>\\)]+"),
        (("@",), r"(?i)([a-z][a-z0-9+.-]{0,20}://)[^/?#\s\"'@<>\\]{1,512}@"),
        (("auth", "passw", "token", "secret"), rf"(?i)(\\?[\"'](?:{_FIELDS})\\?[\"']\s*:\s*\\?[\"'])[^\"'\\]+"),
        (
            ("signature",),
            r"(?i)((?:webhook-)?signature\\?[\"']?\s*[:=]\s*\\?[\"']?)(?:v1,|sha256=)?[a-z0-9+/_-]{32,}=*",
        ),
        (("eyj",), r"()\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*"),
        (("whsec_",), r"()\bwhsec_[A-Za-z0-9+/=_-]{8,}"),
        (("private key",), r"(?s)(-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----).{0,8192}?(?=-----END|\Z)"),
    )
)
"""Authorization headers, query parameters that sign or open something, userinfo of URLs, docker's auths and the like,
signatures, JSON web tokens, webhooks' keys, private keys. A pattern is tried where one of its signs is: most texts have
none.
"""
_ESCAPE = re.compile("%[0-9A-F]{2}")
_lock = threading.Lock()
_learnt: dict[bool, OrderedDict[str, tuple[str, ...]]] = {True: OrderedDict(), False: OrderedDict()}
"""By whether it passes soon: how each value may be written."""
_forms: list[str] = []
_heads: set[str] = set()
"""How the forms begin, to tell in a short text that none is in it."""


def learn(value: str, *, passing: bool = False) -> str:
    """Have a secret's value taken out of whatever is told from now on, and return it.

    Call it wherever a secret is read, each time. Tokens that are got anew every few minutes are `passing`: however many
    there are, they push out none of those that last.
    """
    if len(value) >= SHORTEST:
        with _lock:
            kept = _learnt[passing]
            is_new = value not in kept
            if is_new:
                kept[value] = tuple(_writings(value))
            kept.move_to_end(value)
            if is_new:
                while len(kept) > MOST:
                    kept.popitem(last=False)
                every = {form for values in _learnt.values() for forms in values.values() for form in forms}
                _heads.update(form[:SHORTEST] for form in every)  # the list comes after: what is in it is found
                _forms[:] = sorted(every, key=len, reverse=True)
                _heads.intersection_update([form[:SHORTEST] for form in every])
    return value


def redact(text: str) -> str:
    """Return a text without the secrets in it; what is to become JSON goes through `redacted` before."""
    if _may_hold(text):
        for form in tuple(_forms):
            if form in text:
                text = text.replace(form, HIDDEN)
    return _without_likely(text)


def looks_secret(text: str) -> bool:
    """Say whether a text holds what looks like a secret, whatever values are known: an answer tells nobody of those."""
    return _without_likely(text) != text


class Hiding:
    """Takes some values, and no others, out of texts: however many they are, a text is gone through once."""

    def __init__(self, values: Iterable[str]) -> None:
        self._forms: dict[str, list[str]] = {}
        for form in {form for value in values if len(value) >= SHORTEST for form in _writings(value)}:
            self._forms.setdefault(form[:SHORTEST], []).append(form)
        for alike in self._forms.values():
            alike.sort(key=len, reverse=True)

    def hide(self, text: str) -> str:
        """Return a text without the values, the longest first where one begins like another."""
        told, kept, at = [], 0, 0
        while self._forms and at <= len(text) - SHORTEST:
            alike = self._forms.get(text[at : at + SHORTEST])
            end = self._end(text, at, alike) if alike else at
            if end > at:
                told += [text[kept:at], HIDDEN]
                kept = end
            at = max(end, at + 1)
        return "".join([*told, text[kept:]])

    def _end(self, text: str, at: int, alike: list[str]) -> int:
        """Return where what is to be hidden ends that begins here, `at` where nothing does."""
        if len(alike) > ALIKE:
            end = text.find("\n", at)
            return end if end >= 0 else len(text)
        return next((at + len(form) for form in alike if text.startswith(form, at)), at)


def _without_likely(text: str) -> str:
    if len(text) >= SHORTEST:
        plain = text.lower()
        for signs, pattern, instead in _PATTERNS:
            if any(sign in plain for sign in signs):
                text = pattern.sub(instead, text)
    return text


def redacted(value: Any) -> Any:
    """Return what is to be written as JSON without the secrets in its texts; what JSON does not know becomes a text."""
    if isinstance(value, Mapping):
        return {redact(str(key)): redacted(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [redacted(inner) for inner in value]
    return value if value is None or isinstance(value, bool | int | float) else redact(str(value))


def _may_hold(text: str) -> bool:
    """Say whether a form may be in a text; a text with fewer places than there are forms is looked at by its places."""
    places = len(text) - SHORTEST + 1
    return len(_forms) < places or any(text[at : at + SHORTEST] in _heads for at in range(places))


def _writings(value: str) -> Iterator[str]:
    """Yield how a value may be written: as it is, in JSON, by Python, in an URL, in base64, in hexadecimal digits."""
    yield from (value, json.dumps(value)[1:-1], json.dumps(value, ensure_ascii=False)[1:-1], repr(value)[1:-1])
    for quoted in (quote(value, safe=""), quote(value), quote_plus(value)):
        yield from (quoted, _ESCAPE.sub(lambda found: found[0].lower(), quoted))
    raw = value.encode()
    for encoded in (base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode()):
        yield from (encoded, encoded.rstrip("="))
    yield from (raw.hex(), raw.hex().upper())
