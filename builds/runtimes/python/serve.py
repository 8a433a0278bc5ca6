"""Serves one Python function: the entry point of the runtime's image, and of the embedded mode's processes.

Here everything is joined, and nowhere else is the environment read. The README says what a function can rely on.
"""

from __future__ import annotations

import logging
import os
import signal
import site
import sys
import threading
from pathlib import Path
from typing import NoReturn

from lambda_runtime import log
from lambda_runtime.delivery import Delivery
from lambda_runtime.function import Function, LoadError, is_web, load
from lambda_runtime.server import Server
from lambda_runtime.settings import BadSettings, Settings

DRAIN_SECONDS = 30
SHIMS = Path(__file__).with_name("shims")


def main() -> None:
    """Load the function and serve it until SIGTERM; exit 1 with one clear last line where it cannot be loaded."""
    for number in (signal.SIGTERM, signal.SIGINT):  # as process 1 of a container there is no default that ends it
        signal.signal(number, lambda *_: os._exit(0))
    try:
        settings = Settings.read(os.environ)
        log.configure({"function": settings.name, "tenant": settings.tenant, "revision": settings.revision})
        if settings.parent_pipe:
            threading.Thread(target=end_with_parent, name="parent", daemon=True).start()
        set_import_path(settings.code, settings.dependencies)
        answer = answering(load(settings.entrypoint, settings.code), settings)
    except (BadSettings, LoadError) as error:
        give_up(error)
    serve(Server((settings.host, settings.port), answer, max_body=settings.max_body))


def answering(function: Function, settings: Settings) -> Delivery:
    """Return what hands requests to the function: as events, or as they are; raise `LoadError`."""
    if is_web(function):
        from lambda_runtime.web import Web  # noqa: PLC0415 - few functions need it

        return Web(function, settings)
    return Delivery(function, settings)


def serve(server: Server) -> None:
    """Serve until SIGTERM, then finish what runs."""
    stop, stopped = os.pipe()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os.write(stopped, b"."))
    logger = logging.getLogger("serve")
    address = "{}:{}".format(*server.server_address)
    logger.info("listening on %s", address, extra={"fields": {"port": server.server_port}})
    server.serve_until(stop)
    if not server.drain(DRAIN_SECONDS):
        logger.warning("requests that still run after %s s are given up", DRAIN_SECONDS)


def set_import_path(code: str, dependencies: str) -> None:
    """Let imports find the function's files, the standard library, the shims and its dependencies, in this order.

    Dependencies come after the standard library, as in any installation: old backports (`typing`, `asyncio`) among
    them would break it. They come before what the base image has. The wrapper itself is no longer found.
    """
    if not Path(code).is_dir():
        raise LoadError(f"there is no folder {code}")
    dependencies = str(Path(dependencies).resolve())
    os.chdir(code)
    sys.path[0] = str(Path.cwd())
    before = list(sys.path)
    site.addsitedir(dependencies)
    added = [folder for folder in sys.path if folder not in before]
    brought = [index for index, folder in enumerate(before) if folder.endswith(("site-packages", "dist-packages"))]
    first = brought[0] if brought else len(before)
    sys.path[:] = [*before[:first], str(SHIMS), *added, *before[first:]]


def end_with_parent() -> None:
    """End the process, whatever it does, once nobody holds the other end of its standard input."""
    while os.read(0, 4096):
        pass
    os._exit(0)


def give_up(error: Exception) -> NoReturn:
    """Exit with the reason as the last line: of what a container printed, Knative shows the end."""
    if error.__cause__ is not None:
        print(log.traceback_of(error.__cause__), file=sys.stderr)
    print(f"the function cannot be loaded: {error}", file=sys.stderr, flush=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
