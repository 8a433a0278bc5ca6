"""The first screen of the command."""

import subprocess
import sys

import click
import pytest

from knative_lambda.client.commands.deploy import Seconds
from knative_lambda.client.commands.output import table

COMMANDS = [
    *(
        "builds",
        "cancel",
        "completion",
        "deadletters",
        "delete",
        "demo",
        "deploy",
        "describe",
        "dev",
        "doctor",
        "events",
    ),
    *("init", "invoke", "list", "logs", "pause", "resume", "retry", "rollback", "run", "tenant"),
]


def said(*arguments: str) -> str:
    command = [sys.executable, "-m", "knative_lambda.client", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_help_says_what_each_command_does_in_whole_sentences() -> None:
    commands = said("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in commands.splitlines()] == COMMANDS
    assert all(line.endswith(".") and not line.endswith("...") for line in commands.splitlines())


def test_the_help_of_dev_bears_the_name_that_the_user_typed() -> None:
    assert said("dev", "--help").startswith("usage: knative-lambda dev [-h] [--port PORT]")


def test_dead_letters_of_a_service_that_is_not_there_end_in_what_to_do() -> None:
    command = [sys.executable, "-m", "knative_lambda.client", "deadletters", "--url", "http://127.0.0.1:1", "list"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    error, hint = done.stderr.splitlines()
    assert error.startswith("Error: http://127.0.0.1:1 does not answer")
    assert hint.startswith("Hint: start it with `knative-lambda dev`")


def test_a_table_shows_what_would_change_how_a_terminal_shows_it(capsys: pytest.CaptureFixture[str]) -> None:
    table([["NAME"], ["a\x1b[2Jb\u009b2Jc\u202ed\ne é"]])
    assert capsys.readouterr().out == "NAME\na\\u001b[2Jb\\u009b2Jc\\u202ed\\u000ae é\n"


@pytest.mark.parametrize(("said", "seconds"), [("20", 20), ("20s", 20), ("1.5m", 90), ("2h", 7200), (600.0, 600)])
def test_a_time_to_wait_is_in_seconds_or_in_its_own_unit(said: str | float, seconds: float) -> None:
    assert Seconds().convert(said, None, None) == seconds


@pytest.mark.parametrize("said", ["", "s", "-1", "1d", "1 m", "nan"])
def test_another_time_to_wait_is_wrong_usage(said: str) -> None:
    with pytest.raises(click.UsageError, match="is no time such as 90, 90s or 5m"):
        Seconds().convert(said, None, None)


def test_to_send_again_one_says_which() -> None:
    for arguments, why in (
        (["resend"], "say the NAME of one, or --all"),
        (["resend", "dl-1", "--all"], "say a NAME or --all, not both"),
    ):
        command = [sys.executable, "-m", "knative_lambda.client", "deadletters", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert why in done.stderr
