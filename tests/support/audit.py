"""What the API server's own audit log says: who was made and removed, and when a build's Pod ended.

For counts that must not rest on the product's word. The test cluster's `start.sh` says what is logged.
"""

import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

EXECUTOR = "kaniko"


@dataclass(frozen=True)
class Request:
    """One request, as the API server answered it."""

    at: datetime
    """When it came: before anything that it caused."""
    verb: str
    resource: str
    namespace: str
    name: str
    code: int
    body: Any
    """What was sent, where the log keeps it."""


@dataclass(frozen=True)
class Job:
    """A build Job's life: from its creation to its executor's end, or its Pod's removal."""

    build: str
    name: str
    namespace: str
    start: datetime
    end: datetime


class Audit:
    """The log since a moment; read anew each time it is asked."""

    def __init__(self, since: datetime) -> None:
        place = os.environ.get("AUDIT_LOG")
        if not place:
            pytest.fail("this cluster has no audit log (AUDIT_LOG is not set): nothing can be counted")
        self.path, self.since = Path(place), since

    def requests(self) -> Iterator[Request]:
        """Yield every request of the log, oldest first."""
        found = []
        for file in sorted(self.path.parent.glob(f"{self.path.stem}*{self.path.suffix}")):
            with file.open() as lines:
                found += [request for line in lines if (request := self._read(line)) is not None]
        yield from sorted(found, key=lambda request: request.at)

    def _read(self, line: str) -> Request | None:
        try:
            said = json.loads(line)
        except ValueError:  # its last line is being written
            return None
        at = datetime.fromisoformat(said["requestReceivedTimestamp"])
        if at < self.since:
            return None
        place = said.get("objectRef", {})
        resource = "/".join(place[part] for part in ("resource", "subresource") if place.get(part))
        name, namespace = place.get("name", ""), place.get("namespace", "")
        code = said.get("responseStatus", {}).get("code", 0)
        return Request(at, said["verb"], resource, namespace, name, code, said.get("requestObject"))

    def made(self, resource: str, namespaces: Collection[str]) -> list[Request]:
        """Return the requests that made an object of a kind in these namespaces."""
        return [request for request in self.requests() if _made(request, resource) and request.namespace in namespaces]

    def jobs(self, *namespaces: str) -> list[Job]:
        """Return the lives of the build Jobs, oldest first; one whose end is not in the log lives on."""
        starts: list[Request] = []
        ends: dict[tuple[str, str], list[datetime]] = defaultdict(list)
        for request in self.requests():
            if request.namespace not in namespaces:
                continue
            if _made(request, "jobs"):
                starts.append(request)
            elif _ended(request):
                ends[request.namespace, request.name.rpartition("-")[0]].append(request.at)
        for moments in ends.values():
            moments.sort()
        found = []
        for at, request in enumerate(starts):
            again = [s.at for s in starts[at + 1 :] if (s.name, s.namespace) == (request.name, request.namespace)]
            limit = min(again, default=datetime.max.replace(tzinfo=request.at.tzinfo))
            mine = [end for end in ends[request.namespace, request.name] if request.at < end < limit]
            end = mine[0] if mine else limit
            found.append(Job(request.name.rpartition("-")[0], request.name, request.namespace, request.at, end))
        return found


def most_at_once(jobs: list[Job]) -> int:
    """Return how many of these Jobs lived at the same time at most."""
    changes = sorted([(job.end, -1) for job in jobs] + [(job.start, 1) for job in jobs])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


def doubled(jobs: list[Job], struck: set[str]) -> list[str]:
    """Return what was built twice: a Job made again that nobody had struck, and two of one Build at the same time."""
    by_build: dict[str, list[Job]] = defaultdict(list)
    for job in jobs:
        by_build[job.build].append(job)
    found = []
    for mine in by_build.values():
        found += [f"{late.name} beside {early.name}" for early, late in pairwise(mine) if late.start < early.end]
        names = [job.name for job in mine]
        found += [f"{name} made {names.count(name)} times" for name in {*names} - struck if names.count(name) > 1]
    return found


def _made(request: Request, resource: str) -> bool:
    return request.verb == "create" and request.resource == resource and request.code == 201


def _ended(request: Request) -> bool:
    if request.code not in (200, 202):
        return False
    if request.resource == "pods" and request.verb == "delete":
        return True
    if request.resource != "pods/status" or not isinstance(request.body, dict):
        return False
    states = request.body.get("status", {}).get("containerStatuses", [])
    return any(s.get("name") == EXECUTOR and "terminated" in s.get("state", {}) for s in states)
