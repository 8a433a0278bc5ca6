"""The keys of outside senders: a mounted Secret with a file for each of them, read anew each time.

So a key that is added or taken away counts as soon as the kubelet has written it, without a restart. A file is JSON:
``{"tenants": ["acme"], "secrets": ["whsec_…", "whsec_…"]}``; all of its secrets are valid, so that they can be rotated.
"""

import base64
import binascii
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from knative_lambda.schemas.redaction import learn

PREFIX = "whsec_"
SHORTEST = 24
"""Bytes of a secret at least (Standard Webhooks 1.0, "Signature scheme")."""
MOST = 32
"""Secrets that are tried at most, since a stranger makes us try them all."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sender:
    """Whoever has one of these secrets."""

    name: str
    tenants: frozenset[str]
    secrets: tuple[bytes, ...]


def senders(folder: str) -> list[Sender]:
    """Return the senders of a folder by name; a file that is none is told in the log, and the others count."""
    found: list[Sender] = []
    tried = 0
    for file in sorted(Path(folder).iterdir()) if folder and Path(folder).is_dir() else ():
        if file.name.startswith("."):  # the folders that a mounted Secret's files are links into
            continue
        try:
            sender = _sender(file.name, file.read_text())
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            log.error("the key of %s can't be read: %s", file.name, type(error).__name__)  # noqa: TRY400 - it would quote the key
            continue
        tried += len(sender.secrets)
        if tried > MOST:
            log.error("more than %d secrets: from %s on they don't count", MOST, sender.name)
            break
        found.append(sender)
    return found


def _sender(name: str, text: str) -> Sender:
    said = json.loads(text)
    if not all(isinstance(value, list) and value for value in (said["tenants"], said["secrets"])):
        raise ValueError("lists are needed")
    return Sender(name, frozenset(said["tenants"]), tuple(secret(each) for each in said["secrets"]))


def secret(text: str) -> bytes:
    """Return the bytes of a secret as Standard Webhooks writes it; raise `ValueError` where it is none."""
    try:
        found = base64.b64decode(learn(text.removeprefix(PREFIX)), validate=True)
    except binascii.Error as error:
        raise ValueError("no base64") from error
    if not text.startswith(PREFIX) or len(found) < SHORTEST:
        raise ValueError("too short")
    return found
