import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.builds import leash
from knative_lambda.builds.builder import Attempt, Ended, Lost, Running
from knative_lambda.builds.dependencies import RECIPE
from knative_lambda.builds.images.oci_layout import OciLayout
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File
from knative_lambda.builds.local import LocalBuilder
from knative_lambda.storage.memory import MemoryStore

KEY = "contexts/demo/hello/1.tar.gz"
PATIENCE = 300
"""Seconds: Go compiles its library first where nobody has done so yet."""
MAIN = "def handle(event, context):\n    return None\n"


class Bench:
    """A builder with its store and layout, and a way to wait for the end of an attempt."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = MemoryStore()
        self.layout = OciLayout(folder / "layout")
        self.ended: dict[str, threading.Event] = {}
        self.builder = self.restarted()

    def restarted(self) -> LocalBuilder:
        return LocalBuilder(self.store, self.layout, self.folder / "builds", ended=lambda a: self.event(a).set())

    def event(self, attempt: Attempt) -> threading.Event:
        return self.ended.setdefault(attempt.name, threading.Event())

    def attempt(self, number: int = 1, runtime: str = "python", **files: str) -> Attempt:
        code = {f"function/{name}": File(text.encode()) for name, text in (files or {"main.py": MAIN}).items()}
        around = {"Dockerfile": File(b"FROM base\n"), "entrypoint": File(b"handle.Handle")}
        if files.keys() & {"requirements.txt", "package.json"}:
            around[RECIPE] = File(b"FROM base\n")
        self.store.put(KEY, archive.pack({**around, **code}).body)
        destination = f"embedded.local/demo/hello:hello-{number}"
        return Attempt("demo", "hello", "hello-abc", "uid", number, runtime, KEY, destination)

    def run(self, attempt: Attempt) -> Running | Ended | Lost:
        self.builder.start(attempt)
        assert self.event(attempt).wait(PATIENCE), self.builder.log(attempt, limit=2000)
        return self.builder.look(attempt)

    def unpacked(self, attempt: Attempt) -> Path:
        digest = self.layout.digest(attempt.destination)
        assert digest
        self.layout.unpack(digest, self.folder / "roots" / digest)
        return self.folder / "roots" / digest


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.builder.close()


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


def needs_packages(outcome: object) -> None:
    """Skip where packages cannot be fetched; in CI they must be."""
    if isinstance(outcome, Ended) and outcome.reason == "PackagesUnreachable" and "CI" not in os.environ:
        pytest.skip("packages cannot be fetched")


def test_code_without_dependencies_becomes_an_image_with_its_wrapper(bench: Bench) -> None:
    attempt = bench.attempt()

    assert bench.run(attempt) == Ended(0)

    root = bench.unpacked(attempt)
    config = bench.layout.config(root.name)
    assert (root / "function" / "main.py").read_text() == MAIN
    assert config is not None
    assert (root / config["WorkingDir"].lstrip("/") / config["Cmd"][1]).is_file()
    assert not (root / "Dockerfile").exists()


def test_a_list_that_asks_for_nothing_installs_nothing(bench: Bench) -> None:
    """Its context has nothing that installs: see `source.py`."""
    attempt = bench.attempt(**{"main.py": MAIN, "requirements.txt": "# nothing yet\n"})
    body = bench.store.get(KEY, limit=1 << 20)
    assert body is not None
    files = dict(archive.unpack(body, archive.Limits(), "/context"))
    del files[RECIPE]
    bench.store.put(KEY, archive.pack(files).body)
    assert bench.run(attempt) == Ended(0)
    assert b"pip" not in bench.builder.log(attempt, limit=2000)
    assert not (bench.unpacked(attempt) / "dependencies").exists()


def test_equal_contexts_become_equal_images(bench: Bench) -> None:
    first, second = bench.attempt(1), bench.attempt(2)
    bench.run(first)
    bench.run(second)

    assert bench.layout.digest(first.destination) == bench.layout.digest(second.destination)


def test_a_dockerfile_is_refused_with_what_to_do_instead(bench: Bench) -> None:
    outcome = bench.run(bench.attempt(runtime="dockerfile"))

    assert isinstance(outcome, Ended)
    assert (outcome.exit_code, outcome.whose, outcome.reason) == (1, "user", "RuntimeNotSupported")
    assert "cluster" in outcome.message


def test_a_context_that_is_gone_is_the_platforms_failure(bench: Bench) -> None:
    attempt = bench.attempt()
    bench.store.delete(KEY)

    outcome = bench.run(attempt)

    assert isinstance(outcome, Ended)
    assert (outcome.whose, outcome.reason) == ("platform", "ContextMissing")


def test_requirements_that_cannot_be_met_are_the_users_failure_with_the_last_line(bench: Bench) -> None:
    attempt = bench.attempt(**{"main.py": MAIN, "requirements.txt": "this is no requirement\n"})

    outcome = bench.run(attempt)

    assert isinstance(outcome, Ended)
    assert (outcome.whose, outcome.reason) == ("user", "DependenciesFailed")
    assert outcome.message in bench.builder.log(attempt, limit=5000).decode()
    assert bench.layout.digest(attempt.destination) is None


def needs_go() -> None:
    """Skip where there is no Go; in CI there must be."""
    if shutil.which("go") is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("go is not on this machine")


def test_a_go_function_becomes_a_program_beside_its_files(bench: Bench) -> None:
    needs_go()
    attempt = bench.attempt(
        runtime="go", **{"handle.go": "package function\n\nfunc Handle() {}\n", "greeting.txt": "hello"}
    )

    assert bench.run(attempt) == Ended(0)

    root = bench.unpacked(attempt)
    config = bench.layout.config(root.name)
    assert config is not None
    assert os.access(root / config["WorkingDir"].lstrip("/") / config["Cmd"][0], os.X_OK)
    assert (root / "function" / "greeting.txt").read_text() == "hello"


def test_a_go_function_that_cannot_be_compiled_is_the_users_failure_with_the_compilers_words(bench: Bench) -> None:
    needs_go()
    outcome = bench.run(bench.attempt(runtime="go", **{"handle.go": "package function\n\nfunc Handle() { x }\n"}))

    assert isinstance(outcome, Ended)
    assert (outcome.whose, outcome.reason) == ("user", "BuildFailed")
    assert outcome.message.endswith("handle.go:3:17: undefined: x")


def test_a_go_function_is_refused_where_there_is_no_go(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(bench.folder))
    outcome = bench.run(bench.attempt(runtime="go", **{"handle.go": "package function"}))

    assert isinstance(outcome, Ended)
    assert (outcome.reason, outcome.message) == ("RuntimeNotSupported", "go is not on this machine")


def test_an_index_that_cannot_be_reached_is_the_platforms_failure(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_RETRIES", "1")
    requirements = "--index-url http://127.0.0.1:1/simple\nnothing-of-this-name\n"

    outcome = bench.run(bench.attempt(**{"main.py": MAIN, "requirements.txt": requirements}))

    assert isinstance(outcome, Ended)
    assert (outcome.whose, outcome.reason) == ("platform", "PackagesUnreachable")


def test_what_had_ended_is_ended_and_what_was_running_is_lost_after_a_restart(bench: Bench) -> None:
    finished, waiting = bench.attempt(1), bench.attempt(2)
    bench.run(finished)
    (bench.folder / "builds" / "attempts" / "demo" / waiting.name).mkdir(parents=True)

    restarted = bench.restarted()

    assert restarted.look(finished) == Ended(0)
    assert restarted.look(waiting) == Lost()
    restarted.start(waiting)
    assert bench.event(waiting).wait(PATIENCE)
    assert restarted.look(waiting) == Ended(0)
    restarted.close()


def test_starting_twice_and_stopping_twice_is_success(bench: Bench) -> None:
    attempt = bench.attempt()
    bench.builder.start(attempt)
    bench.builder.start(attempt)
    assert bench.event(attempt).wait(PATIENCE)
    bench.builder.start(attempt)

    bench.builder.stop(attempt)
    bench.builder.stop(attempt)

    assert bench.builder.look(attempt) == Lost()
    assert bench.builder.log(attempt, limit=10) == b""


def test_attempts_of_two_tenants_are_two_even_where_their_names_are_equal(bench: Bench) -> None:
    attempt = bench.attempt()
    bench.run(attempt)

    assert bench.builder.look(replace(attempt, tenant="other")) == Lost()


def test_stop_ends_a_package_manager_that_runs(bench: Bench) -> None:
    """Pip waits for an index that never answers; when pip is gone, so is its connection."""
    with socket.create_server(("127.0.0.1", 0)) as index:
        index.settimeout(PATIENCE)
        requirements = f"--index-url http://127.0.0.1:{index.getsockname()[1]}/simple\nnothing-of-this-name\n"
        attempt = bench.attempt(**{"main.py": MAIN, "requirements.txt": requirements})
        bench.builder.start(attempt)
        connection, _ = index.accept()
        assert connection.recv(65536)
        assert bench.builder.look(attempt) == Running()

        bench.builder.stop(attempt)

        connection.settimeout(PATIENCE)
        assert connection.recv(1) == b""
        connection.close()
    assert bench.builder.look(attempt) == Lost()


def test_package_managers_see_nothing_of_our_environment_but_where_packages_come_from(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An unknown option makes pip fail with the name of the option in its environment."""
    monkeypatch.setenv("STORE_PASSWORD", "secret")
    monkeypatch.setenv("PIP_RETRIES", "no number")
    attempt = bench.attempt(**{"main.py": MAIN, "requirements.txt": "nothing ${STORE_PASSWORD}\n"})

    bench.run(attempt)

    said = bench.builder.log(attempt, limit=5000).decode()
    assert "no number" in said
    assert "secret" not in said


def test_a_command_on_the_leash_ends_when_its_owner_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    command = ["/bin/sh", "-c", f"echo $$ > {pid}; sleep 600"]
    owner = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import subprocess, sys, time; subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE); time.sleep(600)",
            *(sys.executable, "-I", leash.__file__, *command),
        ]
    )
    until(lambda: pid.exists() and pid.read_text().strip())

    owner.kill()
    owner.wait()

    until(lambda: not Path("/proc", pid.read_text().strip()).exists())


def test_a_python_dependency_is_really_installed_and_its_layer_kept_while_only_code_changes(bench: Bench) -> None:
    """Pip says something whenever it runs: the second build's log is the push alone."""
    requirements = "six==1.17.0\n"
    first = bench.attempt(1, **{"main.py": MAIN, "requirements.txt": requirements})
    outcome = bench.run(first)
    needs_packages(outcome)
    assert outcome == Ended(0)
    second = bench.attempt(2, **{"main.py": f"{MAIN}# changed\n", "requirements.txt": requirements})

    assert bench.run(second) == Ended(0)

    assert bench.builder.log(first, limit=10_000).count(b"\n") > 1
    assert bench.builder.log(second, limit=10_000).count(b"\n") == 1
    assert "1.17.0" in (bench.unpacked(second) / "dependencies" / "six.py").read_text()
    assert "# changed" in (bench.unpacked(second) / "function" / "main.py").read_text()


@pytest.mark.skipif(not (shutil.which("npm") or "CI" in os.environ), reason="npm is not on this machine")
def test_a_node_dependency_lies_where_node_looks_for_it(bench: Bench) -> None:
    package = '{"name": "hello", "version": "1.0.0", "dependencies": {"ms": "2.1.3"}}'
    attempt = bench.attempt(runtime="node", **{"index.js": "", "package.json": package})

    outcome = bench.run(attempt)

    needs_packages(outcome)
    assert outcome == Ended(0)
    assert '"2.1.3"' in (bench.unpacked(attempt) / "function" / "node_modules" / "ms" / "package.json").read_text()


@pytest.mark.skipif(not (shutil.which("npm") or "CI" in os.environ), reason="npm is not on this machine")
def test_a_shrinkwrap_says_which_versions_and_another_one_says_so_anew(bench: Bench) -> None:
    root: dict[str, Any] = {"name": "hello", "version": "1.0.0", "dependencies": {"ms": "^2.1.0"}}
    for number, version in enumerate(("2.1.1", "2.1.2"), 1):
        lock = {**root, "lockfileVersion": 3, "packages": {"": root, "node_modules/ms": {"version": version}}}
        listed = {"package.json": json.dumps(root), "npm-shrinkwrap.json": json.dumps(lock)}
        attempt = bench.attempt(number, runtime="node", **{"index.js": "", **listed})
        outcome = bench.run(attempt)
        needs_packages(outcome)
        assert outcome == Ended(0)
        installed = bench.unpacked(attempt) / "function" / "node_modules" / "ms" / "package.json"
        assert json.loads(installed.read_text())["version"] == version
