"""Ports for what tests start, stop and start again."""

import functools
import itertools
import os
import socket

FIRST, EACH, BLOCKS = 20_000, 300, 40
"""Where they begin, and in how many blocks of how many: all of them lie below those that the kernel hands out."""
_numbers = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port on which nobody listens, at whatever address, another one each time.

    The kernel gives it to nobody who asks for any, and no other process of any run of the tests has it: it is still
    free when what it is for has started, and between its end and its next start.
    """
    for number in _numbers:
        port = _block() + number % EACH
        if _is_free(port):
            return port
    raise AssertionError("the numbers have no end")


@functools.cache
def _block() -> int:
    """Return the first port of a block that is this process's own: it listens there itself, until it ends."""
    for first in range(FIRST, FIRST + BLOCKS * EACH, EACH):
        try:
            socket.create_server(("127.0.0.1", first)).detach()
        except OSError:
            continue
        return first
    raise AssertionError(f"{BLOCKS} processes have taken all ports")


def _is_free(port: int) -> bool:
    try:
        socket.create_server(("", port)).close()
    except OSError:
        return False
    return True
