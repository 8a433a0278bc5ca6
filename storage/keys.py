"""Every key that the product uses in the store, and what a key may be.

Called by `builds` and `handler` for the keys, by the stores to check them. The tenant is part of every key, so that
no two tenants ever write the same one; `legacy_source` alone is where the senders of the older families say it is.
"""

import re

from knative_lambda.storage.store import BadKey

LONGEST = 900
"""Characters of a key at most: S3 takes 1,024 bytes, and a store may put a prefix of its own before the key."""
GLOBAL = "global"
"""The first segment of keys that are of no tenant; the second one of all others is theirs."""
DELETED = "deleted"
"""How the last segment of a mark's key begins that a deletion has left."""
_SEGMENT = re.compile(r"(?!\.{1,2}\Z)[A-Za-z0-9._=-]{1,255}", re.ASCII)


def context(tenant: str, function: str, digest_hex: str) -> str:
    """Return the key of a build context, named by the hash of what is in it."""
    return _join("contexts", tenant, function, f"{digest_hex}.tar.gz")


def log(tenant: str, function: str, attempt_name: str) -> str:
    """Return the key of the log of one attempt of a build."""
    return _join("logs", tenant, function, f"{attempt_name}.log")


def contexts(tenant: str) -> str:
    """Return the prefix of the keys of a tenant's contexts; the next segment is the function's name."""
    return _join("contexts", tenant) + "/"


def logs(tenant: str) -> str:
    """Return the prefix of the keys of a tenant's logs; the next segment is the function's name."""
    return _join("logs", tenant) + "/"


def retired(tenant: str, function: str, build: str, digest_hex: str) -> str:
    """Return the key that says that a build was removed because it had had its time; the digest is its context's."""
    return _join("retired", tenant, function, f"{build}.{digest_hex}")


def retirements(tenant: str) -> str:
    """Return the prefix of the keys that say which of a tenant's builds had had their time."""
    return _join("retired", tenant) + "/"


def unnamed(tenant: str, runtime: str, digest_hex: str = "") -> str:
    """Return the key that says since when no build names an image of installed dependencies; without it, the prefix."""
    return _join("unnamed", tenant, runtime, digest_hex) if digest_hex else _join("unnamed", tenant, runtime) + "/"


def kept_layers(tenant: str) -> str:
    """Return the prefix of the keys that say since when Kaniko keeps a tenant's layers."""
    return _join("kept", tenant) + "/"


def kept_layer(tenant: str, tag: str) -> str:
    """Return the key that says since when Kaniko keeps a layer under a tag."""
    return _join("kept", tenant, tag)


def tombstones(tenant: str) -> str:
    """Return the prefix of the keys of a tenant's marks; the next segment is the function's name."""
    return _join("tombstones", tenant) + "/"


def tombstone(tenant: str, function: str, event: str, *, deletes: bool) -> str:
    """Return the key of the mark that an event, of this hash, left of a function that is not there: its order key."""
    return _join("tombstones", tenant, function, f"{DELETED if deletes else 'cancelled'}-{event}.json")


def farewells(tenant: str) -> str:
    """Return the prefix of the keys of notifications that are owed for functions that are no more."""
    return _join("farewells", tenant) + "/"


def farewell(tenant: str, function: str, uid: str) -> str:
    """Return the key of the notification that a function was deleted, until it has been sent."""
    return _join("farewells", tenant, function, f"{uid}.json")


def notices(tenant: str, target: str = "", function: str = "") -> str:
    """Return the prefix of the keys of events that are owed for a tenant's functions: in all, to a target, of one."""
    return _join("notices", tenant, *filter(None, (target, function))) + "/"


def notice(tenant: str, target: str, function: str, name: str) -> str:
    """Return the key of an event that a target is owed; the names of a function's are in the order of its events."""
    return _join("notices", tenant, target, function, f"{name}.json")


def uploads(tenant: str) -> str:
    """Return the prefix of the keys under which a tenant's senders put their sources."""
    return _join("uploads", tenant) + "/"


def legacy_source(parser_id: str) -> str:
    """Return the key of a source that an event of the older families does not carry."""
    return _join(GLOBAL, "parser", parser_id)


def tenant(key: str) -> str:
    """Return the tenant that a key, or a prefix, is of; "" where it is of none, or cut before its end."""
    sort, _, rest = key.partition("/")
    name, complete, _ = rest.partition("/")
    return name if complete and sort != GLOBAL else ""


def is_key(name: str) -> bool:
    """Tell whether `name` is a key."""
    return len(name) <= LONGEST and all(_SEGMENT.fullmatch(segment) for segment in name.split("/"))


def is_segment(name: str) -> bool:
    """Tell whether `name` can be one of the parts of a key."""
    return _SEGMENT.fullmatch(name) is not None


def check(key: str) -> None:
    """Raise `BadKey` where `key` is none."""
    if not is_key(key):
        raise BadKey(f"{key[:LONGEST]!r} is no key: segments of [A-Za-z0-9._=-], joined by /, none of them . or ..")


def check_prefix(prefix: str) -> None:
    """Raise `BadKey` where no key can start with `prefix`."""
    check(prefix + "x")


def _join(*segments: str) -> str:
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            raise BadKey(f"{segment[:LONGEST]!r} cannot be a segment of a key")
    return "/".join(segments)
