"""References of images, as container tools read them: ``host/repository``, with a tag or a digest behind. Pure.

Called where it matters whether two of them are of one place. The rules are those of
https://github.com/distribution/reference/blob/main/normalize.go: a first part without a dot, a colon or a capital is no
host, and then Docker Hub is meant.
"""

DOCKER = "docker.io"
_PORTS = (":443", ":80")
"""Ports that may be left out."""


def whole(reference: str) -> str:
    """Return a reference with its host, that in lower case and without the port that it has anyway."""
    host, more, path = reference.partition("/")
    if not more or not (set(host) & {".", ":"} or host == "localhost" or host != host.lower()):
        host, path = DOCKER, reference
    host = host.lower()
    for port in _PORTS:
        host = host.removesuffix(port)
    return f"{DOCKER if host == f'index.{DOCKER}' else host}/{path}"


def repository(reference: str) -> str:
    """Return ``host/repository`` of a reference, whole."""
    name = whole(reference).partition("@")[0]
    head, _, last = name.rpartition("/")
    return f"{head}/{last.partition(':')[0]}"
