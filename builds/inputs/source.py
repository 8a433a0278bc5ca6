"""A source as an event gives it, turned into a build context: one canonical tar with a Dockerfile at its root.

Called by `prepare.py`. What a runtime puts around the user's files is data in `runtimes/`.
"""

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Any

from knative_lambda.builds import dependencies
from knative_lambda.builds.dependencies import NPM, PIP, RECIPE, Lists
from knative_lambda.builds.images.layers import BOUNDS, Bounds
from knative_lambda.builds.images.pinned import is_pinned
from knative_lambda.builds.inputs import archive, repository
from knative_lambda.builds.inputs.archive import GZIP_MAGIC, File, Files, Limits, Packed
from knative_lambda.builds.jobs import given
from knative_lambda.builds.turns import Turn, Turns
from knative_lambda.schemas.errors import Fault, Refused
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

CODE = "function/"
"""Where the user's files lie in the context of a runtime that has a wrapper."""
ENTRYPOINT = "entrypoint"
"""The file in the context of a runtime that is compiled, which says what to compile a program of."""
DOCKERFILE = "a Dockerfile is run by Kaniko alone"
COMPILED = "it is compiled in a Job"
_IMAGE = re.compile(rb"FROM (?!scratch\b)")
WHITEOUT = ".wh."
"""How the name of a file begins that says in a layer that another one is gone."""


@dataclass(frozen=True)
class Objects:
    """Which objects of the store a source may name."""

    store: Store
    url: str
    """The store's own URL: a full URL must start with it."""
    prefixes: tuple[str, ...]
    """What a key must start with."""
    turns: Turns = field(default_factory=Turns)
    """Who may hold a large source; one for all requests."""
    laid: Bounds = BOUNDS
    """How large a context may be whose code is laid as a layer."""
    stored: str = ""
    """One key that may be named besides, "" for none: that alone, and nothing that begins alike."""


@dataclass(frozen=True)
class Context(Packed):
    """A build context."""

    job: str = ""
    """Why all of its image is made in a build Job; "" where its code is one layer more."""
    pinned: bool = True
    """Whether no image that it names but its base may be another one tomorrow."""
    dependencies: str = ""
    """The hash of what is to be installed before its code is laid upon that; "" where nothing is."""


@dataclass(frozen=True)
class Runtime:
    """What is particular about a runtime."""

    single: str
    """The name that a source of one file gets."""
    entrypoint: str = ""
    """The entrypoint where none is given; "" where the runtime knows none."""
    modules: tuple[str, ...] = ()
    """Where the entrypoint's module may lie, ``{}`` standing for its path."""
    dotted: bool = False
    """Whether dots join the segments of a module's name."""
    lists: Lists | None = None
    """How its dependencies are listed, where they are installed before its code is laid upon them."""
    compiled: bool = False
    """Whether a program is made of the code: then its image is never a layer upon the base."""


RUNTIMES: Mapping[str, Runtime] = {
    "python": Runtime("main.py", "main.handle", ("{}.py", "{}/__init__.py"), True, PIP),
    "node": Runtime("index.js", "index.handle", ("{}.js", "{}.cjs", "{}.mjs"), False, NPM),
    "go": Runtime("handle.go", "handle.Handle", ("{}.go",), compiled=True),
    "dockerfile": Runtime("Dockerfile"),
}


def entrypoint(spec: Mapping[str, Any]) -> str:
    """Return the entrypoint of a function: the given one, or its runtime's."""
    given: str = spec.get("entrypoint", "")
    return given or RUNTIMES[spec["runtime"]].entrypoint


def check(spec: Mapping[str, Any], where: str) -> None:
    """Raise `Refused` for what the schemas allow and this version cannot do, or nobody could; with every fault."""
    faults: list[Fault] = []
    runtime = RUNTIMES[spec["runtime"]]
    if "git" in spec["source"]:
        faults += repository.faults(spec["source"]["git"], f"{where}/source/git")
        if spec.get("builder") == "layer":
            faults.append(Fault(f"{where}/builder", f"no layer can be made of it: {repository.CLONED}"))
        if spec["source"]["git"].get("secret") in spec.get("build", {}).get("secrets", []):
            why = "what opens a repository is not given to what builds, too"
            faults.append(Fault(f"{where}/build/secrets", why))
    elif spec.get("builder") == "layer" and (runtime.compiled or not runtime.modules):
        faults.append(Fault(f"{where}/builder", f"no layer can be made of runtime {spec['runtime']}"))
    scale = spec.get("scale", {})
    if scale.get("max") and scale.get("min", 0) > scale["max"]:
        faults.append(Fault(f"{where}/scale/min", "min is over max"))
    if spec["runtime"] == "dockerfile" and spec.get("entrypoint"):
        faults.append(Fault(f"{where}/entrypoint", "a Dockerfile says itself what it starts"))
    faults += given.faults(spec, f"{where}/build")
    if faults:
        raise Refused(faults)


def context(spec: Mapping[str, Any], objects: Objects, limits: Limits, where: str) -> Context:
    """Return the build context for a function's `runtime`, `source` and `entrypoint`: a canonical tar, packed.

    Raises `Refused` with every fault (that no layer can be made of it is none), `Unavailable` ("store") where an object
    cannot be read, `Temporary` where too many large sources are before this one.
    """
    with objects.turns.turn() as turn:
        files = _files(spec, objects, limits, f"{where}/source", turn)
        asked = _asked(spec["runtime"], files)
        packed = archive.pack(_wrapped(spec, files, asked, where))
        pinned = spec["runtime"] != "dockerfile" or is_pinned(bytes(files["Dockerfile"].body))
        reasons = (
            objects.laid.unfit(len(packed.body), packed.size),
            *(needs_job(spec["runtime"], path) for path in files),
        )
    return Context(packed.digest, packed.body, packed.size, next(filter(None, reasons), ""), pinned, asked)


def packed(spec: Mapping[str, Any], files: Files, where: str) -> Packed:
    """Return the build context of files that were read elsewhere; raises `Refused` with every fault."""
    return archive.pack(_wrapped(spec, files, _asked(spec["runtime"], files), where))


def needs_job(runtime: str, path: str) -> str:
    """Return why all of a source with a file of this path is made in a build Job, or ""."""
    if not RUNTIMES[runtime].modules:
        return DOCKERFILE
    if RUNTIMES[runtime].compiled:
        return COMPILED
    if any(part.startswith(WHITEOUT) for part in path.split("/")):
        return f"{path} would be taken for a removal in a layer"
    return ""


def asked(runtime: str, packed: bytes, limits: Limits, hold: Callable[[int], object]) -> str:
    """Return the hash of what a context that was packed here asks to be installed; "" for nothing."""
    files, lists = archive.unpack(packed, limits, "/data", hold), RUNTIMES[runtime].lists
    code = {path.removeprefix(CODE): file for path, file in files.items() if path.startswith(CODE)}
    return dependencies.asked(lists, code, bytes(files[RECIPE].body)) if lists and RECIPE in files else ""


def _asked(runtime: str, files: Files) -> str:
    lists = RUNTIMES[runtime].lists
    return dependencies.asked(lists, files, _recipe(runtime, RECIPE)) if lists else ""


def _recipe(runtime: str, name: str) -> bytes:
    return resources.files("knative_lambda.builds").joinpath("runtimes", runtime, name).read_bytes()


def _wrapped(spec: Mapping[str, Any], files: Files, asked: str, where: str) -> Files:
    """Return the files with what the runtime puts around them.

    What installs dependencies is a recipe by itself too, so that nothing but that is built of it where code is laid
    upon them; the whole Dockerfile has the one line more that lays the code.
    """
    name = spec["runtime"]
    if name == "dockerfile":
        if "Dockerfile" not in files:
            raise Refused.because(f"{where}/source", "there is no Dockerfile at the root of the source")
        return files
    runtime = RUNTIMES[name]
    _check_entrypoint(entrypoint(spec), runtime, files, where)
    dockerfile, recipes = _recipe(name, "function.Dockerfile"), {}
    variables = sorted(spec.get("build", {}).get("env", {}))
    if runtime.compiled:
        dockerfile = _with_arguments(dockerfile, variables)
    if asked:
        install = _with_arguments(_recipe(name, RECIPE), variables)
        dockerfile, recipes = install + dockerfile.splitlines(keepends=True)[-1], {RECIPE: File(install)}
    compiled = {ENTRYPOINT: File(entrypoint(spec).encode())} if runtime.compiled else {}
    code = {CODE + path: file for path, file in files.items()}
    return {"Dockerfile": File(dockerfile), **compiled, **recipes, **code}


def _with_arguments(recipe: bytes, variables: Sequence[str]) -> bytes:
    """Return a recipe that lets these variables be given to what it runs: their names alone, which are words."""
    lines = recipe.splitlines(keepends=True)
    asked = b"".join(f"ARG {name}\n".encode() for name in variables)
    return b"".join(line + asked if _IMAGE.match(line) else line for line in lines)


def _files(spec: Mapping[str, Any], objects: Objects, limits: Limits, where: str, turn: Turn) -> Files:
    [(form, value)] = spec["source"].items()
    where = f"{where}/{form}"
    if form == "inline":
        return archive.inline(value, limits, where)
    if form == "archive":
        try:
            packed = base64.b64decode(re.sub(r"\s", "", value), validate=True)
        except ValueError as error:  # `binascii.Error`, or of characters that the schema takes for white space
            raise Refused.because(where, f"not base64: {error}") from error
        return archive.unpack(packed, limits, where, turn.hold)
    key = _object_key(value, objects, where)
    stored = objects.store.stat(key)
    if stored is not None:
        turn.hold(stored.size)
    body = objects.store.get(key, limit=limits.total)
    if body is None:
        raise Refused.because(where, f"there is no object {key} in the store")
    if body.startswith(GZIP_MAGIC):
        return archive.unpack(body, limits, where, turn.hold)
    return {RUNTIMES[spec["runtime"]].single: File(body)}


def _object_key(url: str, objects: Objects, where: str) -> str:
    """Return the key that an object's URL names: only what this function's tenant may have put there."""
    key = url.removeprefix(objects.url.split("?")[0].rstrip("/") + "/")
    if not key.startswith(objects.prefixes) and key != objects.stored:
        besides = f", or is {objects.stored}" if objects.stored else ""
        raise Refused.because(where, f"an object lies in {objects.url} below {' or '.join(objects.prefixes)}{besides}")
    try:
        keys.check(key)
    except ValueError as error:
        raise Refused.because(where, str(error)) from error
    return key


def _check_entrypoint(given: str, runtime: Runtime, files: Files, where: str) -> None:
    module = given.rpartition(".")[0]
    if runtime.dotted:
        module = module.replace(".", "/")
    candidates = [form.format(module) for form in runtime.modules]
    if not any(candidate in files for candidate in candidates):
        raise Refused.because(f"{where}/entrypoint", f"{given}: the source holds no {' or '.join(candidates)}")
