"""The scan for credentials: a planted one makes it fail, and the same file without it passes."""

import os
import subprocess
import sys
from pathlib import Path

from support.papers import keys

ROOT = Path(__file__).parents[2]


def scan(folder: Path) -> subprocess.CompletedProcess[str]:
    tool = {"DETECT_SECRETS": str(Path(sys.executable).with_name("detect-secrets-hook"))}
    command = [str(ROOT / "deploy" / "secrets-scan.sh")]
    return subprocess.run(command, cwd=folder, env={**os.environ, **tool}, check=False, capture_output=True, text=True)


def test_a_planted_key_makes_the_scan_fail_and_is_named_by_its_place(tmp_path: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    planted = tmp_path / "notes.txt"
    planted.write_text("nothing of note\n")
    subprocess.run(["git", "add", "notes.txt"], cwd=tmp_path, check=True)
    assert scan(tmp_path).returncode == 0
    keys(tmp_path / "made")
    secret = (tmp_path / "made" / "cosign.key").read_text()
    planted.write_text(f"do not forget\n{secret}")
    done = scan(tmp_path)
    assert done.returncode != 0
    assert "notes.txt:2" in done.stdout
    assert secret.splitlines()[1] not in done.stdout
    planted.write_text("AKIA" + "IOSFODNN7EXAMPLQ\n")
    assert "AWS Access Key" in scan(tmp_path).stdout
