"""Ports for what tests start, stop and start again."""

import itertools
import os
import socket

FIRST, EACH, WORKERS = 20_000, 1_000, 10
"""Where they begin, and how many each of the workers has: all of them lie below those that the kernel hands out."""
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % WORKERS
_numbers = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port on which nobody listens, another one each time.

    The kernel gives it to nobody who asks for any, and no other worker has it: it is still free when what it is for
    has started, and between its end and its next start.
    """
    for number in _numbers:
        port = FIRST + _worker * EACH + number % EACH
        try:
            socket.create_server(("127.0.0.1", port)).close()
        except OSError:
            continue
        return port
    raise AssertionError("the numbers have no end")
