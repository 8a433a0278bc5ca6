"""The `Builder` of the embedded mode: wrapper, dependencies and code are laid together on this machine, or compiled.

Joined by `handler` for `knative-lambda dev`; asked by `settle.py`. Package managers run as processes that end with this
one. Each attempt has a folder of its own, where its outcome and its log outlive a restart.
"""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field
from pathlib import Path

from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.images import local_images
from knative_lambda.builds.images.local_images import RECIPES, Recipe
from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import Files, Limits
from knative_lambda.builds.inputs.source import CODE
from knative_lambda.schemas.errors import Refused, Temporary
from knative_lambda.storage.store import Store

RUNTIMES = Path(__file__).parent / "runtimes"
LIMITS = Limits()
LOG_LIMIT = 4 * 1024 * 1024
STOP_SECONDS = 10
CHUNK = 64 * 1024
INHERITED = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TMPDIR|(PIP|NPM_CONFIG)_\w+|\w*_PROXY|SSL_CERT_\w+|REQUESTS_CA_BUNDLE|NODE_EXTRA_CA_CERTS"
    r"|GO(PATH|CACHE|MODCACHE|PROXY|PRIVATE|NOPROXY|SUMDB|NOSUMDB|INSECURE|AUTH)",
    re.IGNORECASE,
)
"""The environment of package managers: where packages come from, and nothing else of ours."""
NETWORK = re.compile(
    r"name resolution|NewConnectionError|ConnectTimeout|ReadTimeoutError|ProxyError|connection broken"
    r"|50[0234] Server Error|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|ECONNRESET"
    r"|\bdial tcp\b|i/o timeout|50[0234] (Internal Server Error|Bad Gateway|Service Unavailable|Gateway Timeout)"
)
"""What pip, npm and go say when it was the network."""
GO_RUN = "exit status 1"
"""What go says itself when a program that it ran has failed."""

log = logging.getLogger(__name__)


@dataclass
class _Run:
    """An attempt that is waiting or under way."""

    attempt: Attempt
    folder: Path
    stopped: threading.Event = field(default_factory=threading.Event)
    child: subprocess.Popen[bytes] | None = None
    future: Future[None] | None = None

    def stop(self) -> None:
        self.stopped.set()
        child = self.child
        if child is not None and child.stdin is not None:
            child.stdin.close()  # the leash ends the command
        if self.future is not None and not self.future.cancel():
            wait([self.future], timeout=STOP_SECONDS)


class _Stopped(Exception):
    """Somebody called `stop`."""


class LocalBuilder:
    """Builds in `folder`, two attempts at once, into `layout`; calls `ended` when an attempt has ended by itself."""

    def __init__(
        self,
        store: Store,
        layout: OciLayout,
        folder: Path,
        *,
        ended: Callable[[Attempt], None] = lambda _attempt: None,
    ) -> None:
        self._store = store
        self._layout = layout
        self._folder = folder
        self._ended = ended
        self._lock = threading.Lock()
        self._runs: dict[Path, _Run] = {}
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="build")

    def start(self, attempt: Attempt) -> None:
        """Start the attempt; already started is success."""
        folder = self._place(attempt)
        with self._lock:
            if folder in self._runs or _outcome(folder) is not None:
                return
            run = _Run(attempt, folder)
            self._runs[folder] = run
            run.future = self._pool.submit(self._work, run)

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Return what can be seen of the attempt now; what a restart has interrupted is lost."""
        folder = self._place(attempt)
        with self._lock:
            return Running() if folder in self._runs else _outcome(folder) or Lost()

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        """Return the last `limit` bytes of what was done: the package manager's output, and what was pushed."""
        try:
            with (self._place(attempt) / "log").open("rb") as file:
                file.seek(max(0, file.seek(0, os.SEEK_END) - limit))
                return file.read()
        except FileNotFoundError:
            return b""

    def stop(self, attempt: Attempt) -> None:
        """End the attempt and remove its folder; already gone is success."""
        folder = self._place(attempt)
        with self._lock:
            run = self._runs.pop(folder, None)
        if run is not None:
            run.stop()
        shutil.rmtree(folder, ignore_errors=True)

    def revoke(self, attempt: Attempt) -> None:
        """Do nothing: it was given nothing."""

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        """Say whether no attempt of the Build waits or is under way."""
        with self._lock:
            runs = list(self._runs.values())
        return all((run.attempt.tenant, run.attempt.build_uid) != (tenant, build_uid) for run in runs)

    def close(self) -> None:
        """End what runs and take no more; what was interrupted will be seen as lost."""
        with self._lock:
            runs = list(self._runs.values())
        for run in runs:
            run.stop()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _place(self, attempt: Attempt) -> Path:
        return self._folder / "attempts" / attempt.tenant / attempt.name

    def _work(self, run: _Run) -> None:
        try:
            run.folder.mkdir(parents=True, exist_ok=True)
            outcome = self._build(run)
        except _Stopped:
            return
        except Refused as error:
            outcome = Ended(1, "user", "SourceRefused", str(error))
        except Temporary as error:
            outcome = Ended(1, "platform", "DependencyUnavailable", str(error))
        except Exception as error:
            log.exception("attempt %s broke the builder", run.attempt.name)
            outcome = Ended(1, "ours", "BuilderBroken", repr(error))
        with self._lock:
            if run.stopped.is_set():
                return
            _replace(run.folder / "outcome.json", json.dumps(asdict(outcome)).encode())
            self._runs.pop(run.folder, None)
        self._ended(run.attempt)

    def _build(self, run: _Run) -> Ended:
        attempt = run.attempt
        recipe = RECIPES.get(attempt.runtime)
        if recipe is None:
            message = f"the embedded mode can't build runtime {attempt.runtime}: send the function to a cluster"
            return Ended(1, "user", "RuntimeNotSupported", message)
        packed = self._store.get(attempt.context, limit=LIMITS.total)
        if packed is None:
            return Ended(1, "platform", "ContextMissing", f"the store holds no {attempt.context}")
        files = archive.unpack(packed, LIMITS, "/context")
        layers: list[bytes | Path] = []
        if not recipe.compiled:
            layers.append(local_images.wrapper_layer(RUNTIMES / attempt.runtime))
        if recipe.wanted(files):
            if missing := local_images.missing(recipe):
                return Ended(1, "user", "RuntimeNotSupported", missing)
            key = local_images.dependencies_key(attempt.runtime, attempt.tenant, files, _variables(attempt))
            layer = self._folder / "layers" / f"{key}.tar"
            if not layer.exists() and (failed := self._install(run, recipe, files, layer)):
                return failed
            layers.append(layer)
        layers.append(local_images.code_layer(files))
        if run.stopped.is_set():
            raise _Stopped
        digest = self._layout.push(attempt.destination, layers, local_images.config(recipe))
        with (run.folder / "log").open("ab") as output:
            output.write(f"pushed {attempt.destination} as {digest}\n".encode())
        return Ended(0)

    def _install(self, run: _Run, recipe: Recipe, files: Files, layer: Path) -> Ended | None:
        """Make the dependency layer; return the failure where there is one."""
        layer.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=run.folder, prefix="install-") as name:
            folder = Path(name)
            local_images.write_code(files, folder)
            code = _execute(recipe.installer(files, folder), folder / CODE, run)
            if code != 0:
                reason = "BuildFailed" if recipe.compiled else "DependenciesFailed"
                return _failure(code, reason, self.log(run.attempt, limit=LOG_LIMIT).decode(errors="replace"))
            made = folder / "layer.tar"
            local_images.write_dependencies_layer(recipe, folder, made)
            made.replace(layer)
        return None


def _execute(command: tuple[str, ...], folder: Path, run: _Run) -> int:
    """Run a package manager, its output in the attempt's log; raise `_Stopped` where it was ended by `stop`."""
    leash = (sys.executable, "-I", str(Path(__file__).with_name("leash.py")))
    environment = {name: value for name, value in os.environ.items() if INHERITED.fullmatch(name)}
    environment |= _variables(run.attempt)
    with (
        (run.folder / "log").open("wb") as output,
        subprocess.Popen(  # noqa: S603 - the commands are ours, their arguments constants
            [*leash, *command],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as child,
    ):
        run.child = child
        if run.stopped.is_set() and child.stdin is not None:
            child.stdin.close()
        while child.stdout is not None and (chunk := os.read(child.stdout.fileno(), CHUNK)):
            if output.tell() + len(chunk) > LOG_LIMIT:
                output.seek(0)
                output.truncate()
                output.write(b"(what came before was cut)\n")
            output.write(chunk)
            output.flush()
        code = child.wait()
    if run.stopped.is_set():
        raise _Stopped
    return code


def _variables(attempt: Attempt) -> dict[str, str]:
    return {name: value for name, value in attempt.build_args.items() if name != "BASE"}


def _failure(code: int, reason: str, output: str) -> Ended:
    lines = [line for line in output.splitlines() if line.strip() and line != GO_RUN]
    last = lines[-1] if lines else ""
    if NETWORK.search(output):
        return Ended(code, "platform", "PackagesUnreachable", last)
    return Ended(code, "user", reason, last)


def _outcome(folder: Path) -> Ended | None:
    try:
        return Ended(**json.loads((folder / "outcome.json").read_bytes()))
    except FileNotFoundError:
        return None


def _replace(path: Path, body: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(body)
    beside.replace(path)
