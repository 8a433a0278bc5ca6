"""Clones one repository, leaves its build context: what the init container of a build's Pod runs instead of `fetch`.

Usage: ``SOURCE=<JSON> python -m knative_lambda.builds.jobs.clone <file> <folder for work>``, as `kaniko_job.py` has it.
Git,
ssh and the tenant's key are in this container alone. The repository is a stranger's: nothing is ever checked out and
nothing of it is run. One commit is fetched, `git archive` writes its files, and these are read like any other archive.

Each address that is connected to was looked at (`reach.py`), and git is told that one: neither a name that means
something else a moment later nor a redirect leads elsewhere. How it ended is in the termination message, as JSON.
"""

import base64
import json
import os
import re
import resource
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative_lambda.builds.inputs import archive, source
from knative_lambda.builds.inputs.archive import Limits
from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.inputs.repository import COMMIT, HEAD, Address
from knative_lambda.schemas.errors import ProductError, Refused, Unsent

TRIES = 3
PAUSE = 2.0
TIME = 240
"""Seconds that it may take in all: less than a Pod has to begin its build (`KanikoSettings.pending`)."""
PACK = 512 * 1024 * 1024
"""Bytes of one commit's objects, packed, at most."""
TOLD = "/dev/termination-log"
WHERE = "/source/git"
POINTER = b"version https://git-lfs.github.com/spec/"
AS_IT_IS = "* -export-ignore -export-subst -text -eol -filter -ident -working-tree-encoding\n"
"""Attributes over those of the repository, so that files come as they are in the commit."""
GIT: Mapping[str, str] = {
    "core.hooksPath": "/dev/null",
    "fetch.unpackLimit": "1",  # one file, which has a size
    "core.bigFileThreshold": "8m",
    "pack.threads": "1",
    "gc.auto": "0",
    "http.followRedirects": "false",
    "http.lowSpeedLimit": "1000",
    "http.lowSpeedTime": "30",
    "credential.helper": "",
}
SAYS: Sequence[tuple[str, str, str]] = (
    (r"couldn't find remote ref|not our ref|unadvertised object|upload-pack: not our", "RevisionUnknown", ""),
    (
        r"Authentication failed|could not read (?:Username|Password)|returned error: 40[13]|Permission denied",
        "CredentialsRefused",
        "the server does not take these credentials, or has no such repository for them",
    ),
    (
        r"Host key verification failed|REMOTE HOST IDENTIFICATION",
        "HostKeyUnknown",
        "the host's key is not the one that known_hosts has",
    ),
    (
        r"returned error: 3\d\d|base from redirection",
        "RepositoryMoved",
        "the server refers to another address: name that",
    ),
    (
        r"certificate|SSL: no alternative",
        "HostUntrusted",
        "the server's certificate is trusted by nobody here; the Secret may hold a ca.crt",
    ),
    (
        r"returned error: 404|[Rr]epository .*not found|does not appear to be a git repository",
        "RepositoryUnknown",
        "there is no such repository",
    ),
    (
        r"signal 25|File too large|invalid index-pack output",
        "SourceTooLarge",
        f"the commit has more than {PACK >> 20} MiB, packed",
    ),
)
"""What git or ssh say of a failure that is its user's, the reason, and what a person is told."""


class Failed(Exception):
    """It came to nothing; `reason` is a word, of `repository.USERS` where it is for the user to mend."""

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


@dataclass
class Clone:
    """One repository, on its way."""

    asked: Mapping[str, Any]
    """``git``, ``runtime``, ``entrypoint``, and ``allowed`` and ``blocked`` of what may be reached."""
    work: Path
    """A folder of its own, which is empty."""
    secret: Path | None = None
    """The folder with the keys of its Secret."""
    reach: Reach = field(default_factory=Reach)
    pause: float = PAUSE
    commit: str = ""

    def context(self) -> bytes:
        """Return the packed build context; `commit` says of which.

        Raises `Failed`.
        """
        git = self.asked["git"]
        address = Address.of(git["url"])
        self._git("init", "--quiet", "--bare", "--template=", environment={})
        (self.work / "repository" / "info").mkdir(exist_ok=True)
        (self.work / "repository" / "info" / "attributes").write_text(AS_IT_IS)
        self._fetch(address, git.get("commit") or git.get("revision") or HEAD)
        folder = f"{self.commit}:{git.get('path', '').removesuffix('/')}"
        try:
            kind = self._git("cat-file", "-t", folder, environment={}).strip()
        except Failed:
            kind = "missing"
        if kind != "tree":
            raise Failed("PathMissing", f"there is no folder {git['path']} in {self.commit}")
        packed = self.work / "archive"
        self._git("archive", "--format=tgz", "-1", f"--output={packed}", folder, environment={})
        return self._packed(packed.read_bytes())

    def _packed(self, archived: bytes) -> bytes:
        try:
            files = archive.unpack(archived, Limits(**self.asked.get("limits", {})), WHERE)
            pointers = [path for path, file in files.items() if bytes(file.body[: len(POINTER)]) == POINTER]
            if pointers:
                raise Refused.because(WHERE, f"{pointers[0]} is in Git LFS, which is not fetched")
            return source.packed(self.asked, files, "").body
        except Refused as refused:
            raise Failed("SourceRefused", str(refused)) from refused

    def _fetch(self, address: Address, revision: str) -> None:
        """Fetch the one commit, in a few tries."""
        end, problem = time.monotonic() + TIME, Failed("GitUnavailable", "it was not tried")
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self.pause * 2**attempt)
            try:
                found = self._addresses(address)
                command = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc"]
                url, left = self.asked["git"]["url"], end - time.monotonic()
                environment = self._way(address, found, attempt)
                self._git(*command, "--", url, revision, environment=environment, seconds=max(left, 1))
            except Failed as failed:
                if failed.reason != "GitUnavailable" or time.monotonic() >= end:
                    raise
                problem = failed
                continue
            return self._pin(revision)
        raise problem

    def _pin(self, revision: str) -> None:
        try:
            self.commit = self._git("rev-parse", "--verify", "--quiet", "FETCH_HEAD^{commit}", environment={}).strip()
        except Failed as failed:
            raise Failed("RevisionUnknown", f"{revision} is no commit") from failed
        if COMMIT.fullmatch(revision) and self.commit != revision:
            raise Failed("RevisionUnknown", f"{revision} is no commit")

    def _addresses(self, address: Address) -> Sequence[str]:
        """Return the addresses of the host, each of which may be connected to."""
        try:
            return self.reach.addresses(address.host, str(address.port))
        except Unsent as refused:
            raise Failed("HostRefused", refused.faults[0].message) from refused
        except socket.gaierror as error:
            if error.errno == socket.EAI_AGAIN:
                raise Failed("GitUnavailable", f"{address.host} cannot be looked up: {error.strerror}") from error
            raise Failed("HostUnknown", f"there is no host {address.host}") from error
        except (OSError, UnicodeError) as error:
            raise Failed("HostUnknown", f"{address.host} is no host") from error

    def _way(self, address: Address, found: Sequence[str], attempt: int) -> dict[str, str]:
        """Return the environment that leads git to these addresses, with its credentials."""
        if address.scheme == "ssh":
            return {"GIT_SSH_COMMAND": self._ssh(address, found[attempt % len(found)]), "GIT_SSH_VARIANT": "ssh"}
        bracketed = ",".join(f"[{one}]" if ":" in one else one for one in found)
        config = {"http.curloptResolve": f"{address.host}:{address.port}:{bracketed}"}
        if password := (self._given("password") or self._given("token")).strip():
            pair = f"{self._given('username').strip() or 'git'}:{password}"
            config["http.extraHeader"] = f"Authorization: Basic {base64.b64encode(pair.encode()).decode()}"
        if authorities := self._given("ca.crt"):
            config["http.sslCAInfo"] = self._kept("ca.crt", authorities)
        return configured(config)

    def _ssh(self, address: Address, at: str) -> str:
        key, hosts = self._given("ssh-privatekey"), self._given("known_hosts")
        if not key.strip():
            raise Failed("KeyMissing", "the Secret holds no ssh-privatekey")
        if not hosts.strip():
            raise Failed("HostKeyUnknown", "the Secret holds no known_hosts: no host is believed unseen")
        alias = address.host if address.port == 22 else f"[{address.host}]:{address.port}"  # noqa: PLR2004 - ssh's
        options = {
            "BatchMode": "yes",
            "StrictHostKeyChecking": "yes",
            "UserKnownHostsFile": self._kept("known_hosts", hosts),
            "GlobalKnownHostsFile": "/dev/null",
            "HostKeyAlias": alias,
            "HostName": at,
            "CheckHostIP": "no",
            "UpdateHostKeys": "no",
            "IdentitiesOnly": "yes",
            "IdentityFile": self._kept("key", key.rstrip() + "\n"),
            "PreferredAuthentications": "publickey",
            "ConnectTimeout": "20",
            "ServerAliveInterval": "15",
        }
        return shlex.join(["ssh", "-F", "/dev/null", *(f"-o{name}={value}" for name, value in options.items())])

    def _given(self, key: str) -> str:
        try:
            return (self.secret / key).read_text(errors="replace") if self.secret else ""
        except OSError:
            return ""

    def _kept(self, name: str, text: str) -> str:
        """Write what was given where ssh takes it: readable by nobody else."""
        path = self.work / name
        path.touch(mode=0o600)
        path.write_text(text)
        return str(path)

    def _git(self, *command: str, environment: Mapping[str, str], seconds: float = TIME) -> str:
        """Run git and return its output; raise `Failed` with what it means that it did not end well."""
        whole = {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.work),
            "LC_ALL": "C",
            "GIT_DIR": str(self.work / "repository"),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_ATTR_NOSYSTEM": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ALLOW_PROTOCOL": Address.of(self.asked["git"]["url"]).scheme,
            **(environment or configured({})),
        }
        try:
            done = subprocess.run(  # noqa: S603 - its own options, and what `repository.py` lets through
                ["git", *command],  # noqa: S607 - the image's
                env=whole,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                check=False,
                preexec_fn=_bound,
            )
        except subprocess.TimeoutExpired as late:
            raise Failed("GitUnavailable", f"git {command[0]} took longer than {seconds:.0f} seconds") from late
        if done.returncode:
            raise meaning(done.stderr.decode(errors="replace"), self.asked["git"])
        return done.stdout.decode(errors="replace")


def configured(more: Mapping[str, str]) -> dict[str, str]:
    """Return the environment that configures git: nothing of it can be read in a list of processes."""
    pairs = list(enumerate({**GIT, **more}.items()))
    named = {f"GIT_CONFIG_{part}_{index}": pair[part == "VALUE"] for index, pair in pairs for part in ("KEY", "VALUE")}
    return {"GIT_CONFIG_COUNT": str(len(pairs)), **named}


def meaning(stderr: str, git: Mapping[str, Any]) -> Failed:
    """Return what it means that git ended with these words: what the server has it say counts for nothing."""
    own = [line for line in stderr.splitlines() if not line.startswith("remote:")]
    words = "\n".join(own)
    for pattern, reason, message in SAYS:
        if re.search(pattern, words):
            wanted = git.get("commit") or git.get("revision") or HEAD
            return Failed(reason, message or f"the repository has no branch, tag or commit {wanted}")
    return Failed("GitUnavailable", (own or ["git said nothing"])[-1][:500])


def _bound() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (PACK, PACK))


def main() -> int:
    """Clone, pack, and tell how that ended."""
    asked, target, work = json.loads(os.environ["SOURCE"]), Path(sys.argv[1]), Path(sys.argv[2])
    folder = Path(asked["secret"]) if asked.get("secret") else None
    clone = Clone(asked, work, folder, Reach.of(asked.get("allowed", []), asked.get("blocked", [])))
    said, code = {}, 0
    try:
        target.write_bytes(clone.context())
        sys.stdout.write(f"{asked['git']['url']} at {clone.commit}\n")
    except (Failed, ProductError, OSError) as error:
        said, code = {"reason": getattr(error, "reason", "GitUnavailable"), "message": str(error)[:2000]}, 1
        sys.stderr.write(f"the source could not be cloned: {error}\n")
    told = {**({"commit": clone.commit} if clone.commit else {}), **said}
    Path(os.environ.get("TOLD", TOLD)).write_text(json.dumps(told))
    return code


if __name__ == "__main__":
    sys.exit(main())
