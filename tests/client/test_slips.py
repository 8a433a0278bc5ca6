"""A slip of whoever types is said as what it is, before anything is sent, built or written."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from knative_lambda.client.command import main

NOWHERE = "http://127.0.0.1:1"
CODE = "def handle(event, context):\n    return None\n"


@pytest.fixture(autouse=True)
def _at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hello").mkdir()
    (tmp_path / "hello" / "main.py").write_text(CODE)


def told(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments, env={"KN_LAMBDA_URL": NOWHERE})


@pytest.mark.parametrize("command", [("invoke", "hello"), ("run", "hello")])
def test_data_that_cannot_be_read_is_wrong_usage(command: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff")
    for said, why in {
        "@/nofile": "--data: /nofile is not there",
        "@hello": "--data: hello cannot be read: Is a directory",
        "@bytes": "--data: bytes cannot be read: it is no text",
        "{": "--data is no JSON",
    }.items():
        done = told(*command, "--data", said)
        assert (done.exit_code, f"Error: {why}" in done.stderr) == (2, True), (said, done.output, done.exception)


@pytest.mark.parametrize("leads", ["../outside", "../nothing", "../folder", "lib", ".git/config", "self"])
def test_a_link_that_leads_out_of_the_source_is_refused_by_its_name(tmp_path: Path, leads: str) -> None:
    """Nothing from beside the folder is sent unseen, nor left out without a word."""
    (tmp_path / "outside").write_text("a secret")
    for folder in ("folder", "hello/lib", "hello/.git"):
        (tmp_path / folder).mkdir()
    (tmp_path / "hello" / ".git" / "config").write_text("a secret")
    (tmp_path / "hello" / "self").symlink_to(leads)
    done = told("deploy", "hello")
    assert (done.exit_code, "Error: hello/self is a link that leads to no file of the source" in done.stderr) == (
        1,
        True,
    ), done.output
    (tmp_path / "hello" / "self").unlink()
    assert "does not answer" in told("deploy", "hello").stderr


def test_a_link_to_a_file_of_the_source_is_sent_as_that_and_none_is_looked_at_in_what_is_not_sent(
    tmp_path: Path,
) -> None:
    (tmp_path / "hello" / "same.py").symlink_to("main.py")
    (tmp_path / "hello" / "node_modules").symlink_to(tmp_path)
    (tmp_path / "hello" / ".venv").mkdir()
    (tmp_path / "hello" / ".venv" / "python").symlink_to("/usr/bin/python3")
    (tmp_path / "linked").symlink_to("hello")
    for folder in ("hello", "linked"):
        done = told("deploy", folder)
        assert (done.exit_code, "does not answer" in done.stderr) == (4, True), done.output


@pytest.mark.parametrize("name", ["Hello", "my_fn", "1abc", "a" * 70])
def test_a_name_that_no_function_may_have_is_refused_before_it_is_written_down(tmp_path: Path, name: str) -> None:
    done = told("init", name)
    assert (done.exit_code, "Error: the function's name: " in done.stderr) == (1, True), done.output
    assert not (tmp_path / name).exists()
    assert told("init", name, "--name", "named").exit_code == 0
    assert "name: named\n" in (tmp_path / name / "function.yaml").read_text()


@pytest.mark.parametrize("url", ["notaurl", "127.0.0.1:8480", "ftp://127.0.0.1", "http://", "http://[", "http://a:b"])
def test_what_is_no_url_of_a_service_is_wrong_usage(url: str) -> None:
    for command in (("list",), ("deadletters", "list"), ("doctor",)):
        done = told(*command, "--url", url)
        assert (done.exit_code, f"{url} is no URL" in done.stderr) == (2, True), done.output
    assert CliRunner().invoke(main, ["list"], env={"KN_LAMBDA_URL": url}).exit_code == 2
    assert told("list").exit_code == 4


@pytest.mark.parametrize("where", ["before", "after"])
def test_where_a_group_asks_may_stand_before_or_after_what_it_is_to_do(where: str) -> None:
    said = ("-n", "demo", "--url", "http://127.0.0.1:2")
    done = told("deadletters", *said, "list") if where == "before" else told("deadletters", "list", *said)
    assert (done.exit_code, "http://127.0.0.1:2 does not answer" in done.stderr) == (4, True), done.output
    assert f"{NOWHERE} does not answer" in told("deadletters", "list").stderr
