"""Objects as rows of SQLite, and what a cluster's garbage collector does to them.

Called by `objects.py` alone, which holds the lock and opens the transaction. What was committed outlives the process; a
power cut may take the last writes with it, but leaves no half one.
"""

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Literal, cast

from knative_lambda.deploy.cluster import KINDS, NAMESPACE, Kind, Object
from knative_lambda.deploy.objects import owners
from knative_lambda.schemas.errors import Refused, TooLarge

Verb = Literal["add", "update", "delete"]

_SET_UP = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS objects (
    kind TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL, uid TEXT NOT NULL UNIQUE,
    body TEXT NOT NULL, applied TEXT NOT NULL DEFAULT '{}', PRIMARY KEY (kind, namespace, name)
);
CREATE TABLE IF NOT EXISTS clock (id INTEGER PRIMARY KEY CHECK (id = 0), version INTEGER NOT NULL);
INSERT OR IGNORE INTO clock VALUES (0, 0);
"""
_LABELLED = " AND EXISTS (SELECT 1 FROM json_each(body, '$.metadata.labels') WHERE key = ? AND value = ?)"
_OWNED = "EXISTS (SELECT 1 FROM json_each(body, '$.metadata.ownerReferences') WHERE json_extract(value, '$.uid') = ?)"
_KINDS = {(kind.api_version, kind.kind): kind for kind in KINDS}
_BUSY_SECONDS = 10
_LIMIT_BYTES = 1536 * 1024
"""What an API server takes, or rather the etcd behind it."""


def connect(path: Path | str) -> sqlite3.Connection:
    """Open the file, and make its tables where there are none."""
    db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    db.executescript(_SET_UP)
    return db


class Rows:
    """The rows as one transaction reads and changes them; `changes` is what it did, in order."""

    def __init__(self, db: sqlite3.Connection, now: Callable[[], str]) -> None:
        self._db = db
        self._now = now
        self.changes: list[tuple[Verb, Kind, Object]] = []

    def read(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None."""
        return next(self._found("kind = ? AND namespace = ? AND name = ?", _column(kind), namespace, name), None)

    def select(
        self, kind: Kind, namespace: str, labels: Mapping[str, str], most: int = 0, after: str = ""
    ) -> list[Object]:
        """Return the objects of a namespace with these labels, by name after `after`: the first `most`, all for 0."""
        where, values = _selected(kind, namespace, labels)
        return list(self._found(f"{where} AND name > ?", *values, after, most=most))

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str]) -> list[Object]:
        """Return what `select` does, of each object its kind and metadata alone."""
        where, values = _selected(kind, namespace, labels)
        # `where` is made of the constants of this file
        rows = self._db.execute(
            f"SELECT json_extract(body, '$.metadata') FROM objects WHERE {where} ORDER BY name",  # noqa: S608
            values,
        )
        head = {"apiVersion": kind.api_version, "kind": kind.kind}
        return [head | {"metadata": json.loads(metadata)} for (metadata,) in rows.fetchall()]

    def applied(self, obj: Object) -> Object:
        """Return the fields of `obj` that the last `apply` set."""
        (fields,) = self._db.execute("SELECT applied FROM objects WHERE uid = ?", (_uid(obj),)).fetchone()
        return cast("Object", json.loads(fields))

    def set_applied(self, obj: Object, fields: Object) -> None:
        """Remember the fields of `obj` that an `apply` has set."""
        self._db.execute("UPDATE objects SET applied = ? WHERE uid = ?", (json.dumps(fields), _uid(obj)))

    def write(self, kind: Kind, new: Object, live: Object | None) -> Object:
        """Put `new` in the place of `live`, unless it is the same, and return what is stored."""
        if new == live:
            return new
        metadata = new["metadata"]
        (version,) = self._db.execute("UPDATE clock SET version = version + 1 RETURNING version").fetchone()
        try:
            body = json.dumps(new | {"metadata": metadata | {"resourceVersion": str(version)}}, allow_nan=False)
        except ValueError as error:  # one such row would fail every later query that looks into the rows
            raise Refused.because("cluster", f"{kind.kind} {metadata['name']} is no JSON: {error}") from error
        if len(body) > _LIMIT_BYTES:
            raise TooLarge.because("cluster", f"{kind.kind} {metadata['name']} is over {_LIMIT_BYTES} bytes")
        self._db.execute(
            "INSERT INTO objects (kind, namespace, name, uid, body) VALUES (?, ?, ?, ?, ?)"
            " ON CONFLICT (uid) DO UPDATE SET body = excluded.body",
            (_column(kind), metadata.get("namespace", ""), metadata["name"], _uid(new), body),
        )
        self.changes.append(("update" if live else "add", kind, json.loads(body)))
        stored: Object = json.loads(body)
        if "deletionTimestamp" in metadata or self._is_orphan(stored):
            self.remove(kind, stored)
        return stored

    def remove(self, kind: Kind, obj: Object) -> None:
        """Remove the object and what it owns; one with finalizers is marked, and goes when they are gone."""
        metadata = obj["metadata"]
        if metadata.get("finalizers"):
            if "deletionTimestamp" not in metadata:
                self.write(kind, obj | {"metadata": metadata | {"deletionTimestamp": self._now()}}, obj)
            return
        if not self._db.execute("DELETE FROM objects WHERE uid = ?", (_uid(obj),)).rowcount:
            return
        self.changes.append(("delete", kind, obj))
        content = self._found("namespace = ?", metadata["name"]) if kind == NAMESPACE else iter(())
        orphans = filter(self._is_orphan, self._found(_OWNED, _uid(obj)))
        for each in [*content, *orphans]:
            self.remove(_KINDS[each["apiVersion"], each["kind"]], each)

    def _is_orphan(self, obj: Object) -> bool:
        uids = json.dumps(owners(obj))
        alive = "SELECT count(*) FROM objects WHERE uid IN (SELECT value FROM json_each(?))"
        return uids != "[]" and self._db.execute(alive, (uids,)).fetchone() == (0,)

    def _found(self, where: str, *values: str, most: int = 0) -> Iterator[Object]:
        # `where` is made of the constants of this file
        select = f"SELECT body FROM objects WHERE {where} ORDER BY name LIMIT ?"  # noqa: S608
        rows = self._db.execute(select, (*values, most or -1))
        return (json.loads(body) for (body,) in rows.fetchall())


def _selected(kind: Kind, namespace: str, labels: Mapping[str, str]) -> tuple[str, tuple[str, ...]]:
    pairs = (part for label in labels.items() for part in label)
    return "kind = ? AND namespace = ?" + _LABELLED * len(labels), (_column(kind), namespace, *pairs)


def _column(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}"


def _uid(obj: Object) -> str:
    return cast("str", obj["metadata"]["uid"])
