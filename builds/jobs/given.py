"""What a build is given beside its source, as a Function's ``build`` says it: variables, indexes, Secrets. Pure.

Called where a source is accepted, which is checked here, and where an attempt is made of a Build. Values are data all
the way: an argument of a process, never a part of a Dockerfile, where only names stand, which are words.
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from knative_lambda.builds.jobs.handed import folder
from knative_lambda.schemas.errors import Fault
from knative_lambda.schemas.redaction import looks_secret

Given = Mapping[str, Any]
FOLLOWS = "onBaseChange"
"""Of ``build`` what no build is given: it says when there is another one."""
SECRET = re.compile(r"(?i)(?:^|_)(?:password|passwd|secret|token|credentials?|api_?key|private_?key)$")
"""How the name of a variable ends which says that its value is a secret."""
KNOWN: Mapping[str, tuple[str, ...]] = {
    "python": ("url", "extra", "secret"),
    "node": ("url", "secret"),
    "go": ("url", "extra", "private", "secret"),
}
"""What the indexes of a runtime's packages are made of."""

OF_INDEXES: Mapping[str, tuple[str, ...]] = {
    "python": ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CONFIG_FILE"),
    "node": ("NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG"),
    "go": ("BUILD_GOPROXY",),
}
"""The variables that an index is told to a runtime's tools by: a value beside it would silently count for nothing."""


def of(spec: Mapping[str, Any], index: Given) -> dict[str, Any]:
    """Return what a Function's build is given, nothing of it empty; `index` is for one that names none itself."""
    said = {key: value for key, value in spec.get("build", {}).items() if value and key != FOLLOWS}
    return {"indexes": dict(index), **said} if index else said


def variables(runtime: str, given: Given) -> dict[str, str]:
    """Return the variables that a build's programs find, beside those of the installation."""
    return {**given.get("env", {}), **_indexes(runtime, given.get("indexes", {}))}


def urls(given: Given) -> list[str]:
    """Return the addresses of package indexes that are named."""
    index = given.get("indexes", {})
    return [url for url in (index.get("url", ""), *index.get("extra", [])) if url]


def faults(spec: Mapping[str, Any], where: str) -> list[Fault]:
    """Return what is wrong with what a Function says here that its schema cannot tell; `where` is its place."""
    said, found = spec.get("build", {}), []
    for name, value in said.get("env", {}).items():
        if SECRET.search(name):
            found.append(Fault(f"{where}/env/{name}", "is named like a secret: give it by `secrets`, as a file"))
        elif looks_secret(value):
            found.append(
                Fault(f"{where}/env/{name}", "holds what looks like a secret: give it by `secrets`, as a file")
            )
    index, runtime = said.get("indexes", {}), spec["runtime"]
    known = KNOWN.get(runtime, ())
    found += [
        Fault(f"{where}/env/{name}", "is decided by the index of packages: give it by `indexes`")
        for name in said.get("env", {})
        if name in OF_INDEXES.get(runtime, ())
    ]
    found += [
        Fault(f"{where}/indexes/{field}", f"the packages of runtime {runtime} know no such thing")
        for field in index
        if field not in known
    ]
    named = urls(said)
    if runtime == "go" and index.get("secret") and named and all(url.startswith("http:") for url in named):
        found.append(Fault(f"{where}/indexes/secret", "go says no password to an address without TLS"))
    return found


def _indexes(runtime: str, index: Given) -> dict[str, str]:
    if not index:
        return {}
    named = urls({"indexes": index})
    at = folder(index["secret"]) if index.get("secret") else ""
    if runtime == "python":
        plain = [urlsplit(url).netloc for url in named if url.startswith("http:")]
        found = {
            "PIP_INDEX_URL": index.get("url", ""),
            "PIP_EXTRA_INDEX_URL": " ".join(index.get("extra", [])),
            "PIP_TRUSTED_HOST": " ".join(plain),
            "PIP_CONFIG_FILE": at and f"{at}/pip.conf",
            "NETRC": at and f"{at}/netrc",
        }
    elif runtime == "node":
        found = {"NPM_CONFIG_REGISTRY": index.get("url", ""), "NPM_CONFIG_USERCONFIG": at and f"{at}/.npmrc"}
    elif runtime == "go":
        private = ",".join(index.get("private", []))  # what a proxy has is fetched there, and what is private too
        found = {"GONOSUMDB" if named else "GOPRIVATE": private, "BUILD_GOPROXY": ",".join(named)}
        found |= {"NETRC": at and f"{at}/netrc"}
    else:
        found = {}
    return {name: value for name, value in found.items() if value}
