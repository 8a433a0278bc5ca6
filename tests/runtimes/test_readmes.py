"""The runtimes' READMEs tell the truth: their examples run, their tables are complete."""

import re
from pathlib import Path

from support.wrappers import RUNTIMES, Runtime

SETTINGS = {"python": "lambda_runtime/settings.py", "node": "lib/settings.js", "go": "settings.go"}
MAIN = {"python": "main.py", "node": "index.js", "go": "handle.go"}
VARIABLE = re.compile(r"\b(?:LAMBDA_[A-Z_]+|K_[A-Z]+|HOST|PORT)\b")


def test_the_example_runs_as_it_stands(runtime: Runtime, tmp_path: Path) -> None:
    text = (RUNTIMES / runtime.name / "README.md").read_text()
    (tmp_path / MAIN[runtime.name]).write_text(text.split("```")[1].partition("\n")[2])
    answer = runtime.serve(tmp_path).send("demo", {"name": "world"})
    assert (answer.status, answer.json()) == (200, {"hello": "world"})


def test_every_variable_that_is_read_is_in_the_table_and_no_other(runtime: Runtime) -> None:
    folder = RUNTIMES / runtime.name
    table = [line.split("|")[1] for line in (folder / "README.md").read_text().splitlines() if line.startswith("| `")]
    told = {name for cell in table for name in VARIABLE.findall(cell)}
    assert told == {*VARIABLE.findall((folder / SETTINGS[runtime.name]).read_text())}
