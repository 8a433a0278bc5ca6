"""The events that are still to be delivered, in SQLite: one row for each Trigger that an event has met.

Used by `eventing.py`. What was added outlives the process, and so does the time when it is due.
"""

import json
import sqlite3
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from knative_lambda.deploy.embedded.messages import Message

_TABLE = """
CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    namespace TEXT NOT NULL, trigger_name TEXT NOT NULL, trigger_uid TEXT NOT NULL,
    attributes TEXT NOT NULL, passed_on TEXT NOT NULL, body BLOB NOT NULL, hops INTEGER NOT NULL,
    dead INTEGER NOT NULL, attempt INTEGER NOT NULL, due REAL NOT NULL, claimed INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX IF NOT EXISTS by_due ON deliveries (claimed, due);
UPDATE deliveries SET claimed = 0;
"""
_FIELDS = "namespace, trigger_name, trigger_uid, attributes, passed_on, body, hops, dead, attempt, due"


@dataclass(frozen=True)
class Delivery:
    """An event on its way to the subscriber of a Trigger, or to its dead-letter sink where `dead`."""

    namespace: str
    trigger: str
    trigger_uid: str
    message: Message
    hops: int
    """How many more times a reply may come of it."""
    due: float
    """When it is to be tried, in seconds since the epoch."""
    dead: bool = False
    attempt: int = 0
    """Attempts that have failed."""
    id: int = 0


class Deliveries:
    """The table at `path`; any thread of one process may call it. What another had claimed is taken up again."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # what was committed outlives the process; only a power cut may take the last writes
        self._db.executescript("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;" + _TABLE)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Keep new deliveries, all or none."""
        self.finish(None, deliveries)

    def finish(self, done: Delivery | None, following: Iterable[Delivery] = ()) -> None:
        """Remove a delivery and keep those that come of it, in one step."""
        with self._lock, self._db:
            self._db.execute("BEGIN IMMEDIATE")
            for each in following:
                row = (
                    *(each.namespace, each.trigger, each.trigger_uid, json.dumps(dict(each.message.attributes))),
                    *(json.dumps(dict(each.message.passed_on)), each.message.body, each.hops, each.dead),
                    *(each.attempt, each.due),
                )
                self._db.execute(f"INSERT INTO deliveries ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row)  # noqa: S608 - a constant
            if done is not None:
                self._db.execute("DELETE FROM deliveries WHERE id = ?", (done.id,))

    def claim(self, now: float) -> Delivery | None:
        """Return the delivery that has been due for longest, for the caller alone, or None."""
        with self._lock:
            row = self._db.execute(
                "UPDATE deliveries SET claimed = 1 WHERE id ="  # noqa: S608 - a constant
                " (SELECT id FROM deliveries WHERE claimed = 0 AND due <= ? ORDER BY due, id LIMIT 1)"
                f" RETURNING id, {_FIELDS}",
                (now,),
            ).fetchone()
        if row is None:
            return None
        number, namespace, trigger, uid, attributes, passed_on, body, hops, dead, attempt, due = row
        message = Message(json.loads(attributes), body, json.loads(passed_on))
        return Delivery(namespace, trigger, uid, message, hops, due, bool(dead), attempt, number)

    def postpone(self, delivery: Delivery, attempt: int, due: float) -> None:
        """Give a claimed delivery back, to be tried when it is `due`."""
        with self._lock:
            self._db.execute(
                "UPDATE deliveries SET claimed = 0, attempt = ?, due = ? WHERE id = ?", (attempt, due, delivery.id)
            )

    def next_due(self) -> float | None:
        """Return when the next delivery that nobody has claimed is due, or None where there is none."""
        with self._lock:
            [due] = self._db.execute("SELECT min(due) FROM deliveries WHERE claimed = 0").fetchone()
        return None if due is None else float(due)

    def pending(self) -> int:
        """Return how many deliveries there are, claimed ones included."""
        with self._lock:
            [number] = self._db.execute("SELECT count(*) FROM deliveries").fetchone()
        return int(number)
