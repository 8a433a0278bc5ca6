"""A git repository that a source names: what its address may be, and what of it is wanted. Pure.

Called where a source is accepted, where the Job of a Build is made, and in that Job's Pod, which alone clones it
(`clone.py`). What that Pod tells of it comes as JSON in its termination message: `said` reads it.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Fault

CLONED = "it is cloned in a Job"
"""Why no layer is laid of it."""
HEAD = "HEAD"
COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
"""A commit in full; anything shorter is the name of a branch or a tag."""
PORTS: Mapping[str, int] = {"https": 443, "http": 80, "ssh": 22}
USERS = frozenset(
    {
        "CredentialsRefused",
        "HostKeyUnknown",
        "HostRefused",
        "HostUnknown",
        "HostUntrusted",
        "KeyMissing",
        "PathMissing",
        "RepositoryMoved",
        "RepositoryUnknown",
        "RevisionUnknown",
        "SourceRefused",
        "SourceTooLarge",
    }
)
"""Ends of a clone that its user has to mend; any other is the platform's, and tried again."""
_HOST = r"(?P<host>[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?)"
_USER = r"(?P<user>[A-Za-z0-9_][A-Za-z0-9._-]*)"
_PATH = r"(?:/[A-Za-z0-9._~+@%-]+)+/?"
_URL = re.compile(rf"(?P<scheme>https?|ssh)://(?:{_USER}@)?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?{_PATH}", re.IGNORECASE)
_SHORT = re.compile(rf"{_USER}@{_HOST}:(?!/)[A-Za-z0-9._~+@%-]+(?:/[A-Za-z0-9._~+@%-]+)*/?")
"""How ssh is written for short: ``git@example.com:acme/hello.git``."""


@dataclass(frozen=True)
class Address:
    """Where a repository is."""

    scheme: str
    host: str
    port: int
    user: str = ""

    @classmethod
    def of(cls, url: str) -> "Address":
        """Return what an URL says; raise `ValueError` for what is no address of a repository."""
        found = _URL.fullmatch(url)
        if found is not None:
            scheme = found["scheme"].lower()
            return cls(scheme, found["host"].lower(), int(found["port"] or PORTS[scheme]), found["user"] or "")
        if (short := _SHORT.fullmatch(url)) is not None:
            return cls("ssh", short["host"].lower(), PORTS["ssh"], short["user"])
        raise ValueError("an address is https://host/path, ssh://user@host/path or user@host:path, without ? and #")

    @property
    def place(self) -> str:
        """Return the host, with its port where that is not the scheme's."""
        return self.host if self.port == PORTS[self.scheme] else f"{self.host}:{self.port}"


def faults(git: Mapping[str, Any], where: str) -> Iterator[Fault]:
    """Yield what is wrong with a ``source.git``, as far as that can be seen in it."""
    try:
        address = Address.of(git["url"])
    except ValueError as error:
        yield Fault(f"{where}/url", str(error))
        return
    if address.scheme != "ssh" and address.user:
        yield Fault(f"{where}/url", "credentials are named by `secret`, and stand in no URL")
    if address.scheme == "ssh" and not git.get("secret"):
        yield Fault(f"{where}/secret", "ssh needs a Secret with ssh-privatekey and known_hosts")
    if ".." in git.get("revision", ""):
        yield Fault(f"{where}/revision", "a revision is a branch, a tag or a whole commit")
    if any(part in ("", ".", "..") for part in git.get("path", "x").removesuffix("/").split("/")):
        yield Fault(f"{where}/path", "no segment of a path is empty, . or ..")


def context(git: Mapping[str, Any], commit: str, cause: str) -> str:
    """Return what stands for a context that nobody has seen yet: equal where the same commit is asked for.

    Where the commit is not known before it is cloned, each `cause` is another one.
    """
    at = [commit] if commit else [git.get("revision", HEAD), cause]
    return names.sha256({"git": git["url"], "path": git.get("path", ""), "at": at})


def at(git: Mapping[str, Any], commit: str) -> dict[str, str]:
    """Return a repository as a Build names it: with the commit, where that is known."""
    return {**git, "commit": commit} if commit else dict(git)


def written_out(git: Mapping[str, Any]) -> str:
    """Return the commit that a source names itself, or ""."""
    revision: str = git.get("revision", "")
    return revision if COMMIT.fullmatch(revision) else ""


def said(message: str) -> dict[str, str]:
    """Return what a termination message says of a clone: ``commit``, or ``reason`` and ``message``; {} for nothing."""
    try:
        found = json.loads(message)
    except ValueError:
        return {}
    if not isinstance(found, dict) or not COMMIT.fullmatch(str(found.get("commit") or "0" * 40)):
        return {}
    return {key: str(found[key]) for key in ("commit", "reason", "message") if found.get(key)}
