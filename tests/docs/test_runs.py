"""What a reader copies into a shell runs as it stands, from a page's top to its bottom, beside the embedded mode."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.embedded import embedded

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"(?m)^    (.*\n)|^(\n)(?=    )")
"""A line of an indented block, or the empty one between two."""
STATUSES = """curl() { command curl -sS -w '%{stderr}%{http_code}\\n' "$@"; }\n"""
"""Tells the status of each answer on standard error."""
LONGEST = 300


def shown(page: str, beginning: str = "", end: str = "\n## ") -> str:
    """Return all that a page, or a part of it, has for a shell."""
    text = (ROOT / page).read_text("utf-8").partition(beginning)[2] if beginning else (ROOT / page).read_text("utf-8")
    part = text.partition(end)[0] if beginning else text
    return "".join(line or empty for line, empty in SHOWN.findall(part))


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script as one who has just cloned the repository, and made `.venv`; it ends where a command fails."""
    work = folder / "clone"
    work.mkdir()
    (work / ".venv").symlink_to(sys.prefix)
    plain = {name: value for name, value in os.environ.items() if name != "KN_LAMBDA_URL"}
    with embedded(folder / "service") as url:
        said = STATUSES + script.replace("http://127.0.0.1:8480", url)
        command = ["timeout", str(LONGEST), "bash", "-eu", "-c", said]
        done = subprocess.run(command, cwd=work, env=plain, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


def statuses(done: subprocess.CompletedProcess[str]) -> list[str]:
    return re.findall(r"(?m)^\d{3}$", done.stderr)


def test_the_readme_makes_calls_and_sends_functions_what_it_says(tmp_path: Path) -> None:
    blocks = shown("README.md", "## Try it")
    script = re.sub(r"(?m)^(make demo|knative-lambda dev|==> .*|  (Ready|reply): .*)\n", "", blocks)
    done = run(script, tmp_path)
    assert '{"hello": "ada"}' in done.stdout
    assert '"type": "Ready", "status": "True"' in done.stdout
    assert done.stdout.endswith('{"hello":"world"}')
    assert set(statuses(done)) <= {"202", "200", "404"}  # until it has come there, there is no such function
    assert statuses(done)[-1] == "200"


@pytest.mark.parametrize(
    ("condition", "looks"),
    [
        ('{"type": "Ready", "status": "True"', 3),
        ('{"type": "Built", "status": "False", "reason": "BuildFailed"', 3),
        ('{"type": "Ready", "status": "Unknown"', 60),
    ],
)
def test_the_readme_looks_until_it_has_come_out_and_no_longer(condition: str, looks: int) -> None:
    """The first two looks find nothing yet; whoever answers, and the seconds between, are the shell's own functions."""
    loop = re.findall(r"(?ms)^for .*?^done.*?$", shown("README.md", "## Try it"))
    assert len(loop) == 1
    there = 'curl() { echo >&2; [ "$second" -lt 3 ] || echo "$CONDITION}"; }; sleep() { :; }; '
    told = {**os.environ, "CONDITION": condition}
    done = subprocess.run(["bash", "-c", there + loop[0]], env=told, check=True, capture_output=True, text=True)
    assert done.stderr.count("\n") == looks
    assert done.stdout == ("" if looks == 60 else f"{condition[1:]}\n")


def test_what_is_asked_of_v1_is_answered_as_its_page_says(tmp_path: Path) -> None:
    script = shown("docs/api.md")
    done = run(script, tmp_path)
    named = re.findall(r"# (\d{3}):", script)
    assert named
    assert [status for status in statuses(done) if status not in ("200", "202")] == named
