"""Secrets of a tenant that one attempt's Pod is given as files: which may be, and the copies that die with its Job.

A tenant gives a Secret of its namespace to builds by the label `names.BUILD_SECRET_LABEL`, "true"; no other is taken.
Builds run in another namespace, so an attempt gets a copy there, owned by its Job and deleted with its end.

To hand over one more (the key of a git repository, say), name it in two places, and do nothing else:

- in `asked`, so that its version is part of what the Function was prepared into (`prepare.Inputs.secrets`), and with
  it of the Build's input hash: what was exchanged, or came later, is another input;
- in `Attempt.handed`, where `record.attempt_of` makes the attempt: a `Handed` with its name and who gets it. That
  container finds each key of the Secret as a file of `folder(name)`; the other one sees nothing of it.

`kaniko.py` does the rest: reads it as the attempt starts, ends the attempt as its user's failure where it may not be
had (`Refused`, which names it), hides what is in it in what is told of the attempt, and of nothing else, copies it,
and removes the copy.
"""

import base64
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from knative_lambda.builds.builder import Handed
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import SECRET, Cluster, Object
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Refused

FOLDER = "/run/secrets"
WHERE = "/build/secrets"
"""Where the fault of a Secret is that may not be had."""
READABLE = 0o444
"""The mode of its files: a Dockerfile's `USER` reads them too."""
LONGEST = 4096
"""Characters of a part that is hidden: a value may be a whole bundle of certificates, of which each line is a part."""
_SAID = re.compile(r"(?i)(?:auth|token|secret|passw(?:or)?d|key)[\"']?\s*[=:\s]\s*[\"']?([^\s\"']+)")
"""What a line of a netrc, a .npmrc, a pip.conf or the like names as what opens something."""


def folder(secret: str) -> str:
    """Return where the container that gets a Secret finds its keys as files."""
    return f"{FOLDER}/{secret}"


def asked(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the Secrets that what builds a Function's spec is to be given."""
    build = spec.get("build", {})
    index = build.get("indexes", {}).get("secret", "")
    return sorted({*build.get("secrets", []), *([index] if index else [])})


def versions(spec: Mapping[str, Any], tenant: str, cluster: Cluster) -> dict[str, str]:
    """Return which version each of these Secrets has now, "" for one that may not be had: no version of its content."""
    return {name: _version(name, tenant, cluster) for name in asked(spec)}


def read(name: str, tenant: str, cluster: Cluster) -> Object:
    """Return a Secret that a tenant gives to builds.

    Raises `Refused` where there is none of this name, or it is not labelled so.
    """
    found = cluster.get(SECRET, tenant, name)
    if found is None:
        raise Refused.because(WHERE, f"there is no Secret {name} in {tenant}")
    if found["metadata"].get("labels", {}).get(names.BUILD_SECRET_LABEL) != "true":
        raise Refused.because(
            WHERE, f"the Secret {name} is not given to builds: it has no label {names.BUILD_SECRET_LABEL}=true"
        )
    return found


def parts(found: Object) -> set[str]:
    """Return what a log may tell of a Secret's values: what their lines name, the lines, the whole."""
    values = (base64.b64decode(value).decode(errors="replace") for value in found.get("data", {}).values())
    return {part for value in values for part in _telling(value) if len(part) <= LONGEST}


def copy_name(attempt: str, handed: Handed) -> str:
    """Return the name of an attempt's copy of a Secret; `attempt` is its own name."""
    return f"{attempt}-{names.sha256(handed.secret)[7:15]}"


def copied(owner: Object, handed: Handed, found: Object) -> Object:
    """Return an attempt's copy of a Secret, owned by its Job: removed with it at the latest."""
    meta = owner["metadata"]
    return {
        "apiVersion": SECRET.api_version,
        "kind": SECRET.kind,
        "metadata": {
            "name": copy_name(meta["name"], handed),
            "namespace": meta["namespace"],
            "labels": dict(meta.get("labels", {})),
            "ownerReferences": [conditions.owner(owner)],
        },
        "type": "Opaque",
        "immutable": True,
        "data": dict(found.get("data", {})),
    }


def volumes(attempt: str, handed: tuple[Handed, ...]) -> list[Object]:
    """Return the volumes of an attempt's Pod with these Secrets; it waits until the copies are there."""
    return [
        {"name": _volume(one), "secret": {"secretName": copy_name(attempt, one), "defaultMode": READABLE}}
        for one in handed
    ]


def mounts(handed: tuple[Handed, ...], to: Literal["build", "fetch"]) -> list[Object]:
    """Return what of these volumes who fetches has, or who builds."""
    return [{"name": _volume(one), "mountPath": folder(one.secret), "readOnly": True} for one in handed if one.to == to]


def _volume(handed: Handed) -> str:
    return f"handed-{names.sha256(handed.secret)[7:15]}"


def _version(name: str, tenant: str, cluster: Cluster) -> str:
    """Return a Secret's version, of which nobody can guess what is in it; another one of the same name is another."""
    try:
        meta = read(name, tenant, cluster)["metadata"]
    except Refused:
        return ""
    return names.sha256([meta["uid"], meta["resourceVersion"]])[7:23]


def _telling(text: str) -> Iterator[str]:
    """Yield how a log may tell a Secret's value: by what its lines say, by these, whole."""
    lines = [line.strip() for line in text.splitlines()]
    for line in lines:
        yield from _SAID.findall(line)
    yield from lines
    yield text.strip()
