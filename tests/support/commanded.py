"""A story that is told to the installed command, and what it shows: the same wherever the functions are.

Told of the embedded mode by `tests/client`; any other place can be held to the same
transcript beside this file. ``WRITE=1 pytest tests/client/test_story.py`` writes that anew. What no two places or runs
have in common is left out: times, addresses, names of builds and images, who builds, and what a log has beside the
line that says what is wrong.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TRANSCRIPT = Path(__file__).parent / "commanded.txt"
NAME = "commanded"
BIN = Path(sys.executable).parent
CACHE = Path(os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster")) / "bin"
ADA = '{"name": "ada"}'
HELD = "late @ http://{host}:{port}/late.zip\n"
"""A dependency that cannot be had, which is known once it is let go; it needs nothing of any index."""
GONE = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
PATIENCE = 300.0
"""Seconds after which a build that does not come, or end, has failed, and a command that goes on is ended."""
CHANGING = (
    (rf"{NAME}-[a-z2-7]{{16}}\b", "<build>"),
    (r"\S+@sha256:[0-9a-f]{64}", "<image>"),
    (r"https?://[^\s\"]+", "<url>"),
    (r"(?m)^ *\d+\.\d+s \[.*\n", ""),
    (r"(?m)^ *\d{1,3}[smhd](?=\s)", "  <age>"),
    (r"(?<=\s)\d{1,3}[smhd](?=\s|$)", "<age>"),
    (r"(?<=  )(local|layer|kaniko)(?=\s)", "<builder>"),
    (r"\b(Build|Dependencies)Failed\b", "<why>"),
    (r"(?m)^\[notice\].*\n", ""),
    (r"(?<=\S) {2,}", "  "),
    (r"/knative-lambda/client \S+|generation \d+", "<cause>"),
    (r"(?m) +$", ""),
)
"""What is another each time → what stands for it."""


@dataclass
class Place:
    """Where the command is told the story: a folder to work in, and what says in the environment whom to ask."""

    folder: Path
    said: dict[str, str]
    host: str = "127.0.0.1"
    """This machine's address, as builds reach it."""
    told: list[str] = field(default_factory=list)

    @contextlib.contextmanager
    def start(self, *command: str) -> Iterator[subprocess.Popen[str]]:
        """Yield a command that has begun; one that goes on for too long is ended, and one that is left by an error."""
        path = f"{BIN}:{CACHE}:{os.environ['PATH']}"
        environment = {**os.environ, "PATH": path, "HOME": str(self.folder), "NO_COLOR": "1", **self.said}
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=pipe, stderr=pipe, text=True)
        ended = threading.Timer(PATIENCE, process.kill)
        ended.start()
        try:
            with process, contextlib.ExitStack() as left:
                left.callback(process.kill)
                yield process
                left.pop_all()
        finally:
            ended.cancel()

    def run(self, *arguments: str) -> tuple[int, str, str]:
        """Return how a command ends, and what it says."""
        with self.start("knative-lambda", *arguments) as process:
            out, error = process.communicate()
        return process.returncode, out, error

    def tell(self, *arguments: str, shown: Callable[[str], str] = str) -> str:
        """Run a command and write down what it shows, by way of `shown`; return what it says."""
        return self.write(arguments, self.run(*arguments), shown)

    def write(self, arguments: tuple[str, ...], ended: tuple[int, str, str], shown: Callable[[str], str] = str) -> str:
        """Write down what a command has shown."""
        code, out, error = ended
        self.told.append(steady(f"$ {shlex.join(['knative-lambda', *arguments])}"))
        for text, mark in ((shown(out), ""), (error, "! ")):
            self.told += [mark + line for line in steady(text).splitlines()]
        self.told += [f"[{code}]"] if code else []
        return out


def steady(text: str) -> str:
    """Return a text without what is another each time."""
    for pattern, stands in CHANGING:
        text = re.sub(pattern, stands, text)
    return text


def own(text: str) -> str:
    """Return of a list its head and what is about the story's function."""
    return "".join(line for line in text.splitlines(keepends=True) if line.startswith("NAME ") or NAME in line)


def wrong(text: str) -> str:
    """Return of what is said of a build that fails the line that has its reason."""
    return "".join(f"{found}\n" for found in re.findall(r"Built is False: \w+", text)[:1])


def kept(parse: Callable[[str], Any]) -> Callable[[str], str]:
    """Return what tells of a resource, or of a list's, what is the same in both places."""

    def shown(text: str) -> str:
        whole = parse(text)
        for each in whole.get("items", [whole]):
            if each["metadata"]["name"] == NAME:
                return json.dumps(_kept(each), indent=1, sort_keys=True) + "\n"
        return ""

    return shown


def _kept(found: dict[str, Any]) -> dict[str, Any]:
    ends = [f"{each['type']}={each['status']} {each['reason']}" for each in found["status"]["conditions"]]
    spec = {key: value for key, value in found["spec"].items() if key != "source"}
    return {"apiVersion": found["apiVersion"], "kind": found["kind"], "spec": spec, "conditions": ends}


def tell(place: Place) -> str:
    """Tell the story; return what was shown."""
    for part in (_deployed, _looked_at, _replaced, _paused, _broken, _taken_back, _removed):
        part(place)
    return "\n".join(place.told) + "\n"


def _deployed(place: Place) -> None:
    place.tell("init", NAME)
    place.tell("deploy", NAME)
    place.tell("invoke", NAME, "-d", ADA)


def _looked_at(place: Place) -> None:
    place.tell("list", shown=own)
    place.tell("list", "-o", "wide", shown=own)
    place.tell("list", "-o", "name", shown=own)
    place.tell("list", "-o", "json", shown=kept(json.loads))
    place.tell("list", "-o", "yaml", shown=kept(yaml.safe_load))
    place.tell("describe", NAME)
    place.tell("describe", NAME, "-o", "json", shown=kept(json.loads))
    place.tell("builds", NAME)
    place.tell("builds", NAME, "-o", "wide")
    place.tell("builds", NAME, "-o", "name")
    place.tell("events", NAME, shown=lambda text: "".join(re.findall(r".*  function/.*\n", text)))
    place.tell("deploy", NAME, "-o", "name")
    _as_plugin(place)


def _as_plugin(place: Place) -> None:
    """Have kn find it, where that is on this machine."""
    if shutil.which("kn") or shutil.which("kn", path=CACHE):
        with place.start("kn", "lambda", "list", "-o", "name") as process:
            out, error = process.communicate()
        assert (process.returncode, f"function.knative-lambda.dev/{NAME}\n" in out) == (0, True), error


def _replaced(place: Place) -> None:
    code = place.folder / NAME / "main.py"
    code.write_text(code.read_text().replace('"hello"', '"good morning"'))
    place.tell("deploy", NAME, "--env", "GREETING=hi")
    place.tell("invoke", NAME, "-d", ADA)


def _paused(place: Place) -> None:
    """Have something new wait, of a kind that no record can hold, and come when the function goes on."""
    place.tell("pause", NAME)
    place.tell("pause", f"function.knative-lambda.dev/{NAME}")
    code, picture = place.folder / NAME / "main.py", place.folder / NAME / "picture"
    code.write_text(code.read_text().replace('"good morning"', '"good evening"'))
    picture.write_bytes(b"\xff\x00")
    place.tell("deploy", NAME, "--env", "GREETING=hi")
    picture.unlink()
    place.tell("invoke", NAME, "-d", ADA)
    place.tell("list", shown=own)
    place.tell("resume", NAME)
    place.tell("invoke", NAME, "-d", ADA)
    place.tell("resume", NAME, "--no-wait")


def _lines(process: subprocess.Popen[str]) -> Iterator[str]:
    assert process.stdout is not None
    yield from process.stdout


def _phase(place: Place) -> str:
    """Return the phase of the newest build."""
    return str(_items(place)[0].get("status", {}).get("phase"))


def _items(place: Place) -> list[dict[str, Any]]:
    return list(json.loads(place.run("builds", NAME, "-o", "json")[1])["items"])


def _broken(place: Place) -> None:
    """Have a build fail whose log is read while it comes and afterwards; it is tried again, and that is cancelled."""
    with socket.create_server((place.host, 0)) as gate:
        gate.settimeout(PATIENCE)
        said = HELD.format(host=place.host, port=gate.getsockname()[1])
        (place.folder / NAME / "requirements.txt").write_text(said)
        asked = ("deploy", NAME)
        with place.start("knative-lambda", *asked) as deploying:
            held, _ = gate.accept()
            with held, place.start("knative-lambda", "logs", NAME, "-f") as following:
                lines = _lines(following)
                first = next(lines)
                assert _phase(place) == "Running"
                held.sendall(GONE)
                held.close()
                followed = first + "".join(lines)
            out, error = deploying.communicate()
        place.write(asked, (deploying.returncode, out, wrong(error)))
        assert followed == place.run("logs", NAME)[1], "its log is another afterwards"
        place.write(("logs", NAME, "-f"), (following.returncode, followed, ""), shown=lambda _: "")
        place.tell("invoke", NAME, "-d", ADA)
        place.tell("list", shown=own)
        place.tell("retry", NAME, "--no-wait")
        with gate.accept()[0]:
            place.tell("cancel", f"function.knative-lambda.dev/{NAME}")
            end = time.monotonic() + PATIENCE
            while _phase(place) == "Running":
                assert time.monotonic() < end, "what was cancelled goes on"
    place.tell("builds", NAME)


def _taken_back(place: Place) -> None:
    """Go back to the version that runs, then to the one before: neither is built again."""
    place.tell("rollback", NAME)
    place.tell("invoke", NAME, "-d", ADA)
    first = place.run("builds", NAME, "-o", "name")[1].split()[-1]
    place.tell("rollback", NAME, "--build", first, shown=lambda text: text)
    place.tell("invoke", NAME, "-d", ADA)
    place.tell("builds", NAME)
    place.tell("describe", NAME)


def _removed(place: Place) -> None:
    code, _, _ = place.run("deadletters", "list")
    place.write(("deadletters", "list"), (code, "", ""))
    place.tell("deadletters", "resend", "nobody")
    place.tell("describe", f"{NAME[:-1]}")
    place.tell("delete", "build.knative-lambda.dev/x")
    place.tell("delete", f"function.knative-lambda.dev/{NAME}")
    place.tell("describe", NAME, shown=lambda _: "")
