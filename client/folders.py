"""A folder as a function: what its `function.yaml` says, which runtime its files are of, and the source they make."""

import base64
import difflib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from knative_lambda.client.errors import ClientError
from knative_lambda.client.models import Object

SETTINGS = "function.yaml"
"""Holds the fields of a ``build.start`` but tenant and source; it is no part of the source."""
SAID_ELSEWHERE = {"tenant": "-n names the tenant", "source": "the folder is the source, or what --git or --image names"}
TEXT = ("name", "runtime")
"""Fields that the command itself reads: YAML's `no` is no name."""
LEFT_OUT = frozenset({".git", ".hg", ".venv", "venv", "node_modules", "__pycache__", ".knative-lambda", ".DS_Store"})
"""What is in a folder and never in its source."""
SIGNS = (
    ("dockerfile", ("Dockerfile",)),
    ("go", ("go.mod", "handle.go")),
    ("node", ("package.json", "index.js", "index.mjs", "index.cjs")),
    ("python", ("main.py", "requirements.txt", "pyproject.toml")),
)
"""The files by which a runtime is known."""
TEXTS, TEXT_BYTES, ALL_BYTES = 100, 128 * 1024, 512 * 1024
"""Files, bytes of one and of all that are sent as text, which a function's record can hold."""


def settings(folder: Path) -> dict[str, Any]:
    """Return what the folder's settings say, {} where there are none; what is left empty says nothing.

    Raises `ClientError` where they are none, or where a field is not as it could be sent, or no function has it.
    """
    file = folder / SETTINGS
    if not file.is_file():
        if (other := file.with_suffix(".yml")).is_file():
            raise ClientError(f"{other} is not read", f"call it {SETTINGS}")
        return {}
    import yaml  # noqa: PLC0415 - only a folder that has them waits for it, and for the schemas

    from knative_lambda.schemas.catalogue import event_schema  # noqa: PLC0415 - the same

    try:
        text = file.read_text("utf-8")
        twice, found = _twice(yaml.compose(text, yaml.SafeLoader)), yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeError) as error:
        raise ClientError(f"{file} is no YAML: {error}") from error
    if twice:
        raise ClientError(f"{file} says `{twice}` twice", "YAML takes the last one: leave one of them")
    if not isinstance(found, dict):
        raise ClientError(f"{file} has no settings, such as `runtime: python`")
    if name := next(filter(found.__contains__, SAID_ELSEWHERE), ""):
        raise ClientError(f"{file} may not say `{name}`", f"take it out: {SAID_ELSEWHERE[name]}")
    known = list(event_schema("build.start")["properties"])
    for field, value in found.items():
        is_said = isinstance(field, str) and (field not in TEXT or value is None or isinstance(value, str))
        if not (is_said and _is_json(value)):
            shown = field if isinstance(field, str) else json.dumps(field, default=str)
            raise ClientError(f"{file} says `{shown}` by what YAML takes for another thing", "put it into quotes")
        if field not in known:
            near = difflib.get_close_matches(field, known, 1)
            hint = f"did you mean `{near[0]}`?" if near else "take it out: no function has such a field"
            raise ClientError(f"{file} may not say `{field}`", hint)
    return {field: value for field, value in found.items() if value is not None}


def name_fault(name: str) -> str:
    """Return what is wrong with a function's name; "" where it is one."""
    from knative_lambda.schemas.catalogue import event_faults  # noqa: PLC0415 - only who names a function waits for it

    return next(
        (fault.message for fault in event_faults("build.start", {"name": name}) if fault.where == "/data/name"), ""
    )


def _twice(root: Any) -> str:
    """Return a key that a mapping of a YAML node says twice; "" where none does."""
    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen or isinstance(getattr(node, "value", None), str | None):
            continue
        seen.add(id(node))  # an alias is the node that it names
        if node.id == "sequence":
            left += node.value
            continue
        keys = [str(key.value) for key, _ in node.value if not key.tag.endswith(":merge")]
        if twice := next((key for key in keys if keys.count(key) > 1), ""):
            return twice
        left += (value for _, value in node.value)
    return ""


def _is_json(value: object) -> bool:
    """Say whether a value is JSON as it stands, with texts alone as its keys."""
    try:
        return bool(json.loads(json.dumps(value, allow_nan=False)) == value)
    except (TypeError, ValueError):  # a date, a set, what is not a number
        return False


def runtime(folder: Path) -> str:
    """Return the runtime of a folder's files; raise `ClientError` where nothing tells it, or they tell of two."""
    there = {name: sign for name, signs in SIGNS for sign in reversed(signs) if (folder / sign).is_file()}
    if not there:
        raise ClientError(f"nothing in {folder} tells its runtime: name it with --runtime")
    name = next(iter(there))
    if len(there) > 1 and name != "dockerfile":  # which has all the others' files, as a rule
        raise ClientError(f"{folder} has {' and '.join(there.values())}: name its runtime with --runtime")
    return name


def source(folder: Path) -> Object:
    """Return a folder as the source of a function: its texts where that is all, otherwise an archive.

    A link to a file of it is that file. Raises `ClientError` for any other, and where there are no files.
    """
    files = {
        path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if _is_source(path, folder)
    }
    if not files:
        raise ClientError(f"there are no files in {folder}")
    texts = _texts(files)
    return {"archive": base64.b64encode(_packed(files)).decode()} if texts is None else {"inline": texts}


def _is_source(path: Path, folder: Path) -> bool:
    parts = path.relative_to(folder).parts
    if not LEFT_OUT.isdisjoint(parts) or parts == (SETTINGS,):
        return False
    if path.is_symlink() and not _is_within(path, folder):
        raise ClientError(f"{path} is a link that leads to no file of the source", "put there what it leads to")
    return path.is_file()


def _is_within(link: Path, folder: Path) -> bool:
    """Say whether a link leads to what is sent anyway: what is beside the folder may be nobody else's business."""
    try:
        file, root = link.resolve(strict=True), folder.resolve()
    except (OSError, RuntimeError):  # it leads nowhere, or to itself
        return False
    return file.is_relative_to(root) and _is_source(file, root)


def _texts(files: dict[str, Path]) -> dict[str, str] | None:
    """Return the files as texts; None where they are more than a record holds, or one may be run or is no text."""
    if len(files) > TEXTS or sum(path.stat().st_size for path in files.values()) > ALL_BYTES:
        return None
    texts = {}
    for name, path in files.items():
        if path.stat().st_size > TEXT_BYTES or path.stat().st_mode & 0o111:
            return None
        try:
            texts[name] = path.read_bytes().decode()
        except UnicodeDecodeError:
            return None
        if "\0" in texts[name]:
            return None
    return texts


def _packed(files: dict[str, Path]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, path in files.items():
            tar.add(path.resolve(), name, recursive=False)  # what a link leads to, since links are refused
    return packed.getvalue()
