"""What Knative Eventing says of Brokers and Triggers in their status.

Joined by `handler` for `knative-lambda dev`; `eventing.py` delivers whatever is said here.
"""

from datetime import UTC, datetime

from knative_lambda.deploy.cluster import BROKER, KNATIVE_SERVICE, NAMESPACE, TRIGGER, Cluster, Kind, Object
from knative_lambda.deploy.conditions import Saying
from knative_lambda.deploy.embedded import filters
from knative_lambda.deploy.embedded.policy import Policy
from knative_lambda.deploy.embedded.statuses import YES, all_told
from knative_lambda.deploy.embedded.subscribers import Subscribers, Unresolved
from knative_lambda.deploy.embedded.workqueue import WorkQueue
from knative_lambda.schemas.errors import Refused

Key = tuple[Kind, str, str]


class Readiness:
    """Writes the status of the Brokers and Triggers of `cluster`; a Broker's address is ``<url>/<tenant>/<name>``."""

    def __init__(self, cluster: Cluster, subscribers: Subscribers, url: str) -> None:
        self._cluster = cluster
        self._subscribers = subscribers
        self._url = url
        self._queue: WorkQueue[Key] = WorkQueue(self._reconcile)

    def start(self) -> None:
        """Look at the Brokers that are there, and with them at their Triggers."""
        for namespace in self._cluster.list(NAMESPACE, ""):
            for broker in self._cluster.list(BROKER, namespace["metadata"]["name"]):
                self.changed("update", BROKER, broker)

    def changed(self, _verb: str, kind: Kind, obj: Object) -> None:
        """Take note that an object has changed: to be hooked to the cluster."""
        if kind in (BROKER, TRIGGER, KNATIVE_SERVICE):
            self._queue.add((kind, obj["metadata"]["namespace"], obj["metadata"]["name"]))

    def settled(self, timeout: float) -> bool:
        """Wait until every change that was told has been acted on; return whether that came in `timeout` seconds."""
        return self._queue.idle(timeout)

    def close(self) -> None:
        """Write no more."""
        self._queue.close()

    def _reconcile(self, key: Key) -> None:
        kind, namespace, name = key
        if kind != TRIGGER:
            for trigger in self._cluster.list(TRIGGER, namespace):
                self._queue.add((TRIGGER, namespace, trigger["metadata"]["name"]))
        obj = None if kind == KNATIVE_SERVICE else self._cluster.get(kind, namespace, name)
        if obj is None:
            return
        status = self._broker(obj) if kind == BROKER else self._trigger(obj)
        if status != obj.get("status"):
            self._cluster.replace_status(kind, {**obj, "status": status})

    def _broker(self, broker: Object) -> Object:
        url = f"{self._url}/{broker['metadata']['namespace']}/{broker['metadata']['name']}"
        return _status(broker, {"Addressable": YES}, {"address": {"url": url}})

    def _trigger(self, trigger: Object) -> Object:
        namespace, spec = trigger["metadata"]["namespace"], trigger["spec"]
        broker = self._cluster.get(BROKER, namespace, spec["broker"])
        said: dict[str, Saying] = {
            "BrokerReady": YES,
            "SubscriberResolved": YES,
            "DeadLetterSinkResolved": YES,
            "FilterReady": YES,
        }
        if broker is None:
            said["BrokerReady"] = ("False", "BrokerDoesNotExist", f'Broker "{spec["broker"]}" does not exist')
        found: dict[str, str] = {}
        try:
            found["subscriberUri"] = self._subscribers.resolve(spec["subscriber"], namespace).url
        except Unresolved as error:
            said["SubscriberResolved"] = ("False", "Unable to get the Subscriber's URI", str(error))
        try:
            filters.matches(spec, {})
        except Refused as error:
            said["FilterReady"] = ("False", "FilterUnsupported", str(error))
        try:
            if sink := Policy.of(trigger, broker).dead_letter_sink:
                found["deadLetterSinkUri"] = self._subscribers.resolve(sink, namespace).url
        except (Unresolved, ValueError) as error:
            said["DeadLetterSinkResolved"] = ("False", "Unable to get the dead letter sink's URI", str(error))
        return _status(trigger, said, found)


def _status(obj: Object, said: dict[str, Saying], found: Object) -> Object:
    """Return the object's status: these conditions, with a `Ready` that is as good as the first that is not True."""
    ready = next((each for each in said.values() if each != YES), YES)
    conditions = all_told(obj, {**said, "Ready": ready}, datetime.now(UTC))
    return {"conditions": conditions, "observedGeneration": obj["metadata"]["generation"], **found}
