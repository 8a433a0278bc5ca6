"""The postman: sends the events of DeadLetters again, and tells tenants of those that came, in a thread of his own.

`letters.py` says which letters to look at; what is wanted of one stands on it as a label, so that nothing is lost when
this process dies. Namespaces take turns, so that one with thousands of letters keeps nobody waiting; the rest of one
whose Broker does not answer waits for the sweep.

    the letter is read ─► posted to its namespace's own Broker ─► the Broker took it ─► deleted, as it was read

Cut off after the post, the event is sent again with the same id. One that ends as a dead letter again before its letter
is deleted finds the name taken: `deadletters.keep` writes into that letter, and so it is not the one that was read.
"""

import json
import logging
import threading
from enum import Enum
from http import HTTPStatus

from knative_lambda.deploy.cluster import DEAD_LETTER, Cluster, Object
from knative_lambda.handler import letters
from knative_lambda.handler.outbox import PASSING, Post
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Conflict, ProductError

MOST = 5_000
"""Letters of a namespace that wait here at once; those beyond are found by the sweep."""
STRUCTURED = "application/cloudevents+json"
log = logging.getLogger(__name__)


class Answer(Enum):
    """What a Broker makes of an event."""

    TAKEN = "taken"
    REFUSED = "refused"
    LATER = "later"


class Postman:
    """Looks at DeadLetters, one after the other; `product` is the product's namespace."""

    def __init__(self, cluster: Cluster, product: str, broker_url: str, send: Post) -> None:
        self._cluster, self._product, self._broker_url, self._send = cluster, product, broker_url, send
        self._waiting: dict[str, dict[str, None]] = {}
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="postman", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the letter at hand, within `timeout` seconds; the sweep finds the others."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        self._thread.join(timeout)

    def look_at(self, namespace: str, name: str) -> None:
        """Note that something may be wanted of a letter; never blocks, since the sweep finds what does not fit."""
        with self._changed:
            waiting = self._waiting.setdefault(namespace, {})
            if len(waiting) < MOST:
                waiting[name] = None
            self._changed.notify_all()

    def deliver(self, namespace: str, name: str) -> bool:
        """Do what is wanted of a letter; return False where its Broker takes nothing now."""
        letter = self._cluster.get(DEAD_LETTER, namespace, name)
        if letter is None:
            return True
        if letters.is_owed(letter):
            if self._post(namespace, "default", letters.word(letter)) == Answer.LATER:
                return False
            letter = self._cluster.replace(DEAD_LETTER, letters.without(letter, names.OWES_LABEL))
        return not letters.is_resent(letter) or self._is_resent(letter)

    def _is_resent(self, letter: Object) -> bool:
        meta, why_not = letter["metadata"], letters.obstacle(letter)
        if not why_not:
            broker = letters.broker(letter, self._product)
            answer = self._post(meta["namespace"], broker, letters.kept_event(letter))
            if answer == Answer.LATER:
                return False
            if answer == Answer.TAKEN:
                self._cluster.delete(
                    DEAD_LETTER, meta["namespace"], meta["name"], uid=meta["uid"], version=meta["resourceVersion"]
                )
                return True
            why_not = "not sent again: the Broker refuses it"
        self._cluster.replace(DEAD_LETTER, letters.without(letter, names.RESEND_LABEL, why_not))
        return True

    def _post(self, namespace: str, broker: str, event: Object) -> Answer:
        url = f"{self._broker_url}/{namespace}/{broker}"
        code = self._send(url, {"content-type": STRUCTURED}, json.dumps(event).encode())
        if HTTPStatus.OK <= code < HTTPStatus.MULTIPLE_CHOICES:
            return Answer.TAKEN
        log.warning("the Broker %s/%s answered %s to %s", namespace, broker, code or "nothing", event["type"])
        refused = HTTPStatus.BAD_REQUEST <= code < HTTPStatus.INTERNAL_SERVER_ERROR and code not in PASSING
        return Answer.REFUSED if refused else Answer.LATER

    def _run(self) -> None:
        while (due := self._next()) is not None:
            goes_on = True
            try:
                goes_on = self.deliver(*due)
            except Conflict as error:  # it was written meanwhile, and whoever wrote it is reported
                log.info("the letter %s/%s was changed: %s", *due, error)
            except ProductError as error:
                log.warning("the letters of %s wait for the sweep: %s", due[0], error)
                goes_on = False
            except Exception:
                log.exception("the letter %s/%s cannot be sent", *due)
            if not goes_on:
                with self._changed:
                    self._waiting.pop(due[0], None)

    def _next(self) -> tuple[str, str] | None:
        """Return the next letter, of the namespace whose turn it is, once there is one; None when told to stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._waiting)
            if self._stopped:
                return None
            namespace, waiting = next(iter(self._waiting.items()))
            del self._waiting[namespace]
            name = next(iter(waiting))
            del waiting[name]
            if waiting:
                self._waiting[namespace] = waiting
            return namespace, name
