"""The chart, rendered by Helm for tests. Where Helm is missing a test skips at home and fails in CI."""

import json
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative_lambda.deploy.cluster import Object

CHART = Path(__file__).parents[2] / "deploy" / "charts" / "knative-lambda"
PRODUCT = "knative-lambda"
REQUIRED: dict[str, Any] = {
    "image": "registry.test/knative-lambda@sha256:" + "0" * 64,
    "registry": {"prefix": "r.test"},
    "runtimes": {
        "python": "r.test/python@sha256:" + "1" * 64,
        "node": "r.test/node@sha256:" + "2" * 64,
        "go": "r.test/go@sha256:" + "3" * 64,
    },
}


def run_helm(*arguments: str, values: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    """Run a command of Helm's over the chart with these values."""
    cached = Path(os.environ.get("CLUSTER_CACHE", Path.home() / ".cache" / "knative-cluster")) / "bin" / "helm"
    helm = shutil.which("helm") or (str(cached) if cached.is_file() else None)
    if helm is None:
        message = "helm is not on PATH; `make cluster` builds it"
        pytest.fail(message) if "CI" in os.environ else pytest.skip(message)
    command = [str(helm), *arguments, "--values", "-"]
    return subprocess.run(command, input=json.dumps(values), capture_output=True, text=True, check=False)


def refusal(namespace: str = PRODUCT, **values: Any) -> str:
    """Return why the chart refuses these values; fail where it does not."""
    done = _template(values, namespace, ())
    assert done.returncode != 0, "the chart takes these values"
    return done.stderr


def render(namespace: str = PRODUCT, files: tuple[str, ...] = (), **values: Any) -> list[Object]:
    """Return the objects that an installation with these values, and value files of the chart, makes."""
    return _rendered(json.dumps(REQUIRED | values), namespace, files)


@cache
def _rendered(values: str, namespace: str, files: tuple[str, ...]) -> list[Object]:
    done = _template(json.loads(values), namespace, files)
    assert done.returncode == 0, done.stderr
    return [found for found in yaml.safe_load_all(done.stdout) if found]


def _template(values: dict[str, Any], namespace: str, files: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    more = [f"--values={CHART / name}" for name in files]
    # a Helm built from source knows no version of Kubernetes to check against
    return run_helm("template", PRODUCT, str(CHART), f"-n={namespace}", "--kube-version=1.34.0", *more, values=values)
