"""The `Builder` port: who turns a build context into an image.

Called by `settle.py` alone. `kaniko.py` runs a Job per attempt, `layered.py` lays code upon its base itself, and
`builders.py` chooses between these two; `local.py` builds in this machine's processes for the embedded mode. A builder
reports what it sees; whether a build has succeeded is decided in `settle.py`, which asks the registry.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol


@dataclass(frozen=True)
class Handed:
    """A Secret of the tenant's that an attempt is given; `handed.py` says how."""

    secret: str
    """Its name in the tenant's namespace."""
    to: Literal["build", "fetch"] = "build"
    """Who gets it: what builds, where a stranger's code runs, or what fetches the context before, alone."""


@dataclass(frozen=True)
class Attempt:
    """One attempt of a `Build`: everything a builder needs to know, derived from the object alone."""

    tenant: str
    function: str
    build: str
    build_uid: str
    number: int
    runtime: str
    context: str
    """The store's key of the context: a canonical tar.gz with its recipes at its root."""
    destination: str
    """The reference to push to: ``host/repository:tag``, a tag that is this attempt's alone."""
    build_args: Mapping[str, str] = field(default_factory=dict)
    """Arguments of the Dockerfile, such as ``BASE``."""
    seconds: int = 1800
    """Seconds that it may take from now on: what its Build has left."""
    builder: str = "kaniko"
    """Who builds: as the Build's spec says, but for dependencies, which are installed in a Job."""
    recipe: str = "Dockerfile"
    """The file of the context that says what is built."""
    keep: str = ""
    """A further name that the base of the image is to have before anything is laid upon it; "" for none."""
    cache: str = ""
    """Where layers of earlier builds are taken from, and kept for later ones: ``host/repository``; "" for nowhere."""
    inputs: str = ""
    """The hash of everything that shapes the image."""
    trace: str = ""
    """The `traceparent` that it is made for, where traces are made."""
    handed: tuple[Handed, ...] = ()
    """The tenant's Secrets that it is given."""
    git: Mapping[str, str] = field(default_factory=dict)
    """The repository that its context is cloned from, as ``source.git`` names it, with its ``commit`` where known."""
    entrypoint: str = ""
    """The function's, for whoever makes the context of what was cloned."""

    @property
    def name(self) -> str:
        """Return the attempt's own name, which is its Job's: the build's name and the number."""
        return f"{self.build}-{self.number}"


@dataclass(frozen=True)
class Running:
    """The attempt was started and has not ended."""

    again: int = field(default=0, compare=False)
    """Seconds after which to look again, where its end may be told by no report; 0 where one will come."""
    commit: str = ""
    """What was cloned for it; "" where nothing was yet."""


@dataclass(frozen=True)
class Lost:
    """Nothing is left of the attempt: it was never started, or somebody deleted it."""


@dataclass(frozen=True)
class Ended:
    """The attempt's process ended by itself or was ended."""

    exit_code: int
    """0 where the builder says that the image was pushed."""
    whose: Literal["user", "platform", "ours"] = "user"
    """Whose failure it is, where it is one: only the platform's are tried again."""
    reason: str = ""
    """A CamelCase word for the condition, such as ``OOMKilled``, ``PodRefused``, ``NoOutput``."""
    message: str = ""
    """A sentence for a person."""
    commit: str = ""
    """What was cloned for it; "" where nothing was."""


class Builder(Protocol):
    """Starts, watches and stops the attempts of builds; every method may be called twice, or late."""

    def start(self, attempt: Attempt) -> Ended | None:
        """Start the attempt; already started is success. Return how it ended, where nobody else will tell."""

    def look(self, attempt: Attempt) -> Running | Ended | Lost:
        """Return what can be seen of the attempt now, without waiting."""

    def log(self, attempt: Attempt, *, limit: int) -> bytes:
        """Return the last `limit` bytes of the attempt's output, as far as it can still be read."""

    def stop(self, attempt: Attempt) -> None:
        """End the attempt and remove it with all that belongs to it; already gone is success."""

    def revoke(self, attempt: Attempt) -> None:
        """Take from an attempt that has ended what it was given to push with; already gone is success."""

    def is_idle(self, tenant: str, build_uid: str) -> bool:
        """Say whether nothing of a Build of this UID runs any more, or will by itself."""
