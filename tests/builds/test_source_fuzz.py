"""Whatever a source holds, its context is the user's files below their folder, and a recipe that knows none of them."""

import base64
import gzip
import io
import tarfile
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.inputs.source import RUNTIMES, Objects, context
from knative_lambda.schemas.catalogue import event_faults
from knative_lambda.schemas.errors import Refused
from knative_lambda.storage.memory import MemoryStore

OBJECTS = Objects(MemoryStore("world"), "memory://world", ("uploads/acme/",))
WRAPPED = sorted(name for name, runtime in RUNTIMES.items() if runtime.modules)
RECIPES = {"Dockerfile", "dependencies.Dockerfile", "entrypoint"}
SEGMENT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.sampled_from(
    ["..", ".", "Dockerfile", ".dockerignore", "requirements.txt", "package.json", "go.mod", ".wh.a", "main.py", "a b"]
)
PATHS = st.lists(SEGMENT, min_size=1, max_size=3).map("/".join)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.sampled_from(
    ["\nRUN id\n", "FROM evil", "${BASE}", "{{x}}"]
)
FILES = st.dictionaries(PATHS, TEXTS, max_size=5)


def members(body: bytes) -> dict[str, bytes]:
    """Return what a reader of tars that is not ours finds in a context; fail for what is no regular file."""
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(body))) as tar:
        entries = list(tar)
        assert all(entry.isreg() for entry in entries)
        return {entry.name: tar.extractfile(entry).read() for entry in entries}  # type: ignore[union-attr]


def taken(spec: dict[str, Any]) -> dict[str, bytes] | None:
    """Return the context of a spec, None where its source is refused; fail where anything else is."""
    try:
        return members(context(spec, OBJECTS, Limits(), "/data").body)
    except Refused as refused:
        named = all(fault.where.startswith("/data/source") for fault in refused.faults)
    assert named
    return None


def recipe(runtime: str, files: dict[str, Any]) -> bytes:
    """Return the recipe of a source without any text of a stranger's, with the same lists of dependencies."""
    bare = {path: "" for path in files if path in ("requirements.txt", "package.json", "package-lock.json")}
    single = {RUNTIMES[runtime].single: ""}
    spec = {"runtime": runtime, "source": {"inline": single | bare}}
    return members(context(spec, OBJECTS, Limits(), "").body)["Dockerfile"]


def asks_for_packages(files: dict[str, Any]) -> bool:
    return any(path.partition("/")[0] in ("requirements.txt", "package.json", "npm-shrinkwrap.json") for path in files)


@pytest.mark.parametrize("runtime", WRAPPED)
@given(FILES)
@example({"Dockerfile": "FROM evil", ".dockerignore": "*", "entrypoint": "evil", "dependencies.Dockerfile": "RUN id"})
def test_files_lie_below_their_folder_byte_for_byte_and_the_recipe_is_the_runtimes(
    runtime: str, files: dict[str, str]
) -> None:
    assume(not asks_for_packages(files))
    whole = {**files, RUNTIMES[runtime].single: "x"}
    spec = {"runtime": runtime, "source": {"inline": whole}}
    found = taken(spec)
    if found is None:
        return
    assert not event_faults("build.start", {"tenant": "a", "name": "b", **spec}), "the gate is as strict"
    below = {path.removeprefix("function/"): body for path, body in found.items() if path.startswith("function/")}
    assert below == {path: text.encode() for path, text in whole.items()}
    assert found.keys() - {f"function/{path}" for path in whole} <= RECIPES
    assert found["Dockerfile"] == recipe(runtime, {})
    assert not any(part in ("", ".", "..") for path in found for part in path.split("/"))


@given(st.dictionaries(PATHS, st.binary(max_size=60), max_size=5))
def test_what_comes_as_an_archive_is_no_other_than_what_comes_as_text(files: dict[str, bytes]) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path, body in {**files, "main.py": b"x"}.items():
            entry = tarfile.TarInfo(path)
            entry.size = len(body)
            tar.addfile(entry, io.BytesIO(body))
    spec = {"runtime": "python", "source": {"archive": base64.b64encode(out.getvalue()).decode()}}
    found = taken(spec)
    if found is None:
        return
    assert all(path.startswith("function/") or path in RECIPES for path in found)
    assert not any(part in ("", ".", "..") for path in found for part in path.split("/"))


@given(TEXTS | st.text(st.sampled_from("QUJD+/=\x85\ufeff\u2003 \n"), max_size=20))
@example("\ufeff")
@example("QQ==\u2003")
def test_what_is_no_archive_is_refused_and_never_a_fault_of_ours(text: str) -> None:
    with pytest.raises(Refused):
        context({"runtime": "python", "source": {"archive": text}}, OBJECTS, Limits(), "/data")
