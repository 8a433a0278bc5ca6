"""Strangers' text as it may be shown: without what would colour, hide, overwrite or turn around what stands there.

Called for every value that a template writes, before it is escaped; `files/page.js` does the same with lines that come
later, and a test holds the two together.
"""

import re

from markupsafe import Markup

_ESCAPES = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])")
"""What tells a terminal something: colours, titles, where to write."""
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff]")
"""What is not seen, and what turns the direction of writing: it could make a line look like another."""


def clean(text: str) -> str:
    """Return a text without a terminal's escapes, and with what is not seen spelt out."""
    return _HIDDEN.sub(lambda found: f"\\u{ord(found[0]):04x}", _ESCAPES.sub("", text))


def line(text: str) -> str:
    """Return a line of a log, as a terminal would leave it: what was overwritten is gone."""
    return clean(text.rstrip("\r").rpartition("\r")[2])


def shown(value: object) -> object:
    """Return a value of a template as it is written there; what a template has made itself stays."""
    return clean(value) if isinstance(value, str) and not isinstance(value, Markup) else value
