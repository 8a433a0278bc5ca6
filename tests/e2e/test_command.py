"""The command on the real cluster, with a kubeconfig and nothing else: what its page shows of the embedded mode."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.live import TENANT, Live

CACHE = Path(os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster")) / "bin"
PATH = f"{Path(sys.executable).parent}:{CACHE}:{os.environ['PATH']}"
NAME = "commanded"


@pytest.fixture(autouse=True)
def gone(live: Live) -> None:
    """Begin without what a run that was cut off has left."""
    live.delete(NAME)


def run(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PATH": PATH, "HOME": str(folder)}
    return subprocess.run(
        [*command, "-n", TENANT], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


def says(folder: Path, *command: str) -> str:
    done = run(folder, *command)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_function_goes_its_whole_way_by_the_command(live: Live, tmp_path: Path) -> None:
    """Deployed, called, replaced, broken, rolled back and removed: as `docs/command.md` shows it without a cluster."""
    command, folder = "knative-lambda", tmp_path / NAME
    subprocess.run([command, "init", NAME], cwd=tmp_path, env={**os.environ, "PATH": PATH}, check=True)
    assert f"{NAME} answers at http" in says(tmp_path, command, "deploy", NAME)
    assert says(tmp_path, command, "invoke", NAME, "-d", '{"name": "ada"}') == '{"hello": "ada"}\n'
    assert f"function.knative-lambda.dev/{NAME}\n" in says(tmp_path, "kn", "lambda", "list", "-o", "name")
    first = json.loads(says(tmp_path, command, "describe", NAME, "-o", "json"))["status"]["latestBuild"]

    code = (folder / "main.py").read_text()
    (folder / "main.py").write_text(code.replace('"hello"', '"good morning"'))
    (folder / "data").write_bytes(b"\xff\x00")  # so that it goes by the Broker
    says(tmp_path, command, "deploy", NAME)
    assert says(tmp_path, command, "invoke", NAME, "-d", '{"name": "ada"}') == '{"good morning": "ada"}\n'

    (folder / "requirements.txt").write_text("no such thing\n")
    done = run(tmp_path, command, "deploy", NAME)
    assert (done.returncode, "Built is False" in done.stderr) == (1, True), done.stderr
    assert "Invalid requirement: 'no such thing'" in done.stderr
    assert "Invalid requirement: 'no such thing'" in says(tmp_path, command, "logs", NAME, "-f")
    phases = [line.split()[2] for line in says(tmp_path, command, "builds", NAME).splitlines()[1:]]
    assert phases == ["Failed", "Succeeded", "Succeeded"]
    assert says(tmp_path, command, "invoke", NAME, "-d", '{"name": "ada"}') == '{"good morning": "ada"}\n'

    said = says(tmp_path, command, "rollback", NAME, "--build", first)
    assert said.startswith(f"{NAME} goes back to {first}\n{NAME} answers at ")
    assert says(tmp_path, command, "invoke", NAME, "-d", '{"name": "ada"}') == '{"hello": "ada"}\n'

    assert says(tmp_path, command, "delete", NAME) == f"{NAME} is deleted\n"
    assert run(tmp_path, command, "describe", NAME).returncode == 3


def test_the_doctor_finds_nothing_wrong(tmp_path: Path) -> None:
    told = says(tmp_path, "knative-lambda", "doctor").splitlines()
    assert [line for line in told if not line.startswith("[ok] ")] == []
    assert len(told) == 12
