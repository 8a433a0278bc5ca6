"""The terminal that `docs/command.md` shows: each of its commands is run, as it stands, and says what stands there.

`docs/command.cast` is the same as a recording (asciicast v2), at an even pace. ``WRITE=1 pytest
tests/client/test_walk.py`` writes both anew.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.embedded import embedded

PAGE = Path(__file__).parents[2] / "docs" / "command.md"
CAST = PAGE.with_suffix(".cast")
LOOK, TYPE, LINE = 2.0, 0.8, 0.3
"""Seconds of a recording: before a prompt, before its command, and before each line of what that says."""
CONSOLE = re.compile(r"^```console\n(.*?)^```", re.DOTALL | re.MULTILINE)
CHANGING = (
    (r"sha256:[0-9a-f]{64}", "sha256:" + "698831d9" * 8),
    (r"127\.0\.0\.1:\d+", "127.0.0.1:8480"),
    (r"(?m)^ *\d+\.\d+s (?=\[)", "   0.4s "),
    (r"(?m)^.*\[[#.]{3}\] (Built|Deployed|Ready): (Running|Queued|Deploying|NotDeployed)\n", ""),
    (r"(?<![\d.])\d{1,3}[smh](?=\s|$)", "3s"),
    (r"(?m)^\[notice\].*\n", ""),
)
"""What no two runs have in common → what stands for it; steps that may be too short to be seen are left out."""
BUILD = re.compile(r"hello-[a-z2-7]{16}\b")
BUILDS = ("hello-qs6jywaouwgnrjdd", "hello-b4x2mzv7ktqcwe3p", "hello-u6ndr5ajhl2ysf7o", "hello-c3gpk7ewxtzmv4iq")
"""What stands for the names of builds, one for each, in the order in which the page first shows them."""


@pytest.fixture(scope="module")
def home() -> Iterator[Path]:
    """Yield a folder to work in, and have a service beside it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name, embedded(Path(name) / "service") as url:
        (Path(name) / "work").mkdir()
        (Path(name) / "url").write_text(url)
        yield Path(name) / "work"


def terminal(command: str, home: Path) -> str:
    """Return what a terminal shows of a command."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "KN_LAMBDA_URL": (home.parent / "url").read_text()}
    run = subprocess.run(
        ["bash", "-c", command],
        cwd=home,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return run.stdout.decode()


def steady(text: str, builds: dict[str, str]) -> str:
    """Return a text without what changes; `builds` are the names that were met before, and what stands for them."""
    text = BUILD.sub(lambda found: builds.setdefault(found[0], BUILDS[len(builds)]), text)
    for pattern, stands in CHANGING:
        text = re.sub(pattern, stands, text)
    return text


def unaligned(text: str) -> str:
    """Return a text without the width of its columns, which is that of what changes."""
    return re.sub(r"(?<=\S) {2,}", "  ", text)


def played(block: str, home: Path, builds: dict[str, str]) -> str:
    """Return a block as it is when its commands are run."""
    commands = re.findall(r"^\$ (.*)$", block, re.MULTILINE)
    shown = [f"$ {command}\n" + steady(terminal(command, home), builds) for command in commands]
    return "\n".join(text.rstrip() for text in shown) + "\n"


def cast(page: str) -> str:
    """Return the recording of a page's terminal."""
    shown = [line for block in CONSOLE.findall(page) for line in block.splitlines()]
    head = {"version": 2, "width": max(map(len, shown)), "height": 30, "title": "knative-lambda"}
    told, at = [json.dumps(head)], 0.0
    for line in shown:
        asked = line.startswith("$ ")
        for pause, text in ((LOOK, "$ "), (TYPE, f"{line[2:]}\r\n")) if asked else ((LINE, f"{line}\r\n"),):
            at += pause
            told.append(json.dumps([round(at, 1), "o", text]))
    return "\n".join(told) + "\n"


def test_the_page_shows_what_a_terminal_shows(home: Path) -> None:
    text, builds = PAGE.read_text("utf-8"), dict[str, str]()
    now = CONSOLE.sub(lambda found: f"```console\n{played(found[1], home, builds)}```", text)
    if "WRITE" in os.environ:
        PAGE.write_text(now, "utf-8")
        CAST.write_text(cast(now), "utf-8")
    assert unaligned(now) == unaligned(text)
    assert CAST.read_text("utf-8") == cast(text), "the recording is of another page"
