"""Whether a Dockerfile names every image that it takes from by digest: only then is the same source the same image.

Called by `source.py`. Pure. In doubt it is not: an argument in a name, a heredoc, or another escape character is not
looked through. What a `RUN` or an `ADD` fetches is the author's own business, as it is with a list of dependencies.

https://docs.docker.com/reference/dockerfile/ says how one is read.
"""

import re

DIGEST = re.compile(r"[^\s$]+@sha256:[0-9a-f]{64}")
_COMMENT = re.compile(r"^[ \t]*#.*\n?", re.MULTILINE)
_CONTINUED = re.compile(r"\\[ \t]*\n")
_DOUBTFUL = re.compile(r"<<|^[ \t]*#[ \t]*escape[ \t]*=|\\[ \t]*\n[ \t]*\n", re.IGNORECASE | re.MULTILINE)
"""A heredoc, another escape character, a line that goes on after an empty one."""
_FROM = re.compile(r"FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.IGNORECASE)
_TAKES = re.compile(r"--from=(\S+)|--mount=\S*?\bfrom=([^,\s]+)", re.IGNORECASE)
SCRATCH = "scratch"


def is_pinned(dockerfile: bytes) -> bool:
    """Say whether every image named is one by digest, ``scratch``, or an earlier stage."""
    text = dockerfile.decode("utf-8-sig", errors="replace").replace("\r\n", "\n")
    said = _COMMENT.sub("", text)
    if _DOUBTFUL.search(text) or _DOUBTFUL.search(said):
        return False
    stages: list[str] = []
    for line in map(str.strip, _CONTINUED.sub("", said).split("\n")):
        if re.match(r"FROM\b", line, re.IGNORECASE):
            found = _FROM.fullmatch(line)
            if found is None or not _is_known(found[1], stages):
                return False
            stages.append((found[2] or "").lower())
            continue
        taken = ("".join(filter(None, groups)) for groups in _TAKES.findall(line))
        if not all(_is_known(image, stages) or _is_number_of(image, stages) for image in taken):
            return False
    return bool(stages)


def _is_known(image: str, stages: list[str]) -> bool:
    return image.lower() in (SCRATCH, *filter(None, stages)) or DIGEST.fullmatch(image) is not None


def _is_number_of(image: str, stages: list[str]) -> bool:
    return image.isdigit() and int(image) < len(stages)
