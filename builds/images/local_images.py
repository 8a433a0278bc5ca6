"""What an image of the embedded mode is made of: wrapper, dependencies, code, each a layer.

Called by `local.py`, which runs the package manager that is named here. A layer is an uncompressed tar, equal for equal
content.
"""

import hashlib
import io
import json
import platform
import re
import shutil
import sys
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from knative_lambda.builds.dependencies import RECIPE
from knative_lambda.builds.inputs import archive
from knative_lambda.builds.inputs.archive import File, Files
from knative_lambda.builds.inputs.source import CODE, ENTRYPOINT
from knative_lambda.schemas.errors import Refused

WRAPPER = "runtime/"
WRAPPER_SUFFIXES = (".py", ".js", ".cjs", ".mjs", ".json", ".go", ".mod", ".sum")


@dataclass(frozen=True)
class Recipe:
    """How a runtime's images are made."""

    program: str
    """What must be on this machine."""
    command: tuple[str, ...]
    """What the image runs, in the folder of the code."""
    environment: tuple[str, ...]
    """``NAME=value``, as in an image's config."""
    lists: tuple[str, ...]
    """The files that list dependencies, and those that say which versions."""
    install: tuple[str, ...]
    """Installs them, run in the folder of the code."""
    locked_install: tuple[str, ...]
    """The same where one of `lists` but the first is there: a lock."""
    installed: str
    """Where they are then, beside the folder of the code or in it; the same place in the image."""
    compiled: bool = False
    """Whether it is a program that `install` makes, of all the code; it holds the wrapper."""

    def wanted(self, files: Files) -> bool:
        """Say whether anything is to be installed: the code asks for that, or is compiled."""
        return self.compiled or RECIPE in files

    def installer(self, files: Files, folder: Path) -> tuple[str, ...]:
        """Return the command that installs it, where `folder` holds the context."""
        command = self.locked_install if any(CODE + lock in files for lock in self.lists[1:]) else self.install
        entrypoint = str(files[ENTRYPOINT].body, "utf-8") if self.compiled else ""
        return tuple(part.format(folder=folder, entrypoint=entrypoint) for part in command)


PIP = (
    *(sys.executable, "-m", "pip", "install", "--target", "../dependencies", "--no-compile", "--no-input"),
    *(
        "--disable-pip-version-check",
        "--no-warn-script-location",
        "--root-user-action=ignore",
        "-r",
        "requirements.txt",
    ),
)
GO = (
    *("go", "-C", str(Path(__file__).parents[1] / "runtimes" / "go"), "run", "./compile"),
    *("{folder}/function", "{entrypoint}", "{folder}/runtime/serve"),
)
NPM_FLAGS = ("--omit=dev", "--no-audit", "--no-fund", "--no-update-notifier")
RECIPES: Mapping[str, Recipe] = {
    "python": Recipe(
        program=sys.executable,
        command=("python3", "../runtime/serve.py"),
        environment=("LAMBDA_CODE=.", "LAMBDA_DEPENDENCIES=../dependencies", "PYTHONUNBUFFERED=1"),
        lists=("requirements.txt",),
        install=PIP,
        locked_install=PIP,
        installed="dependencies/",
    ),
    "node": Recipe(
        program="npm",
        command=("node", "../runtime/serve.js"),
        environment=("LAMBDA_CODE=.", "NODE_ENV=production"),
        lists=("package.json", "npm-shrinkwrap.json", "package-lock.json"),
        install=("npm", "install", *NPM_FLAGS, "--no-package-lock"),
        locked_install=("npm", "ci", *NPM_FLAGS),
        installed=CODE + "node_modules/",
    ),
    "go": Recipe(
        program="go",
        command=("../runtime/serve",),
        environment=("LAMBDA_CODE=.",),
        lists=("go.mod",),
        install=GO,
        locked_install=GO,
        installed=WRAPPER,
        compiled=True,
    ),
}


def missing(recipe: Recipe) -> str:
    """Return why images of this recipe can't be made here, or ""."""
    return "" if shutil.which(recipe.program) else f"{recipe.program} is not on this machine"


def config(recipe: Recipe) -> dict[str, Any]:
    """Return what the image runs, as in an OCI image's config."""
    return {
        "Cmd": list(recipe.command),
        "Env": list(recipe.environment),
        "WorkingDir": f"/{CODE.removesuffix('/')}",
    }


def wrapper_layer(runtime: Path) -> bytes:
    """Return the layer of a runtime's wrapper, whose files lie in `runtime`."""
    return archive.canonical({path: File(body) for path, body in _wrapper(runtime).items()})


def _wrapper(runtime: Path) -> dict[str, bytes | memoryview]:
    return {
        WRAPPER + path.relative_to(runtime).as_posix(): path.read_bytes()
        for path in runtime.rglob("*")
        if path.suffix in WRAPPER_SUFFIXES and path.is_file()
    }


def code_layer(files: Files) -> bytes:
    """Return the layer of a context's code."""
    return archive.canonical({path: file for path, file in files.items() if path.startswith(CODE)})


def write_code(files: Files, folder: Path) -> None:
    """Write a context's code into `folder`, for the package manager."""
    for path, file in files.items():
        if path.startswith(CODE):
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.body)


def dependencies_key(runtime: str, tenant: str, files: Files, variables: Mapping[str, str]) -> str:
    """Return the hash of what decides which packages are installed; no two tenants share one."""
    recipe = RECIPES[runtime]
    listed = {path: files[CODE + path].body for path in recipe.lists if CODE + path in files}
    if recipe.compiled:
        listed = {path: file.body for path, file in files.items()} | _wrapper(
            Path(__file__).parents[1] / "runtimes" / runtime
        )
    elif not all(_self_contained(body) for body in listed.values()):
        listed = {path: file.body for path, file in files.items() if path.startswith(CODE)}
    machine = (runtime, tenant, sys.version, platform.platform())
    digests = [(path, hashlib.sha256(body).hexdigest()) for path, body in sorted(listed.items())]
    return hashlib.sha256(json.dumps([machine, digests, *filter(None, [variables])]).encode()).hexdigest()


def write_dependencies_layer(recipe: Recipe, folder: Path, target: Path) -> None:
    """Write the layer of what was installed in `folder`; raise `Refused` for what no layer can hold."""
    root = folder / recipe.installed
    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as tar:
        for path in _plain_files(root):
            entry = tarfile.TarInfo(str(PurePosixPath(recipe.installed) / path.relative_to(root).as_posix()))
            body = path.read_bytes()
            entry.size = len(body)
            entry.mode = 0o755 if path.stat().st_mode & 0o100 else 0o644
            tar.addfile(entry, io.BytesIO(body))


def _plain_files(root: Path) -> Iterator[Path]:
    for path in sorted(root.rglob("*")):
        if path.parent.name == ".bin":  # npm's links to commands, for the time of the installation
            continue
        if path.is_symlink():
            raise Refused.because(f"/{path.relative_to(root.parent)}", "the package is a link, which no image can hold")
        if path.is_file():
            yield path


def _self_contained(body: bytes | memoryview) -> bool:
    """Say whether a list names packages only, no other files beside it."""
    text = str(body, "utf-8", "replace")
    return not re.search(r"^\s*(-|\.)|file:|link:|\"workspaces\"", text, re.MULTILINE)
