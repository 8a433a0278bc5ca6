"""The process: gunicorn with one worker and its threads, told everything by us and nothing by files or the environment.

Called by `wire.py` as the last thing it does. gunicorn is imported here alone.
"""

import socket
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from gunicorn.app.base import BaseApplication
from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.workers.gthread import TConn, ThreadWorker

WsgiApp = Callable[..., Any]


@dataclass(frozen=True)
class ServerSettings:
    """How the process listens and how it ends."""

    host: str = "0.0.0.0"  # noqa: S104 - the port of a pod is reached from outside of it
    """The address to listen on."""
    port: int = 8080
    """The port to listen on; Knative says it in ``PORT``."""
    threads: int = 10
    """Requests handled at once; as many as Knative's ``containerConcurrency``, or some would wait unseen."""
    graceful_timeout: int = 25
    """Seconds that requests in flight have after SIGTERM."""
    farewell: int = 4
    """Seconds more, until the process is ended whatever it does: both together stay below the pod's grace period."""
    keepalive: int = 120
    """Seconds that an idle connection stays; longer than the proxies before us keep theirs, or they meet a close."""
    read_timeout: int = 20
    """Seconds that a client may be silent in the middle of a body before its thread is taken from it."""
    tmp_dir: str = "/dev/shm"  # noqa: S108 - the one folder that can be written when the root file system cannot
    """Where the worker's heartbeat file lies."""
    spare: int = 2
    """Threads more, for the kubelet's probes, which come past Knative's proxy: to be busy is no reason to be killed."""


def serve(
    make_app: Callable[[], WsgiApp],
    settings: ServerSettings,
    *,
    started: Callable[[], None] = lambda: None,
    stopping: Callable[[], None] = lambda: None,
    stopped: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, answer what is in flight, and end with `SystemExit`; 0 where all went well.

    All of these are called in the worker process: `make_app` first, so that threads and connections begin there;
    `started` once requests can come; `stopping` when the signal has come, from its handler: it may set a flag and
    no more; `stopped` when the last request has been answered or its time is over, or the app could not be made.
    It has a little less than `farewell` seconds; a request that has not ended by then is cut off.
    """
    _Server(make_app, settings, started, stopping, stopped).run()


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    def __init__(
        self,
        make_app: Callable[[], WsgiApp],
        settings: ServerSettings,
        started: Callable[[], None],
        stopping: Callable[[], None],
        stopped: Callable[[], None],
    ) -> None:
        self._make_app = make_app
        self._options = _options(settings) | {
            "post_worker_init": lambda _worker: started(),
            "worker_exit": lambda _arbiter, _worker: stopped(),
        }
        self.stopping = stopping
        self.read_timeout = settings.read_timeout
        self.graceful_timeout = settings.graceful_timeout
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._options.items():
            self.cfg.set(name, value)

    def load(self) -> WsgiApp:
        return self._make_app()


def _options(settings: ServerSettings) -> dict[str, Any]:
    return {
        "bind": f"{settings.host}:{settings.port}",
        "worker_class": _Worker,
        "workers": 1,
        "threads": settings.threads + settings.spare,
        "preload_app": False,
        "timeout": 0,  # a worker whose threads are busy is not a dead one: the probes decide
        # of the process above the worker, which kills it then; the worker's own is set in it
        "graceful_timeout": settings.graceful_timeout + settings.farewell,
        "keepalive": settings.keepalive,
        "worker_tmp_dir": settings.tmp_dir,
        "control_socket_disable": True,
        "accesslog": None,
        "logger_class": _Log,
        "loglevel": "warning",
        # Knative's proxy comes from 127.0.0.1, and passes on what strangers send: nobody's headers may set the path.
        "forwarded_allow_ips": "",
        "proc_name": "knative-lambda",
    }


class _Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Tells of its end when it begins, lets nobody in after that, and waits for no silent client."""

    def init_process(self) -> None:
        self.cfg.set("graceful_timeout", self.app.graceful_timeout)
        super().init_process()

    def set_accept_enabled(self, enabled: bool) -> None:  # noqa: FBT001 - the signature is the library's
        if self.alive:
            super().set_accept_enabled(enabled)
            return
        super().set_accept_enabled(False)
        for listener in self.sockets:
            if listener.sock is not None:  # asked twice, where the signal comes between
                self._answer_who_has_knocked(listener)
                listener.close()  # or the kernel would go on taking connections that nobody will ever look at

    def _answer_who_has_knocked(self, listener: Any) -> None:
        """Take the connections that the kernel has taken already: closing it would cut them off."""
        known = -1
        while known != self.nr_conns:
            known = self.nr_conns
            self.accept(listener)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self.alive:
            self.app.stopping()
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self.handle_exit(sig, frame)  # SIGINT, from the terminal or (as SIGQUIT) from the arbiter that got it

    def handle_request(self, req: Any, conn: TConn) -> bool:
        connection: socket.socket = conn.sock
        connection.settimeout(self.app.read_timeout)
        answered: bool = super().handle_request(req, conn)
        return answered


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's own lines to the process' one log."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
