"""The story that the command is told on a cluster too (`tests/e2e/test_command.py`), here of the embedded mode."""

import os
import signal
from pathlib import Path

import pytest
from support import commanded
from support.embedded import embedded


def test_the_command_shows_what_is_written_down(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    with embedded(tmp_path / "service") as url:
        told = commanded.tell(commanded.Place(tmp_path / "work", {"KN_LAMBDA_URL": url}))
    if "WRITE" in os.environ:
        commanded.TRANSCRIPT.write_text(told)
    assert told == commanded.TRANSCRIPT.read_text()


def test_a_command_of_the_story_that_goes_on_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = commanded.Place(tmp_path, {})
    with place.start("true") as process:
        process.communicate()
    assert process.returncode == 0
    monkeypatch.setattr(commanded, "PATIENCE", 0)
    with place.start("sleep", "infinity") as process:
        assert list(commanded._lines(process)) == []
    assert process.returncode == -signal.SIGKILL


def test_a_command_of_the_story_that_is_left_by_an_error_is_ended(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no"), commanded.Place(tmp_path, {}).start("sleep", "infinity") as process:
        raise ValueError("no")
    assert process.returncode == -signal.SIGKILL
