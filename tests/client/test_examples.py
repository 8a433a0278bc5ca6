"""What the examples' READMEs say; `make demo` runs the Python and the Node one as functions."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from support.ports import free_port

from knative_lambda.client.demo import EXAMPLES, NODE, PYTHON, Example

EVENT = {"ce-specversion": "1.0", "ce-id": "7", "ce-source": "/shop", "ce-type": "demo.hello"}


def listening(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 5).close()
    except OSError:
        return False
    return True


@pytest.fixture
def port() -> Iterator[int]:
    """Yield the port of the image's server, as a process of this machine."""
    port = free_port()
    program = EXAMPLES / "dockerfile-hello" / "serve.py"
    server = subprocess.Popen([sys.executable, program], env={**os.environ, "PORT": str(port)})
    deadline = time.monotonic() + 60
    while not listening(port):
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)
    yield port
    server.terminate()
    assert server.wait(60) == 0


def post(port: int, headers: dict[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/", body, headers)
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, {name.lower(): value for name, value in answer.getheaders()}, content


def test_the_image_of_ones_own_answers_events_with_events_and_refuses_everything_else(port: int) -> None:
    status, headers, body = post(port, EVENT, b'{"name": "ada"}')
    assert (status, headers["ce-type"], json.loads(body)) == (200, "demo.hello.reply", {"hello": "ada"})
    assert headers["ce-id"] != EVENT["ce-id"]

    assert post(port, {}, b"{}")[0] == 400
    assert post(port, EVENT, b"[")[0] == 400


@pytest.mark.parametrize("example", [PYTHON, NODE], ids=lambda example: example.folder)
def test_the_demo_knows_how_to_change_an_example(example: Example) -> None:
    assert example.changed().keys() == example.source().keys()
    assert example.changed() != example.source()


@pytest.mark.parametrize("folder", sorted(path for path in EXAMPLES.iterdir() if path.is_dir()), ids=lambda p: p.name)
def test_an_example_says_what_it_is_and_with_which_event_it_runs(folder: Path) -> None:
    """The event in the README names the files that are there."""
    readme = (folder / "README.md").read_text("utf-8")
    event = json.loads(readme.partition("```json\n")[2].partition("```")[0])

    assert set(event["source"]["inline"]) == {path.name for path in folder.iterdir()} - {"README.md"}
