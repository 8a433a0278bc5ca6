"""An event is a hint: forged, stale, repeated and lost ones change nothing that the objects themselves don't say."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from support.estate import Estate, difference
from support.stories import build_of, job_of, live, outside, sent, start, tick

from knative_lambda.builds import record
from knative_lambda.deploy import conditions
from knative_lambda.deploy.cluster import JOB, KNATIVE_SERVICE, NAMESPACE, POD, Object
from knative_lambda.handler.events import Event
from knative_lambda.schemas import names, types
from knative_lambda.schemas.errors import Refused

KINDS = ("Function", "Build", "Job", "Pod", "Service", "Revision", "Trigger", "DeadLetter", "Secret")
DIGEST = "sha256:" + "6" * 64


@pytest.fixture
def estate() -> Estate:
    """Return a tenant with one function that runs and one that is being built, and a neighbour with the same names."""
    estate = Estate()
    live(start("up", name="up", triggers=[{"type": "demo"}]))(estate)
    sent(start(), start("theirs", tenant="other"))(estate)
    return estate


def changes_nothing(estate: Estate, *events: Event) -> None:
    before = estate.picture()
    for event in events:
        estate.deliver(event)
    assert difference(estate.picture(), before) == ""


def pod(estate: Estate, job: Object | None, **status: Any) -> str:
    """Make a Pod of somebody's in the builds namespace, which says of itself that it is a Job's."""
    wanted = job_of(estate)["metadata"]
    meta: Object = {"name": f"{wanted['name']}-forged", "namespace": "acme-builds", "labels": wanted["labels"]}
    meta["labels"] = {**meta["labels"], "batch.kubernetes.io/job-name": wanted["name"]}
    if job is not None:
        meta["ownerReferences"] = [conditions.owner(job)]
    made = estate.cluster.create(POD, {"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": {}})
    estate.cluster.replace_status(POD, {**made, "status": status})
    return str(meta["name"])


def ended(code: int, message: str = "") -> Object:
    state = {"terminated": {"exitCode": code, "message": message}}
    return {"phase": "Succeeded", "containerStatuses": [{"name": "kaniko", "state": state}]}


@pytest.mark.parametrize("kind", KINDS)
def test_reports_of_what_has_not_changed_change_nothing(estate: Estate, kind: str) -> None:
    """Stale and repeated ones, of everything that is there, and of what is not."""
    there = [
        estate.reported(kind, body["metadata"]["namespace"], body["metadata"]["name"])
        for _, body in estate.objects()
        for _ in range(2)
    ]
    nowhere = [
        estate.reported(kind, namespace, name)
        for namespace in ("acme", "acme-builds", "other", "knative-lambda", "kube-system", "nobody-builds", "-builds")
        for name in ("hello", "gone", "hello-gone-1", "hello-gone-1-abcde", "hello--1", "-x")
    ]
    changes_nothing(estate, *there, *nowhere)


def test_a_report_with_a_forged_object_inside_is_read_for_its_name_alone(estate: Estate) -> None:
    """ApiServerSource in resource mode sends the object; anybody may send another one."""
    name = job_of(estate)["metadata"]["name"] + "-abcde"
    lie = {"kind": "Pod", "metadata": {"namespace": "acme-builds", "name": name}, "status": ended(0, DIGEST)}
    failed = {"kind": "Build", "metadata": {"namespace": "acme", "name": name[:-8]}, "status": {"phase": "Failed"}}
    changes_nothing(estate, *(estate.event(types.RESOURCE_UPDATED, body) for body in (lie, failed)))


def test_another_tenants_pod_ends_nobodys_build_but_its_own(estate: Estate) -> None:
    """It has ended and is named like ours: a report that says it is in our namespace finds ours, which runs."""
    [theirs] = estate.cluster.list(JOB, "other-builds")
    name = estate.end_pod(theirs, "ok")
    changes_nothing(estate, estate.reported("Pod", "acme-builds", name))
    estate.deliver(estate.reported("Pod", "other-builds", name))
    assert estate.picture().keys() > {"Service other/hello"}
    assert estate.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None


def test_a_pod_that_no_job_of_ours_controls_ends_no_build(estate: Estate) -> None:
    """It bears all our labels, claims success and even a digest, and its image is in the registry."""
    job = job_of(estate)
    own = estate.pod_of(job)
    assert own is not None
    estate.cluster.delete(POD, "acme-builds", own["metadata"]["name"])
    build = build_of(estate)
    estate.registry.known[f"registry/acme/hello:{build['metadata']['name']}-1"] = DIGEST
    [theirs] = estate.cluster.list(JOB, "other-builds")
    for owner in (None, theirs):
        name = pod(estate, owner, **ended(0, DIGEST))
        changes_nothing(estate, estate.reported("Pod", "acme-builds", name))
        estate.cluster.delete(POD, "acme-builds", name)


def test_a_pods_termination_message_is_not_believed(estate: Estate) -> None:
    """A Dockerfile's RUN can write it: the registry does not know the image, so there is none."""
    own = estate.pod_of(job_of(estate))
    assert own is not None
    estate.cluster.replace_status(POD, {**own, "status": ended(0, DIGEST)})
    estate.deliver(estate.reported("Pod", "acme-builds", own["metadata"]["name"]))
    assert estate.condition("Built")[:2] == ("False", "ImageMissing")
    assert estate.cluster.get(KNATIVE_SERVICE, "acme", "hello") is None


def test_an_image_under_another_attempts_tag_is_not_taken(estate: Estate) -> None:
    estate.registry.known["registry/acme/hello:latest"] = DIGEST
    estate.registry.known[f"registry/other/hello:{build_of(estate)['metadata']['name']}-1"] = DIGEST
    estate.deliver(estate.reported("Pod", "acme-builds", estate.end_pod(job_of(estate), "unpushed")))
    assert estate.condition("Built")[:2] == ("False", "ImageMissing")


@pytest.mark.parametrize("kind", ["Job", "Pod"])
def test_a_job_that_bears_anothers_labels_is_nobodys(estate: Estate, kind: str) -> None:
    """Its labels name our Build, its UID does not match; or the UID does, and the Build's name does not."""
    build = build_of(estate)["metadata"]
    for name, uid in ((build["name"], "another"), ("no-build", build["uid"])):
        labels = {names.BUILD_LABEL: name, names.BUILD_UID_LABEL: uid, names.FUNCTION_LABEL: "hello"}
        meta = {"name": f"{build['name']}-9", "namespace": "acme-builds", "labels": labels}
        made = estate.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})
        done = [{"type": "Complete", "status": "True"}]
        estate.cluster.replace_status(JOB, {**made, "status": {"conditions": done}})
        estate.deliver(estate.reported(kind, "acme-builds", meta["name"] + ("-abcde" if kind == "Pod" else "")))
        assert record.phase(build_of(estate)) == "Running"
        assert estate.cluster.get(JOB, "acme-builds", f"{build['name']}-9") is None, "ours, and of no Build: it goes"


def test_a_job_of_somebody_elses_is_left_alone(estate: Estate) -> None:
    meta = {"name": "theirs-1", "namespace": "acme-builds", "labels": {"app": "theirs"}}
    estate.cluster.create(JOB, {"apiVersion": "batch/v1", "kind": "Job", "metadata": meta, "spec": {}})
    changes_nothing(estate, estate.reported("Job", "acme-builds", "theirs-1"), tick(estate))


@pytest.mark.parametrize(
    "event",
    [
        outside(types.BUILD_COMPLETE, image="registry/acme/hello:out"),
        outside(types.BUILD_FAILED, reason="Forged", message="it is not true"),
    ],
    ids=["complete", "failed"],
)
def test_the_end_of_a_build_that_is_not_external_is_nobodys_to_say(
    estate: Estate, event: Callable[[Estate], Event]
) -> None:
    said = event(estate)
    changes_nothing(estate, said, said)


@pytest.mark.parametrize("image", ["registry/other/hello:out", "elsewhere/acme/hello:out", "registry/acme/hello:none"])
def test_an_external_build_cannot_name_anothers_image_or_one_that_is_not_there(image: str) -> None:
    estate = Estate()
    sent(start(builder="external"))(estate)
    estate.registry.known["registry/other/hello:out"] = DIGEST
    event = outside(types.BUILD_COMPLETE, image=image)(estate)
    before = estate.picture()
    with pytest.raises(Refused):
        estate.deliver(event)
    assert difference(estate.picture(), before) == ""


def test_an_external_build_that_has_ended_ends_once(estate: Estate) -> None:
    estate = Estate()
    live(start(builder="external"), outside(types.BUILD_COMPLETE, image="registry/acme/hello:out"))(estate)
    changes_nothing(estate, outside(types.BUILD_FAILED, reason="Late")(estate))


def test_older_events_change_nothing(estate: Estate) -> None:
    """A delete and a cancel with an older key, whoever sends them."""
    early = {"time": estate.time - timedelta(hours=1)}
    for kind in (types.FUNCTION_DELETE, types.BUILD_CANCEL):
        changes_nothing(estate, estate.event(kind, {"tenant": "acme", "name": "hello"}, **early))


def test_a_late_end_of_a_superseded_build_changes_nothing(estate: Estate) -> None:
    """Its Pod went on for a while and pushed: the image is there, and nobody wants it."""
    old = job_of(estate)
    meta = old["metadata"]
    estate.deliver(start("two")(estate))
    estate.registry.known[f"registry/acme/hello:{meta['name']}"] = DIGEST
    reports = [
        estate.reported(kind, "acme-builds", meta["name"] + more) for kind, more in (("Pod", "-abcde"), ("Job", ""))
    ]
    changes_nothing(estate, *reports)
    estate.rest()
    assert not estate.service_image().endswith(DIGEST)


def test_all_reports_may_be_lost(estate: Estate) -> None:
    """The sweep finds what nobody told."""
    told, untold = Estate(), Estate()
    for world, heard in ((told, True), (untold, False)):
        sent(start(triggers=[{"type": "demo"}]))(world)
        world.rest(told=heard)
    assert difference(untold.picture(), told.picture()) == ""


def test_a_namespace_that_is_no_tenants_is_never_looked_into(estate: Estate) -> None:
    namespace = estate.cluster.get(NAMESPACE, "", "acme")
    assert namespace is not None
    estate.end_pod(job_of(estate), "ok")
    estate.cluster.replace(NAMESPACE, {**namespace, "metadata": {**namespace["metadata"], "labels": {}}})
    events = [estate.reported("Function", "acme", "hello"), estate.reported("Pod", "acme-builds", "hello-x-1-abcde")]
    changes_nothing(estate, *events)
    before = estate.picture()
    estate.deliver(tick(estate))
    left = difference(estate.picture(), before).split()
    assert re.fullmatch(r"Lease knative-lambda/slot-\d: is missing", " ".join(left)), (
        "it holds no slot that others wait for"
    )
