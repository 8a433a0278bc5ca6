"""What a source asks to be installed: which of its files say so, and the key of the image with just that inside.

Called by `source.py`, which has the files, and where a Build is made of them. Pure. The files are those that the
runtime's ``dependencies.Dockerfile`` copies and no others, so that equal keys mean equal input of that recipe.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

from knative_lambda.builds.inputs.archive import Files
from knative_lambda.schemas import names

RECIPE = "dependencies.Dockerfile"
"""What installs them upon the runtime's base; of a runtime's folder, and at the root of a build context."""
INSTALLED = ("dependencies", "optionalDependencies", "peerDependencies", "workspaces")
"""What npm installs of a package.json, where development's dependencies are left out."""
BUNDLED = ("bundleDependencies", "bundledDependencies")
LIFECYCLE = ("preinstall", "install", "postinstall", "prepublish", "preprepare", "prepare", "postprepare")
"""The scripts that npm runs when it installs: https://docs.npmjs.com/cli/v10/using-npm/scripts"""


@dataclass(frozen=True)
class Lists:
    """How the dependencies of a runtime's functions are listed."""

    first: str
    """The file without which there are none."""
    copied: tuple[str, ...]
    """The files that are there when they are installed, as patterns: of the first folder or file of a path."""
    wants: Callable[[str], bool]
    """Says whether that file's text asks for anything."""


def asked(lists: Lists, files: Files, recipe: bytes) -> str:
    """Return the hash (``sha256:…``) of what a source asks to be installed, and of how that is done; "" for nothing."""
    if lists.first not in files or not _wants(lists, bytes(files[lists.first].body)):
        return ""
    listed = {
        path: [hashlib.sha256(file.body).hexdigest(), file.executable]
        for path, file in files.items()
        if any(fnmatchcase(path.partition("/")[0], pattern) for pattern in lists.copied)
    }
    return names.sha256([hashlib.sha256(recipe).hexdigest(), listed])


def image(registry: str, tenant: str, build: Mapping[str, str], platform: str, settings: object = None) -> str:
    """Return the name of the image with a Build's dependencies: a tenant's own, and no function's.

    `build` has their hash as ``dependencies``, its ``runtime``, and its ``base`` by digest, wherever that lies; what
    they are installed with beside is `settings`, if anything.
    """
    shaped_by: list[object] = [build["runtime"], build["base"].rpartition("@")[2], platform, build["dependencies"]]
    shaped_by += [settings] if settings else []
    return f"{names.dependencies(registry, tenant, build['runtime'])}:{names.sha256(shaped_by)[7:]}"


def _wants(lists: Lists, body: bytes) -> bool:
    try:
        return lists.wants(body.decode())
    except UnicodeDecodeError:  # the package manager says what is wrong with it
        return True


def _requirements(text: str) -> bool:
    """Say whether there is anything but comments, in lines as pip has them."""
    return any(line and not line.startswith("#") for line in map(str.strip, text.splitlines()))


def _package(text: str) -> bool:
    """Say whether npm would install anything, or run anything; it says itself what is wrong with what is no package."""
    try:
        found = json.loads(text)
        scripts = found.get("scripts") or {}
        return any(found.get(key) for key in (*INSTALLED, *BUNDLED)) or any(scripts.get(name) for name in LIFECYCLE)
    except (ValueError, RecursionError, AttributeError):
        return True


PIP = Lists("requirements.txt", ("requirements*.txt",), _requirements)
NPM = Lists("package.json", ("package*.json", "npm-shrinkwrap*.json", ".npmrc*"), _package)
