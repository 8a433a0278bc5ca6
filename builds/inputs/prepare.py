"""A Function's source made ready to build: its context in the store, its base image pinned.

Called by `start` before the Function is written, and by `converge` for Functions that a person applied. The result is
kept on the Function, so that a base image's tag that moves rebuilds nothing by itself.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from knative_lambda.builds.choice import Choice
from knative_lambda.builds.images.registry import Registry
from knative_lambda.builds.inputs.archive import Packed
from knative_lambda.builds.jobs import given
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Refused, Unavailable
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

YOUNG = timedelta(hours=12)
"""Half of what `handler/upkeep/retention.py` leaves to a context before it may go."""


class Source(NamedTuple):
    """What is known of a Function's source."""

    context: str
    """The hash of its build context; "" for a ready image."""
    auto: Choice
    """What ``auto`` comes to for it."""
    commit: str = ""
    """Its commit, where it is a repository's, and that is known."""


@dataclass(frozen=True)
class Inputs:
    """What a Function's source was prepared into."""

    of: str
    """The hash of what was prepared: runtime, source, entrypoint, rebuild."""
    context: str
    """``sha256:…`` of the build context; "" where the source is an image."""
    base: str
    """The base image by digest; "" where the runtime has none."""
    cause: str
    """What asked for it: an event, or a generation of the Function. What failed is tried again for a new one."""
    cancelled: str = ""
    """The event that asked not to build it; "" where none did."""
    auto: Choice = field(default_factory=Choice)
    """What ``auto`` comes to for it."""
    lost: str = ""
    """The Build whose image the registry was found to have no more; "" where it was not asked, or has it."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """The version of each Secret that its build is given; "" for one that may not be had."""
    indexes: Mapping[str, Any] = field(default_factory=dict)
    """The package index that the installation had for it, where it names none itself."""
    moved: str = ""
    """The base that it was built upon until that moved, where it follows; "" where it did not."""
    commit: str = ""
    """The commit of a git repository that is meant; "" where its Build is to find that out, and for other sources."""

    def dumps(self) -> str:
        """Return the annotation's value."""
        return json.dumps(asdict(self), sort_keys=True)


def recorded(annotations: Mapping[str, str], spec: Mapping[str, Any]) -> Inputs | None:
    """Return what the annotations say, if it is of this very spec."""
    inputs = _loads(annotations)
    return inputs if inputs is not None and inputs.of == fingerprint(spec) else None


def recorded_auto(annotations: Mapping[str, str], context: str) -> Choice:
    """Return what was found out about a context, whatever else of the spec was changed since."""
    inputs = _loads(annotations)
    return inputs.auto if inputs is not None and inputs.context == context else Choice()


def lost(annotations: Mapping[str, str]) -> str:
    """Return the Build that is recorded as having lost its image, or ""."""
    inputs = _loads(annotations)
    return inputs.lost if inputs else ""


def _loads(annotations: Mapping[str, str]) -> Inputs | None:
    try:
        raw = json.loads(annotations.get(names.INPUT_ANNOTATION, ""))
        auto = Choice(**raw.get("auto", {}))
        rest = (
            raw.get("cancelled", ""),
            auto,
            raw.get("lost", ""),
            dict(raw.get("secrets", {})),
            dict(raw.get("indexes", {})),
            raw.get("moved", ""),
            raw.get("commit", ""),
        )
        inputs = Inputs(raw["of"], raw["context"], raw["base"], raw["cause"], *rest)
    except (ValueError, TypeError, KeyError):
        return None
    return inputs


def fingerprint(spec: Mapping[str, Any]) -> str:
    """Return the hash of the part of a spec that is prepared."""
    always = {field: spec.get(field) for field in ("runtime", "source", "entrypoint", "rebuild")}
    settings = given.of(spec, {})
    return names.sha256(always | ({"build": settings} if settings else {}))


def recorded_context(annotations: Mapping[str, str]) -> str:
    """Return the context that the annotations name, whatever spec they are of; "" for none."""
    inputs = _loads(annotations)
    return inputs.context if inputs is not None else ""


def put_context(packed: Packed, function: tuple[str, str], store: Store, now: datetime, known: str = "") -> str:
    """Put a context (of `source.context`) into the store and return its hash; `function` is tenant and name.

    `known` is the context on the Function's record: no other is looked for, as a look at what is not there costs more
    than a small context does.

    One that is there already is written again when it has aged: what is young is never removed as unused, and until the
    Function that names it is written nothing else says that it is used.
    """
    key = keys.context(*function, packed.digest.removeprefix("sha256:"))
    found = store.stat(key) if known == packed.digest else None
    if found is None or found.modified < now - YOUNG:
        store.put(key, packed.body)
    return packed.digest


def inputs(
    spec: Mapping[str, Any],
    source: Source,
    cause: str,
    before: Inputs | None,
    base: Callable[[], str],
) -> Inputs:
    """Return the inputs of a spec; `source` is what is known of its source.

    The base image is resolved by `base` once per source: where `before` is of the same spec, its digest is kept, and so
    is that nobody had looked at the source, unless a layer is asked for.
    """
    of, (context, auto, commit) = fingerprint(spec), source
    if before is not None and (before.of, before.context) == (of, context):
        is_known = before.auto.builder != "" or spec.get("builder") == "layer"
        return replace(before, cause=cause, cancelled="", moved="", auto=auto if is_known else before.auto)
    return Inputs(of, context, base() if context else "", cause, auto=auto, commit=commit)


def pin(image: str, registry: Registry) -> str:
    """Return an image reference by digest; raise `Unavailable` ("registry") where it cannot be resolved."""
    if not image or "@" in image:
        return image
    try:
        digest = registry.digest(image)
    except Refused as refused:  # nothing is wrong with the source
        raise Unavailable("registry", refused.faults[0].message) from refused
    if digest is None:
        raise Unavailable("registry", f"there is no base image {image}")
    repository, _, tag = image.rpartition(":")
    return f"{image if '/' in tag else repository}@{digest}"
