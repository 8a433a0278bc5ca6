"""The command as it is installed, against the embedded mode as a process; the page has a test of its own."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.embedded import embedded

BIN = Path(sys.executable).parent
PAGE = Path(__file__).parents[2] / "docs" / "command.md"
CODE = "def handle(event, context):\n    return {'hello': event.data}\n"


class Terminal:
    """A terminal in a folder, beside a service."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.environment = {**os.environ, "KN_LAMBDA_URL": url, "PATH": f"{BIN}:{os.environ['PATH']}"}

    def run(self, *arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["knative-lambda", *arguments],
            cwd=self.folder,
            env=self.environment,
            input=said,
            capture_output=True,
            text=True,
            check=False,
        )

    def says(self, *arguments: str) -> str:
        """Return what a command says that does not fail."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def write(self, name: str, files: dict[str, str]) -> None:
        (self.folder / name).mkdir()
        for file, text in files.items():
            (self.folder / name / file).write_text(text)


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(tmp_path_factory.mktemp("service")) as found:
        yield found


@pytest.fixture
def terminal(tmp_path: Path, url: str) -> Terminal:
    return Terminal(tmp_path, url)


def test_a_function_goes_its_whole_way(terminal: Terminal) -> None:
    terminal.write("shop", {"main.py": CODE})
    settings = {"triggers": [{"type": "demo.shop", "source": "/shop"}], "env": {"A": "1"}}
    (terminal.folder / "shop" / "function.yaml").write_text(yaml.safe_dump(settings))
    assert terminal.says("deploy", "shop", "--env", "B=2", "-o", "name") == "function.knative-lambda.dev/shop\n"

    found = json.loads(terminal.says("describe", "shop", "-o", "json"))
    assert found["spec"]["env"] == {"B": "2"}
    assert yaml.safe_load(terminal.says("list", "-o", "yaml"))["items"][0]["metadata"]["name"] == "shop"
    reply = json.loads(terminal.says("invoke", "shop", "-d", "[1]", "-o", "json"))
    assert (reply["type"], reply["data"]) == ("dev.knative-lambda.function.result", {"hello": [1]})
    told = terminal.says("events", "shop").splitlines()
    assert told[-1].split()[1:] == ["function/shop", "Ready=True", "Ready"]
    assert "  ++  Ready" in terminal.says("describe", "shop")

    assert terminal.says("delete", "shop") == "shop is deleted\n"
    assert terminal.run("list").stderr == "No functions in demo found.\n"


def test_a_function_with_a_sequence_is_paused_rolled_back_and_deleted_without_one(terminal: Terminal) -> None:
    """No command takes a number from who counts: the next one is newer than all that a command did."""
    terminal.write("counted", {"main.py": CODE})
    settings = terminal.folder / "counted" / "function.yaml"
    settings.write_text("sequence: 7\n")
    terminal.says("deploy", "counted")
    (terminal.folder / "counted" / "main.py").write_text(CODE.replace("hello", "goodbye"))
    settings.write_text("sequence: 8\n")
    terminal.says("deploy", "counted")
    for command in ("rollback", "pause", "resume", "delete"):
        terminal.says(command, "counted")
    assert "has seen something newer" in terminal.run("deploy", "counted").stderr
    settings.write_text("sequence: 9\n")
    terminal.says("deploy", "counted")
    terminal.says("delete", "counted")


def test_other_triggers_of_what_is_paused_wait_and_the_deploy_says_so(terminal: Terminal) -> None:
    terminal.write("deaf", {"main.py": CODE})
    terminal.says("deploy", "deaf")
    assert "Paused" not in terminal.says("list")
    terminal.says("pause", "deaf")
    assert re.search(r"(?m)^deaf .*True +Paused ", terminal.says("list"))
    terminal.says("deploy", "deaf")
    done = terminal.run("deploy", "deaf", "--trigger", "type=demo.new")
    assert (done.returncode, "Deployed is Unknown: Paused" in done.stderr) == (1, True), done.stderr
    terminal.says("resume", "deaf")
    terminal.says("delete", "deaf")


def test_a_folder_that_is_not_all_text_is_sent_as_it_is(terminal: Terminal) -> None:
    code = "import os, pathlib\n\n\ndef handle(event, context):\n    return [pathlib.Path('data').read_bytes().hex()]\n"
    terminal.write("bytes", {"main.py": code})
    (terminal.folder / "bytes" / "data").write_bytes(b"\xff\x00")
    terminal.says("deploy", "bytes")
    assert terminal.says("invoke", "bytes") == '["ff00"]\n'
    terminal.says("delete", "bytes", "--no-wait")


def test_each_way_to_fail_has_its_own_exit_code(terminal: Terminal) -> None:
    terminal.write("bad", {"main.py": "raise ValueError('no')\n"})
    terminal.write("slow", {"main.py": "import time\n\ntime.sleep(600)\n"})
    for code, why, arguments in (
        (1, "Error: Ready is False", ("deploy", "bad")),
        (1, "SecretMissing", ("deploy", "bad", "--secret", "none")),
        (1, "`LAMBDA_A` belongs to the platform", ("deploy", "bad", "--env", "LAMBDA_A=1")),
        (1, "`source.image` can be had on a cluster only", ("deploy", "bad", "--image", "registry.test/a/b:1")),
        (1, "nothing in . tells its runtime", ("deploy",)),
        (2, "'A' is no NAME=VALUE", ("deploy", "bad", "--env", "A")),
        (2, "--data is no JSON", ("invoke", "bad", "--type", "t", "-d", "{")),
        (3, "There is no function demo/nobody", ("describe", "nobody")),
        (3, "There is no function demo/nobody", ("delete", "nobody")),
        (4, "does not answer", ("list", "--url", "http://127.0.0.1:1")),
        (4, "no cluster is known", ("list", "--kubeconfig", "/nowhere")),
        (2, "'soon' is no time such as 90, 90s or 5m", ("deploy", "bad", "--wait-timeout", "soon")),
        (5, "slow does not answer yet", ("deploy", "slow", "--wait-timeout", "0m")),
    ):
        done = terminal.run(*arguments)
        assert (done.returncode, why in done.stderr) == (code, True), (arguments, done.stderr)
    terminal.says("delete", "bad", "slow")


def test_a_function_is_tried_on_this_machine_and_nothing_is_left(terminal: Terminal) -> None:
    terminal.says("init", "greeter")
    assert terminal.says("run", "greeter", "-d", '{"name": "ada"}') == '{"hello": "ada"}\n'
    with (terminal.folder / "greeter" / "function.yaml").open("a") as settings:
        settings.write("probes: {liveness: {path: /healthz}}\npaused: true\nsequence: 7\n")
    done = terminal.run("run", "greeter")
    said = ["left out here, on a cluster only: probes", "left out here, of a function that stays: paused, sequence"]
    assert (done.returncode, done.stderr.splitlines()[:2]) == (0, said)
    assert terminal.run("list").stderr == "No functions in demo found.\n"
    assert "greeter/main.py is there already" in terminal.run("init", "greeter").stderr


@pytest.mark.parametrize("where", ["as it is loaded", "as it is called"])
def test_a_function_that_fails_as_it_is_tried_leaves_what_it_printed(terminal: Terminal, where: str) -> None:
    """Nothing is left that one could ask afterwards, so no hint leads to it."""
    code = (
        "def boom():\n    print('so far')\n    raise ValueError('boom')\n\n\ndef handle(event, context):\n    boom()\n"
    )
    terminal.write("fails", {"main.py": code + ("\n\nboom()\n" if where == "as it is loaded" else "")})
    done = terminal.run("run", "fails")
    assert done.returncode == 1
    assert "so far" in done.stderr
    assert "line 3, in boom\n" in done.stderr
    assert "ValueError: boom\n" in done.stderr
    assert "Error: " in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("runtime", ["node", "go"])
def test_a_template_runs_where_its_tools_are(terminal: Terminal, runtime: str) -> None:
    if shutil.which(runtime) is None:
        pytest.skip(f"{runtime} is not on this machine")
    terminal.says("init", "greeter", "--runtime", runtime)
    assert json.loads(terminal.says("run", "greeter", "-d", '{"name": "ada"}')) == {"hello": "ada"}


def test_the_doctor_tries_all_of_it_and_says_what_to_do(terminal: Terminal) -> None:
    assert all(line.startswith("[ok] ") for line in terminal.says("doctor").splitlines())
    done = terminal.run("doctor", "--url", "http://127.0.0.1:1")
    assert done.returncode == 1
    assert "hint: start it with `knative-lambda dev`" in done.stdout


def test_what_failed_is_tried_again_and_what_did_not_is_not(terminal: Terminal) -> None:
    terminal.write("twice", {"main.py": CODE, "requirements.txt": "./missing\n"})
    terminal.run("deploy", "twice")
    done = terminal.run("retry", "twice")
    assert done.returncode == 1
    assert "DependenciesFailed" in done.stderr
    assert len(terminal.says("builds", "twice", "-o", "name").splitlines()) == 2

    (terminal.folder / "twice" / "requirements.txt").unlink()
    terminal.says("deploy", "twice")
    assert "There is no retry of what is Ready" in terminal.run("retry", "twice").stderr
    assert "no version to go back to" in terminal.run("rollback", "twice").stderr
    terminal.says("delete", "twice")


def test_what_was_missing_is_found_by_the_next_deploy_of_the_same_folder(terminal: Terminal) -> None:
    """It waits for that start, and tells nothing of the one before."""
    terminal.write("late", {"main.py": CODE})
    done = terminal.run("deploy", "late", "--secret", "late")
    assert (done.returncode, "Ready is False: SecretMissing" in done.stderr) == (1, True), done.stderr
    assert "Hint: it comes up once that is there" in done.stderr
    [place] = re.findall(r"reads it from (\S+\.env)", done.stderr)
    Path(place).parent.mkdir(parents=True, exist_ok=True)
    Path(place).write_text("A=1\n")
    assert terminal.says("deploy", "late", "--secret", "late").startswith("late answers at ")
    assert len(terminal.says("builds", "late", "-o", "name").splitlines()) == 1
    terminal.says("delete", "late")


def test_what_replaces_a_version_that_did_not_come_up_is_waited_for(terminal: Terminal) -> None:
    """What fails of the new one is told at once: its build, or that it does not come up either."""
    terminal.write("mended", {"main.py": "raise ValueError('no')\n"})
    main, needs = terminal.folder / "mended" / "main.py", terminal.folder / "mended" / "requirements.txt"

    def deployed(code: str) -> tuple[int, str]:
        main.write_text(code)
        done = terminal.run("deploy", "mended")
        return done.returncode, done.stderr.partition("Error: ")[2]

    code, first = deployed(main.read_text())
    assert (code, "mended-00001" in first, "once it is mended" in first) == (1, True, True), first
    code, second = deployed("raise KeyError('no')\n")
    assert (code, "mended-00002" in second) == (1, True), second
    assert deployed(CODE) == (0, "")

    deployed("raise ValueError('again')\n")
    terminal.says("pause", "mended")
    _, error = deployed(f"{CODE}\n")
    assert "Built is Unknown: Paused" in error
    terminal.says("resume", "mended")
    deployed("raise ValueError('more')\n")
    needs.write_text("./missing\n")
    code, error = deployed(CODE)
    assert (code, error.partition(":")[0]) == (1, "Built is False"), error
    terminal.says("delete", "mended", "--no-wait")


def test_a_log_is_followed_from_before_it_begins_to_its_end(terminal: Terminal) -> None:
    terminal.write("told", {"main.py": CODE, "requirements.txt": "./missing\n"})
    terminal.says("deploy", "told", "--no-wait")
    followed = terminal.says("logs", "told", "-f")
    assert "./missing" in followed
    assert terminal.says("logs", "told") == followed
    terminal.says("delete", "told")


def test_what_was_cancelled_is_not_being_built(terminal: Terminal) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        needed = f"slow @ http://127.0.0.1:{silent.getsockname()[1]}/slow.tar.gz\n"
        terminal.write("late", {"main.py": CODE, "requirements.txt": needed})
        terminal.says("deploy", "late", "--no-wait")
        assert terminal.says("cancel", "late") == "late is no longer being built\n"
        done = terminal.run("cancel", "late")
        for _ in range(20):  # what runs is stopped a moment later
            if done.returncode:
                break
            done = terminal.run("cancel", "late")
    assert done.returncode == 1, done.stderr
    assert "nothing of late is being built" in done.stderr or "There is no cancel of what is" in done.stderr
    terminal.says("delete", "late")


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_a_shell_completes_commands_and_the_names_of_functions(terminal: Terminal, shell: str) -> None:
    assert "_KNATIVE_LAMBDA_COMPLETE" in terminal.says("completion", shell)
    terminal.write("named", {"main.py": CODE})
    terminal.says("deploy", "named", "--no-wait")
    terminal.environment |= {"_KNATIVE_LAMBDA_COMPLETE": f"{shell}_complete", "COMP_CWORD": "2"}
    terminal.environment["COMP_WORDS"] = "knative-lambda describe na"
    assert "named" in terminal.run().stdout
    terminal.environment.pop("_KNATIVE_LAMBDA_COMPLETE")
    terminal.says("delete", "named")


def test_every_command_is_on_the_page_and_has_examples(terminal: Terminal) -> None:
    listed = re.findall(r"^  ([a-z]+) ", terminal.says("--help").partition("Commands:\n")[2], re.MULTILINE)
    rows = re.findall(r"^\| (`.+?`) \|", PAGE.read_text("utf-8").partition("| command |")[2], re.MULTILINE)
    assert sorted(re.findall(r"`([a-z]+)`", " ".join(rows))) == sorted(listed)
    for command in set(listed) - {"dev", "demo"}:
        assert "Examples:" in terminal.says(command, "--help"), command


def test_kn_finds_it(terminal: Terminal, tmp_path: Path) -> None:
    cache = Path(os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster")) / "bin"
    kn = shutil.which("kn") or shutil.which("kn", path=cache)
    if kn is None:
        (pytest.fail if "CI" in os.environ else pytest.skip)("kn is not on this machine")
    terminal.write("plugged", {"main.py": CODE})
    terminal.says("deploy", "plugged", "--no-wait")
    asked: dict[str, Any] = {
        "env": {**terminal.environment, "HOME": str(tmp_path)},
        "capture_output": True,
        "text": True,
    }
    done = subprocess.run([kn, "lambda", "list", "-o", "name"], check=False, **asked)
    assert done.stdout == "function.knative-lambda.dev/plugged\n", done.stderr
    assert subprocess.run([kn, "lambda", "describe", "nobody"], check=False, **asked).returncode != 0
    terminal.says("delete", "plugged")
