"""What is wrong with data, in plain words: a message for each keyword of JSON Schema that the schemas use.

Called by `catalogue.py` with what the validator has found. What a pattern means is said in ``patterns.json``, so that
nobody has to read the pattern.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from importlib import resources
from typing import Any, Protocol

SHOWN = 80
"""Characters of a value that are shown."""
SORTS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "a string",
}


class Violation(Protocol):
    """One thing that the validator has found."""

    @property
    def message(self) -> str:
        """The validator's own message."""

    @property
    def instance(self) -> Any:
        """What is wrong."""

    @property
    def kind(self) -> Any:
        """Which keyword it is against (`name`), and what that asks for."""


def plain(found: Violation) -> str:
    """Return what is wrong; for a keyword that the schemas do not use, in the validator's own words."""
    say = KEYWORDS.get(found.kind.name)
    return say(found.instance, found.kind) if say else found.message


@cache
def patterns() -> Mapping[str, str]:
    """Return what is said of a text that a pattern of the schemas refuses, by the pattern."""
    words: dict[str, str] = json.loads(resources.files(__package__).joinpath("patterns.json").read_text("utf-8"))
    return words


def _pattern(value: Any, kind: Any) -> str:
    return f"{_shown(value)} {patterns()[kind.pattern]}"


def _not(value: Any, kind: Any) -> str:
    return f"{_shown(value)} {patterns()[kind.schema['pattern']]}"


def _property_names(_: Any, kind: Any) -> str:
    return plain(kind.error)


def _type(value: Any, kind: Any) -> str:
    wanted = " or ".join(SORTS[sort] for sort in kind.types)
    quoted = ": put it in quotes" if "string" in kind.types and isinstance(value, int | float) else ""
    return f"{_shown(value)} is not {wanted}{quoted}"


def _enum(value: Any, kind: Any) -> str:
    return f"{_shown(value)} is none of {', '.join(map(str, kind.options))}"


def _required(_: Any, kind: Any) -> str:
    return f"`{kind.property}` is missing"


def _additional(_: Any, kind: Any) -> str:
    return f"{_listed(kind.unexpected)} {'is' if len(kind.unexpected) == 1 else 'are'} not known here"


def _one_of(value: Any, kind: Any) -> str:
    """Say that one of several fields, which each alternative asks for, is missing, or that more of them are there."""
    if not isinstance(value, dict):
        return f"{_shown(value)} is not {SORTS['object']}"
    lacking = [each.kind.property for errors in kind.context for each in errors]
    if len(lacking) == len(kind.context):
        return f"one of {_listed(lacking)} is missing"
    return f"{len(kind.context) - len(lacking)} of {_listed(value)} exclude each other"


def _any_of(_: Any, kind: Any) -> str:
    return f"one of {_listed([each.kind.property for errors in kind.context for each in errors])} is missing"


def _twice(value: Any, _: Any) -> str:
    again = next(each for number, each in enumerate(value) if each in value[:number])
    return f"{_shown(again)} is there twice"


def _count(bound: str, what: str) -> Callable[[Any, Any], str]:
    return lambda value, kind: f"has {len(value)} {what}, {bound} {kind.limit}"


def _bound(side: str) -> Callable[[Any, Any], str]:
    return lambda value, kind: f"{_shown(value)} is {side} {kind.limit}"


def _listed(names: Iterable[str]) -> str:
    *most, last = (_shown(name) for name in names)
    return f"{', '.join(most)} and {last}" if most else last


def _shown(value: Any) -> str:
    if isinstance(value, dict | list):
        return SORTS["object" if isinstance(value, dict) else "array"]
    text = json.dumps(value, ensure_ascii=False)
    text = text[1:-1] if isinstance(value, str) else text
    return f"`{text if len(text) <= SHOWN else text[: SHOWN - 1] + '…'}`"


KEYWORDS: Mapping[str, Callable[[Any, Any], str]] = {
    "additionalProperties": _additional,
    "anyOf": _any_of,
    "enum": _enum,
    "maxItems": _count("at most", "entries"),
    "maxLength": _count("at most", "characters"),
    "maxProperties": _count("at most", "entries"),
    "maximum": _bound("more than"),
    "minLength": _count("at least", "characters"),
    "minProperties": _count("at least", "entries"),
    "minimum": _bound("less than"),
    "not": _not,
    "oneOf": _one_of,
    "pattern": _pattern,
    "propertyNames": _property_names,
    "required": _required,
    "type": _type,
    "uniqueItems": _twice,
}
"""What is said of a value by the keyword that it is against."""
