"""Which hosts may be reached where somebody else says which: the one way out to what is not the installation's own.

Called by `registry_client.py`, whose registries refer to others, and before a ready image is accepted, which the
platform would ask for. A name is resolved once for a connection, and that goes to the address that was looked at: a
name that means something else a moment later gains nothing, nor does a redirect, as each connection is made here.

https://www.iana.org/assignments/iana-ipv6-special-registry/ lists what no public address is.
"""

import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from knative_lambda.schemas.errors import Fault, Temporary, Unsent

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

NEVER: tuple[Network, ...] = tuple(
    ip_network(network)
    for network in (
        "192.0.0.0/24",  # of protocols
        "192.88.99.0/24",  # relays of 6to4
        "::/96",  # an IPv4 address, written out
        "64:ff9b::/96",  # the same, translated on the way
        "64:ff9b:1::/48",
        "2001::/32",  # the same, in a tunnel
        "2002::/16",
        "fec0::/10",  # a site's own
    )
)
"""What Python calls global, or may, and is none."""
_USUAL = ("443", "80")
"""Ports that a reference may leave out."""


def resolved(host: str) -> Sequence[str]:
    """Return the addresses that the system knows of a host, which may be written as one; raise `OSError` for none."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)))


@dataclass(frozen=True)
class Reach:
    """Where connections may go to: to public addresses, and to what the installation names."""

    hosts: tuple[str, ...] = ()
    """Names of hosts, ``*.example.com`` for all below one, that are reached wherever they are."""
    networks: tuple[Network, ...] = ()
    """Networks that are reached although they are not public."""
    blocked: tuple[Network, ...] = ()
    """Networks that are never reached, as a cluster's own with public addresses; but for `hosts`."""
    resolve: Callable[[str], Sequence[str]] = resolved
    own: tuple[str, ...] = ()
    """The product's own hosts, each with its port: what else listens there is somebody else's."""

    @classmethod
    def of(cls, allowed: Sequence[str], blocked: Sequence[str] = (), own: Sequence[str] = ()) -> "Reach":
        """Return the reach of settings: `allowed` are hosts and networks, `own` references to the product's own hosts.

        Raises `ValueError` for what is neither a host nor a network.
        """
        networks = tuple(ip_network(name) for name in allowed if "/" in name)
        hosts = [name for name in allowed if "/" not in name]
        mine = tuple(name.partition("/")[0] for name in own if name)
        return cls(tuple(hosts), networks, tuple(map(ip_network, blocked)), own=mine)

    def addresses(self, host: str, port: str = "") -> Sequence[str]:
        """Return the addresses that a connection to a host, which is named without its port, may be made to.

        Raises `Unsent` where one of them may not be reached, and `OSError` where the host has none.
        """
        found = self.resolve(host)
        if not self._is_named(host, port):
            for address in found:
                if not self._is_open(ip_address(address.partition("%")[0])):
                    raise Unsent([Fault("/registry", f"{host} is not reached from here: {address} is not public")])
        return found

    def refusal(self, host: str) -> str:
        """Return why a host, with its port or without, is not to be reached, "" where it is.

        Raises `Temporary` where nobody can say which addresses it has.
        """
        plain, port = _apart(host)
        if self._is_named(plain, port):
            return ""
        try:
            self.addresses(plain, port)
        except Unsent as refused:
            return refused.faults[0].message
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Temporary(f"the addresses of {host} cannot be looked up: {error.strerror}") from error
            return f"{host} is not known here"
        except (OSError, UnicodeError):
            return f"{host} is no host"
        return ""

    def pool(self, **options: Any) -> urllib3.PoolManager:
        """Return connections that go nowhere else; `options` are those of urllib3's pools."""
        manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = _pools(self)
        return manager

    def _is_named(self, plain: str, port: str) -> bool:
        mine = [(name, _told(at)) for name, at in map(_apart, self.own)]
        return named(plain, self.hosts) or (_plain(plain), _told(port)) in mine

    def _is_open(self, address: Address) -> bool:
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        if any(address in network for network in self.blocked):
            return False
        return is_public(address) or any(address in network for network in self.networks)


def named(host: str, names: Sequence[str]) -> bool:
    """Say whether a host, with its port or without, is among these names; ``*.example.com`` is all below that one."""
    plain = _plain(host)
    return any(plain == name or (name[:2] == "*." and plain.endswith(name[1:])) for name in map(_plain, names))


def is_public(address: Address) -> bool:
    """Say whether an address is one of the Internet's, and of a single host."""
    special = address.is_multicast or address.is_reserved or any(address in network for network in NEVER)
    return address.is_global and not special


def _plain(host: str) -> str:
    """Return a host as names are compared: without its port, brackets, last dot, and in lower case."""
    return _apart(host)[0]


def _apart(host: str) -> tuple[str, str]:
    """Return a host as names are compared, and its port, "" where it says none."""
    name = host.lower()
    if name.startswith("["):
        name, _, port = name[1:].partition("]")
        return name, port.removeprefix(":")
    name, _, port = name.partition(":") if name.count(":") == 1 else (name, "", "")
    return name.rstrip("."), port


def _told(port: str) -> str:
    """Return a port as it must be told, "" for those that may be left out."""
    return "" if port in _USUAL else port


def _pools(reach: Reach) -> dict[str, type[HTTPConnectionPool]]:
    """Return urllib3's pools with connections that ask where they may go."""

    class Checked(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            name = self._dns_host
            try:
                found = reach.addresses(self.host, str(self.port or ""))
            except (OSError, UnicodeError) as error:
                reason = error if isinstance(error, socket.gaierror) else socket.gaierror(str(error))
                raise NameResolutionError(self.host, self, reason) from error
            try:
                for address in found[:-1]:
                    self._dns_host = address
                    try:
                        return super()._new_conn()
                    except (NewConnectionError, ConnectTimeoutError):
                        continue
                self._dns_host = found[-1]
                return super()._new_conn()
            finally:  # certificates are of the name
                self._dns_host = name

    class CheckedSecurely(Checked, HTTPSConnection):
        pass

    class Pool(HTTPConnectionPool):
        ConnectionCls = Checked

    class SecurePool(HTTPSConnectionPool):
        ConnectionCls = CheckedSecurely

    return {"http": Pool, "https": SecurePool}
