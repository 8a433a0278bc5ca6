"""The embedded mode as the process that a user starts, for tests of what speaks to it."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from knative_lambda.client import Client, ClientError, local


@contextlib.contextmanager
def embedded(folder: Path) -> Iterator[str]:
    """Yield the URL of a service that takes requests."""
    folder.mkdir(parents=True, exist_ok=True)
    with local.embedded(folder) as process:
        end = time.monotonic() + 120
        while True:
            try:
                Client.at(process.url).functions("demo")
            except ClientError:
                assert time.monotonic() < end, process.log.read_text()
                time.sleep(0.05)
            else:
                break
        yield process.url
