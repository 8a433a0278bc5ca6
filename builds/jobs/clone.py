"""Clones one repository, leaves its build context: what the init container of a build's Pod runs instead of `fetch`.

Usage: ``SOURCE=<JSON> python -m knative_lambda.builds.jobs.clone <file> <folder for work>``, as `kaniko_job.py` has it.
Git,
ssh and the tenant's key are in this container alone. The repository is a stranger's: nothing is ever checked out and
nothing of it is run. One commit is fetched, `git archive` writes its files, and these are read like any other archive.

Each address that is connected to was looked at (`reach.py`), and git is told that one: neither a name that means
something else a moment later nor a redirect leads elsewhere. How it ended is in the termination message, as JSON.
"""

import json
import os
import re
import resource
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
from knative_lambda.builds.jobs.way import Failed, Way, configured
from knative_lambda.schemas.errors import ProductError, Refused

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
        "the certificate of the server, or of a proxy, is trusted by nobody here; the Secret may hold a ca.crt",
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
    around: Mapping[str, str] = field(default_factory=dict)
    """What the installation says to programs, as `Way` has it."""
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
        way = Way(self.work, self.secret, self.reach, self.around)
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self.pause * 2**attempt)
            try:
                environment = way.environment(address, attempt)
                command = ["fetch", "--quiet", "--depth=1", "--no-tags", "--no-recurse-submodules", "--no-auto-gc"]
                url, left = self.asked["git"]["url"], end - time.monotonic()
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
    reach = Reach.of(asked.get("allowed", []), asked.get("blocked", []))
    clone = Clone(asked, work, folder, reach, around=os.environ)
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
