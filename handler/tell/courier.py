"""The couriers: one for each target, in a thread of its own, who brings what it is owed, each function's in its order.

Joined in `senders.py`. A target that does not answer is left alone for a while, which grows; then another function has
its turn, so that an event which it never takes keeps only those of its own function waiting. What is owed lies in the
store, so the process may die at any line: an event may be told twice, with the same id.
"""

import logging
import threading
import time
from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from pathlib import Path

from knative_lambda.handler.tell import hooks, notices, telling
from knative_lambda.handler.tell.dues import Dues
from knative_lambda.handler.tell.hooks import Hook
from knative_lambda.handler.tell.notices import Fate, Notices, Owed
from knative_lambda.handler.tell.outbox import Post, meaning
from knative_lambda.handler.tell.targets import Target
from knative_lambda.schemas.errors import Temporary

PAUSE, LONGEST = 5, 300
"""Seconds that a target is left alone that did not take something, doubled with each further time, and their bound."""
HEALS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
"""Refusals of a webhook that are not for ever: it may know an older key, or not the new one yet."""
log = logging.getLogger(__name__)
Send = Callable[[str, Owed, bytes], Fate]
"""Send an event of a tenant's to a target and say what became of it; raises `Temporary`, where there is no answer."""


class Courier:
    """Brings one `target` what it is owed."""

    def __init__(
        self, target: Target, owed: Notices, send: Send, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.target = target
        self._notices, self._send = owed, send
        self._dues = Dues(clock)
        self._failures = 0
        self._thread = threading.Thread(target=self._run, name=f"courier-{target.name}", daemon=True)

    def start(self) -> None:
        """Start bringing."""
        self._thread.start()

    def owes(self, tenant: str, name: str) -> None:
        """Note that something of a Function may be owed; never blocks."""
        if self.target.hears_of(tenant):
            self._dues.add((self.target.name, f"{tenant}/{name}"))

    def close(self) -> None:
        """Bring what is due now, and no more; the sweep of another process finds what is left."""
        self._dues.close()

    def join(self, timeout: float) -> None:
        """Wait until that is done, for `timeout` seconds at most."""
        if self._thread.is_alive():
            self._thread.join(timeout)

    def deliver(self, tenant: str, name: str) -> int:
        """Bring what is owed of a Function, up to the first that the target does not take now.

        Returns in how many seconds that is to be offered again, 0 where nothing is left. Raises `Temporary` where the
        store does not answer.
        """
        owed = self._notices.owed(self.target, tenant, name)
        done: set[str] = set()
        for entry in owed:
            if entry.digest in done:  # two processes handed it over
                self._notices.store.delete(entry.key)
                continue
            body = self._notices.store.get(entry.key, limit=notices.LIMIT)
            if body is None:
                continue
            fate = self._offer(tenant, name, entry, body)
            self._notices.tell(self.target, fate)
            if fate == "later":
                self._failures += 1
                return int(min(PAUSE * 2 ** (self._failures - 1), LONGEST))
            self._failures = 0
            done.add(entry.digest)
            self._notices.store.delete(entry.key)
        return 0

    def _offer(self, tenant: str, name: str, entry: Owed, body: bytes) -> Fate:
        try:
            fate, why = self._send(tenant, entry, body), "as it answered"
        except Temporary as error:
            fate, why = "later", str(error)
        if fate != "sent":
            level = logging.WARNING if fate == "later" else logging.ERROR
            log.log(level, "%s of %s/%s for %s: %s: %s", entry.key, tenant, name, self.target.name, fate, why)
        return fate

    def _run(self) -> None:
        while (due := self._dues.take()) is not None:
            tenant, _, name = due[1].partition("/")
            try:
                wait = self.deliver(tenant, name)
            except Temporary as error:
                log.warning("what %s is owed of %s/%s waits: %s", self.target.name, tenant, name, error)
                wait = error.retry_after
            except Exception:  # one Function's events must not keep the others' from being brought
                log.exception("what %s is owed of %s/%s cannot be brought", self.target.name, tenant, name)
                continue
            if wait:
                self._dues.put_off(due, wait)


def by_hook(hook: Hook, target: Target, folder: Path, now: Callable[[], datetime]) -> Send:
    """Return what sends to a webhook, signed with its secrets in a folder."""

    def send(_: str, entry: Owed, body: bytes) -> Fate:
        headers = hooks.signed(f"msg_{entry.digest}", now(), body, hooks.secrets(folder, target.name))
        code = hook.post(target.url, headers, body)
        return "later" if code in HEALS else meaning(code)

    return send


def by_broker(post: Post, broker_url: str) -> Send:
    """Return what sends to the Broker of the tenant concerned."""

    def send(tenant: str, _: Owed, body: bytes) -> Fate:
        return meaning(post(f"{broker_url}/{tenant}/default", {"content-type": telling.STRUCTURED}, body))

    return send
