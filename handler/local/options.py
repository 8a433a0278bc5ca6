"""The command line of ``knative-lambda dev``, checked before anything starts: all faults are told together.

Called by `__main__.py`.
"""

import argparse
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from knative_lambda.handler.local.folder import InUse, claim

HOST = "127.0.0.1"
PORTS = range(1, 65536)
TENANT = re.compile(r"[a-z0-9]([-a-z0-9]{0,54}[a-z0-9])?")
"""A DNS label that leaves room for the end of ``<tenant>-builds``."""
TAKEN = ("knative-lambda", "deadletters", "health", "ui", "v1")
"""Names that mean something else in this mode's URLs."""


@dataclass(frozen=True)
class Options:
    """What `dev` was told, checked."""

    port: int
    data: Path
    sink: str
    tenants: tuple[str, ...]
    verbose: bool
    owner: IO[str]
    """The lock on `data`; see `folder.claim`."""


def read(arguments: Sequence[str]) -> Options:
    """Return the options, the data folder claimed; print what is wrong with them and raise `SystemExit` with 2."""
    parser = _parser()
    given = parser.parse_args(arguments)
    data = given.data.absolute()
    tenants = tuple(name.strip() for name in given.tenants.split(","))
    faults = [*_tenant_faults(tenants), *_sink_faults(given.sink)]
    owner = None
    try:
        owner = claim(data)
    except InUse as error:
        faults.append(f"--data: {data} is {error}")
    except OSError as error:
        faults.append(f"--data: {data} can't be made and written: {error.strerror}")
    faults += _port_faults(given.port)
    if owner is None or faults:
        if owner is not None:
            owner.close()
        parser.error("\n  ".join(faults))
    return Options(int(given.port), data, given.sink, tenants, given.verbose, owner)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="knative-lambda dev",
        description="Run everything on this machine, without a cluster.",
        allow_abbrev=False,
    )
    parser.add_argument("--port", default="8480", help="the one port (default: %(default)s)")
    parser.add_argument("--data", type=Path, default=".knative-lambda", help="the folder (default: %(default)s)")
    parser.add_argument("--sink", default="", metavar="URL", help="gets every event of the tenants' brokers too")
    parser.add_argument("--tenants", default="demo", help="the tenants, separated by commas (default: %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="log the product's events to itself too")
    return parser


def _tenant_faults(tenants: Sequence[str]) -> list[str]:
    return [
        f"--tenants: {name!r} is no name for a tenant: at most 56 of a-z, 0-9 and '-', beginning and ending with a"
        f" letter or digit, and none of {', '.join(TAKEN)}"
        for name in tenants
        if name in TAKEN or not TENANT.fullmatch(name)
    ]


def _sink_faults(sink: str) -> list[str]:
    try:
        parts = urlsplit(sink)
        fine = not sink or (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:  # a port that is no number
        fine = False
    return [] if fine else [f"--sink: {sink!r} is no http or https URL"]


def _port_faults(said: str) -> list[str]:
    if not (said.isascii() and said.isdigit() and int(said) in PORTS):
        return [f"--port: {said!r} is no number from {PORTS[0]} to {PORTS[-1]}"]
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server will: an old connection is no fault
        try:
            probe.bind((HOST, int(said)))
        except PermissionError:
            return [f"--port: {said} needs more rights than this process has; choose another with --port"]
        except OSError:
            return [f"--port: port {said} is taken; choose another with --port"]
    return []
