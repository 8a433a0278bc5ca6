"""The way to a repository's host, as git is told it: addresses that were looked at, credentials, proxy, whom to trust.

Called by `clone.py`, in the one container that has the tenant's key.
"""

import base64
import shlex
import socket
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from pathlib import Path

from knative_lambda.builds.inputs.reach import Reach, named
from knative_lambda.builds.inputs.repository import Address
from knative_lambda.schemas.errors import Temporary, Unsent

SYSTEM = "/etc/ssl/certs/ca-certificates.crt"
"""Whom the image trusts."""
GIT: Mapping[str, str] = {
    "core.hooksPath": "/dev/null",
    "fetch.unpackLimit": "1",  # one file, which has a size
    "core.bigFileThreshold": "8m",
    "pack.threads": "1",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "credential.helper": "",
}


class Failed(Exception):
    """It came to nothing; `reason` is a word, of `repository.USERS` where it is for the user to mend."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass(frozen=True)
class Way:
    """How one repository is reached."""

    work: Path
    """Where files may be written for git and ssh to read."""
    secret: Path | None
    """The folder with the keys of its Secret."""
    reach: Reach
    around: Mapping[str, str]
    """What the installation says in the usual variables: ``https_proxy``, ``no_proxy``, ``GIT_SSL_CAINFO``."""

    def environment(self, address: Address, attempt: int) -> dict[str, str]:
        """Return the environment that leads git there, with its credentials; raise `Failed` where it may not go there.

        A proxy looks a name up itself: that it leads inside is then for the proxy to refuse, too.
        """
        if address.scheme == "ssh":
            found = self._addresses(address)
            return {"GIT_SSH_COMMAND": self._ssh(address, found[attempt % len(found)]), "GIT_SSH_VARIANT": "ssh"}
        if proxy := self._proxy(address):
            self._require_named_or_public(address)
            config = {"http.proxy": proxy}
        else:
            bracketed = ",".join(f"[{one}]" if ":" in one else one for one in self._addresses(address))
            config = {"http.curloptResolve": f"{address.host}:{address.port}:{bracketed}"}
        if password := (self._given("password") or self._given("token")).strip():
            pair = f"{self._given('username').strip() or 'git'}:{password}"
            config["http.extraHeader"] = f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"
        if trusted := [pem for pem in (self._given("ca.crt"), _text(self.around.get("GIT_SSL_CAINFO", ""))) if pem]:
            believed = self._kept("ca.crt", "\n".join([*trusted, _text(SYSTEM)]))
            config |= {"http.sslCAInfo": believed, "http.proxySSLCAInfo": believed}
        return configured(config)

    def _proxy(self, address: Address) -> str:
        """Return the proxy that an address is reached by; "" where it is reached without."""
        return "" if self._is_direct(address) else self.around.get(f"{address.scheme}_proxy", "")

    def _is_direct(self, address: Address) -> bool:
        """Say whether ``no_proxy`` names an address as Go, npm and pip take it: networks and patterns, too."""
        told = self.around.get("no_proxy", "")
        names = [name.strip() for name in told.split(",")]
        if "*" in names or named(address.host, [name for name in names if name.startswith("*.")]):
            return True
        return _is_within(address.host, names) or bool(urllib.request.proxy_bypass(address.place, {"no": told}))

    def _require_named_or_public(self, address: Address) -> None:
        try:
            why = self.reach.refusal(address.place)
        except Temporary as error:
            raise Failed("GitUnavailable", str(error)) from error
        if why:
            raise Failed("HostRefused", why)

    def _addresses(self, address: Address) -> Sequence[str]:
        """Return the addresses of the host, each of which may be connected to."""
        try:
            return self.reach.addresses(address.host, str(address.port))
        except Unsent as refused:
            raise Failed("HostRefused", refused.faults[0].message) from refused
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Failed("GitUnavailable", f"{address.host} cannot be looked up: {error.strerror}") from error
            raise Failed("HostUnknown", f"there is no host {address.host}") from error
        except (OSError, UnicodeError) as error:
            raise Failed("HostUnknown", f"{address.host} is no host") from error

    def _ssh(self, address: Address, at: str) -> str:
        key, hosts = self._given("ssh-privatekey"), self._given("known_hosts")
        if not key.strip():
            raise Failed("KeyMissing", "the Secret holds no ssh-privatekey")
        if not hosts.strip():
            raise Failed("HostKeyUnknown", "the Secret holds no known_hosts: no host is believed unseen")
        alias = address.host if address.port == 22 else f"[{address.host}]:{address.port}"  # noqa: PLR2004 - ssh's
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self._kept("known_hosts", hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": alias,
            "HostName": at,
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityFile": self._kept("key", key.rstrip() + "\n"),
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
        }
        return shlex.join(["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())])

    def _given(self, key: str) -> str:
        return _text(str(self.secret / key)) if self.secret else ""

    def _kept(self, name: str, text: str) -> str:
        """Write what was given where git or ssh take it: readable by nobody else."""
        path = self.work / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)


def _is_within(host: str, networks: Sequence[str]) -> bool:
    """Say whether a host is written as an address in one of these, of which only networks count."""
    with suppress(ValueError):
        address = ip_address(host.strip("[]"))
        for network in networks:
            with suppress(ValueError):
                if "/" in network and address in ip_network(network, strict=False):
                    return True
    return False


def configured(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that configures git: nothing of it can be read in a list of processes."""
    pairs = list(enumerate({**GIT, **more}.items()))
    named = {f"GIT_CONFIG_{part}_{index}": pair[part == "VALUE"] for index, pair in pairs for part in ("KEY", "VALUE")}
    return {"GIT_CONFIG_COUNT": str(len(pairs)), **named}


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace") if path else ""
    except OSError:
        return ""
