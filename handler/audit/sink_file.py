"""A `Sink` that is a file: opened anew each time, so that it may be moved away to be kept."""

from dataclasses import dataclass
from pathlib import Path

from knative_lambda.schemas.errors import Temporary


@dataclass(frozen=True)
class FileSink:
    """Appends to `path`, which nobody but its owner may read where it is made here."""

    path: Path

    def write(self, lines: bytes) -> None:
        """See `Sink.write`."""
        try:
            if not self.path.exists():
                self.path.touch(mode=0o600)
            with self.path.open("ab") as file:
                file.write(lines)
        except OSError as error:
            raise Temporary(f"{self.path}: {error.strerror}") from error
