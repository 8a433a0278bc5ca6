"""Knative's own `func deploy` with its host builder, where the environment names the program: ``FUNC=path``.

It builds Go on this machine and needs no Job either. The function is another language's, but it answers the same.
"""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from bench.calls import NoAnswer
from bench.place import TENANT

HANDLE = """package function

import (
	"fmt"
	"net/http"
)

func Handle(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	fmt.Fprint(w, `{"version": "VERSION"}`)
}
"""


class Func:
    """A project of `func`, deployed again and again."""

    def __init__(self, program: str, name: str) -> None:
        self.program, self.name = program, name
        self.folder = Path(tempfile.mkdtemp(prefix="bench-func-"))
        self._call("create", "--language", "go", "--template", "http", str(self.folder / name))

    def close(self) -> None:
        """Take the project away."""
        shutil.rmtree(self.folder)

    def put(self, version: str) -> None:
        """Write a version, build it on this machine, and deploy it."""
        place = self.folder / self.name
        (place / "handle.go").write_text(HANDLE.replace("VERSION", version))
        for test in place.glob("*_test.go"):
            test.unlink()
        registry = f"{os.environ['REGISTRY']}/bench"
        target = ["--registry", registry, "--registry-insecure", "--namespace", TENANT]
        self._call("deploy", "--builder", "host", "--path", str(place), *target)

    def _call(self, *arguments: str) -> None:
        done = subprocess.run([self.program, *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            raise NoAnswer(f"func {arguments[0]}: {done.stderr.strip()[-500:]}")
