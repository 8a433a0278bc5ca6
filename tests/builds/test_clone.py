"""What a build's Pod clones, from real servers: `git http-backend`, and sshd where the machine has it."""

import getpass
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.git import SSHD, Repository, Server, by_ssh, git, served

from knative_lambda.builds.inputs import repository as repositories
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.jobs import clone as cloning
from knative_lambda.builds.jobs.clone import Clone, Failed

CODE = "def handle(event, context):\n    return {}\n"
LOCAL = Reach.of(["127.0.0.0/8", "localhost"])


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path / "repositories")


@pytest.fixture
def server(repository: Repository) -> Iterator[Server]:
    with served(repository.bare.parent) as running:
        yield running


@pytest.fixture
def secret(tmp_path: Path) -> Callable[..., Path]:
    def written(**keys: str) -> Path:
        folder = tmp_path / "secret"
        folder.mkdir(exist_ok=True)
        for name, text in keys.items():
            (folder / name.replace("_", "-").replace("known-hosts", "known_hosts")).write_text(text)
        return folder

    return written


@pytest.fixture
def clone(tmp_path: Path) -> Callable[..., Clone]:
    """Return what clones an address into a folder of its own."""
    count = iter(range(100))

    def made(url: str, folder: Path | None = None, runtime: str = "python", **wanted: str) -> Clone:
        work = tmp_path / f"work-{next(count)}"
        work.mkdir()
        asked = {"git": {"url": url, **wanted}, "runtime": runtime, "entrypoint": ""}
        return Clone(asked, work, folder, LOCAL, pause=0)

    return made


def files(context: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(context)) as tar:
        return {one.name: tar.extractfile(one).read().decode() for one in tar if one.isfile()}  # type: ignore[union-attr]


def failure(clone: Clone) -> tuple[str, str]:
    with pytest.raises(Failed) as failed:
        clone.context()
    return failed.value.reason, str(failed.value)


def test_a_branch_a_tag_and_a_commit_are_pinned_to_their_commit(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    first = repository.commit({"main.py": CODE, "version": "1"}, tag="v1")
    second = repository.commit({"version": "2"})
    third = repository.commit({"version": "3"}, branch="feature/new")
    for revision, commit, version in (
        ("HEAD", second, "2"),
        ("main", second, "2"),
        ("feature/new", third, "3"),
        ("v1", first, "1"),
        (first, first, "1"),
    ):
        one = clone(server.url, revision=revision)
        context = files(one.context())
        assert (one.commit, context["function/version"]) == (commit, version), revision
        assert context["Dockerfile"].startswith("# The code of a Python function")


def test_a_retry_takes_the_commit_that_was_found_though_the_branch_has_moved(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    first = repository.commit({"main.py": CODE, "version": "1"})
    second = repository.commit({"version": "2"})
    again, anew = clone(server.url, revision="main", commit=first), clone(server.url, revision="main")
    assert files(again.context())["function/version"] == "1"
    assert files(anew.context())["function/version"] == "2"
    assert (again.commit, anew.commit) == (first, second)


def test_a_folder_of_it_is_the_source(repository: Repository, server: Server, clone: Callable[..., Clone]) -> None:
    repository.commit({"functions/hello/main.py": CODE, "other/secret": "no"})
    context = files(clone(server.url, path="functions/hello").context())
    assert context.keys() == {"Dockerfile", "function/main.py"}
    for path in ("functions/missing", "functions/hello/main.py"):
        assert failure(clone(server.url, path=path))[0] == "PathMissing"


def test_no_link_leads_out_of_that_folder(repository: Repository, server: Server, clone: Callable[..., Clone]) -> None:
    (repository.tree / "hello").mkdir()
    (repository.tree / "hello" / "passwd").symlink_to("/etc/passwd")
    (repository.tree / "shortcut").symlink_to("/etc")
    repository.commit({"hello/main.py": CODE})
    reason, message = failure(clone(server.url, path="hello"))
    assert reason == "SourceRefused"
    assert "passwd: links are not taken" in message
    assert failure(clone(server.url, path="shortcut"))[0] == "PathMissing"


@pytest.mark.parametrize(("runtime", "path"), [("node", "index.js"), ("go", "handle.go"), ("dockerfile", "Dockerfile")])
def test_each_runtime_gets_its_recipe(
    runtime: str, path: str, repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    repository.commit({path: "FROM scratch\n"})
    assert "Dockerfile" in files(clone(server.url, runtime=runtime).context())
    repository.commit({"other": ""})
    git("rm", "-q", path, at=repository.tree)
    repository.commit({})
    assert failure(clone(server.url, runtime=runtime))[0] == "SourceRefused"


def test_nothing_of_a_repository_is_run_or_changed_on_its_way(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    """Neither filters, nor substitutions, nor what is not to be exported."""
    attributes = "* filter=evil text eol=crlf export-subst\nhidden export-ignore\n"
    config = '[filter "evil"]\n\tsmudge = touch /tmp/evil\n'
    sent = {
        "main.py": CODE,
        "hidden": "here",
        "id": "$Format:%H$\n",
        ".gitattributes": attributes,
        ".gitconfig": config,
    }
    repository.commit(sent)
    context = files(clone(server.url).context())
    assert {path.removeprefix("function/"): text for path, text in context.items() if path != "Dockerfile"} == sent


def test_a_pointer_to_large_files_is_refused_and_a_submodule_left_out(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    first = repository.commit({"main.py": CODE})
    git("update-index", "--add", "--cacheinfo", f"160000,{first},library", at=repository.tree)
    git("commit", "-q", "-m", "a submodule", at=repository.tree)
    git("push", "-q", "origin", "HEAD", at=repository.tree)
    assert files(clone(server.url).context()).keys() == {"Dockerfile", "function/main.py"}
    (repository.tree / "library").mkdir(exist_ok=True)
    repository.commit({"model.bin": "version https://git-lfs.github.com/spec/v1\noid sha256:0\n"})
    reason, message = failure(clone(server.url))
    assert (reason, "model.bin is in Git LFS" in message) == ("SourceRefused", True)


@pytest.mark.parametrize("revision", ["missing", "v9", "0" * 40])
def test_a_revision_that_is_not_there_is_the_users(
    revision: str, repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    repository.commit({"main.py": CODE})
    reason, message = failure(clone(server.url, revision=revision))
    assert reason == "RevisionUnknown"
    assert revision in message


def test_a_token_opens_what_is_closed(repository: Repository, clone: Callable[..., Clone], secret: Any) -> None:
    repository.commit({"main.py": CODE})
    with served(repository.bare.parent, token="opensesame") as server:
        assert failure(clone(server.url))[0] == "CredentialsRefused"
        assert failure(clone(server.url, secret(token="wrong")))[0] == "CredentialsRefused"
        assert "function/main.py" in files(clone(server.url, secret(token="opensesame")).context())
        assert "function/main.py" in files(clone(server.url, secret(password="opensesame", username="me")).context())


def test_a_repository_that_is_not_there_is_the_users(server: Server, clone: Callable[..., Clone]) -> None:
    assert failure(clone(server.url.replace("hello", "other")))[0] == "RepositoryUnknown"


def test_a_redirect_is_not_followed(repository: Repository, server: Server, clone: Callable[..., Clone]) -> None:
    repository.commit({"main.py": CODE})
    with served(repository.bare.parent) as elsewhere:
        server.answers.append((302, {"Location": f"{elsewhere.url}/info/refs?service=git-upload-pack"}))
        assert failure(clone(server.url))[0] == "RepositoryMoved"
        assert not elsewhere.asked
    assert clone(server.url).context()


def test_a_server_that_does_not_answer_is_the_platforms_and_asked_again(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    repository.commit({"main.py": CODE})
    server.answers.append((503, {}))
    assert clone(server.url).context()
    server.answers.extend([(503, {})] * cloning.TRIES)
    assert failure(clone(server.url))[0] == "GitUnavailable"
    assert "GitUnavailable" not in repositories.USERS


def test_only_addresses_that_were_looked_at_are_connected_to(
    repository: Repository, server: Server, clone: Callable[..., Clone]
) -> None:
    """The name is resolved once, here; git, which would resolve it to nothing, is told the address."""
    repository.commit({"main.py": CODE})
    url = server.url.replace("127.0.0.1", "git.example.test")
    told = replace(LOCAL, resolve=lambda _host: ["127.0.0.1"])
    named = clone(url)
    named.reach = told
    assert named.context()
    refused = clone(url)
    refused.reach = replace(told, networks=())
    assert failure(refused) == ("HostRefused", "git.example.test is not reached from here: 127.0.0.1 is not public")
    assert failure(clone("http://nowhere.invalid/hello.git"))[0] == "HostUnknown"


def test_a_commit_that_is_too_large_is_the_users(
    repository: Repository, server: Server, clone: Callable[..., Clone], monkeypatch: pytest.MonkeyPatch
) -> None:
    noise = "".join(os.urandom(32).hex() for _ in range(8000))
    repository.commit({"main.py": CODE, "noise": noise})
    assert clone(server.url).context()
    small = clone(server.url)
    small.asked = {**small.asked, "limits": {"total": 100_000}}
    assert failure(small)[0] == "SourceRefused"
    monkeypatch.setattr(cloning, "PACK", 100_000)
    assert failure(clone(server.url))[0] == "SourceTooLarge"


def test_what_it_came_to_is_in_the_termination_message_and_no_credential_in_what_is_said(
    repository: Repository, tmp_path: Path, secret: Any
) -> None:
    commit = repository.commit({"main.py": CODE})
    with served(repository.bare.parent, token="opensesame") as server:
        for token, expected in (("opensesame", {"commit": commit}), ("wrong-4711", None)):
            work = tmp_path / token
            work.mkdir()
            asked = {
                "git": {"url": server.url},
                "runtime": "python",
                "entrypoint": "main.handle",
                "allowed": ["127.0.0.0/8"],
                "secret": str(secret(token=token)),
            }
            done = subprocess.run(
                [sys.executable, "-m", "knative_lambda.builds.jobs.clone", str(work / "context.tar.gz"), str(work)],
                env={**os.environ, "SOURCE": json.dumps(asked), "TOLD": str(work / "told")},
                capture_output=True,
                text=True,
                check=False,
            )
            told = repositories.said((work / "told").read_text())
            assert done.returncode == (0 if expected else 1), done.stderr
            assert told == (expected or {"reason": "CredentialsRefused", "message": told["message"]})
            assert token not in done.stdout + done.stderr + str(told)
    assert files((tmp_path / "opensesame" / "context.tar.gz").read_bytes())["function/main.py"] == CODE


needs_sshd = pytest.mark.skipif(not SSHD, reason="this machine has no sshd (SSHD names one)")


@needs_sshd
def test_a_key_opens_a_repository_by_ssh_whose_host_is_known(
    repository: Repository, tmp_path: Path, clone: Callable[..., Clone], secret: Any
) -> None:
    commit = repository.commit({"main.py": CODE})
    (tmp_path / "ssh").mkdir()
    with by_ssh(tmp_path / "ssh") as (port, key, known):
        url = f"ssh://{getpass.getuser()}@localhost:{port}{repository.bare}"
        one = clone(url, secret(ssh_privatekey=key.rstrip(), known_hosts=known))
        assert files(one.context())["function/main.py"] == CODE
        assert one.commit == commit

        reason, message = failure(clone(url, secret(known_hosts="")))
        assert (reason, message) == ("HostKeyUnknown", "the Secret holds no known_hosts: no host is believed unseen")
        other = known.rpartition(" ")[0] + " " + (tmp_path / "ssh" / "key.pub").read_text().split()[1]
        assert failure(clone(url, secret(known_hosts=other)))[0] == "HostKeyUnknown"
        assert failure(clone(url, secret(known_hosts=f"elsewhere {known.split(' ', 1)[1]}")))[0] == "HostKeyUnknown"

        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(tmp_path / "stranger")], check=True)
        stranger = (tmp_path / "stranger").read_text()
        assert failure(clone(url, secret(ssh_privatekey=stranger, known_hosts=known)))[0] == "CredentialsRefused"
        assert failure(clone(url, secret(ssh_privatekey="")))[0] == "KeyMissing"
        opened = secret(ssh_privatekey=key, known_hosts=known)
        assert failure(clone(f"{url}-other", opened))[0] == "RepositoryUnknown"
