"""What `knative-lambda dev` refuses before it starts anything, all of it at once."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from support.ports import free_port

from knative_lambda.handler.local import options
from knative_lambda.handler.local.folder import InUse, claim


@pytest.fixture
def port() -> int:
    return free_port()


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    with pytest.raises(SystemExit) as end:
        options.read(arguments)
    assert end.value.code == 2
    usage, _, told = capsys.readouterr().err.partition("knative-lambda dev: error: ")
    assert usage.startswith("usage: knative-lambda dev ")
    return told


def test_what_is_right_is_read(tmp_path: Path, port: int) -> None:
    data = tmp_path / "new" / "folder"
    arguments = ["--port", str(port), "--data", str(data), "--tenants", f"acme, {'a' * 56}", "--sink", "https://x:1/y"]
    read = options.read(arguments)
    assert (read.port, read.data, read.sink) == (port, data, "https://x:1/y")
    assert read.tenants == ("acme", "a" * 56)
    read.owner.close()


@pytest.mark.parametrize("said", ["0", "65536", "-1", "http", "", "²"])
def test_a_port_is_a_number_that_a_port_can_have(tmp_path: Path, capsys: pytest.CaptureFixture[str], said: str) -> None:
    assert refusal(capsys, "--data", str(tmp_path), "--port", said) == (
        f"--port: {said!r} is no number from 1 to 65535\n"
    )


def test_a_port_that_is_taken_is_named_with_the_way_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = str(taken.getsockname()[1])
        told = refusal(capsys, "--data", str(tmp_path), "--port", said)
    assert told == f"--port: port {said} is taken; choose another with --port\n"


@pytest.mark.parametrize(
    "name", ["", "Demo", "a_b", "-a", "a-", "a" * 57, "knative-lambda", "deadletters", "v1", "a.b"]
)
def test_a_tenant_is_a_namespace_that_leaves_room_for_its_builds(
    tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    told = refusal(capsys, "--data", str(tmp_path), "--port", str(port), "--tenants", f"demo,{name}")
    assert told.startswith(f"--tenants: {name!r} is no name for a tenant")


@pytest.mark.parametrize("sink", ["127.0.0.1:9000", "ftp://x/", "http://", "http://x:y/", "http://[x/"])
def test_a_sink_is_an_url(tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str], sink: str) -> None:
    told = refusal(capsys, "--data", str(tmp_path), "--port", str(port), "--sink", sink)
    assert told == f"--sink: {sink!r} is no http or https URL\n"


def test_all_faults_are_told_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "file"
    data.write_text("")
    told = refusal(capsys, "--data", str(data), "--port", "x", "--sink", "x", "--tenants", "X")
    assert [line.strip().partition(":")[0] for line in told.splitlines()] == ["--tenants", "--sink", "--data", "--port"]


def test_an_unknown_option_is_answered_under_the_commands_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert refusal(capsys, "--prot", "1") == "unrecognized arguments: --prot 1\n"


def test_a_folder_belongs_to_one_process_at_a_time(
    tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    owner = claim(tmp_path)
    told = refusal(capsys, "--data", str(tmp_path), "--port", str(port))
    assert told == f"--data: {tmp_path} is already used by process {os.getpid()}\n"
    owner.close()
    claim(tmp_path).close()


def test_a_folder_whose_owner_was_killed_is_free_once_what_it_has_left_is_gone(tmp_path: Path) -> None:
    """A worker outlives the process that was killed: it holds the lock until it has answered what it had begun."""
    program = (
        "import os, signal, sys, pathlib\n"
        "from knative_lambda.handler.local.folder import claim\n"
        "owner = claim(pathlib.Path(sys.argv[1]))\n"
        "if os.fork(): os.kill(os.getpid(), signal.SIGKILL)\n"
        "sys.stdin.read()\n"
    )
    killed = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdin=subprocess.PIPE)
    killed.wait(60)
    with pytest.raises(InUse, match=f"process {killed.pid}$"):
        claim(tmp_path, patience=0)
    assert killed.stdin
    killed.stdin.close()
    claim(tmp_path, patience=60).close()
    assert (tmp_path / "owner").read_text() == str(os.getpid())
