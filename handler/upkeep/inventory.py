"""What there is of a tenant, and what its objects name: the two lists that `retention` compares.

Called by `retention` alone. Nothing here removes anything. A listing that fails raises what the port raises.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property

from knative_lambda.builds import record
from knative_lambda.builds.images.registry import Registry
from knative_lambda.deploy.cluster import BUILD, FUNCTION, KNATIVE_SERVICE, REVISION, Cluster, Object
from knative_lambda.handler.upkeep.expiry import Past, points_to
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store, Stored

_ATTEMPT = re.compile(r"([a-z0-9-]+-[a-z2-7]{16})-[0-9]+")
"""The tag of an attempt, or the name of its log: the Build's name and a number. Other tags are not ours to remove."""
_MENTIONED = re.compile(rf"sha256:[0-9a-f]{{64}}|(?<=:){_ATTEMPT.pattern}")


@dataclass(frozen=True)
class There:
    """What there is of a tenant."""

    tenant: str
    contexts: list[Stored]
    logs: list[Stored]
    tombstones: list[Stored]
    retirements: list[Stored]
    tags: dict[str, list[str]] = field(default_factory=dict)
    """By function, of those whose repositories were asked this time."""

    @classmethod
    def of(cls, tenant: str, store: Store) -> "There":
        """Return what lies in the store; no tags yet."""
        return cls(
            tenant,
            contexts=list(store.list(keys.contexts(tenant))),
            logs=list(store.list(keys.logs(tenant))),
            tombstones=list(store.list(keys.tombstones(tenant))),
            retirements=list(store.list(keys.retirements(tenant))),
        )

    @cached_property
    def functions(self) -> set[str]:
        """Return the functions that may have images: those with a context, or with Builds that were removed."""
        return {function_of(stored) for stored in (*self.contexts, *self.retirements)}

    @cached_property
    def last_written(self) -> dict[str, datetime]:
        """Return when something of a function was put into the store last."""
        newest: dict[str, datetime] = {}
        for stored in (*self.contexts, *self.logs, *self.tombstones, *self.retirements):
            function = function_of(stored)
            newest[function] = max(stored.modified, newest.get(function, stored.modified))
        return newest

    @cached_property
    def retired(self) -> dict[str, Stored]:
        """Return what says that a Build was removed because it had had its time, by the Build's name."""
        return {retired_build(stored): stored for stored in self.retirements}

    @cached_property
    def _buried(self) -> dict[str, datetime]:
        deletions = [stored for stored in self.tombstones if file_of(stored).startswith(keys.DELETED)]
        return {function_of(stored): stored.modified for stored in deletions}

    @cached_property
    def _retired_contexts(self) -> set[tuple[str, str]]:
        return {retired_context(stored) for stored in self.retirements}

    def explains_context(self, stored: Stored) -> bool:
        """Say whether it is known why nothing names a context."""
        return self._was_buried(stored) or context_of(stored) in self._retired_contexts

    def explains_log(self, stored: Stored) -> bool:
        """Say whether it is known why a log's Build is gone."""
        return self._was_buried(stored) or build_of(file_of(stored)) in self.retired

    def explains_tag(self, function: str, tag: str) -> bool:
        """Say whether it is known why an image's Build is gone: that was removed, or its function and nothing since."""
        buried = self._buried.get(function)
        return build_of(tag) in self.retired or (buried is not None and self.last_written[function] <= buried)

    def _was_buried(self, stored: Stored) -> bool:
        buried = self._buried.get(function_of(stored))
        return buried is not None and stored.modified <= buried


@dataclass(frozen=True)
class Marks:
    """What a tenant's objects name."""

    functions: set[str] = field(default_factory=set)
    contexts: set[tuple[str, str]] = field(default_factory=set)
    """Function and hash."""
    builds: set[str] = field(default_factory=set)
    dependencies: set[str] = field(default_factory=set)
    """The images of installed dependencies that Builds name."""
    building: set[str] = field(default_factory=set)
    """Functions with a Build that has not ended: it may push what is there already, under another tag."""
    past: dict[str, list[Past]] = field(default_factory=lambda: defaultdict(list))
    """The Builds of each Function, by its UID."""
    used: dict[str, set[str]] = field(default_factory=dict)
    """The Builds that each Function points to, by its UID."""

    def orphans(self, tags: Iterable[str]) -> set[str]:
        """Return the tags of attempts whose Build is gone."""
        return {tag for tag in tags if _ATTEMPT.fullmatch(tag) and build_of(tag) not in self.builds}


@dataclass(frozen=True)
class Named:
    """The images that any tenant's objects name: digests, and tags of attempts."""

    run: set[str] = field(default_factory=set)
    """By Functions, Services and Revisions."""
    built: set[str] = field(default_factory=set)
    """By Builds."""

    @property
    def running(self) -> set[str]:
        """Return what may be run: digests, and the Builds of tags."""
        return {word if word.startswith("sha256:") else build_of(word) for word in self.run}


def marks(tenant: str, named: Named, cluster: Cluster) -> Marks:
    """Return a tenant's marks; add the images that its objects mention, which may be another tenant's, to `named`."""
    found = Marks()
    for function in cluster.list(FUNCTION, tenant):
        meta, mentioned = function["metadata"], _mentioned(function)
        found.functions.add(meta["name"])
        found.contexts.update((meta["name"], word) for word in mentioned)
        found.used[meta["uid"]] = points_to(function)
        named.run.update(mentioned)
    for build in cluster.list(BUILD, tenant):
        past = Past.of(build)
        found.builds.add(past.name)
        found.dependencies.add(build["spec"].get("dependencies", ""))
        found.contexts.add((past.function, past.context))
        found.past[past.function_uid].append(past)
        named.built.update(_mentioned(build))
        if record.phase(build) not in record.TERMINAL:
            found.building.add(past.function)
    for kind in (KNATIVE_SERVICE, REVISION):
        named.run.update(*map(_mentioned, cluster.list(kind, tenant)))
    return found


def digests(repository: str, tags: Iterable[str], registry: Registry) -> dict[str, str]:
    """Return what each tag names; one that names nothing any more, though it is listed, is left out."""
    found = ((tag, registry.digest(f"{repository}:{tag}")) for tag in tags)
    return {tag: digest for tag, digest in found if digest is not None}


def build_of(attempt: str) -> str:
    """Return the name of an attempt's Build; of a log's file too."""
    return attempt.rpartition("-")[0]


def function_of(stored: Stored) -> str:
    """Return the function that something in the store is of."""
    return stored.key.split("/")[2]


def file_of(stored: Stored) -> str:
    """Return the last segment of a key."""
    return stored.key.rpartition("/")[2]


def context_of(stored: Stored) -> tuple[str, str]:
    """Return the function and the hash of a context."""
    return function_of(stored), "sha256:" + file_of(stored).removesuffix(".tar.gz")


def retired_build(stored: Stored) -> str:
    """Return the name of the Build that was removed."""
    return file_of(stored).rpartition(".")[0]


def retired_context(stored: Stored) -> tuple[str, str]:
    """Return the function and the hash of the context of the Build that was removed."""
    return function_of(stored), "sha256:" + file_of(stored).rpartition(".")[2]


def _mentioned(body: Object) -> set[str]:
    """Return the digests, and the tags of attempts, that stand anywhere in an object."""
    return {found[0] for found in _MENTIONED.finditer(json.dumps(body))}
