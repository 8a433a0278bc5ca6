"""The first screen of the command."""

import subprocess
import sys


def said(*arguments: str) -> str:
    command = [sys.executable, "-m", "knative_lambda.client", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_help_says_what_each_command_does_in_whole_sentences() -> None:
    commands = said("--help").partition("Commands:\n")[2]
    assert [line.split()[0] for line in commands.splitlines()] == ["demo", "dev"]
    assert all(line.endswith(".") and not line.endswith("...") for line in commands.splitlines())


def test_the_help_of_dev_bears_the_name_that_the_user_typed() -> None:
    assert said("dev", "--help").startswith("usage: knative-lambda dev [-h] [--port PORT]")
