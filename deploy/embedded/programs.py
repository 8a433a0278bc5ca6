"""How a revision's template and its image become a program to run, as Knative and the kubelet would have it.

Called by `serving.py`.
"""

import os
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.embedded.process import Missing, Program, StartFailed
from knative_lambda.deploy.embedded.revision import Limits
from knative_lambda.schemas.errors import Refused

INHERITED = ("LANG", "LC_ALL", "TZ")
"""What functions get of this process' own environment, beside PATH: nothing that could be a secret."""

KINDS = {"secret": "secrets", "configMap": "configmaps"}
"""What variables come from, and the folder that such things lie in."""


class Images(Protocol):
    """Where images are: a registry that is a folder."""

    def config(self, digest: str) -> Mapping[str, Any] | None:
        """Return what the image runs (``Cmd``, ``Env``, ``WorkingDir``), or None where there is no such image."""

    def unpack(self, digest: str, target: Path) -> None:
        """Write the image's files into the new folder `target`, whole or not at all; already there is success."""


def program(template: Object, place: tuple[str, str, str], images: Images, folder: Path) -> Program:
    """Return the program of a revision, its image unpacked below `folder`; `place` is namespace, service, revision.

    Raises `StartFailed` for an image that is not here, a Secret without a file, or what this mode can't do.
    """
    namespace, service, revision = place
    container = template["spec"]["containers"][0]
    if mounted := [each["mountPath"] for each in container.get("volumeMounts", []) if each["name"] != "tmp"]:
        raise StartFailed(f"the embedded mode mounts nothing: {', '.join(mounted)}")
    image: str = container["image"]
    digest = image.partition("@")[2]
    config = images.config(digest) if digest else None
    if config is None:
        raise StartFailed(f'Unable to fetch image "{image}": the embedded mode runs only what it has built itself')
    root = folder / "images" / digest.removeprefix("sha256:")
    try:
        images.unpack(digest, root)
    except Refused as error:
        raise StartFailed(f'Unable to unpack image "{image}": {error}') from error
    home = folder / "homes" / namespace / service
    home.mkdir(parents=True, exist_ok=True)
    environment = {
        "PATH": os.pathsep.join((str(_python(folder)), os.environ.get("PATH", os.defpath))),
        "HOME": str(home),
        "TMPDIR": str(home),
        **{name: os.environ[name] for name in INHERITED if name in os.environ},
        **dict(pair.split("=", 1) for pair in config.get("Env", [])),
        **_sources(container, namespace, folder),
        **_variables(container, namespace, folder),
        "K_SERVICE": service,
        "K_CONFIGURATION": service,
        "K_REVISION": revision,
    }
    return Program(
        command=(*config.get("Entrypoint", []), *config.get("Cmd", [])),
        folder=root / config.get("WorkingDir", "/").lstrip("/"),
        environment=environment,
        probe=container.get("readinessProbe", {}).get("httpGet", {}).get("path", ""),
    )


def _python(folder: Path) -> Path:
    """Return a folder with the `python3` that functions run with: ours, without the packages that it has for us.

    Behind a link from elsewhere an interpreter is not in the virtual environment that this process runs in.
    """
    place, interpreter = folder / "bin" / "python3", Path(sys.executable).resolve()
    if not (place.is_symlink() and place.readlink() == interpreter):
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as new:
            (Path(new) / "python3").symlink_to(interpreter)
            (Path(new) / "python3").replace(place)
    return place.parent


def limits(template: Object, *, idle: float, start_timeout: float) -> Limits:
    """Return how a revision is run, as its template says."""
    annotations = template.get("metadata", {}).get("annotations", {})
    return Limits(
        concurrency=template["spec"].get("containerConcurrency", 0),
        timeout=float(template["spec"].get("timeoutSeconds", 300)),
        start_timeout=start_timeout,
        idle=idle,
        min_scale=int(annotations.get("autoscaling.knative.dev/min-scale", "0")),
    )


def _variables(container: Object, namespace: str, folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for variable in container.get("env", []):
        name, elsewhere = variable["name"], variable.get("valueFrom", {})
        for kind in KINDS if elsewhere else ():
            if (given := elsewhere.get(f"{kind}KeyRef")) is not None:
                keys = _keys(kind, given["name"], namespace, folder)
                if given["key"] not in keys:
                    raise Missing("Key", f'couldn\'t find key {given["key"]} in {kind} "{given["name"]}"')
                found[name] = keys[given["key"]]
        if elsewhere and name not in found:
            raise StartFailed(f"the embedded mode knows no such valueFrom: {name}")
        if not elsewhere:
            found[name] = variable.get("value", "").replace("$$", "$")
    return found


def _sources(container: Object, namespace: str, folder: Path) -> dict[str, str]:
    """Return what the Secrets and ConfigMaps of `envFrom` say."""
    found: dict[str, str] = {}
    for source in container.get("envFrom", []):
        for kind in KINDS:
            if f"{kind}Ref" in source:
                found |= _keys(kind, source[f"{kind}Ref"]["name"], namespace, folder)
    return found


def _keys(kind: str, name: str, namespace: str, folder: Path) -> dict[str, str]:
    """Return what a Secret or a ConfigMap holds: here each is a file of ``NAME=value`` lines."""
    path = folder / KINDS[kind] / namespace / f"{name}.env"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        text = f'{kind.lower()} "{name}" not found: the embedded mode reads it from {path}'
        raise Missing(f"{kind[0].upper()}{kind[1:]}", text) from error
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))
