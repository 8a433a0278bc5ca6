"""Knative Eventing as seen from outside: Brokers that keep events until every Trigger has had its chance with them.

Joined by `handler` for `knative-lambda dev`. An event is stored before it is acknowledged; its order is not kept.
"""

import base64
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from http import HTTPStatus

from knative_lambda.deploy.cluster import BROKER, TRIGGER, Cluster, Object
from knative_lambda.deploy.embedded import filters, messages
from knative_lambda.deploy.embedded.deliveries import Deliveries, Delivery
from knative_lambda.deploy.embedded.messages import Message
from knative_lambda.deploy.embedded.policy import Policy, again
from knative_lambda.deploy.embedded.subscribers import Subscribers, Target, Unresolved
from knative_lambda.deploy.embedded.transport import NoAnswer, Request, Response
from knative_lambda.schemas.errors import Malformed, Refused

HOPS = 255
"""How often a reply may be answered in turn, as in Knative's Broker, so that no loop is endless."""
ERROR_DATA_LIMIT = 1024
"""Bytes of the last answer that a dead letter carries."""
SAID = 200
"""Bytes of it that a line of log shows."""
IDLE_SECONDS = 5.0
GRACE_SECONDS = 2.0
WORKERS = 8
log = logging.getLogger(__name__)


class Eventing:
    """The Brokers of `cluster`. `clock` gives seconds since the epoch.

    `unwanted` is told of each event that came to a Broker (namespace, name) and that no Trigger takes.
    """

    def __init__(
        self,
        cluster: Cluster,
        deliveries: Deliveries,
        subscribers: Subscribers,
        *,
        clock: Callable[[], float] = time.time,
        unwanted: Callable[[str, str, Message], None] = lambda _namespace, _broker, _message: None,
    ) -> None:
        self._cluster = cluster
        self._deliveries = deliveries
        self._subscribers = subscribers
        self._clock = clock
        self._unwanted = unwanted
        self._changed = threading.Condition()
        self._closed = False
        self._threads = [threading.Thread(target=self._run, name="deliver", daemon=True) for _ in range(WORKERS)]

    def start(self) -> None:
        """Begin to deliver, also what an earlier process has left."""
        for thread in self._threads:
            thread.start()

    def close(self, grace: float = GRACE_SECONDS) -> None:
        """Deliver no more; what is under way for longer than `grace` seconds is delivered again by the next process."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        deadline = time.monotonic() + grace
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.0, deadline - time.monotonic()))
        self._deliveries.close()

    def publish(self, namespace: str, broker: str, headers: Mapping[str, str], body: bytes) -> Response:
        """Take an event for a Broker and return the answer: 202, or as text why not, 404 (no such Broker) or 400."""
        if self._cluster.get(BROKER, namespace, broker) is None:
            return Response(HTTPStatus.NOT_FOUND, {}, f"there is no Broker {namespace}/{broker}\n".encode())
        try:
            message = messages.parse(headers, body)
        except Malformed as error:
            log.info("no event for %s/%s: %s", namespace, broker, error)
            return Response(HTTPStatus.BAD_REQUEST, {}, f"this is no CloudEvent: {error}\n".encode())
        if deliveries := self._matching(namespace, broker, message, HOPS):
            self._deliveries.add(deliveries)
            self._notify()
        else:
            self._unwanted(namespace, broker, message)
        return Response(HTTPStatus.ACCEPTED)

    def work(self) -> int:
        """Deliver everything that is due now, one after the other; return how many deliveries that were."""
        done = 0
        while (delivery := self._deliveries.claim(self._clock())) is not None:
            self._deliver(delivery)
            done += 1
        return done

    def _run(self) -> None:
        while not self._closed:
            delivery = self._deliveries.claim(self._clock())
            if delivery is not None:
                self._deliver(delivery)
                continue
            with self._changed:
                due = self._deliveries.next_due()
                pause = IDLE_SECONDS if due is None else min(IDLE_SECONDS, due - self._clock())
                if pause > 0 and not self._closed:
                    self._changed.wait(pause)

    def _notify(self) -> None:
        with self._changed:
            self._changed.notify_all()

    def _matching(self, namespace: str, broker: str, message: Message, hops: int) -> list[Delivery]:
        """Return a delivery for each Trigger of the Broker that takes the event."""
        found = []
        for trigger in self._cluster.list(TRIGGER, namespace):
            meta, spec = trigger["metadata"], trigger["spec"]
            if spec.get("broker") == broker and _takes(trigger, message):
                found.append(Delivery(namespace, meta["name"], meta["uid"], message, hops, self._clock()))
        return found

    def _deliver(self, delivery: Delivery) -> None:
        try:
            self._try(delivery)
        except Exception:
            if self._closed:  # the file was closed before the answer came
                return
            # the cluster's file is locked, or a bug: the event is the user's, and stays
            log.exception("delivery %s could not be tried", delivery.id)
            self._deliveries.postpone(delivery, delivery.attempt, self._clock() + IDLE_SECONDS)
        self._notify()

    def _try(self, delivery: Delivery) -> None:
        trigger = self._cluster.get(TRIGGER, delivery.namespace, delivery.trigger)
        if trigger is None or trigger["metadata"]["uid"] != delivery.trigger_uid:
            self._deliveries.finish(delivery)
            return
        broker: str = trigger["spec"]["broker"]
        policy = Policy.of(trigger, self._cluster.get(BROKER, delivery.namespace, broker))
        destination = policy.dead_letter_sink if delivery.dead else trigger["spec"]["subscriber"]
        if destination is None:
            self._deliveries.finish(delivery)
            return
        answer, target = self._send(delivery, destination, policy.timeout)
        reply, answer = _reply(answer)
        if answer.status < HTTPStatus.MULTIPLE_CHOICES:
            if reply and not delivery.hops:
                log.warning("replies of %s/%s have gone round too often", delivery.namespace, delivery.trigger)
                reply = None
            replies = self._matching(delivery.namespace, broker, reply, delivery.hops - 1) if reply else ()
            self._deliveries.finish(delivery, replies)
        elif again(answer.status) and delivery.attempt < policy.retry:
            due = self._clock() + policy.pause(delivery.attempt)
            self._deliveries.postpone(delivery, delivery.attempt + 1, due)
        else:
            self._give_up(delivery, answer, target.url, policy)

    def _send(self, delivery: Delivery, destination: Object, timeout: float) -> tuple[Response, Target]:
        """Return the answer and where it came from; no answer counts as 500, as in Knative."""
        headers = {**delivery.message.headers(), "prefer": "reply"}
        request = Request("POST", "/", headers, delivery.message.body, timeout)
        target = Target(destination.get("uri", ""))
        try:
            target = self._subscribers.resolve(destination, delivery.namespace)
            return self._subscribers.send(target, request), target
        except (Unresolved, NoAnswer) as error:
            return Response(HTTPStatus.INTERNAL_SERVER_ERROR, {}, f"dispatch error: {error}".encode()), target

    def _give_up(self, delivery: Delivery, answer: Response, url: str, policy: Policy) -> None:
        """Send the event to the dead-letter sink, with what Knative adds to it; without one it ends here."""
        if delivery.dead or policy.dead_letter_sink is None:
            event, place = delivery.message.attributes["id"], f"{delivery.namespace}/{delivery.trigger} at {url}"
            why = answer.body[:SAID].decode(errors="replace")
            log.warning("event %s is given up: %s: %d %s", event, place, answer.status, why)
            self._deliveries.finish(delivery)
            return
        data = base64.b64encode(answer.body[:ERROR_DATA_LIMIT]).decode()
        told = {"knativeerrordest": url, "knativeerrorcode": str(int(answer.status)), "knativeerrordata": data}
        letter = replace(delivery, message=delivery.message.extended(told), dead=True, attempt=0, due=self._clock())
        self._deliveries.finish(delivery, [letter])


def _takes(trigger: Object, message: Message) -> bool:
    try:
        return filters.matches(trigger["spec"], message.attributes)
    except Refused:  # the Trigger's own status says so
        return False


def _reply(answer: Response) -> tuple[Message | None, Response]:
    """Return the event that a subscriber has answered, and the answer as Knative's Broker takes it.

    A success whose body is no event is an error of the subscriber: 502, so it is tried again.
    """
    if answer.status >= HTTPStatus.MULTIPLE_CHOICES:
        return None, answer
    if messages.is_event(answer.headers):
        try:
            return messages.parse(answer.headers, answer.body), answer
        except Malformed as error:
            return None, Response(HTTPStatus.BAD_GATEWAY, {}, f"the reply is no CloudEvent: {error}".encode())
    if answer.body:
        return None, Response(HTTPStatus.BAD_GATEWAY, {}, b"the reply is no CloudEvent: " + answer.body)
    return None, answer
