"""The status of Knative's objects in Knative's own words; pure functions. Called by `serving.py` and `readiness.py`."""

from collections.abc import Mapping
from datetime import datetime

from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import Saying, told
from knative_lambda.deploy.embedded.ledger import Revisions

YES: Saying = ("True", "", "")


def all_told(obj: Object, said: Mapping[str, Saying], now: datetime) -> list[Object]:
    """Return the object's conditions with several of them said anew."""
    conditions: list[Object] = obj.get("status", {}).get("conditions", [])
    for kind, saying in said.items():
        conditions = told({"status": {"conditions": conditions}}, kind, saying, now)
    return conditions


def service_status(obj: Object, revisions: Revisions, failure: Saying, url: str, now: datetime) -> Object:
    """Return the status of a Knative Service whose newest revision has failed as `failure` says, or has not (`YES`)."""
    created, ready = revisions.created, revisions.ready
    newest: Saying = ("Unknown", "", "")
    if failure != YES:
        newest = failure
    elif created is not None and created == ready:
        newest = YES
    missing = f'Configuration "{obj["metadata"]["name"]}" does not have any ready Revision.'
    route: Saying = YES if ready else (newest[0], "RevisionMissing", missing)
    said = {"ConfigurationsReady": newest, "RoutesReady": route, "Ready": newest}
    return {
        "conditions": all_told(obj, said, now),
        "observedGeneration": obj["metadata"]["generation"],
        "latestCreatedRevisionName": created.name if created else "",
        **({"latestReadyRevisionName": ready.name} if ready else {}),
        "url": url,
        "address": {"url": url},
    }
