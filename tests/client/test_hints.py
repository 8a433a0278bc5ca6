"""What the command says where something is not as it should be: in plain words, and with what to do about it."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.embedded import embedded
from support.ports import free_port

from knative_lambda.client.command import main
from knative_lambda.client.commands import place as places

BIN = Path(sys.executable).parent
COMMAND = str(BIN / "knative-lambda")
CODE = "def handle(event, context):\n    return {'hello': event.data}\n"
SLOW = {"main.py": CODE, "requirements.txt": "./missing\n"}


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with embedded(tmp_path_factory.mktemp("service")) as found:
        yield found


def environment(**said: str) -> dict[str, str]:
    """Return the environment of somebody who has set nothing else, and has no kubeconfig."""
    kept = {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
    return {**kept, "PATH": f"{BIN}:{os.environ['PATH']}", "HOME": "/nowhere", "LANG": "C.UTF-8", **said}


def told(*arguments: str, **said: str) -> tuple[int, str, str]:
    """Return how a command ends: its code, the error, and the hint."""
    done = subprocess.run([COMMAND, *arguments], env=environment(**said), capture_output=True, text=True, check=False)
    error, _, hint = done.stderr.rpartition("Hint: ")
    return done.returncode, error or done.stderr, hint.strip() if error else ""


def shown(*arguments: str, **said: str) -> list[str]:
    """Return the lines that a command shows."""
    done = subprocess.run(
        [COMMAND, *arguments], env=environment(**said), stdout=subprocess.PIPE, text=True, check=False
    )
    return done.stdout.splitlines()


@contextlib.contextmanager
def answering(status: int, body: str) -> Iterator[str]:
    """Yield the URL of a server that always answers so."""

    class Always(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Always)
    threading.Thread(target=server.serve_forever).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def config(tmp_path: Path, server: str) -> str:
    """Return a kubeconfig of a cluster, with the contexts ``production`` and ``staging``."""
    contexts = ("production", "staging")
    said = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "production",
        "clusters": [{"name": "it", "cluster": {"server": server}}],
        "users": [{"name": "me", "user": {"token": "t"}}],
        "contexts": [{"name": name, "context": {"cluster": "it", "user": "me"}} for name in contexts],
    }
    (tmp_path / "kubeconfig").write_text(json.dumps(said))
    return str(tmp_path / "kubeconfig")


def test_without_kubeconfig_and_embedded_mode_one_is_told_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where that mode would be, somebody's own may run: another port stands for it."""
    code, error, hint = told("list", "--url", "http://127.0.0.1:1")
    assert (code, error) == (4, "Error: http://127.0.0.1:1 does not answer: Connection refused\n")
    assert "knative-lambda dev" in hint
    assert "KUBECONFIG" in hint
    monkeypatch.setattr(places, "EMBEDDED", f"http://127.0.0.1:{free_port()}")
    done = CliRunner(env={"KUBECONFIG": "/nowhere/config", "KN_LAMBDA_URL": ""}).invoke(main, ["list"])
    assert (done.exit_code, f"Error: {places.EMBEDDED} does not answer" in done.stderr) == (4, True), done.stderr
    assert "KUBECONFIG" in done.stderr


def test_a_kubeconfig_that_is_not_there_or_has_no_such_context(tmp_path: Path) -> None:
    code, error, hint = told("list", "--kubeconfig", "/nowhere")
    assert (code, "no cluster is known" in error) == (4, True)
    assert hint.startswith("name one with --kubeconfig or KUBECONFIG")
    file = config(tmp_path, "http://127.0.0.1:1")
    assert told("list", "--kubeconfig", file, "--context", "prodution") == (
        4,
        "Error: no cluster is known: there is no context prodution\n",
        "did you mean production?",
    )
    assert told("list", "--kubeconfig", file, "--context", "x")[2] == "there are production, staging"
    code, error, hint = told("list", "--kubeconfig", file)
    assert (code, "does not answer: Connection refused" in error) == (4, True)
    assert hint.startswith("the context is production: is its cluster up")


STATUS = '{"kind": "Status", "message": "Unauthorized"}'


@pytest.mark.parametrize(
    ("status", "body", "why", "what"),
    [
        (401, STATUS, "Unauthorized", "does not know you by context production: log in anew"),
        (403, STATUS, "Unauthorized", "`doctor` tells what you lack"),
        (404, "404 page not found\n", "/functions is not served there", "what is to be installed"),
        (503, "", "status 503", "try again in a moment"),
    ],
)
def test_a_cluster_that_does_not_let_one_in_or_does_not_have_it(
    tmp_path: Path, status: int, body: str, why: str, what: str
) -> None:
    with answering(status, body) as server:
        code, error, hint = told("list", "--kubeconfig", config(tmp_path, server))
    assert (code, why in error, what in hint) == (4, True, True), (error, hint)


def problem(detail: str) -> str:
    return json.dumps({"type": "about:blank", "detail": detail})


@pytest.mark.parametrize(
    ("status", "body", "why", "what"),
    [
        (401, problem("It is not known here who asks."), "who asks", "--token"),
        (403, problem("no right"), "no right", "`people`"),
        (
            404,
            problem("The requested URL was not found on the server."),
            "is not served there",
            "older than this command",
        ),
        (404, problem("The records under /v1 are not enabled here."), "is not served there", "`receiver.api: false`"),
        (404, "<html>", "is not served there", "is it a knative-lambda?"),
        (410, problem("gone"), "is not served there", "is it a knative-lambda?"),
        (200, "<html>", "it does not answer as knative-lambda does", ""),
    ],
)
def test_a_service_that_is_older_another_or_closed(status: int, body: str, why: str, what: str) -> None:
    with answering(status, body) as server:
        code, error, hint = told("list", "--url", server)
    assert (code, why in error, what in hint) == (4, True, True), (error, hint)


def test_an_older_service_says_of_a_path_that_it_does_not_know_what_this_command_reads(url: str) -> None:
    code, error, hint = told("list", "--url", f"{url}/elsewhere")
    assert (code, "is not served there" in error, "older" in hint) == (4, True, True), error


def test_names_that_are_near_are_told(url: str, tmp_path: Path) -> None:
    (tmp_path / "greeter").mkdir()
    (tmp_path / "greeter" / "main.py").write_text(CODE)
    assert told("deploy", str(tmp_path / "greeter"), "--url", url)[0] == 0
    for command in ("describe", "logs", "delete", "retry", "rollback", "events", "invoke", "cancel", "pause", "resume"):
        code, error, hint = told(command, "greter", "--url", url)
        assert (code, hint) == (3, "did you mean greeter?"), (command, error)
    assert (
        told("describe", "xyzzy", "--url", url)[2] == "`list -n demo` has those that are there; -n names another tenant"
    )
    code, error, _ = told("depoly")
    assert (code, "Did you mean 'deploy'?" in error) == (2, True)

    pipe = f"{COMMAND} list -o name | xargs {COMMAND} delete"
    done = subprocess.run(
        ["bash", "-c", pipe], env=environment(KN_LAMBDA_URL=url), capture_output=True, text=True, check=True
    )
    assert done.stdout == "greeter is deleted\n"
    assert told("delete", "build.knative-lambda.dev/greeter", "--url", url)[0] == 2


@pytest.fixture
def heeds_interrupts() -> Iterator[None]:
    """Have what is started hear Ctrl-C, though these tests may have been started by a shell that has them ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
def test_who_stops_waiting_is_told_that_it_goes_on_and_how_to_look(url: str, tmp_path: Path) -> None:
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "main.py").write_text("import time\n\ntime.sleep(600)\n\n\n" + CODE)
    asked = [COMMAND, "deploy", str(tmp_path / "late"), "--url", url]
    with subprocess.Popen(asked, env=environment(), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "Accepted" in said, said + process.stderr.read()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(60) == 130, rest
    assert "late goes on without this command\nHint: `describe late` tells how far it is" in rest
    assert told("describe", "late", "--url", url)[0] == 0
    assert told("delete", "late", "--no-wait", "--url", url)[0] == 0


def test_a_pipe_that_closes_is_no_error(url: str) -> None:
    lines = f"set -o pipefail; {COMMAND} list -o json | true; {COMMAND} --help | head -1"
    done = subprocess.run(
        ["bash", "-c", lines], env=environment(KN_LAMBDA_URL=url), capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert done.stdout.startswith("Usage: knative-lambda")


def on_a_terminal(*arguments: str, **said: str) -> bytes:
    """Return what a command shows on a terminal of its own."""
    primary, secondary = pty.openpty()
    with subprocess.Popen(
        [COMMAND, *arguments], env=environment(**said), stdout=secondary, stderr=secondary
    ) as process:
        os.close(secondary)
        shown = b""
        with contextlib.suppress(OSError):  # how Linux says that it was closed
            while chunk := os.read(primary, 65536):
                shown += chunk
        process.wait()
    os.close(primary)
    return shown.replace(b"\r\n", b"\n")


def test_nothing_but_text_is_written_on_a_terminal_or_beside_one(url: str, tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "main.py").write_text(CODE)
    asked = ("deploy", str(tmp_path / "plain"), "--url", url)
    shown = on_a_terminal(*asked, TERM="xterm-256color") + on_a_terminal(*asked, NO_COLOR="1")
    done = subprocess.run([COMMAND, *asked], env=environment(), capture_output=True, check=True)
    for text in (
        shown,
        done.stdout,
        done.stderr,
        on_a_terminal("--help"),
        on_a_terminal("describe", "nobody", "--url", url),
    ):
        assert text.decode().replace("\n", "").isprintable(), text
    told("delete", "plain", "--url", url)


def folder(tmp_path: Path, name: str, code: str = CODE, settings: str = "") -> str:
    (tmp_path / name).mkdir()
    (tmp_path / name / "main.py").write_text(code)
    if settings:
        (tmp_path / name / "function.yaml").write_text(settings)
    return str(tmp_path / name)


@pytest.mark.parametrize(("said", "instead"), [("tenant: acme", "-n names"), ("source: {}", "the folder is")])
def test_settings_that_are_said_elsewhere_are_refused(tmp_path: Path, said: str, instead: str) -> None:
    code, error, hint = told("deploy", folder(tmp_path, "it", settings=said), "--url", "http://127.0.0.1:1")
    assert (code, f"may not say `{said.partition(':')[0]}`" in error, instead in hint) == (1, True, True), error


def test_a_folder_that_asks_to_be_paused_is_deployed_and_another_reason_to_wait_is_none(
    url: str, tmp_path: Path
) -> None:
    code, error, hint = told("deploy", folder(tmp_path, "idle", settings="paused: true"), "--url", url)
    assert (code, "idle is paused" in error, "`resume idle`" in hint) == (0, True, True), error
    code, error, hint = told("invoke", "idle", "--url", url)
    assert (code, "idle has not come up: Paused" in error, hint) == (1, True, "`describe idle` tells how far it is")
    assert told("delete", "idle", "--url", url)[0] == 0


def test_errors_of_what_is_there_say_where_to_look(url: str, tmp_path: Path) -> None:
    settings = "env: {A: b}\ntimeout: 5s\n"
    code = "def handle(event, context):\n    raise ValueError('no')\n"
    assert told("deploy", folder(tmp_path, "bad", code, settings), "--url", url)[0] == 0
    described = subprocess.run(
        [COMMAND, "describe", "bad", "--url", url], env=environment(), capture_output=True, text=True, check=True
    )
    assert "Timeout:" in described.stdout
    for asked, where in {
        ("invoke", "bad"): "functions/logs/demo/bad.log",
        ("logs", "bad", "--running"): "functions/logs/demo/bad.log",
        ("logs", "bad", "--build", "nope"): "`builds bad`",
        ("rollback", "bad"): "`builds bad`",
        ("list", "-n", "nope"): "-n names another tenant",
    }.items():
        code_, error, hint = told(*asked, "--url", url)
        assert (code_ != 0, where in hint) == (True, True), (asked, error, hint)
    error, hint = told("invoke", "bad", "--url", url)[1:]
    assert "{" not in error
    for asked in (("--url", url, "resend", "nope"), ("show", "nope", "--url", url)):
        assert "`deadletters -n knative-lambda list`" in told("deadletters", *asked)[2]
    assert "`deploy` this one" in told("init", str(tmp_path / "bad"))[2]
    assert told("delete", "bad", "--url", url)[0] == 0


@pytest.mark.parametrize(
    ("address", "message", "shown"),
    [
        ("http://shop.demo.svc.cluster.local/", problem("ValueError"), "shop      ValueError"),
        ("http://127.0.0.1:8480/functions/demo/shop", "no such order", "shop      no such order"),
        (
            "http://127.0.0.1:8480/functions/acme/shop",
            '{"detail": 1, "faults": [1]}',
            '          {"detail": 1, "faults": [1]}',
        ),
        (
            "http://receiver.knative-lambda.svc.cluster.local/events",
            json.dumps({"detail": "2 faults", "faults": [{"where": "data.name", "message": "is missing"}]}),
            "          data.name: is missing",
        ),
    ],
)
def test_a_letter_says_whose_it_is_and_why_in_words(address: str, message: str, shown: str) -> None:
    said = {"trigger": address, "message": message, "event": {"id": "1"}, "count": 2}
    letter = {"kind": "DeadLetter", "metadata": {"namespace": "demo", "name": "dl-1"}, "spec": said}
    with answering(200, json.dumps({"items": [letter]})) as url:
        command = [COMMAND, "deadletters", "--url", url, "-n", "demo", "list", "-o", "wide"]
        done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    head, line = done.stdout.splitlines()
    assert line[head.index("FUNCTION") :] == shown


def test_a_source_that_is_told_by_halves_is_wrong_usage(tmp_path: Path) -> None:
    url = ("--git", "https://git.example.com/acme/hello.git")
    for said, why in (
        (("nowhere",), "there is no folder nowhere"),
        (("nowhere", *url), "--git needs --runtime"),
        (("nowhere", "--revision", "main"), "which --git names"),
        (("nowhere", *url, "--image", "registry.example.com/hello"), "--git or of --image"),
    ):
        code, error, _ = told("deploy", *said, KN_LAMBDA_URL="http://127.0.0.1:1")
        assert (code, why in error) == (2, True), error


def test_the_embedded_mode_says_that_it_clones_nothing(url: str) -> None:
    """Before it looks for the host, so that it says the same without a network."""
    source = ("--git", "https://nowhere.invalid/acme/hello.git", "-r", "python")
    code, error, _ = told("deploy", "cloned", *source, KN_LAMBDA_URL=url)
    assert (code, "`source.git` can be had on a cluster only" in error) == (1, True), error


def test_what_is_there_is_removed_beside_a_name_that_is_not(url: str, tmp_path: Path) -> None:
    for name in ("first", "last"):
        assert told("deploy", folder(tmp_path, name), "--no-wait", "--url", url)[0] == 0
    code, error, hint = told("delete", "first", "lost", "nosuch", "last", "--url", url)
    missing = "Error: There is no function demo/lost; There is no function demo/nosuch\n"
    assert (code, error, "`list -n demo`" in hint) == (3, missing, True), hint
    assert {told("describe", name, "--url", url)[0] for name in ("first", "last")} == {3}


def test_builds_are_those_of_the_function_that_is_named(url: str, tmp_path: Path) -> None:
    for name in ("mine", "other"):
        assert told("deploy", folder(tmp_path, name), "--url", url)[0] == 0
    [build] = shown("builds", "mine", "-o", "name", "--url", url)
    for asked in (("logs", "other", "-b", build), ("cancel", "other", "-b", build), ("rollback", "other", "-b", build)):
        code, error, hint = told(*asked, "--url", url)
        assert (code, "is no build of other" in error, hint) == (3, True, "`builds other` has those that are there")
    code, error, hint = told("builds", "othr", "--url", url)
    assert (code, "There is no function demo/othr" in error, hint) == (3, True, "did you mean other?"), error
    assert told("logs", "mine", "-b", build, "--url", url)[0] == 0

    typed = {"_KNATIVE_LAMBDA_COMPLETE": "bash_complete", "KN_LAMBDA_URL": url}
    found = shown(COMP_WORDS="knative-lambda rollback mine --build ", COMP_CWORD="4", **typed)
    assert [each.rpartition(",")[2] for each in found] == [build.rpartition("/")[2]]
    assert told("delete", "mine", "other", "--url", url)[0] == 0


def test_a_shell_completes_dead_letters_of_where_the_group_is_told_to_ask() -> None:
    typed = {"_KNATIVE_LAMBDA_COMPLETE": "bash_complete", "KN_LAMBDA_URL": "http://127.0.0.1:1", "COMP_CWORD": "4"}
    with answering(200, json.dumps({"items": [{"metadata": {"name": "lost"}, "spec": {}}]})) as server:
        assert shown(COMP_WORDS=f"knative-lambda deadletters --url={server} show l", **typed) == ["plain,lost"]
        assert shown(COMP_WORDS="knative-lambda deadletters --namespace=demo show l", **typed) == [""]
