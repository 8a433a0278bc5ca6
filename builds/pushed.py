"""A Build whose image is pushed: it gets its papers where it is to have some, and then has ended.

Called by `settle.py`, when the image becomes known, and again for as long as that is the last thing on the record.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from knative_lambda.builds import record
from knative_lambda.builds.ends import Outcome, Workshop, finish, write
from knative_lambda.builds.signing import Unusable
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.schemas.errors import Refused, Temporary, Unavailable, Untrusted

ATTESTED = "Attested"
"""The step at which an image has its papers."""
UNATTESTED: Mapping[type[Exception], str] = {
    Unusable: "KeyUnusable",
    Untrusted: "RegistryUntrusted",
    Unavailable: "RegistryUnavailable",
    Refused: "RegistryRefused",
    Temporary: "Delayed",
}
"""Why an image has no papers, by what went wrong."""
UNSIGNED = timedelta(minutes=1)
"""How long an image waits for papers that nobody signs."""
AGAIN = timedelta(seconds=5)
"""When to look again at what did not answer."""


def made(build: Object, image: str, log: str, workshop: Workshop, now: datetime) -> Object:
    """Record an image that is there: as the Build's end, unless it is to get its papers first.

    Then these say when it was pushed, so that is on the record before them, for whoever goes on from there.
    """
    change = {"log": log} if log else {}
    if workshop.attestor is None:
        return _succeeded(record.told(build, change, {}, now), image, workshop, now)
    build = write(build, change, {record.PUSHED: ("True", "Pushed", image)}, workshop, now)
    return attest(build, image, workshop, now)


def attest(build: Object, image: str, workshop: Workshop, now: datetime) -> Object:
    """Give an image its papers, and record the end. Where it is to be signed, it is nothing without them.

    What does not answer, and a key that somebody has to mend, is tried again for as long as the Build has time; or for
    a moment only, where it is to have papers and does not need them.
    """
    attestor, meta = workshop.attestor, build["metadata"]
    if attestor is None:  # it was asked for when the image was pushed
        return _succeeded(build, image, workshop, now)
    try:
        steps: dict[str, Saying] = {ATTESTED: ("True", "Attested", attestor.attest(build, image))}
    except (Refused, Temporary) as error:
        reason = next(name for kind, name in UNATTESTED.items() if isinstance(error, kind))
        end = record.ends(build, workshop.patience, now)
        if attestor.keys is None:
            end = min(end, datetime.fromisoformat(condition(build, record.PUSHED)["lastTransitionTime"]) + UNSIGNED)
        lasts = isinstance(error, Refused | Untrusted) or now >= end
        if not lasts:
            workshop.later(meta["namespace"], build["spec"]["function"], now + AGAIN)
            steps = {ATTESTED: ("Unknown", reason, str(error)), "Succeeded": ("Unknown", reason, str(error))}
            told = record.told(build, {}, steps, now)
            return build if told == build else write(build, {}, steps, workshop, now)
        steps = {ATTESTED: ("False", reason, str(error))}
        if attestor.keys is not None:
            build = record.told(build, {}, steps, now)
            return finish(build, Outcome("Failed", reason, str(error)), workshop, now)
    return _succeeded(record.told(build, {}, steps, now), image, workshop, now)


def _succeeded(build: Object, image: str, workshop: Workshop, now: datetime) -> Object:
    reused = condition(build, "Reused")
    outcome = Outcome("Succeeded", "Built", f"attempt {build['status'].get('attempt', 0)}", image)
    if reused["status"] == "True":
        outcome = Outcome("Succeeded", "Reused", f"{reused['message']} had made it of the same input", image)
    return finish(build, outcome, workshop, now)
