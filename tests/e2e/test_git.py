"""A function of a git repository on a real cluster: cloned by its build's Pod, by https, with a token from a Secret."""

import base64
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.certificates import Authority
from support.git import Repository, Server, served
from support.live import HOST, TENANT, Live, within

from knative_lambda.deploy.cluster import POD, SECRET
from knative_lambda.schemas import names

TOKEN, WRONG = uuid.uuid4().hex, uuid.uuid4().hex
NAMES = ("cloned", "closed")


@pytest.fixture
def repository(live: Live, tmp_path: Path) -> Iterator[tuple[Repository, Server]]:
    """Return a repository that a token opens, and its server; Secrets have the token, and a wrong one."""
    authority = Authority.made(tmp_path / "authority", HOST)
    made = Repository(tmp_path / "repositories")
    for name, token in zip(NAMES, (TOKEN, WRONG), strict=True):
        live.delete(name)
        labels = {names.BUILD_SECRET_LABEL: "true"}
        meta = {"name": f"e2e-{name}", "namespace": TENANT, "labels": labels}
        keys = {"token": token.encode(), "ca.crt": (authority.home / "ca.crt").read_bytes()}
        data = {key: base64.b64encode(value).decode() for key, value in keys.items()}
        live.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": data})
    with served(made.bare.parent, TOKEN, HOST, authority.folder("git")) as server:
        yield made, server
    for name in NAMES:
        live.cluster.delete(SECRET, TENANT, f"e2e-{name}")


def deploy(name: str, url: str, folder: Path, *more: str) -> "subprocess.Popen[str]":
    """Begin to deploy a repository's function by the command; the folder has none of its files."""
    command = [str(Path(sys.executable).parent / "knative-lambda"), "deploy", name, "-n", TENANT, "-r", "python"]
    command += ["--git", url, "--path", "functions/hello", "--git-secret", f"e2e-{name}", *more]
    command += ["--trigger", f"type=e2e.{name}", "--wait-timeout", "240"]
    environment = {**os.environ, "HOME": str(folder)}
    return subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def keep(live: Live, logs: dict[str, bytes]) -> bool:
    """Keep what the Pods that clone say, for as long as they are there."""
    place = names.builds_namespace(TENANT)
    for pod in live.cluster.list(POD, place):
        if pod["metadata"]["labels"].get(names.FUNCTION_LABEL) in NAMES:
            said = live.cluster.pod_log(place, pod["metadata"]["name"], "fetch", limit=100_000)
            logs[pod["metadata"]["name"]] = said or logs.get(pod["metadata"]["name"], b"")
    return True


def test_a_repository_is_built_at_its_commit_and_a_wrong_token_is_told_and_shown_nowhere(
    live: Live, repository: tuple[Repository, Server], tmp_path: Path
) -> None:
    made, server = repository
    code = "def handle(event, context):\n    return {'version': 1}\n"
    commit = made.commit({"functions/hello/main.py": code, "main.py": "raise SystemExit('not this one')\n"}, tag="v1")
    made.commit({"functions/hello/main.py": code.replace("1", "2")})
    logs: dict[str, bytes] = {}
    with (
        deploy("cloned", server.url, tmp_path, "--revision", "v1") as opened,
        deploy("closed", server.url, tmp_path) as closed,
    ):
        within(240, "a wrong token is told", lambda: keep(live, logs) and closed.poll() is not None, every=0.5)
        told = closed.communicate()[1]
        assert closed.returncode == 1, told
        assert "Built is False: CredentialsRefused: " in told
        assert "the server does not take these credentials" in told
        told = opened.communicate()[1]
        assert opened.returncode == 0, told

    keep(live, logs)
    assert live.answer("cloned", {}, bool) == {"version": 1}
    [built], [failed] = live.builds("cloned"), live.builds("closed")
    assert built["status"]["commit"] == commit
    assert built["spec"]["git"]["revision"] == "v1"
    assert failed["status"]["attempt"] == 1, "its user's failure is not tried again"
    assert any(commit.encode() in said for said in logs.values()), logs
    shown = str([built, failed, live.function("cloned"), live.function("closed"), logs])
    for token in (TOKEN, WRONG):
        assert token not in shown
        assert base64.b64encode(f"git:{token}".encode()).decode() not in shown
    for name in NAMES:
        live.delete(name)
