"""A receiver of one build, as a process of its own: what `test_live_process.py` watches, kills and begins anew.

The log of the build is a file, and it ends once another file is there. The world is made the same each time, so that a
process that comes after one that was killed finds the cluster as that one left it.
"""

import os
import sys
from pathlib import Path

from flask import Flask
from support.door import FrontDoor
from support.world import FakeBuilder, World

from knative_lambda.builds.builder import Attempt
from knative_lambda.handler.receive.app import create_app
from knative_lambda.handler.receive.door import HttpSettings
from knative_lambda.handler.receive.server import ServerSettings, serve


class Filed(FakeBuilder):
    """A builder whose log is a file; it counts how often that is read in another."""

    folder: Path

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        with (self.folder / "reads").open("a", encoding="ascii") as reads:
            reads.write("x")
        return (self.folder / "log").read_bytes()[-limit:]


def main() -> None:
    """Serve on the port, with the files in the folder that the arguments name."""
    port, folder = int(sys.argv[1]), Path(sys.argv[2])

    def make_app() -> Flask:
        world = World()
        world.builder.__class__ = Filed
        world.builder.folder = folder  # type: ignore[attr-defined] # it is one now
        world.start()
        app = create_app(FrontDoor(world), HttpSettings())

        @app.before_request
        def end() -> None:
            if (folder / "ended").exists() and not world.builder.ends:
                world.finish()

        return app

    def started() -> None:
        os.write(1, b"started\n")

    serve(make_app, ServerSettings(host="127.0.0.1", port=port, tmp_dir=str(folder)), started=started)


if __name__ == "__main__":
    main()
