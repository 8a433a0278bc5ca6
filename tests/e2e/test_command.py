"""The command on the real cluster, with a kubeconfig and nothing else: it shows what it shows of the embedded mode."""

import os
import shutil
from pathlib import Path

import pytest
import yaml
from support import commanded
from support.live import HOST, TENANT, Live


@pytest.fixture
def place(live: Live, tmp_path: Path) -> commanded.Place:
    """Return where the command is told the story, without what a run that was cut off has left."""
    live.delete(commanded.NAME)
    (tmp_path / "work").mkdir()
    return commanded.Place(tmp_path / "work", {"KUBECONFIG": _kubeconfig(tmp_path)}, HOST)


def _kubeconfig(folder: Path) -> str:
    """Return a kubeconfig whose context is of the tenant, so that no command has to name it."""
    said = yaml.safe_load(Path(os.environ["KUBECONFIG"]).read_text())
    for each in said["contexts"]:
        each["context"]["namespace"] = TENANT
    (folder / "kubeconfig").write_text(yaml.safe_dump(said))
    return str(folder / "kubeconfig")


def test_the_command_shows_what_it_shows_without_a_cluster(place: commanded.Place) -> None:
    """Deployed, listed by kn, replaced, paused, broken, watched, tried again, cancelled, rolled back and removed."""
    assert shutil.which("kn", path=commanded.CACHE), "there is no kn to find the command"
    told = commanded.tell(place)
    assert told.splitlines() == commanded.TRANSCRIPT.read_text().splitlines()


def test_the_tenants_are_listed(place: commanded.Place) -> None:
    code, out, error = place.run("tenant", "list")
    assert (code, f"{TENANT}  served  " in out) == (0, True), error


def test_the_doctor_finds_nothing_wrong(place: commanded.Place) -> None:
    told = place.tell("doctor").splitlines()
    assert [line for line in told if not line.startswith("[ok] ")] == []
    assert len(told) == 12
