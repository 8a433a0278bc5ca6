"""Run a command that never outlives who started it: ``python leash.py command…``, with a pipe as standard input.

Started by `local.py` for package managers. When the pipe closes, because its owner let go or was killed, the command is
killed with all that it started.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

STANDARD_INPUT = 0
SIGNALLED = 128


def main(command: list[str]) -> int:
    """Run `command` and return its exit code as a shell would."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)  # noqa: S603 - the caller's command

    def end() -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)

    def watch() -> None:
        while os.read(STANDARD_INPUT, 1024):
            pass
        end()

    threading.Thread(target=watch, daemon=True).start()
    code = child.wait()
    end()
    return code if code >= 0 else SIGNALLED - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
