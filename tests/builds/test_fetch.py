"""What the init container of a build Pod does: one object by its URL, checked, and never a word of the URL."""

import gzip
import hashlib
import http.server
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from knative_lambda.builds.jobs.fetch import fetch

PLAIN = b"a context"
BODIES = {"/good": gzip.compress(PLAIN), "/broken": b"no gzip", "/other": gzip.compress(b"another")}


@pytest.fixture
def store() -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = BODIES.get(self.path)
            self.send_response(200 if body else 403)
            self.end_headers()
            self.wfile.write(body or b"")

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


DIGEST = hashlib.sha256(PLAIN).hexdigest()


def test_the_object_that_was_asked_for_is_written(store: str, tmp_path: Path) -> None:
    assert fetch(f"{store}/good", DIGEST, tmp_path / "c.tar.gz") == ""
    assert gzip.decompress((tmp_path / "c.tar.gz").read_bytes()) == PLAIN


@pytest.mark.parametrize(
    ("path", "why"), [("/other", "not the one"), ("/broken", "BadGzipFile"), ("/missing?secret", "answered 403")]
)
def test_anything_else_is_said_without_the_url(store: str, tmp_path: Path, path: str, why: str) -> None:
    said = fetch(f"{store}{path}", DIGEST, tmp_path / "c.tar.gz")
    assert why in said
    assert "secret" not in said
    assert "127.0.0.1" not in said


def test_it_runs_as_a_program_and_fails_with_one_line(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "knative_lambda.builds.jobs.fetch", DIGEST, str(tmp_path / "c.tar.gz")],
        env={"PYTHONPATH": str(Path(__file__).parents[2] / ".rooms"), "CONTEXT_URL": "http://127.0.0.1:1/?secret"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "secret" not in ended.stderr
