"""The story that the command is told on a cluster too (`tests/e2e/test_command.py`), here of the embedded mode."""

import os
from pathlib import Path

from support import commanded
from support.embedded import embedded


def test_the_command_shows_what_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with embedded(tmp_path / "service") as url:
        told = commanded.tell(commanded.Place(tmp_path / "work", {"KN_LAMBDA_URL": url}))
    if "WRITE" in os.environ:
        commanded.TRANSCRIPT.write_text(told)
    assert told == commanded.TRANSCRIPT.read_text()
