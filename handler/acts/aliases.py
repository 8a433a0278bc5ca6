"""The older families of events, translated into ours, so that their senders work unchanged.

Called by the router with every event, before it looks up the use case. The table of types is `schemas/types.py`.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from knative_lambda.handler.events import Event
from knative_lambda.schemas import catalogue
from knative_lambda.schemas.errors import Fault, Refused
from knative_lambda.schemas.types import (
    BUILD_CANCEL,
    BUILD_COMPLETE,
    BUILD_FAILED,
    BUILD_START,
    NOTIFI,
    PARSER_START,
    TYPES,
)
from knative_lambda.storage import keys
from knative_lambda.storage.store import BadKey

SOURCE_PREFIX = "network.notifi."
TIMEOUT = NOTIFI + "build.timeout"
DEFAULT_RUNTIME = "node"
LONGEST_NAME = 63
HASH_KEPT = 16
MESSAGE_KEPT = 32768
_LABEL = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_HASHED = re.compile(rf".*-[0-9a-f]{{{HASH_KEPT}}}")


@dataclass(frozen=True)
class Ids:
    """The two ids by which the older families name a function."""

    third_party: str
    parser: str


def canonical(event: Event, tenant_exists: Callable[[str], bool], legacy_tenant: str) -> Event:
    """Return the event in our own words; one that is no alias as it is.

    `legacy_tenant` takes the functions of senders that have no tenant of their own; "" refuses them. Raises `Refused`
    with every fault. Data without a `build` gets an empty one where ours asks for it: the use case finds out which.
    """
    known = TYPES[event.type]
    if not known.alias_of:
        return event
    ids = ids_of(event)
    tenant, name = place(ids, tenant_exists, legacy_tenant)
    data = {"tenant": tenant, "name": name, **_kept(event.data, "sequence"), **_translated(known.alias_of, event, ids)}
    faults = catalogue.event_faults(TYPES[known.alias_of].schema, data)
    faults = [fault for fault in faults if fault.where != "/data/build" or data["build"]]
    if faults:
        raise Refused(faults)
    stored = _stored(ids.parser) if keys.is_segment(ids.parser) else ""
    return replace(event, type=known.alias_of, received_type=event.type, stored=stored, data=data)


def ids_of(event: Event) -> Ids:
    """Return the ids in an event's data; a missing one is in its source or its subject."""
    named = event.source.removeprefix(SOURCE_PREFIX) if event.source.startswith(SOURCE_PREFIX) else ""
    ids = Ids(event.data.get("third_party_id", named), event.data.get("parser_id", event.subject))
    faults = []
    if not ids.third_party:
        faults.append(
            Fault("/data/third_party_id", f"is missing, and the source is not {SOURCE_PREFIX}<third_party_id>")
        )
    if not ids.parser:
        faults.append(Fault("/data/parser_id", "is missing, and there is no subject"))
    if faults:
        raise Refused(faults)
    return ids


def place(ids: Ids, tenant_exists: Callable[[str], bool], legacy_tenant: str) -> tuple[str, str]:
    """Return the tenant and the name of the function that two ids name."""
    if _LABEL.fullmatch(ids.third_party) and len(ids.third_party) <= LONGEST_NAME and tenant_exists(ids.third_party):
        return ids.third_party, label(ids.parser)
    if not legacy_tenant:
        raise Refused.because(
            "/data/third_party_id", "there is no tenant of that name, and none for senders without one"
        )
    return legacy_tenant, label(ids.third_party, ids.parser)


def label(*parts: str) -> str:
    """Return the DNS label that names these parts and no others: joined by "-", with a hash where that loses something.

    Lost is what a label cannot hold, and where one part ends: only the last one may hold a "-" of its own. What looks
    as if it had a hash gets one too, so that nobody can ask for the name of somebody else.
    """
    plain = "-".join(parts)
    told_apart = not any("-" in part for part in parts[:-1])
    if told_apart and len(plain) <= LONGEST_NAME and _LABEL.fullmatch(plain) and not _HASHED.fullmatch(plain):
        return plain
    whole = "".join(f"{len(part)}:{part}" for part in parts).encode()
    short = hashlib.sha256(whole).hexdigest()[:HASH_KEPT]
    readable = re.sub(r"[^a-z0-9]+", "-", plain.lower()).strip("-")
    lettered = readable if readable[:1].isalpha() else f"f-{readable}"
    return f"{lettered[: LONGEST_NAME - HASH_KEPT - 1].rstrip('-')}-{short}"


def _translated(canonical_type: str, event: Event, ids: Ids) -> dict[str, Any]:
    data: Mapping[str, Any] = event.data
    if canonical_type == BUILD_START:
        return _start(event, ids)
    if canonical_type == BUILD_CANCEL:
        return _kept(data, "build")
    if canonical_type == BUILD_COMPLETE:
        return {"build": "", **_kept(data, "build", "image")}
    if canonical_type == BUILD_FAILED:
        reason = "Timeout" if event.type == TIMEOUT else "BuildFailed"
        told = "; ".join(data[field] for field in ("reason", "error", "message") if data.get(field))
        return {"build": "", **_kept(data, "build"), "reason": reason, "message": told[:MESSAGE_KEPT]}
    return {}


def _start(event: Event, ids: Ids) -> dict[str, Any]:
    heard = event.source if event.source.startswith(SOURCE_PREFIX) else SOURCE_PREFIX + ids.third_party
    return {
        "runtime": event.data.get("runtime", DEFAULT_RUNTIME),
        "source": event.data.get("source") or {"object": _stored(ids.parser)},
        "triggers": [{"type": PARSER_START, "source": heard, "subject": ids.parser}],
    }


def _stored(parser: str) -> str:
    try:
        return keys.legacy_source(parser)
    except BadKey as error:
        raise Refused.because("/data/source", "is missing, and parser_id can be no key in the store") from error


def _kept(data: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: data[name] for name in names if name in data}
