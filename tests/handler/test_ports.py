"""The ports that tests give to what they start: whoever has one has it alone."""

import socket
import subprocess
import sys
from pathlib import Path

from support import ports

TESTS = Path(__file__).parents[1]
ALL = "from support import ports; print(*(ports.free_port() for _ in range(ports.EACH)))"


def around() -> set[int]:
    """Return each port that this process gives, once around."""
    return {ports.free_port() for _ in range(ports.EACH)}


def test_no_other_process_of_any_run_is_given_one() -> None:
    own = around()
    done = subprocess.run(
        [sys.executable, "-c", ALL], env={"PYTHONPATH": str(TESTS)}, capture_output=True, text=True, check=True
    )
    others = set(map(int, done.stdout.split()))
    assert len(others) > 1
    assert not others & own
    assert 20_000 <= min(own) < max(own) < 32_768, "the kernel's own begin there"


def test_one_where_somebody_listens_is_given_to_nobody_at_whatever_address_that_is() -> None:
    taken = ports.free_port()
    with socket.create_server(("127.0.0.2", taken)):
        assert taken not in around()
    assert taken in around()
