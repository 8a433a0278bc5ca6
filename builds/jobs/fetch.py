"""Reads one build context by its presigned URL: what the init container of a build Pod runs.

Usage: ``CONTEXT_URL=… [CONTEXT_CA=…] python -m knative_lambda.builds.jobs.fetch <sha256 of the tar, hex> <file>``.
Only the standard library: it starts in every build Pod. Exit code 1, with one line that never holds the URL, where it
cannot.
"""

import gzip
import hashlib
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
import zlib
from pathlib import Path

TRIES = 4
TIMEOUT = 60
CHUNK = 1024 * 1024


def fetch(url: str, digest: str, target: Path) -> str:
    """Write the object to `target` and return "", or what was wrong; the hash is of the tar inside the gzip."""
    seen = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT, context=_trusted(url)) as response, target.open("wb") as out:  # noqa: S310 (ours, presigned)
            while chunk := response.read(CHUNK):
                out.write(chunk)
        with gzip.open(target) as plain:
            while chunk := plain.read(CHUNK):
                seen.update(chunk)
    except urllib.error.HTTPError as error:
        return f"the store answered {error.code}"
    except (OSError, EOFError, zlib.error) as error:
        return type(error).__name__
    return "" if seen.hexdigest() == digest else "the context is not the one that was asked for"


def _trusted(url: str) -> ssl.SSLContext | None:
    """Return whom we believe to be the store: whom the system does, and the authorities in ``CONTEXT_CA``, a file."""
    if not url.startswith("https:"):
        return None
    trusted = ssl.create_default_context()
    if more := os.environ.get("CONTEXT_CA"):
        trusted.load_verify_locations(more)
    return trusted


def main() -> int:
    """Try a few times, then say why not."""
    digest, target = sys.argv[1], Path(sys.argv[2])
    problem = "it was not tried"
    for pause in (0.2 * 2**attempt for attempt in range(TRIES)):
        problem = fetch(os.environ.get("CONTEXT_URL", ""), digest, target)
        if not problem:
            return 0
        time.sleep(pause)
    sys.stderr.write(f"the build context could not be read: {problem}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
