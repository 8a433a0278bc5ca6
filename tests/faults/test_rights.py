"""What each part of the product asks of the API server is what its Roles allow: nothing is missing, nothing unused."""

from datetime import UTC, datetime, timedelta
from functools import cache

from support.asked import Asked, AskedCluster, AskedEstate, allowed, place
from support.chart import PRODUCT, render
from support.stories import STORIES, start

from knative_lambda.deploy.cluster import BUILD, DEAD_LETTER, FUNCTION, KNATIVE_SERVICE, REVISION, SECRET
from knative_lambda.deploy.memory import MemoryCluster
from knative_lambda.handler import deadletters
from knative_lambda.handler.api.pages import Wanted
from knative_lambda.handler.api.read import Records
from knative_lambda.handler.deadletters import create_app
from knative_lambda.schemas.names import BUILD_SECRET_LABEL, RESEND_LABEL


def granted(account: str) -> set[Asked]:
    """Return what the chart allows an account of the product."""
    objects = render(
        tenants=["demo"], registry={"prefix": "r.test", "tokens": {"secret": "key"}}, builds={"secrets": True}
    )
    return {(place(namespace), what, verb) for namespace, what, verb in allowed(objects, account, PRODUCT)}


def in_a_crowd(estate: AskedEstate) -> None:
    """Look for a slot while others take each of them."""
    estate.seen.is_crowded = True
    estate.deliver(start()(estate))


def builds_that_have_had_their_time(estate: AskedEstate) -> None:
    for version in ("one", "two", "three"):
        estate.deliver(start(version)(estate))
        estate.rest()
    estate.collect(timedelta(days=40))


def a_revision_that_is_not_ready(estate: AskedEstate) -> None:
    estate.deliver(start()(estate))
    estate.rest()
    [service] = estate.cluster.list(KNATIVE_SERVICE, "acme")
    failed = [{"type": "Ready", "status": "False", "reason": "RevisionFailed", "message": "x"}]
    status = {"latestCreatedRevisionName": "hello-00001", "conditions": failed}
    status["observedGeneration"] = service["metadata"]["generation"]
    estate.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": status})
    estate.deliver(estate.reported("Service", "acme", service["metadata"]["name"]))


def a_config_map_that_is_not_there(estate: AskedEstate) -> None:
    estate.deliver(start(envFrom=[{"name": "COLOUR", "configMap": "colours", "key": "first"}])(estate))
    estate.rest()
    [service] = estate.cluster.list(KNATIVE_SERVICE, "acme")
    waits = [{"type": "Ready", "status": "Unknown", "reason": "RevisionMissing", "message": "x"}]
    status = {"latestCreatedRevisionName": "hello-00009", "conditions": waits}
    status["observedGeneration"] = service["metadata"]["generation"]
    estate.cluster.replace_status(KNATIVE_SERVICE, {**service, "status": status})
    meta = {"name": "hello-00009", "namespace": "acme"}
    body = {"apiVersion": REVISION.api_version, "kind": "Revision", "metadata": meta, "spec": {}}
    estate.cluster.create(REVISION, body)
    estate.deliver(estate.reported("Service", "acme", service["metadata"]["name"]))


def letters_of_the_products_own(estate: AskedEstate) -> None:
    """One that is sent again, and one that cannot be, which is written on it; and one whose time is over."""
    headers = {"ce-specversion": "1.0", "ce-id": "lost", "ce-source": "/shop", "ce-type": "demo"}
    for name, truncated in (("again", False), ("cut", True)):
        made = deadletters.letter(PRODUCT, PRODUCT, headers, b"", estate.time)
        meta = {**made["metadata"], "name": name, "labels": {RESEND_LABEL: "true"}}
        spec = {**made["spec"], **({"truncated": True} if truncated else {})}
        estate.cluster.create(DEAD_LETTER, {**made, "metadata": meta, "spec": spec})
        estate.deliver(estate.reported("DeadLetter", PRODUCT, name))


def a_build_that_is_given_a_secret(estate: AskedEstate) -> None:
    meta = {"name": "pypi", "namespace": "acme", "labels": {BUILD_SECRET_LABEL: "true"}}
    estate.cluster.apply(SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": meta, "data": {}})
    estate.deliver(start(build={"secrets": ["pypi"]})(estate))


MORE = (
    in_a_crowd,
    a_build_that_is_given_a_secret,
    builds_that_have_had_their_time,
    a_revision_that_is_not_ready,
    a_config_map_that_is_not_there,
    letters_of_the_products_own,
)
"""What no story of the crash matrix comes to."""


@cache
def asked() -> frozenset[Asked]:
    """Return what the receiver asks in every story, until all is at rest and what nobody needs is removed."""
    found: set[Asked] = set()
    for story in STORIES:
        estate = AskedEstate(**story.settings)
        story.before(estate)
        estate.deliver(story.event(estate))
        estate.rest()
        estate.collect()
        found |= estate.asked
    for more in MORE:
        estate = AskedEstate(build_secrets=True)
        more(estate)
        found |= estate.asked
    return frozenset(found)


def test_the_receiver_may_do_what_it_does_and_no_more() -> None:
    assert sorted(asked() - granted("receiver")) == []
    assert sorted(granted("receiver") - asked()) == []


def test_where_builds_are_given_no_secrets_none_can_be_read() -> None:
    """The right is there where it is used, and it is to read one by its name: what there is nobody sees."""
    objects = render(tenants=["demo"], registry={"prefix": "r.test", "tokens": {"secret": "key"}})
    without = {(place(namespace), what, verb) for namespace, what, verb in allowed(objects, "receiver", PRODUCT)}
    assert granted("receiver") - without == {("tenant", "secrets", "get")}


def test_what_people_ask_under_v1_takes_no_right_more() -> None:
    """So that the read model needs none of its own."""
    estate = AskedEstate(api=True)
    estate.deliver(start()(estate))
    estate.rest()
    estate.asked.clear()
    records = Records(estate.product)
    for kind in (FUNCTION, BUILD, DEAD_LETTER):
        for sort in ("name", "-created"):
            assert records.page(kind, "acme", Wanted(sort=sort))
    function = records.get(FUNCTION, "acme", "hello") or {}
    build = function["status"]["latestBuild"]
    records.get_log("acme", build)
    records.look("acme", build, records.look("acme", build, None))
    for namespace in ("acme", PRODUCT):
        records.page(DEAD_LETTER, namespace, Wanted())
        records.get(DEAD_LETTER, namespace, "lost")
        records.resend_all(namespace)
    assert estate.asked
    assert estate.asked <= granted("receiver")


def test_the_dead_letter_service_may_do_what_it_does_and_no_more() -> None:
    seen = AskedCluster(MemoryCluster(PRODUCT, "acme"))
    http = create_app(seen, PRODUCT, ["acme"], lambda: datetime(2026, 1, 1, tzinfo=UTC)).test_client()
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/shop", "ce-type": "demo"}
    for where in ("acme", PRODUCT):
        for _ in range(2):
            assert http.post(f"/{where}", data=b"{}", headers=headers).status_code < 300
    assert seen.asked == granted("deadletters")


def test_those_who_run_strangers_code_may_do_nothing() -> None:
    """A build's Pods and a function's have accounts without any right, and without a token."""
    objects = render(tenants=["demo"])
    subjects = {each["subjects"][0]["name"] for each in objects if each["kind"] == "RoleBinding"}
    assert subjects == {"receiver", "deadletters", "sources"}
