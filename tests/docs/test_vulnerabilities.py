"""`make vulnerabilities` with a database of its own: it finds what is planted there, and nothing else."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "deploy" / "requirements" / "service.txt").read_text()
VERSION = re.search(r"(?m)^urllib3==(\S+)", LOCK)[1]  # type: ignore[index]  # it is a dependency of ours


def advisory(*events: dict[str, str], name: str = "urllib3", **more: Any) -> dict[str, Any]:
    ranges = [{"type": "ECOSYSTEM", "events": list(events)}]
    affected = [{"package": {"ecosystem": "PyPI", "name": name}, "ranges": ranges}]
    return {"id": "PYSEC-0000-1", "summary": "planted", "affected": affected, **more}


def asked(database: Path) -> subprocess.CompletedProcess[str]:
    """Run the target as it is, but for the environment, which is this one."""
    venv = Path(sys.prefix)
    command = ["make", "--silent", "-o", f"{venv}/.ready", f"VENV={venv}", "vulnerabilities", f"ADVISORIES={database}"]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)


def planted(folder: Path, *advisories: dict[str, Any]) -> Path:
    for number, each in enumerate(advisories):
        (folder / f"{number}.json").write_text(json.dumps(each))
    return folder


def test_a_planted_vulnerability_of_a_locked_package_makes_it_fail_and_is_named(tmp_path: Path) -> None:
    done = asked(planted(tmp_path, advisory({"introduced": "0"}, {"last_affected": VERSION})))
    assert done.returncode != 0
    assert f"urllib3 {VERSION}: PYSEC-0000-1 planted" in done.stdout


@pytest.mark.parametrize(
    "elsewhere",
    [
        advisory({"introduced": "0"}, {"fixed": VERSION}),
        advisory({"fixed": "1.1"}, {"introduced": "1.0"}),
        advisory({"introduced": "9999"}),
        advisory({"introduced": "0"}, name="another"),
        advisory({"introduced": "0"}, withdrawn="2026-01-01T00:00:00Z"),
    ],
    ids=["fixed in it", "an old one", "a later one", "another package", "withdrawn"],
)
def test_what_does_not_concern_it_does_not(tmp_path: Path, elsewhere: dict[str, Any]) -> None:
    done = asked(planted(tmp_path, elsewhere, advisory({"introduced": "0"}, name="somebody-elses") | {"id": "PYSEC-2"}))
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("0 concern them\n")


def test_a_version_that_is_listed_is_found_in_a_database_as_it_is_published(tmp_path: Path) -> None:
    listed = {**advisory(), "affected": [{"package": {"ecosystem": "PyPI", "name": "URLLIB3"}, "versions": [VERSION]}]}
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("PYSEC-0000-1.json", json.dumps(listed))
    assert f"urllib3 {VERSION}: PYSEC-0000-1" in asked(tmp_path / "all.zip").stdout


def test_a_database_that_knows_nothing_is_no_good_news(tmp_path: Path) -> None:
    done = asked(tmp_path)
    assert done.returncode != 0
    assert "nothing was looked up" in done.stderr
