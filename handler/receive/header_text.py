"""What an attribute's HTTP header says, as text (CloudEvents' HTTP binding 1.0.2, 3.1.3.2).

Called by the gate and by the dead-letter service, so that an event is the same to both.
"""

import re
from urllib.parse import unquote

URIS = ("source", "dataschema")
_CHARACTER = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
URI_REFERENCE = re.compile(
    rf"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):|(?![^/?#]*:))"
    rf"(?://(?:{_CHARACTER}|\[[0-9A-Fa-f:.]+\])*)?(?:{_CHARACTER}|/)*"
    rf"(?:\?(?:{_CHARACTER}|[/?])*)?(?:#(?:{_CHARACTER}|[/?])*)?"
)


def is_uri_reference(text: str) -> bool:
    """Say whether `text` is a URI-reference (RFC 3986, section 4.1) with something in it."""
    return bool(text) and URI_REFERENCE.fullmatch(text) is not None


def decoded(name: str, header: str) -> str:
    """Return an attribute's header as text: quoted strings undone, then percent-decoded once.

    Raises `UnicodeError` where it is no UTF-8. WSGI hands every byte as one character. Go's SDK, and Knative with it,
    neither encodes nor decodes: text comes as bare UTF-8 then, and the escapes of a URI are its own.
    """
    raw = header.encode("latin-1").decode("utf-8")
    if len(raw) > 1 and raw[0] == raw[-1] == '"':
        raw = re.sub(r"\\(.)", r"\1", raw[1:-1])
    text = unquote(raw, errors="strict")
    return raw if name in URIS and not is_uri_reference(text) else text
