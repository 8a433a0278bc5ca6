"""Prometheus' own programs, for tests. Where they are missing a test skips at home and fails in CI."""

import json
import os
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.ports import free_port

RULES = Path(__file__).parents[2] / "deploy" / "charts" / "knative-lambda" / "files" / "rules.yaml"


def program(name: str) -> str:
    """Return where ``prometheus`` or ``promtool`` is."""
    found = shutil.which(name)
    if found is None:
        message = f"{name} is not on PATH; it is in Debian's package prometheus"
        pytest.fail(message) if "CI" in os.environ else pytest.skip(message)
    return str(found)


@dataclass(frozen=True)
class Prometheus:
    """One that runs, with the chart's rules; it reads every second."""

    port: int
    folder: Path

    def scrape(self, addresses: Iterable[str]) -> None:
        """Read these from now on, ``host:port``, and no others."""
        new = self.folder / "new"
        new.write_text(json.dumps([{"targets": list(addresses)}]))
        new.rename(self.folder / "targets.json")

    def answer(self, query: str) -> list[Any]:
        """Return what it answers to a query now; nothing where it is not there yet."""
        try:
            url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
            with urllib.request.urlopen(url, timeout=5) as response:
                found: list[Any] = json.load(response)["data"]["result"]
        except OSError:
            return []
        return found


@contextmanager
def prometheus(folder: Path) -> Iterator[Prometheus]:
    """Run one while this lasts; everything of it lies in a folder."""
    made = Prometheus(free_port(), folder)
    made.scrape([])
    targets = {"files": [f"{folder}/targets.json"], "refresh_interval": "1s"}
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "pods", "file_sd_configs": [targets]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    options = {"config.file": f"{folder}/prometheus.yml", "storage.tsdb.path": f"{folder}/data"}
    options["web.listen-address"] = f"127.0.0.1:{made.port}"
    command = [program("prometheus"), *(f"--{name}={value}" for name, value in options.items())]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            yield made
        finally:
            process.terminate()
