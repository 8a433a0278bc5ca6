"""What revisions a service has, in a file: the newest, and the newest that was ready.

Used by `serving.py`, so that after a restart the revision that was serving serves on.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from knative_lambda.deploy.cluster import Object


@dataclass(frozen=True)
class Made:
    """A revision: its name, and the template that it was made from."""

    name: str
    template: Object

    @property
    def digest(self) -> str:
        """Return the digest of its image, or ""."""
        return str(self.template["spec"]["containers"][0]["image"].partition("@")[2])


@dataclass(frozen=True)
class Revisions:
    """The revisions of the service with this UID."""

    uid: str
    number: int = 0
    created: Made | None = None
    ready: Made | None = None


@dataclass(frozen=True)
class Ledger:
    """A JSON file for each service, below `folder`."""

    folder: Path

    def read(self, namespace: str, name: str) -> Revisions | None:
        """Return what was written last, or None."""
        try:
            raw = json.loads(self._path(namespace, name).read_bytes())
        except FileNotFoundError:
            return None
        made = {key: Made(**raw[key]) if raw[key] else None for key in ("created", "ready")}
        return Revisions(raw["uid"], raw["number"], **made)

    def write(self, namespace: str, name: str, revisions: Revisions) -> None:
        """Keep `revisions`."""
        path = self._path(namespace, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        beside = path.with_suffix(".new")
        made = {"created": revisions.created, "ready": revisions.ready}
        raw = {key: {"name": each.name, "template": each.template} if each else None for key, each in made.items()}
        beside.write_text(json.dumps({"uid": revisions.uid, "number": revisions.number, **raw}), encoding="utf-8")
        beside.replace(path)

    def forget(self, namespace: str, name: str) -> None:
        """Remove what was written; already gone is success."""
        self._path(namespace, name).unlink(missing_ok=True)

    def images(self) -> set[str]:
        """Return the digests of the images of all revisions."""
        known = (self.read(path.parent.name, path.stem) for path in self.folder.glob("*/*.json"))
        return {
            made.digest for revisions in known if revisions for made in (revisions.created, revisions.ready) if made
        }

    def _path(self, namespace: str, name: str) -> Path:
        return self.folder / namespace / f"{name}.json"
