"""A receiver behind which nothing lies, as a process of its own: what `test_app_server.py` starts, stops and looks at.

An event of the subject ``hold`` is answered once the process has been told to stop, one of ``wait`` when the file that
its id names is there, one of ``forever`` never. Its life is told on the output.
"""

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path

from flask import Flask

from knative_lambda.handler.access.modes import Entrances
from knative_lambda.handler.events import Event
from knative_lambda.handler.observe import logs
from knative_lambda.handler.receive import app as http
from knative_lambda.handler.receive.intake import Limits
from knative_lambda.handler.receive.server import ServerSettings, serve


def say(**what: object) -> None:
    """Print a line with one system call, so that a signal handler may do it too."""
    os.write(1, json.dumps(what).encode() + b"\n")


class HoldingDoor:
    """Holds events back until the process has been told to stop."""

    read = None
    access = Entrances(lambda _: None)

    def __init__(self, release: threading.Event) -> None:
        self._release = release

    def receive(self, event: Event) -> None:
        if event.subject == "hold":
            say(life="arrived")
            self._release.wait()
        elif event.subject == "wait":
            say(life="arrived")
            while not Path(event.id).exists():
                time.sleep(0.01)
        elif event.subject == "forever":
            say(life="arrived")
            threading.Event().wait()

    def answered(self) -> None:
        pass

    def dependencies(self) -> Mapping[str, str]:
        return {}


def main() -> None:
    """Serve on the port and with the heartbeat file in the folder that the arguments name."""
    port, tmp_dir, fails, early = int(sys.argv[1]), sys.argv[2], "fail" in sys.argv, "early" in sys.argv
    logs.configure(sys.stdout, verbose=True)
    told = threading.Event()

    def make_app() -> Flask:
        if fails:
            raise RuntimeError
        say(life="made", pid=os.getpid())
        settings = http.HttpSettings(Limits(body=100_000))
        return http.create_app(HoldingDoor(told), settings, draining=told.is_set)

    def started() -> None:
        say(life="started")
        if early:
            os.kill(os.getpid(), signal.SIGTERM)
            while not told.is_set():
                time.sleep(0.01)

    def stopping() -> None:
        say(life="stopping")
        told.set()

    serve(
        make_app,
        ServerSettings(
            host="127.0.0.1",
            port=port,
            threads=4,
            read_timeout=int(os.environ.get("PATIENCE", "60")),
            tmp_dir=tmp_dir,
            graceful_timeout=int(os.environ.get("DRAIN", "25")),
            farewell=int(os.environ.get("FAREWELL", "4")),
            tls=os.environ.get("TLS", ""),
            clients="CLIENTS" in os.environ,
        ),
        started=started,
        stopping=stopping,
        stopped=lambda: say(life="stopped"),
    )


main()
