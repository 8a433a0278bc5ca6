"""Which builder makes a source's image, and why: what is asked for, or what the source itself allows.

Called where a source is prepared, which knows its files, and where a Build is made of it. Pure.
"""

from dataclasses import dataclass

from knative_lambda.schemas.errors import Refused

ALONE = "its code alone is laid upon the runtime's base image"
INSTALLED = "its dependencies are installed once by a Job, its code is laid upon them"
ASKED = "it was asked for"
HERE = "nothing else builds here"
OFF = "this installation lays no layers"
UNKNOWN = "its source was taken before there was a choice"
UNSEEN = "its source was taken before there was a choice: send it again"


@dataclass(frozen=True)
class Choice:
    """A builder, as it stands in a Build's spec, and a sentence for a person."""

    builder: str = ""
    """"" where nobody has looked at the source: it was prepared by an earlier version."""
    why: str = ""
    pinned: bool = False
    """Whether the same source upon the same base is the same image: it names every other image by digest."""
    dependencies: str = ""
    """The hash of what is installed before its code is laid upon that; "" where nothing is."""


def automatic(job: str, dependencies: str = "", *, layers: bool, pinned: bool = True) -> Choice:
    """Return what ``auto`` comes to for a source; `job` says why all of it is built in a Job, or ""."""
    if job or not layers:
        return Choice("kaniko", job or OFF, pinned)
    return Choice("layer", INSTALLED if dependencies else ALONE, pinned, dependencies)


def choose(asked: str, auto: Choice, otherwise: str, where: str) -> Choice:
    """Return the builder of a source: `asked` is the Function's ``builder``, `otherwise` what builds without layers.

    Raises `Refused` at `where` for a layer that cannot be. A source that nobody has looked at goes on as before, so
    that an upgrade rebuilds nothing.
    """
    if asked == "layer" and auto.builder != "layer":
        raise Refused.because(where, f"no layer can be made of it: {auto.why or UNSEEN}")
    if asked == "external":
        return Choice(asked, ASKED)
    if otherwise != "kaniko":
        return Choice(otherwise, HERE)
    if asked in ("kaniko", "layer"):
        return Choice(asked, ASKED, dependencies=auto.dependencies if asked == "layer" else "")
    return auto if auto.builder else Choice(otherwise, UNKNOWN)
