"""What is told of builds and functions in the words of CDEvents, which tools of continuous delivery share.

Called by `targets.py`. Version 0.4.1 of the specification, in the structured mode of its binding to CloudEvents
(https://github.com/cdevents/spec, `cloudevents-binding.md`): what its SDKs read. Pure, but for the moment.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from cloudevents.core.v1.event import CloudEvent

from knative_lambda.deploy.cluster import Object
from knative_lambda.handler.tell import telling
from knative_lambda.schemas import types
from knative_lambda.schemas.redaction import redacted

VERSION, OF_TYPE = "0.4.1", "0.2.0"
"""Of the specification, and in it of each type of event that is sent here."""
CHANGES = frozenset({"deployed", "upgraded", "rolledback"})
"""What is told of a function that is ready, as the notification's `change`; else that it can be used: ``published``."""


def told(note: Object, tenant: str, name: str) -> list[CloudEvent]:
    """Return the CDEvents of a notification, in their order; none for what CDEvents have no word for.

    Raises `LookupError` and the like where it is no notification.
    """
    return [_event(note, (tenant, name), *saying) for saying in _sayings(note, tenant, name)]


def purl(image: str) -> str:
    """Return the package URL of an image by digest; see https://github.com/package-url/purl-spec, type ``oci``."""
    repository, _, digest = image.partition("@")
    name = repository.rpartition("/")[2].partition(":")[0].lower()
    return f"pkg:oci/{quote(name)}@{quote(digest, safe='')}?repository_url={quote(repository, safe='/')}"


def _sayings(note: Object, tenant: str, name: str) -> Iterator[tuple[str, str, Object]]:
    """Yield type, subject's id and content of what is to be said."""
    kind, data = note["type"], note["data"]
    environment = {"environment": {"id": tenant}}
    if kind in (types.BUILD_QUEUED, types.BUILD_STARTED):
        yield f"build.{'queued' if kind == types.BUILD_QUEUED else 'started'}", data["build"], {}
    elif kind == types.BUILD_COMPLETE:
        artifact = purl(data["image"])
        yield "build.finished", data["build"], {"artifactId": artifact}
        if data.get("inputHash"):
            yield "artifact.packaged", artifact, {"change": {"id": data["inputHash"]}}
        yield "artifact.published", artifact, {}
    elif kind in (types.BUILD_FAILED, types.BUILD_CANCELLED):
        yield "build.finished", data["build"], {}
    elif kind == types.FUNCTION_READY:
        change = data.get("change") if data.get("change") in CHANGES else "published"
        content = environment if change == "published" else {**environment, "artifactId": purl(data["image"])}
        yield f"service.{change}", f"{tenant}/{name}", content
    elif kind == types.FUNCTION_DELETED:
        yield "service.removed", f"{tenant}/{name}", environment


def _event(note: Object, place: tuple[str, str], kind: str, subject: str, content: Object) -> CloudEvent:
    now = datetime.now(UTC)
    context: dict[str, Any] = {
        "version": VERSION,
        "id": f"{note['id']}.{kind}",
        "source": telling.source(*place),
        "type": f"dev.cdevents.{kind}.{OF_TYPE}",
        "timestamp": now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    }
    said = {
        "context": context,
        "subject": {"id": subject, "type": kind.partition(".")[0], "content": content},
        "customData": redacted(note["data"]),
        "customDataContentType": "application/json",
    }
    attributes = {key: context[key] for key in ("id", "source", "type")}
    attributes |= {"specversion": "1.0", "subject": subject, "time": now, "datacontenttype": "application/json"}
    return CloudEvent({**attributes, **telling.traced()}, said)
