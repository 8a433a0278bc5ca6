"""The process: gunicorn's worker with its threads, told everything by us and nothing by files or the environment.

Called by `__main__.py` and `dev.py` as the last thing they do. gunicorn is imported here alone, and without the process
above the worker: for one worker it does what a pod's kubelet does again, and costs a third of the memory.
"""

import faulthandler
import os
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from gunicorn.config import Config
from gunicorn.glogging import Logger
from gunicorn.sock import create_sockets
from gunicorn.workers.gthread import TConn, ThreadWorker

from knative_lambda.schemas.tls import AUTHORITIES, CERTIFICATE, KEY, written

WsgiApp = Callable[..., Any]
FAILED = 3
"""Exit code where the app could not be made, or the loop that serves it broke."""
STDERR = 2


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
    tls: str = ""
    """A folder with ``tls.crt`` and ``tls.key`` to serve with, and ``ca.crt``; "": plain HTTP."""
    clients: bool = False
    """Serve only those who show a certificate of an authority in ``ca.crt``."""
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
    """Serve until SIGTERM, SIGINT or SIGHUP, answer what is in flight, and end with `SystemExit`; 0 where all is well.

    `make_app` is called first, when a signal is heard already; `started` once requests can come; `stopping` when the
    signal has come, from its handler: it may set a flag and no more; `stopped` when the last request has been answered
    or its time is over, or the app could not be made. It has a little less than `farewell` seconds; a request that has
    not ended by then is cut off. Whatever hangs beyond them is told on stderr, and the process ended with 1.
    """
    config = Config()
    if settings.tls:
        certificates = _Certificates(settings)
        config.set("ssl_context", lambda _config, _default: certificates.context())
    for name, value in _options(settings).items():
        config.set(name, value)
    log = _Log(config)
    worker = _Worker(_App(make_app, started, stopping, settings), create_sockets(config, log), config, log)
    code = 0
    try:
        worker.init_process()
    except Exception:
        log.exception("the service has failed")
        code = FAILED
    stopped()
    if worker.nr_conns:  # requests whose time is over: the interpreter would wait for their threads
        os._exit(code)
    sys.exit(code)


@dataclass(frozen=True)
class _App:
    wsgi: Callable[[], WsgiApp]
    started: Callable[[], None]
    stopping: Callable[[], None]
    settings: ServerSettings


def _options(settings: ServerSettings) -> dict[str, Any]:
    return {
        "bind": f"{settings.host}:{settings.port}",
        "threads": settings.threads + settings.spare,
        "graceful_timeout": settings.graceful_timeout,
        "keepalive": settings.keepalive,
        "worker_tmp_dir": settings.tmp_dir,
        "accesslog": None,
        "logger_class": _Log,
        "loglevel": "warning",
        # Knative's proxy comes from 127.0.0.1, and passes on what strangers send: nobody's headers may set the path.
        "forwarded_allow_ips": "",
        **(
            {"certfile": str(Path(settings.tls, CERTIFICATE)), "keyfile": str(Path(settings.tls, KEY))}
            if settings.tls
            else {}
        ),
    }


class _Certificates:
    """What is shown to clients, and asked of them: read again where the files were written since."""

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self._made: tuple[tuple[int, ...], ssl.SSLContext] | None = None

    def context(self) -> ssl.SSLContext:
        """Return how the server speaks TLS, for one more connection; raise `OSError` where it cannot."""
        folder = Path(self._settings.tls)
        now = written(folder)
        if self._made is None or self._made[0] != now:
            made = _Patient(ssl.PROTOCOL_TLS_SERVER)
            made.timeout = self._settings.read_timeout
            made.load_cert_chain(folder / CERTIFICATE, folder / KEY)
            if self._settings.clients:
                made.verify_mode = ssl.CERT_REQUIRED
                made.load_verify_locations(folder / AUTHORITIES)
            self._made = now, made
        return self._made[1]


class _Patient(ssl.SSLContext):
    """Waits for a client's side of the handshake for some seconds, not for ever: a thread of ours does."""

    timeout: float

    def wrap_socket(self, sock: socket.socket, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        sock.settimeout(self.timeout)
        return super().wrap_socket(sock, *arguments, **options)


class _Worker(ThreadWorker):  # type: ignore[misc]  # gunicorn has no types
    """Tells of its end when it begins, lets nobody in after that, and waits for no silent client."""

    def __init__(self, app: _App, sockets: list[Any], config: Config, log: Logger) -> None:
        super().__init__(0, os.getppid(), sockets, app, 0, config, log)
        config.set("post_worker_init", lambda _worker: app.started())

    def init_signals(self) -> None:
        hangup = signal.getsignal(signal.SIGHUP)
        super().init_signals()
        # a terminal that is closed, unless that is not to matter (nohup)
        signal.signal(signal.SIGHUP, signal.SIG_IGN if hangup is signal.SIG_IGN else self.handle_exit)

    def is_parent_alive(self) -> bool:
        return True  # whoever that is, it is no process of ours

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
            decided = self.app.settings
            faulthandler.dump_traceback_later(decided.graceful_timeout + decided.farewell, exit=True, file=STDERR)
        super().handle_exit(sig, frame)

    def handle_quit(self, sig: int, frame: FrameType | None) -> None:
        self.handle_exit(sig, frame)  # SIGINT, from the terminal

    def handle_request(self, req: Any, conn: TConn) -> bool:
        connection: socket.socket = conn.sock
        connection.settimeout(self.app.settings.read_timeout)
        answered: bool = super().handle_request(req, conn)
        return answered


class _Log(Logger):  # type: ignore[misc]  # gunicorn has no types
    """Hands gunicorn's own lines to the process' one log."""

    def setup(self, cfg: Config) -> None:
        super().setup(cfg)
        self.error_log.handlers.clear()
        self.error_log.propagate = True
