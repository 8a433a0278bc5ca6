"""Which commit a revision is now, asked of a repository's server before anything is built: one bounded request.

Called where a source is accepted, so that the same commit again is the same input. It may fail, and says nothing then:
what is wrong with a repository its Build tells, whose Pod clones it (`clone.py`). No credentials are needed here, as
only what is open to everybody is asked.

https://git-scm.com/docs/http-protocol#_smart_server_response
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from http import HTTPStatus

import urllib3
from urllib3.exceptions import HTTPError

from knative_lambda.builds.inputs.reach import Reach
from knative_lambda.builds.inputs.repository import COMMIT, HEAD
from knative_lambda.schemas.errors import ProductError

LIMIT = 4 * 1024 * 1024
"""Bytes of an answer that are read: some fifty thousand branches and tags."""
SECONDS = 3.0
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Refs:
    """Asks servers that may be reached."""

    reach: Reach
    trust: str = ""
    """A file of certificates, PEM, in place of the system's; "" for those."""

    def commit(self, url: str, revision: str) -> str:
        """Return the commit of a branch, a tag or HEAD, "" where nobody said; never raises for a server's sake."""
        tls = {"ca_certs": self.trust} if self.trust else {}
        pool = self.reach.pool(timeout=urllib3.Timeout(connect=SECONDS, read=SECONDS), retries=False, **tls)
        try:
            answer = pool.request(
                "GET",
                f"{url.rstrip('/')}/info/refs?service=git-upload-pack",
                headers={"User-Agent": "git/knative-lambda", "Accept-Encoding": "identity"},
                redirect=False,
                preload_content=False,
            )
            try:
                body = answer.read(LIMIT + 1) if answer.status == HTTPStatus.OK else b""
            finally:
                answer.close()
        except (HTTPError, ProductError, OSError, ValueError) as error:
            log.info("nobody says yet which commit %s is: %s", revision, error)
            return ""
        return named(body, revision or HEAD)


def named(answer: bytes, revision: str) -> str:
    """Return the commit that an answer names so, a tag's before a branch's as git has it; "" for none, or too long."""
    if len(answer) > LIMIT:
        return ""
    refs = dict(_refs(answer))
    for name in (revision, f"refs/tags/{revision}", f"refs/heads/{revision}"):
        if (name == HEAD or name.startswith("refs/")) and name in refs:
            return refs.get(f"{name}^{{}}", refs[name])
    return ""


def _refs(answer: bytes) -> Iterator[tuple[str, str]]:
    """Yield each name with its commit; what is not as it should be is left out, or ends it."""
    while len(answer) >= 4:  # noqa: PLR2004 - a line's length, in hex
        try:
            size = int(answer[:4], 16)
        except ValueError:
            return
        line, answer = answer[4:size], answer[max(size, 4) :]
        commit, _, name = line.partition(b"\0")[0].rstrip(b"\n").decode(errors="replace").partition(" ")
        if COMMIT.fullmatch(commit):
            yield name, commit
