"""A Build whose image is pushed: it gets its papers where it is to have some; first of all where they are signed.

Called by `settle.py`, when the image becomes known, and again for as long as that is the last thing on the record; and
by the handler's `papers.py`, for papers that nothing waits for.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from knative_lambda.builds import record
from knative_lambda.builds.ends import Outcome, Workshop, finish, write
from knative_lambda.builds.papers.signing import Unusable
from knative_lambda.deploy.cluster import Object
from knative_lambda.deploy.conditions import Saying, condition
from knative_lambda.schemas.errors import NotLetIn, Refused, Temporary, Unavailable, Untrusted

ATTESTED = "Attested"
"""The step at which an image has its papers."""
DEPLOYED_FIRST: Saying = ("Unknown", "DeployedFirst", "")
"""What is said of papers that are made when the image runs already, or is about to."""
UNATTESTED: Mapping[type[Exception], str] = {
    Unusable: "KeyUnusable",
    NotLetIn: "RegistryRefused",
    Untrusted: "RegistryUntrusted",
    Unavailable: "RegistryUnavailable",
    Refused: "RegistryRefused",
    Temporary: "Delayed",
}
"""Why an image has no papers, by what went wrong."""
UNSIGNED = timedelta(minutes=1)
"""For how long papers that nobody signs are tried again."""
AGAIN = timedelta(seconds=5)
"""When to look again at what did not answer."""


def made(build: Object, image: str, log: str, workshop: Workshop, now: datetime) -> Object:
    """Record an image that is there: as the Build's end, unless it is to be signed first.

    Then the papers say when it was pushed, so that is on the record before them, for whoever goes on from there.
    """
    change, attestor = {"log": log} if log else {}, workshop.attestor
    if attestor is None or attestor.keys is None:
        steps = {} if attestor is None else {ATTESTED: DEPLOYED_FIRST}
        return _succeeded(record.told(build, change, steps, now), image, workshop, now)
    build = write(build, change, {record.PUSHED: ("True", "Pushed", image)}, workshop, now)
    return attest(build, image, workshop, now)


def attest(build: Object, image: str, workshop: Workshop, now: datetime) -> Object:
    """Give an image the papers without which it is nothing, and record the end.

    What does not answer, and a key that somebody has to mend, is tried again for as long as the Build has time.
    """
    if workshop.attestor is None or workshop.attestor.keys is None:  # it was signed when the image was pushed
        return _succeeded(build, image, workshop, now)
    papers = partial(workshop.attestor.attest, build, image)
    said = _attested(build, papers, workshop, record.ends(build, workshop.patience, now), now)
    status, reason, message = said
    if status == "Unknown":
        return _write(build, {ATTESTED: said, "Succeeded": said}, workshop, now)
    build = record.told(build, {}, {ATTESTED: said}, now)
    if status == "False":
        return finish(build, Outcome("Failed", reason, message), workshop, now)
    return _succeeded(build, image, workshop, now)


def lacks_papers(build: Object, workshop: Workshop) -> bool:
    """Say whether a Build has ended with an image that is still to get the papers that nothing waits for."""
    said = condition(build, ATTESTED)
    owed = said["status"] == "Unknown" and bool(said.get("reason"))
    return owed and workshop.attestor is not None and bool(record.image_of(build))


def add_papers(build: Object, workshop: Workshop, now: datetime) -> Object:
    """Give the image of a Build the papers that it lacks, and return the Build as it is then.

    What does not answer is tried for a minute. Raises `Conflict` like `settle`.
    """
    if workshop.attestor is None or not lacks_papers(build, workshop):
        return build
    image = record.image_of(build)
    end = datetime.fromisoformat(condition(build, record.PUSHED)["lastTransitionTime"]) + UNSIGNED
    papers = partial(workshop.attestor.attest, build, image)
    return _write(build, {ATTESTED: _attested(build, papers, workshop, end, now)}, workshop, now)


def _attested(build: Object, papers: Callable[[], str], workshop: Workshop, end: datetime, now: datetime) -> Saying:
    """Return what is to be said of papers once they were tried; until a moment, what may pass is tried again."""
    meta = build["metadata"]
    try:
        return "True", "Attested", papers()
    except (Refused, Temporary) as error:
        reason = next(name for kind, name in UNATTESTED.items() if isinstance(error, kind))
        if isinstance(error, Refused | Untrusted) or now >= end:
            return "False", reason, str(error)
        workshop.later(meta["namespace"], build["spec"]["function"], now + AGAIN)
        return "Unknown", reason, str(error)


def _write(build: Object, steps: Mapping[str, Saying], workshop: Workshop, now: datetime) -> Object:
    return build if record.told(build, {}, steps, now) == build else write(build, {}, steps, workshop, now)


def _succeeded(build: Object, image: str, workshop: Workshop, now: datetime) -> Object:
    reused = condition(build, "Reused")
    outcome = Outcome("Succeeded", "Built", f"attempt {build['status'].get('attempt', 0)}", image)
    if reused["status"] == "True":
        outcome = Outcome("Succeeded", "Reused", f"{reused['message']} had made it of the same input", image)
    return finish(build, outcome, workshop, now)
