"""Sources become contexts: what each form and each runtime makes of them."""

import base64
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from knative_lambda.builds.inputs import archive, prepare
from knative_lambda.builds.inputs.archive import File, Limits
from knative_lambda.builds.inputs.source import Objects, check, context, entrypoint, needs_job
from knative_lambda.builds.turns import Turns
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable
from knative_lambda.storage.memory import MemoryStore

STORE = MemoryStore("world")
OBJECTS = Objects(STORE, "memory://world", ("uploads/acme/",))
CODE = "def handle(event, context): ...\n"


def files(**spec: Any) -> dict[str, bytes]:
    """Return what is in the context of a source."""
    packed = context({"runtime": "python", **spec}, OBJECTS, Limits(), "/data")
    return {path: bytes(file.body) for path, file in archive.unpack(packed.body, Limits(), "").items()}


def test_a_python_function_lies_below_function_beside_the_runtimes_dockerfile() -> None:
    found = files(source={"inline": {"main.py": CODE}})
    assert sorted(found) == ["Dockerfile", "function/main.py"]
    assert b"RUN" not in found["Dockerfile"].upper().split(), "nothing is run for a function without dependencies"


@pytest.mark.parametrize(
    ("spec", "package_manager"),
    [
        ({"source": {"inline": {"main.py": CODE, "requirements.txt": "x"}}}, b"pip"),
        (
            {"runtime": "node", "source": {"inline": {"index.js": "", "package.json": '{"dependencies": {"x": "1"}}'}}},
            b"npm",
        ),
    ],
)
def test_dependencies_are_installed_where_they_are_listed(spec: dict[str, Any], package_manager: bytes) -> None:
    """By a recipe of their own, and by the whole one, which has the one line more that lays the code."""
    found = files(**spec)
    assert package_manager in found["dependencies.Dockerfile"]
    assert found["Dockerfile"] == found["dependencies.Dockerfile"] + b"COPY function/ /function/\n"


def test_where_nothing_is_asked_for_there_is_no_recipe_for_dependencies() -> None:
    assert sorted(files(source={"inline": {"main.py": CODE, "requirements.txt": "# none\n"}})) == [
        "Dockerfile",
        "function/main.py",
        "function/requirements.txt",
    ]


def test_a_dockerfile_source_is_its_own_context() -> None:
    found = files(runtime="dockerfile", source={"inline": {"Dockerfile": "FROM scratch\n", "a": "b"}})
    assert found == {"Dockerfile": b"FROM scratch\n", "a": b"b"}


def test_a_users_dockerfile_does_not_replace_the_runtimes() -> None:
    found = files(source={"inline": {"main.py": CODE, "Dockerfile": "FROM evil"}})
    assert b"evil" not in found["Dockerfile"]


def test_the_same_files_make_the_same_context_however_they_come() -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        entry = tarfile.TarInfo("./main.py")
        entry.size, entry.mtime = len(CODE), 1234567
        tar.addfile(entry, io.BytesIO(CODE.encode()))
    STORE.put("uploads/acme/hello.tar.gz", out.getvalue())
    STORE.put("uploads/acme/hello.py", CODE.encode())
    forms: list[dict[str, Any]] = [
        {"inline": {"main.py": CODE}},
        {"archive": base64.b64encode(out.getvalue()).decode()},
        {"object": "uploads/acme/hello.tar.gz"},
        {"object": "memory://world/uploads/acme/hello.py"},
    ]
    assert len({context({"runtime": "python", "source": form}, OBJECTS, Limits(), "").digest for form in forms}) == 1


@pytest.mark.parametrize(
    ("runtime", "given", "path"),
    [
        ("python", "", "main.py"),
        ("python", "main.run", "main.py"),
        ("python", "pkg.mod.handle", "pkg/mod.py"),
        ("python", "pkg.handle", "pkg/__init__.py"),
        ("node", "", "index.js"),
        ("node", "src/app.run", "src/app.mjs"),
        ("node", "app.run", "app.cjs"),
    ],
)
def test_an_entrypoints_module_must_be_in_the_source(runtime: str, given: str, path: str) -> None:
    spec: dict[str, Any] = {"runtime": runtime, **({"entrypoint": given} if given else {})}
    assert f"function/{path}" in files(**spec, source={"inline": {path: ""}})
    with pytest.raises(Refused, match="holds no"):
        files(**spec, source={"inline": {"elsewhere.txt": ""}})


def test_the_default_entrypoint_is_the_runtimes() -> None:
    assert entrypoint({"runtime": "python"}) == "main.handle"
    assert entrypoint({"runtime": "node"}) == "index.handle"
    assert entrypoint({"runtime": "go"}) == "handle.Handle"
    assert entrypoint({"runtime": "dockerfile"}) == ""


def test_all_that_cannot_be_is_told_together() -> None:
    with pytest.raises(Refused) as refused:
        check({"runtime": "go", "builder": "layer", "source": {"git": {"url": "https://example.test"}}}, "/data")
    assert [fault.where for fault in refused.value.faults] == ["/data/source/git/url", "/data/builder"]


def test_what_is_compiled_is_told_its_entrypoint_and_takes_a_job() -> None:
    """Its program is made where its image is built, and is no layer upon the base."""
    spec = {
        "runtime": "go",
        "source": {"inline": {"orders/take.go": "package orders"}},
        "entrypoint": "orders/take.Take",
    }
    assert files(**spec)["entrypoint"] == b"orders/take.Take"
    assert needs_job("go", "orders/take.go")


def test_bytes_that_are_no_base64_are_refused() -> None:
    with pytest.raises(Refused, match="base64"):
        files(source={"archive": "abc"})


def zeros(size: int) -> str:
    """Return a small archive of a function with a large file of zeros."""
    body = archive.pack({"main.py": File(CODE.encode()), "big": File(bytes(size))}).body
    return base64.b64encode(body).decode()


def test_large_sources_take_turns_and_small_ones_do_not_wait() -> None:
    """What decides is what comes out of an archive, not what goes in."""
    turns = Turns(small=100_000, wait=0)
    objects = Objects(STORE, "memory://world", ("uploads/acme/",), turns)
    large: dict[str, Any] = {"runtime": "python", "source": {"archive": zeros(200_000)}}
    small: dict[str, Any] = {"runtime": "python", "source": {"archive": zeros(10)}}
    with turns.turn() as another:
        another.hold(200_000)
        context(small, objects, Limits(), "/data")
        with pytest.raises(Temporary, match="too many large sources"):
            context(large, objects, Limits(), "/data")
    context(large, objects, Limits(), "/data")
    context(large, objects, Limits(), "/data")


def test_a_large_object_takes_its_turn_before_it_is_read() -> None:
    turns = Turns(small=100, wait=0)
    STORE.put("uploads/acme/large.py", b"#" * 200)
    objects = Objects(STORE, "memory://world", ("uploads/acme/",), turns)
    with turns.turn() as another:
        another.hold(200)
        with pytest.raises(Temporary, match="too many large sources"):
            context({"runtime": "python", "source": {"object": "uploads/acme/large.py"}}, objects, Limits(), "/data")


def test_a_refused_source_gives_its_turn_back() -> None:
    objects = Objects(STORE, "memory://world", ("uploads/acme/",), Turns(small=100, wait=0))
    spec: dict[str, Any] = {"runtime": "node", "source": {"archive": zeros(1000)}}
    for _ in range(2):
        with pytest.raises(Refused):
            context(spec, objects, Limits(), "/data")


PEAK = """
import re, sys, threading
from pathlib import Path
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.inputs.source import Objects, context
from knative_lambda.storage.memory import MemoryStore
def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
objects = Objects(MemoryStore(), "memory://", ("uploads/",))
spec = {"runtime": "python", "source": {"archive": sys.stdin.read()}}
before = peak()
threads = [threading.Thread(target=context, args=(spec, objects, Limits(), "/data")) for _ in range(4)]
for each in threads:
    each.start()
for each in threads:
    each.join()
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the peak is read as Linux tells it")
@pytest.mark.parametrize("number", [1, 3000])
def test_large_sources_at_once_cost_the_memory_of_one(number: int) -> None:
    """Its files are held once, no tar beside them; and what they took is given back, though another thread comes next.

    The peak is of a process of its own, since that is what a pod's limit looks at.
    """
    size = 30_000_000
    files = {f"f{n}": File(bytes(size // number)) for n in range(number)} | {"main.py": File(CODE.encode())}
    sent = base64.b64encode(archive.pack(files).body).decode()
    ran = subprocess.run([sys.executable, "-c", PEAK], input=sent, capture_output=True, text=True, check=True)
    assert size < int(ran.stdout) < 1.5 * size


class Registry:
    def digest(self, reference: str) -> str | None:
        return "sha256:" + "1" * 64 if reference == "host:5000/python:3" else None


def test_a_base_image_is_pinned_to_its_digest_whatever_its_host_and_tag() -> None:
    pinned = "host:5000/python@sha256:" + "1" * 64
    assert prepare.pin("host:5000/python:3", Registry()) == pinned
    assert prepare.pin(pinned, Registry()) == pinned
    assert prepare.pin("", Registry()) == ""
    with pytest.raises(Unavailable):
        prepare.pin("host:5000/other:3", Registry())
