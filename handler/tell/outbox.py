"""Notifications, sent after the answer: from a Function's status to its tenant's Broker, then crossed out.

`converge` says which Function owes something; one thread sends, so that no request ever waits for a Broker, and no
handler posts to one while it serves. Each is sent at least once with the same id: it is crossed out only once the
Broker took it. What it does not take is offered again while the process lives, and the sweep finds what is left.

Whoever else is told has an entry of their own for it (`notices.py`), written before it is offered to the Broker; then
it is marked as handed over, or crossed out.
"""

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from knative_lambda.deploy.cluster import FUNCTION, Cluster, Object
from knative_lambda.handler.tell.dues import Dues
from knative_lambda.handler.tell.notices import Notices
from knative_lambda.handler.tell.telling import message
from knative_lambda.schemas import trace
from knative_lambda.schemas.errors import Conflict, Temporary, Unavailable
from knative_lambda.storage import keys
from knative_lambda.storage.store import Store

log = logging.getLogger(__name__)
Post = Callable[[str, dict[str, str], bytes], int]
"""See `Broker.post`. What only counts answers may return 0 for none, and 5xx, instead of raising `Unavailable`."""
Outcome = Literal["sent", "later", "refused"]
Notified = Callable[[str, Outcome], None]
"""Told the type of a notification that was offered, and what became of it; must be quick and must not raise."""
FAREWELL_LIMIT = 4 * 1024 * 1024
PASSING = (404, 408, 409, 429)
"""What Knative's Brokers answer for a while: not there yet, too busy."""
PAUSE = 5
"""Seconds that a tenant's Broker is left alone after an answer like these."""
TRIES = 5
TURN = 5.0
"""Seconds after which a tenant whose Broker is slow lets the others have their turn."""


@dataclass(frozen=True)
class Offered:
    """What became of notifications that were offered in their order."""

    left: list[Object]
    """Those that are still owed: the Broker took none of them yet."""
    wait: int = 0
    """Seconds until the first of them should be offered again; 0 where there is none."""


class Outbox:
    """Sends what Functions owe, in a thread of its own; `listeners` are told each type and what became of it.

    `wakes` are told of each Function of which `notices` may owe something.
    """

    def __init__(  # noqa: PLR0913 - the ports, and the switch for tests
        self,
        cluster: Cluster,
        store: Store,
        broker_url: str,
        send: Post,
        listeners: Sequence[Notified] = (),
        *,
        clock: Callable[[], float] = time.monotonic,
        notices: Notices | None = None,
        wakes: Sequence[Callable[[str, str], None]] = (),
    ) -> None:
        self._cluster, self._store, self._broker_url, self._send = cluster, store, broker_url, send
        self._listeners, self._clock = listeners, clock
        self._notices, self._wakes = notices, wakes
        self._dues = Dues(clock)
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def owes(self, tenant: str, name: str) -> None:
        """Note that a Function owes something; never blocks."""
        self._dues.add((tenant, name))

    def stop(self, timeout: float) -> None:
        """Send what is due, for `timeout` seconds at most; the sweep of another process finds what is left."""
        self._dues.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def deliver(self, tenant: str, name: str) -> int:
        """Send what a Function owes now and cross out what the Broker took.

        Returns in how many seconds there is something to offer again, 0 where nothing is left. Raises `Temporary`
        where it cannot be read what is owed, or not be written what was sent.
        """
        try:
            return self._deliver(tenant, name)
        finally:
            for wake in self._wakes:
                wake(tenant, name)

    def _deliver(self, tenant: str, name: str) -> int:
        function = self._cluster.get(FUNCTION, tenant, name)
        try:  # of an older Function of this name, so they go first
            wait = self._bid_farewell(tenant, name, function["metadata"]["uid"] if function else "")
        except Unavailable as error:
            log.warning("farewells of %s/%s wait: %s", tenant, name, error)
            wait = error.retry_after
        owed = function.get("status", {}).get("outbox", []) if function else []
        if function is None or not owed:
            return wait
        with trace.within(trace.of(function)):
            handed = self._hand_over(owed, tenant, name)
            offered = self._offer(owed, tenant, name)
        left = {note["id"] for note in offered.left}
        self._cross_out(function, {note["id"] for note in owed} - left, handed)
        return max(wait, offered.wait)

    def _hand_over(self, notes: list[Object], tenant: str, name: str) -> set[str]:
        """Have written down what others than the Broker are owed; return the ids of what was not handed over before."""
        new = [note for note in notes if not note.get("handed")]
        return self._notices.hand_over(new, tenant, name) if self._notices and new else set()

    def _cross_out(self, function: Object, told: set[str], handed: set[str]) -> None:
        """Write that notifications were sent; where somebody wrote meanwhile, read again: none is sent twice for it."""
        meta = function["metadata"]
        for _ in range(TRIES):
            owed = function.get("status", {}).get("outbox", [])
            left = [_marked(note, handed) for note in owed if note["id"] not in told]
            if left == owed:
                return
            status = {key: value for key, value in function["status"].items() if key != "outbox"}
            status |= {"outbox": left} if left else {}
            try:
                self._cluster.replace_status(FUNCTION, {**function, "status": status})
            except Conflict:
                found = self._cluster.get(FUNCTION, meta["namespace"], meta["name"])
                if found is None:
                    return
                function = found
            else:
                return
        raise Temporary(f"too many writers of {meta['namespace']}/{meta['name']} at once")

    def _bid_farewell(self, tenant: str, name: str, living: str) -> int:
        """Tell what is owed for Functions of this name that are no more, then forget it; return as `deliver` does."""
        found = self._store.list(f"{keys.farewells(tenant)}{name}/")
        for stored in sorted(found, key=lambda each: each.modified):
            if stored.key == keys.farewell(tenant, name, living or "-"):  # it has not been deleted yet
                continue
            body = self._store.get(stored.key, limit=FAREWELL_LIMIT)
            owed = json.loads(body) if body else []
            if handed := self._hand_over(owed, tenant, name):
                owed = [_marked(note, handed) for note in owed]
                self._store.put(stored.key, json.dumps(owed).encode())
            offered = self._offer(owed, tenant, name)
            if offered.wait:
                return offered.wait
            self._store.delete(stored.key)
        return 0

    def _offer(self, notes: list[Object], tenant: str, name: str) -> Offered:
        """Send notifications in their order, for a turn, or up to the first that the Broker does not take now."""
        end = self._clock() + TURN
        for number, note in enumerate(notes):
            if self._clock() >= end:
                return Offered(notes[number:], 1)
            if wait := self._post(note, tenant, name):
                return Offered(notes[number:], wait)
        return Offered([])

    def _post(self, note: Object, tenant: str, name: str) -> int:
        """Send a notification; return 0 when it is done with: told, or never to be taken. Else, how long to wait."""
        outcome: Outcome = "refused"
        wait, why = 0, "no event can be made of it"
        try:
            headers, body = message(note, tenant, name)
            code = self._send(f"{self._broker_url}/{tenant}/default", headers, body)
            outcome, why = meaning(code), f"answered {code or 'nothing'}"
            wait = PAUSE if outcome == "later" else 0
        except Unavailable as error:
            outcome, wait, why = "later", error.retry_after, str(error)
        except (LookupError, TypeError, ValueError):  # somebody else wrote the status; what is behind it goes on
            log.exception("a notification of %s/%s is none", tenant, name)
        kind = str(note.get("type", ""))
        if outcome != "sent":
            level = logging.WARNING if outcome == "later" else logging.ERROR
            log.log(level, "%s of %s/%s: %s: %s", kind, tenant, name, outcome, why)
        for listener in self._listeners:
            listener(kind, outcome)
        return wait

    def _run(self) -> None:
        while (due := self._dues.take()) is not None:
            try:
                wait = self.deliver(*due)
            except Temporary as error:
                log.warning("notifications of %s/%s wait: %s", *due, error)
                wait = error.retry_after
            except Exception:  # one Function's notifications must not keep the others' from being sent
                log.exception("notifications of %s/%s cannot be sent", *due)
                continue
            if wait:
                self._dues.put_off(due, wait)


def _marked(note: Object, handed: set[str]) -> Object:
    return {**note, "handed": True} if note["id"] in handed else note


def meaning(code: int) -> Outcome:
    """Return what a Broker's answer means for the event that was posted."""
    if 200 <= code < 300:  # noqa: PLR2004 (success, as HTTP has it)
        return "sent"
    final = 400 <= code < 500 and code not in PASSING  # noqa: PLR2004 (the sender's fault, as HTTP has it)
    return "refused" if final else "later"
