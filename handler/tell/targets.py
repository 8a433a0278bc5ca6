"""Who is told what happens beside the subscribers of tenants' Brokers: webhooks, and those who listen to CDEvents.

Called by `notices.py` for whom something is owed, and by `settings.py` for whether they can be.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

BROKER = "broker.cdevents"
"""The target that is each tenant's own Broker; no webhook can be called so."""
FORMS = ("cloudevents", "cdevents")
FIELDS = frozenset({"url", "tenants", "events"})
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Target:
    """Somebody who is told."""

    name: str
    url: str = ""
    """Where it listens; "" is the Broker of the tenant concerned."""
    tenants: tuple[str, ...] = ()
    """Of whose functions it is told; of all tenants' where none is named."""
    events: str = "cloudevents"
    """One of `FORMS`: the product's own events, or CDEvents."""

    @classmethod
    def of(cls, name: str, given: Mapping[str, Any]) -> "Target":
        """Return a webhook as the settings have it; see `faults`."""
        return cls(name, given["url"], tuple(given.get("tenants", ())), given.get("events", FORMS[0]))

    def hears_of(self, tenant: str) -> bool:
        """Say whether it is told of a tenant's functions."""
        return not self.tenants or tenant in self.tenants


def faults(webhooks: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with webhooks as the settings have them, by name: ``url``, ``tenants``, ``events``."""
    return [fault for name, given in webhooks.items() for fault in _faults(name, given)]


def _faults(name: str, given: Any) -> list[str]:
    if not _NAME.fullmatch(name):
        return [f"{name!r} is no name: small letters, digits and -, 63 at most"]
    if not isinstance(given, dict) or not isinstance(given.get("url"), str):
        return [f"{name}: an object with an url is needed"]
    found = [f"{name}: {field} is not known" for field in given.keys() - FIELDS]
    if not _is_url(given["url"]):
        found.append(f"{name}: the url is none of http or https, or names a user or a fragment")
    tenants = given.get("tenants", [])
    if not isinstance(tenants, list) or not all(isinstance(each, str) for each in tenants):
        found.append(f"{name}: tenants is a list of names")
    if given.get("events", FORMS[0]) not in FORMS:
        found.append(f"{name}: events is one of {', '.join(FORMS)}")
    return found


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        named = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is none
        return False
    return named and "@" not in url.netloc and not url.fragment and text.isprintable() and " " not in text
