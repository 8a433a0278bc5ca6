"""The postman: sends the events of DeadLetters again, and tells tenants of those that came, in a thread of his own.

`letters.py` says which letters to look at; what is wanted of one stands on it as a label, so that nothing is lost when
this process dies. Namespaces take turns, so that one with thousands of letters, or whose Broker does not answer, keeps
nobody waiting.

    the letter is read ─► posted to its namespace's own Broker ─► the Broker took it ─► deleted, as it was read

Cut off after the post, the event is sent again with the same id. One that ends as a dead letter again before its letter
is deleted finds the name taken: `deadletters.keep` writes into that letter, and so it is not the one that was read.
"""

import json
import logging
import threading

from knative_lambda.deploy.cluster import DEAD_LETTER, Cluster, Object
from knative_lambda.handler import letters
from knative_lambda.handler.tell import telling
from knative_lambda.handler.tell.dues import Dues
from knative_lambda.handler.tell.outbox import PAUSE, Outcome, Post, meaning
from knative_lambda.schemas import names
from knative_lambda.schemas.errors import Conflict, Temporary

log = logging.getLogger(__name__)


class Postman:
    """Looks at DeadLetters, one after the other; `product` is the product's namespace."""

    def __init__(self, cluster: Cluster, product: str, broker_url: str, send: Post) -> None:
        self._cluster, self._product, self._broker_url, self._send = cluster, product, broker_url, send
        self._dues = Dues()
        self._thread = threading.Thread(target=self._run, name="postman", daemon=True)

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def look_at(self, namespace: str, name: str) -> None:
        """Note that something may be wanted of a letter; never blocks."""
        self._dues.add((namespace, name))

    def stop(self, timeout: float) -> None:
        """Do what is wanted now, for `timeout` seconds at most; the sweep of another process finds what is left."""
        self._dues.close()
        if self._thread.is_alive():
            self._thread.join(timeout)

    def deliver(self, namespace: str, name: str) -> bool:
        """Do what is wanted of a letter; return False where its Broker takes nothing now."""
        letter = self._cluster.get(DEAD_LETTER, namespace, name)
        if letter is None:
            return True
        if letters.is_owed(letter):
            if self._post(namespace, "default", letters.word(letter)) == "later":
                return False
            letter = self._cluster.replace(DEAD_LETTER, letters.without(letter, names.OWES_LABEL))
        return not letters.is_resent(letter) or self._is_resent(letter)

    def _is_resent(self, letter: Object) -> bool:
        meta, why_not = letter["metadata"], letters.obstacle(letter)
        if not why_not:
            broker = letters.broker(letter, self._product)
            answer = self._post(meta["namespace"], broker, letters.kept_event(letter))
            if answer == "later":
                return False
            if answer == "sent":
                log.info("%s/%s was sent again", meta["namespace"], meta["name"])
                self._cluster.delete(
                    DEAD_LETTER, meta["namespace"], meta["name"], uid=meta["uid"], version=meta["resourceVersion"]
                )
                return True
            why_not = "not sent again: the Broker refuses it"
        self._cluster.replace(DEAD_LETTER, letters.without(letter, names.RESEND_LABEL, why_not))
        return True

    def _post(self, namespace: str, broker: str, event: Object) -> Outcome:
        url = f"{self._broker_url}/{namespace}/{broker}"
        code = self._send(url, {"content-type": telling.STRUCTURED}, json.dumps(event).encode())
        outcome = meaning(code)
        if outcome != "sent":
            log.warning("the Broker %s/%s answered %s to %s", namespace, broker, code or "nothing", event["type"])
        return outcome

    def _run(self) -> None:
        while (due := self._dues.take()) is not None:
            try:
                if not self.deliver(*due):
                    self._dues.put_off(due, PAUSE)
            except Conflict as error:  # it was written meanwhile: what is wanted of it now stands on it
                log.info("the letter %s/%s was changed: %s", *due, error)
                self._dues.add(due)
            except Temporary as error:
                log.warning("the letters of %s wait: %s", due[0], error)
                self._dues.put_off(due, error.retry_after)
            except Exception:
                log.exception("the letter %s/%s cannot be sent", *due)
