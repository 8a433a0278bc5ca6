"""The documents about an image: its bill of materials, and where it came from. Pure: equal input, equal bytes.

Called by `attest.py`, with what is on a Build's record.

https://cyclonedx.org/docs/1.6/json/, https://github.com/in-toto/attestation/blob/v1.1.0/spec/v1/statement.md and
https://slsa.dev/spec/v1.0/provenance say what they hold.
"""

import uuid
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from typing import Any
from urllib.parse import quote

from knative_lambda.builds.images.layers import canonical
from knative_lambda.builds.inputs.contents import Contents, Package
from knative_lambda.builds.record import INSTALLED
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import condition
from knative_lambda.schemas import names

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
PLACE = "https://knative-lambda.dev"
"""What the names of our builders begin with; nothing need answer there."""


def materials(build: Object, image: str, contents: Contents) -> bytes:
    """Return the bill of materials (CycloneDX 1.6, JSON) of an image by digest that a Build has made."""
    meta, spec, uid = build["metadata"], build["spec"], build["metadata"]["uid"]
    below = [*_images(build), *map(_package, contents.packages)]
    for number, part in enumerate(below):
        part["bom-ref"] = f"part-{number}"
    own = _image(image) | {"bom-ref": "image", "version": image.partition("@")[2]}
    files = [
        {"type": "file", "bom-ref": f"file-{number}", "name": path, "hashes": [_hash(digest)]}
        for number, (path, digest) in enumerate(sorted(contents.files.items()))
    ]
    return canonical(
        {
            "bomFormat": "CycloneDX",
            "specVersion": "1.6",
            "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{uid} {image}").urn,
            "version": 1,
            "metadata": {
                "timestamp": meta["creationTimestamp"],
                "tools": {"components": [{"type": "application", "name": names.MANAGER, "version": _version()}]},
                "component": own,
                "properties": [{"name": f"{names.PREFIX}context", "value": spec["context"]}],
            },
            "components": [*below, *files],
            "dependencies": [{"ref": "image", "dependsOn": [part["bom-ref"] for part in below]}],
            # what a base image holds, and what an open version came to, stands in no list
            "compositions": [{"aggregate": "incomplete", "assemblies": ["image"]}],
        }
    )


def provenance(build: Object, image: str, executor: str, bill: str) -> bytes:
    """Return the in-toto statement of where an image came from; `bill` is the digest of its bill of materials, or "".

    `executor` is the image that runs build Jobs.
    """
    meta, spec = build["metadata"], build["spec"]
    ran = [executor] if spec["builder"] == "kaniko" or "dependencies" in spec else []
    pushed, reused = condition(build, "Pushed"), condition(build, "Reused")
    details: dict[str, Any] = {
        "builder": {
            "id": f"{PLACE}/builders/{spec['builder']}",
            "version": {names.MANAGER: _version()},
            "builderDependencies": list(map(_described, ran)),
        },
        "metadata": {
            "invocationId": meta["uid"],
            "startedOn": build["status"].get("startTime", meta["creationTimestamp"]),
            "finishedOn": pushed["lastTransitionTime"],
        },
    }
    if bill:
        details["byproducts"] = [{"name": "bill of materials", "digest": _digest(bill)}]
    outside = {key: spec[key] for key in ("runtime", "entrypoint", "context")}
    inside = {"build": meta["name"], "attempt": build["status"].get("attempt", 0), "inputHash": spec["inputHash"]}
    if reused["status"] == "True":
        inside["servedBy"] = reused["message"]
    repository, _, digest = image.partition("@")
    return canonical(
        {
            "_type": STATEMENT,
            "subject": [{"name": repository, "digest": _digest(digest)}],
            "predicateType": PROVENANCE,
            "predicate": {
                "buildDefinition": {
                    "buildType": f"{PLACE}/builds/v1",
                    "externalParameters": {"tenant": meta["namespace"], "function": spec["function"], **outside},
                    "internalParameters": inside,
                    "resolvedDependencies": [
                        {"name": "context", "digest": _digest(spec["context"])},
                        *map(_described, _bases(build)),
                    ],
                },
                "runDetails": details,
            },
        }
    )


def _bases(build: Object) -> Iterator[str]:
    """Yield the images that a Build's is made upon: its runtime's base, and what its dependencies were installed in."""
    if build["spec"].get("base"):
        yield build["spec"]["base"]
    if "@" in (installed := condition(build, INSTALLED)["message"]):
        yield installed


def _images(build: Object) -> Iterator[dict[str, Any]]:
    for base in _bases(build):
        yield _image(base)


def _image(image: str) -> dict[str, Any]:
    repository, _, digest = image.partition("@")
    name = repository.rpartition("/")[2]
    place = f"pkg:oci/{quote(name, safe='')}@{quote(digest, safe='')}?repository_url={quote(repository, safe='')}"
    return {"type": "container", "name": repository, "version": digest, "hashes": [_hash(digest[7:])], "purl": place}


def _package(package: Package) -> dict[str, Any]:
    where = f"pkg:{package.kind}/{quote(package.name)}"
    if not package.version:
        return {"type": "library", "name": package.name, "purl": where}
    pinned = f"{where}@{quote(package.version, safe='')}"
    return {"type": "library", "name": package.name, "version": package.version, "purl": pinned}


def _described(image: str) -> dict[str, Any]:
    repository, _, digest = image.partition("@")
    return {"uri": f"oci://{repository}"} | ({"digest": _digest(digest)} if digest else {})


def _digest(digest: str) -> dict[str, str]:
    return {"sha256": digest.removeprefix("sha256:")}


def _hash(digest_hex: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": digest_hex}


def _version() -> str:
    try:
        return version(names.MANAGER)
    except PackageNotFoundError:  # a checkout that nobody has installed
        return "0"
