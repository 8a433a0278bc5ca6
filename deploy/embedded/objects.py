"""The `Cluster` port over SQLite: the objects of the embedded mode, and of the tests.

Joined by `handler` for `knative-lambda dev`. Any thread may call it, several processes may share its file, and what one
was told is stored outlives its being killed. Here are the port's words; what may become of an object is in
`deploy/objects.py`, how it is kept in `rows.py`.
"""

import sqlite3
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from knative_lambda.deploy import objects
from knative_lambda.deploy.cluster import NAMESPACE, Kind, Object, Page
from knative_lambda.deploy.embedded.rows import Rows, Verb, connect
from knative_lambda.schemas.errors import AlreadyExists, Conflict, Refused, Unavailable

Listener = Callable[[Verb, Kind, Object], None]


def random_uid(_kind: Kind, _body: Object) -> str:
    """Return a UID for a new object."""
    return str(uuid.uuid4())


class SQLiteCluster:
    """A `Cluster` in a file, or in memory where `path` is ``:memory:``.

    `validate` raises `Refused` for an object that its kind does not allow, and may fill in the kind's defaults. `now`
    and `new_uid` are switches for tests.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        validate: Callable[[Kind, Object], None] = lambda _kind, _body: None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        new_uid: Callable[[Kind, Object], str] = random_uid,
    ) -> None:
        self._validate = validate
        self._now = now
        self._new_uid = new_uid
        self._listeners: list[Listener] = []
        self._lock = threading.Lock()
        with _unavailable():
            self._db = connect(path)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def on_change(self, listener: Listener) -> None:
        """Have `listener` called after each change that was stored, in the thread that made it."""
        self._listeners.append(listener)

    def get(self, kind: Kind, namespace: str, name: str) -> Object | None:
        """Return the object, or None where there is none."""
        objects.check_address(kind, namespace, name)
        with self._rows() as rows:
            return rows.read(kind, namespace, name)

    def heads(self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None) -> list[Object]:
        """Return the objects that `list` does, of each its kind and metadata alone."""
        objects.check_address(kind, namespace)
        objects.check_labels(labels or {})
        with self._rows() as rows:
            return rows.heads(kind, namespace, labels or {})

    def page(self, kind: Kind, namespace: str, labels: Mapping[str, str], *, most: int, after: str = "") -> Page:
        """Return `most` of the objects that `list` does, those whose names come after `after`."""
        if after:
            objects.check_address(kind, namespace, after)
        objects.check_address(kind, namespace)
        objects.check_labels(labels)
        with self._rows() as rows:
            found = rows.select(kind, namespace, labels, most + 1, after)
        return Page(found[:most], found[most - 1]["metadata"]["name"] if len(found) > most else "")

    def list(
        self, kind: Kind, namespace: str, labels: Mapping[str, str] | None = None, *, most: int = 0
    ) -> list[Object]:
        """Return the objects of a namespace whose labels include `labels`, by name: the first `most`, all for 0."""
        objects.check_address(kind, namespace)
        objects.check_labels(labels or {})
        with self._rows() as rows:
            return rows.select(kind, namespace, labels or {}, most)

    def create(self, kind: Kind, body: Object) -> Object:
        """Create the object and return it as stored; raise `AlreadyExists` where the name is taken."""
        namespace, name = objects.check_new(kind, body)
        with self._transaction() as rows:
            if rows.read(kind, namespace, name) is not None:
                raise AlreadyExists(f'{kind.plural} "{name}" already exists')
            return self._create(rows, kind, body)

    def replace(self, kind: Kind, body: Object) -> Object:
        """Write metadata and spec of an object that was read before."""
        with self._transaction() as rows:
            live = self._live(rows, kind, body)
            new = objects.writable(body)
            self._validate(kind, new)  # or a default that it leaves out would make a new generation
            return self._write(rows, kind, objects.replaced(live, new), live)

    def replace_status(self, kind: Kind, body: Object) -> Object:
        """Write the status of an object that was read before, and nothing else."""
        with self._transaction() as rows:
            live = self._live(rows, kind, body)
            return self._write(rows, kind, objects.with_status(live, body), live)

    def apply(self, kind: Kind, body: Object) -> Object:
        """Write the fields of `body` as ours."""
        namespace, name = objects.check(kind, body)
        with self._transaction() as rows:
            live = rows.read(kind, namespace, name)
            objects.check_same(live, body)
            if live is None:
                stored = self._create(rows, kind, body)
            else:
                stored = self._write(rows, kind, objects.applied(live, rows.applied(live), body), live)
            rows.set_applied(stored, objects.writable(body))
            return stored

    def delete(self, kind: Kind, namespace: str, name: str, *, uid: str | None = None, version: str = "") -> None:
        """Delete the object and what it owns; already gone is success."""
        objects.check_address(kind, namespace, name)
        with self._transaction() as rows:
            live = rows.read(kind, namespace, name)
            if live is not None:
                objects.check_same(live, {"metadata": {"uid": uid, "resourceVersion": version}})
                rows.remove(kind, live)

    def pod_log(
        self,
        namespace: str,  # noqa: ARG002 - the port's
        pod: str,  # noqa: ARG002 - the same
        container: str,  # noqa: ARG002 - the same
        *,
        limit: int,  # noqa: ARG002 - the same
        seconds: int = 0,  # noqa: ARG002 - the same
    ) -> bytes | None:
        """Return None: no Pod runs here."""
        return None

    def _create(self, rows: Rows, kind: Kind, body: Object) -> Object:
        namespace = body["metadata"].get("namespace", "")
        if kind.namespaced and rows.read(NAMESPACE, "", namespace) is None:
            raise Refused.because("cluster", f'namespaces "{namespace}" not found')
        return self._write(rows, kind, objects.created(body, uid=self._new_uid(kind, body), now=self._time()), None)

    def _live(self, rows: Rows, kind: Kind, body: Object) -> Object:
        namespace, name = objects.check_read(kind, body)
        live = rows.read(kind, namespace, name)
        if live is None:
            raise Conflict(f'{kind.plural} "{name}" is gone')
        objects.check_same(live, body)
        return live

    def _write(self, rows: Rows, kind: Kind, new: Object, live: Object | None) -> Object:
        self._validate(kind, new)
        return rows.write(kind, new, live)

    def _time(self) -> str:
        return self._now().strftime("%Y-%m-%dT%H:%M:%SZ")

    @contextmanager
    def _rows(self) -> Iterator[Rows]:
        with self._lock, _unavailable():
            yield Rows(self._db, self._time)

    @contextmanager
    def _transaction(self) -> Iterator[Rows]:
        with self._rows() as rows, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            yield rows
        for change in rows.changes:
            for listener in self._listeners:
                listener(*change)


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as error:
        raise Unavailable("cluster", str(error)) from error
